//! What becomes of a packet, and why. Every packet's life ends in [`Verdict::conclude`], the one place that counts.

use crate::{maps::REASON_COUNTERS, stats};
use aya_ebpf::{bindings::xdp_action, helpers::generated::bpf_redirect};
use lb_common::{Reason, reason::{Fate, REASONS}};

/// A decision with its reason. `Err(Verdict)` leaves the packet's way early.
#[must_use]
#[derive(Clone, Copy)]
pub struct Verdict {
    exit: Exit,
    reason: Reason,
    service: u16,
}

#[derive(Clone, Copy)]
enum Exit {
    /// To the host's stack or to nowhere, by the reason's fate.
    Here,
    /// Out of the interface it came from.
    Back,
    /// Out of another interface.
    To { ifindex: u32 },
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
        Self { exit: Exit::Here, reason, service }
    }

    /// Send it out of interface `egress`.
    #[inline(always)]
    pub fn transmit(ingress: u32, egress: u32, service: u16) -> Self {
        let exit = if ingress == egress { Exit::Back } else { Exit::To { ifindex: egress } };
        Self { exit, reason: Reason::Forwarded, service }
    }

    /// Counts the reason and gives the kernel its answer.
    #[inline(always)]
    pub fn conclude(self) -> u32 {
        if self.reason.counted() {
            let column = self.service as u32 * REASONS + self.reason as u32;
            stats::count_one(REASON_COUNTERS.get_ptr_mut(column));
        }
        match self.exit {
            Exit::Back => xdp_action::XDP_TX,
            // SAFETY: a plain call with two numbers; it returns XDP_REDIRECT, or XDP_ABORTED for unknown flags.
            Exit::To { ifindex } => unsafe { bpf_redirect(ifindex, 0) as u32 },
            Exit::Here => match self.reason.fate() {
                Fate::Dropped => xdp_action::XDP_DROP,
                Fate::Passed | Fate::Forwarded => xdp_action::XDP_PASS,
            },
        }
    }
}
