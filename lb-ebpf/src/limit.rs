//! How often a packet may be answered: an attacker must not have us send more than a host would.

use crate::maps::LIMITS;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;

/// What is limited, each kind by itself: nobody can use up the answers that path MTU discovery needs.
#[derive(Clone, Copy)]
pub enum Kind {
    TtlExpired = 0,
    TooLarge = 1,
}

/// Between two answers in the long run, ns: 1,000 a second on each CPU, as the kernel's `icmp_msgs_per_sec`.
const INTERVAL: u64 = 1_000_000;
/// How far answers may run ahead, ns: 50 at once, as the kernel's `icmp_msgs_burst`.
const BURST: u64 = 50 * INTERVAL;

/// Takes leave to answer. One word is the whole bucket (ITU-T I.371, generic cell rate algorithm): when the last answer
/// would have been due, had they come evenly.
#[inline(always)]
#[must_use]
pub fn take(kind: Kind) -> bool {
    let Some(due) = LIMITS.get_ptr_mut(kind as u32) else {
        return false;
    };
    // SAFETY: a helper without arguments; a map value of this CPU, which nothing else on this CPU uses meanwhile.
    unsafe {
        let now = bpf_ktime_get_ns();
        let next = if *due > now { *due } else { now } + INTERVAL;
        if next > now + BURST {
            return false;
        }
        *due = next;
    }
    true
}
