//! What a datagram's first fragment leaves behind, so that the others go where it went.
//!
//! Only the first one has ports. What became of it is kept under what all have in common (RFC 791 §3.2, RFC 8200 §4.5), for as
//! long as the others may take; many of them make room for new ones, the longest unused first.

use crate::key::Wide;
use bytemuck::{Pod, Zeroable};

/// Datagrams that are known at once.
pub const FRAGMENTED: u32 = 8_192;

/// How long the rest of a datagram may take, ns. Its fragments follow each other at once; the identification of a lively
/// sender comes round again after a few seconds.
pub const LIFETIME_NS: u64 = 5_000_000_000;

/// What the fragments of a datagram have in common.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct FragmentKey {
    /// Source address, wire order.
    pub source: Wide,
    /// Destination address, wire order.
    pub destination: Wide,
    /// As it lies on the wire; IPv4 has sixteen bits.
    pub identification: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// [`crate::key::IPV4`] or [`crate::key::IPV6`].
    pub family: u8,
    /// Zero.
    pub pad: u16,
}

/// What became of the first.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Taught {
    /// Until when it holds, `CLOCK_MONOTONIC`, ns.
    pub until_ns: u64,
    /// The backend's id; 0: a reply, which goes to where its destination is.
    pub backend: u32,
    /// The flow's hash.
    pub flow: u32,
    /// The backend's generation.
    pub generation: u16,
    /// The service's number.
    pub service: u16,
    /// The service's ownership word.
    pub owner: u16,
    /// Whether `source` and `destination` are to be written: 0 or 1.
    pub translates: u16,
    /// The source address that it got, wire order.
    pub source: Wide,
    /// The destination address that it got, wire order.
    pub destination: Wide,
}

const _: () = assert!(size_of::<FragmentKey>() == 40 && size_of::<Taught>() == 56);

#[cfg(feature = "user")]
#[expect(
    unsafe_code,
    reason = "aya's marker trait, beside bytemuck's checked one"
)]
// SAFETY: `Pod` by bytemuck: no padding, every bit pattern valid.
unsafe impl aya::Pod for FragmentKey {}

#[cfg(feature = "user")]
#[expect(
    unsafe_code,
    reason = "aya's marker trait, beside bytemuck's checked one"
)]
// SAFETY: as above.
unsafe impl aya::Pod for Taught {}
