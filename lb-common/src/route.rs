//! The way to a client that a CPU remembers for a moment: asking the kernel for it costs more than all the rest.

use crate::key::Address;
use bytemuck::{Pod, Zeroable};

/// Places in each CPU's table; a power of two.
pub const ROUTES: u32 = 1024;

/// An entry, found at [`place`] of its client's address. Written and read by the program alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Route {
    /// The client's address, wire order.
    pub client: Address,
    /// Until when it holds, jiffies.
    pub until: u64,
    /// Destination MAC as a word, see [`crate::backend::mac_word`].
    pub destination: u64,
    /// Source MAC as a word.
    pub source: u64,
    /// [`crate::key::IPV4`] or [`crate::key::IPV6`].
    pub family: u32,
    /// The kernel's index of the interface.
    pub ifindex: u32,
    /// See [`crate::Interface::vlans`].
    pub vlans: u32,
    /// Largest IP packet on the way, bytes; 0: any.
    pub mtu: u32,
}

const _: () = assert!(size_of::<Route>() == 56);

/// The place of an address, given folded, see [`crate::hash::fold`].
#[inline(always)]
pub const fn place(folded: u32) -> u32 {
    folded.wrapping_mul(0x9e37_79b1) >> (32 - ROUTES.trailing_zeros())
}

#[cfg(feature = "user")]
#[expect(
    unsafe_code,
    reason = "aya's marker trait, beside bytemuck's checked one"
)]
// SAFETY: `Pod` by bytemuck: no padding, every bit pattern valid.
unsafe impl aya::Pod for Route {}
