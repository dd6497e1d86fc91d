//! The fence: what keeps a host silent about addresses of a virtual router whose adverts it no longer sends, because its
//! agent died or stands still, while another router of it is heard.

use bytemuck::{Pod, Zeroable};

/// Places for virtual routers: a fence has the number of its ownership word.
pub const FENCES: usize = crate::control::OWNERS;
/// Rows of counters of a fence: [`QUESTIONS`], [`ANSWERS`].
pub const FENCE_COUNTERS: usize = 2;
/// The row of ARP requests and neighbour solicitations that were not let in.
pub const QUESTIONS: u32 = 0;
/// The row of ARP packets and neighbour advertisements that were not let out.
pub const ANSWERS: u32 = 1;

/// What the programs know of one virtual router. Times are nanoseconds of CLOCK_BOOTTIME.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Fence {
    /// When this host's last advert was sent. Written by the agent.
    pub renewed_ns: u64,
    /// When an advert of another router was last heard; 0: never, or it has resigned since. Written by the program.
    pub witnessed_ns: u64,
    /// How old this host's last advert may be; 0: there is no fence.
    pub patience_ns: u64,
    /// Version 2: the password as it is on the wire, zeros behind it.
    pub password: u64,
    /// Where this host's own adverts come from: no witness.
    pub source: Address,
    /// What makes an advert one of this virtual router's.
    pub router: Router,
    /// Bits of `FLAG_*`.
    pub flags: u32,
    /// Protocol version.
    pub version: u32,
}

const _: () = assert!(size_of::<Fence>() == 64);

impl Fence {
    /// Silence does not wait for another router to be heard.
    pub const FLAG_STRICT: u32 = 1;
    /// Adverts must have the password.
    pub const FLAG_PASSWORD: u32 = 2;

    /// Whether this host is to be silent about the addresses.
    #[inline(always)]
    pub const fn is_closed(&self, now_ns: u64) -> bool {
        self.patience_ns != 0
            && self.renewed_ns.saturating_add(self.patience_ns) < now_ns
            && (self.flags & Self::FLAG_STRICT != 0 || self.witnessed_ns > self.renewed_ns)
    }
}

/// An IP address as it is on the wire, four bytes to a word; IPv4 as `::ffff:a.b.c.d`.
pub type Address = [u32; 4];

/// An IPv4 address, as it is on the wire, as an [`Address`].
#[inline(always)]
pub const fn mapped(address: u32) -> Address {
    [0, 0, 0xffff_u32.to_be(), address]
}

/// What an advert is known by.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Router {
    /// The kernel's index of the interface it is heard on.
    pub ifindex: u32,
    /// Virtual router id.
    pub id: u8,
    /// 4 or 6.
    pub family: u8,
    /// Zero.
    pub pad: [u8; 2],
}

/// The key of a virtual router's fence: an advert of it, from whom.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Herald {
    /// The virtual router.
    pub router: Router,
    /// The peer it comes from, of adverts that are sent from one to one; zeros: multicast.
    pub peer: Address,
}

const _: () = assert!(size_of::<Herald>() == 24);

/// Names of the maps in the fence's object.
pub mod map {
    /// [`Fence`](super::Fence) by the number of its ownership word.
    pub const FENCES: &str = "FENCES";
    /// Numbers of fences by [`Address`](super::Address).
    pub const ADDRESSES: &str = "ADDRESSES";
    /// Numbers of fences by [`Herald`](super::Herald).
    pub const HERALDS: &str = "HERALDS";
    /// Packets held back, by number of the fence times [`FENCE_COUNTERS`](super::FENCE_COUNTERS) and row, per CPU.
    pub const HELD_BACK: &str = "HELD_BACK";
}

/// Names of the programs in the fence's object.
pub mod program {
    /// For what comes in.
    pub const INGRESS: &str = "fence_in";
    /// For what goes out.
    pub const EGRESS: &str = "fence_out";
}

#[cfg(feature = "user")]
#[expect(
    unsafe_code,
    reason = "aya's marker trait, beside bytemuck's checked one"
)]
// SAFETY: `Pod` by bytemuck: no padding, every bit pattern valid.
unsafe impl aya::Pod for Fence {}

#[cfg(feature = "user")]
#[expect(
    unsafe_code,
    reason = "aya's marker trait, beside bytemuck's checked one"
)]
// SAFETY: as above.
unsafe impl aya::Pod for Herald {}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn fence(renewed_ns: u64, witnessed_ns: u64) -> Fence {
        Fence {
            renewed_ns,
            witnessed_ns,
            patience_ns: 3 * SECOND,
            ..Fence::default()
        }
    }

    #[test]
    fn it_closes_when_adverts_have_stopped_and_another_router_was_heard_since() {
        let now = 100 * SECOND;
        for (renewed, witnessed, is_closed) in [
            (99, 0, false),
            (99, 100, false),
            (97, 100, false),
            (96, 0, false),
            (96, 95, false),
            (96, 97, true),
            (0, 0, false),
            (0, 1, true),
        ] {
            let fence = fence(renewed * SECOND, witnessed * SECOND);
            assert_eq!(fence.is_closed(now), is_closed, "{renewed} {witnessed}");
        }
    }

    #[test]
    fn a_strict_one_waits_for_nobody_and_one_without_patience_never_closes() {
        let strict = Fence {
            flags: Fence::FLAG_STRICT,
            ..fence(SECOND, 0)
        };
        assert!(!strict.is_closed(4 * SECOND) && strict.is_closed(4 * SECOND + 1));
        let none = Fence {
            patience_ns: 0,
            ..strict
        };
        assert!(!none.is_closed(u64::MAX));
    }
}
