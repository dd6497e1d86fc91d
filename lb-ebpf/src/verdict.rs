//! What becomes of a packet, and why. Every packet's life ends in [`Verdict::conclude`], the one place that counts.

use crate::{maps::REASON_COUNTERS, stats};
use aya_ebpf::{bindings::xdp_action, helpers::generated::bpf_redirect};
use lb_common::{
    Reason,
    reason::{Fate, REASONS},
};

/// A decision. `Err(Verdict)` leaves the packet's way early.
#[must_use]
#[derive(Clone, Copy)]
pub enum Verdict {
    /// Out of the interface it came from. [`Reason::Forwarded`], which is counted by backend.
    Back,
    /// Out of another interface, likewise.
    To { ifindex: u32 },
    /// Back out of the interface it came from, made into an answer. `reason` says which.
    Answer { reason: Reason, service: u16 },
    /// To the host's stack or to nowhere, by the reason's fate. `service` is the number of the service that the packet
    /// is for; 0: none, or not known yet.
    Here { reason: Reason, service: u16 },
}

impl Verdict {
    /// Pass or drop, as the reason says, of a packet that belongs to no service (yet).
    #[inline(always)]
    pub fn of(reason: Reason) -> Self {
        Self::of_service(reason, 0)
    }

    /// Pass or drop, as the reason says, of a packet of service number `service`.
    #[inline(always)]
    pub fn of_service(reason: Reason, service: u16) -> Self {
        Self::Here { reason, service }
    }

    /// Send it out of interface `egress`.
    #[inline(always)]
    pub fn transmit(ingress: u32, egress: u32) -> Self {
        if ingress == egress {
            Self::Back
        } else {
            Self::To { ifindex: egress }
        }
    }

    /// Counts the reason and gives the kernel its answer.
    #[inline(always)]
    pub fn conclude(self) -> u32 {
        match self {
            Self::Back => xdp_action::XDP_TX,
            // SAFETY: a plain call with two numbers; it returns XDP_REDIRECT, or XDP_ABORTED for unknown flags.
            Self::To { ifindex } => unsafe { bpf_redirect(ifindex, 0) as u32 },
            Self::Answer { reason, service } => {
                count(reason, service);
                xdp_action::XDP_TX
            }
            Self::Here { reason, service } => {
                if reason.counted() {
                    count(reason, service);
                }
                match reason.fate() {
                    Fate::Dropped => xdp_action::XDP_DROP,
                    Fate::Passed | Fate::Forwarded | Fate::Answered => xdp_action::XDP_PASS,
                }
            }
        }
    }
}

#[inline(always)]
fn count(reason: Reason, service: u16) {
    stats::count_one(REASON_COUNTERS.get_ptr_mut(service as u32 * REASONS + reason as u32));
}
