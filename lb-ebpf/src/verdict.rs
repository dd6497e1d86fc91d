//! What becomes of a packet, and why. Every packet's life ends in [`Verdict::conclude`], the one place that counts.

use crate::{frame::Frame, maps::REASON_COUNTERS, refusal, stats};
use aya_ebpf::{bindings::xdp_action, helpers::generated::bpf_redirect};
use lb_common::{
    Reason,
    reason::{Fate, REASONS},
};

/// In the place of the kernel's answer: there is none before the sender was told, or not.
const TELL: u32 = 0x80;

/// A decision. `Err(Verdict)` leaves the packet's way early.
///
/// One word, so that the ways on which nothing is counted end in one comparison: the kernel's answer in bits 0..8, the reason
/// to be counted in bits 8..16 ([`Reason::Forwarded`]: none, it is counted by backend), the service's number in bits 16..32 (0:
/// none, or not known yet), the interface of a redirect, or the size of [`Verdict::telling`], in bits 32..64.
#[must_use]
#[derive(Clone, Copy)]
pub struct Verdict(u64);

impl Verdict {
    /// Pass or drop, as the reason says, of a packet that belongs to no service (yet).
    #[inline(always)]
    pub fn of(reason: Reason) -> Self {
        Self::of_service(reason, 0)
    }

    /// What the reason says, of a packet of service number `service`. An answer goes back out of the interface that the
    /// packet came from.
    #[inline(always)]
    pub fn of_service(reason: Reason, service: u16) -> Self {
        let action = match reason.fate() {
            Fate::Dropped => xdp_action::XDP_DROP,
            Fate::Passed | Fate::Forwarded => xdp_action::XDP_PASS,
            Fate::Answered => xdp_action::XDP_TX,
        };
        if reason.counted() {
            Self(action as u64 | (reason as u64) << 8 | (service as u64) << 16)
        } else {
            Self(action as u64)
        }
    }

    /// The sender is to be told `reason`, which is one of [`Fate::Answered`]; `mtu`: what a packet may have, bytes.
    #[inline(always)]
    pub fn telling(reason: Reason, service: u16, mtu: u32) -> Self {
        Self(TELL as u64 | (reason as u64) << 8 | (service as u64) << 16 | (mtu as u64) << 32)
    }

    /// Send it out of interface `egress`.
    #[inline(always)]
    pub fn transmit(ingress: u32, egress: u32) -> Self {
        if ingress == egress {
            Self(xdp_action::XDP_TX as u64)
        } else {
            Self(xdp_action::XDP_REDIRECT as u64 | (egress as u64) << 32)
        }
    }

    /// The word, for functions that are not inlined: they return nothing else that every kernel's BTF can describe.
    #[inline(always)]
    pub fn word(self) -> u64 {
        self.0
    }

    /// The verdict of a word.
    #[inline(always)]
    pub fn of_word(word: u64) -> Self {
        Self(word)
    }

    /// Counts the reason and gives the kernel its answer.
    #[inline(always)]
    pub fn conclude(self, frame: Frame) -> u32 {
        let Self(mut word) = self;
        if word <= u8::MAX as u64 {
            return word as u32;
        }
        let action = word as u32 & u8::MAX as u32;
        if action == xdp_action::XDP_REDIRECT {
            // SAFETY: a plain call with two numbers; it returns XDP_REDIRECT, or XDP_ABORTED for unknown flags.
            return unsafe { bpf_redirect((word >> 32) as u32, 0) as u32 };
        }
        let mut action = action;
        if action == TELL {
            word = refusal::tell(
                frame,
                (word >> 8) as u32 & (REASONS - 1),
                (word >> 32) as u32,
            ) | word & 0xffff_0000;
            action = word as u32 & u8::MAX as u32;
        }
        let reason = (word >> 8) as u32 & (REASONS - 1);
        let service = (word >> 16) as u32 & u16::MAX as u32;
        stats::count_one(REASON_COUNTERS.get_ptr_mut(service * REASONS + reason));
        action
    }
}
