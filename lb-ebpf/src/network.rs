//! What the packet's way needs to know of a network protocol, so that it is written once for IPv4 and IPv6.

use crate::frame::Frame;
use lb_common::{Reason, Service};

/// An IP header that was found whole. The compiler makes one copy of the packet's way for each implementation: an
/// IPv4 packet never carries the weight of an IPv6 address.
pub trait Network: Copy {
    /// [`lb_common::key::IPV4`] or [`lb_common::key::IPV6`].
    const FAMILY: u8;

    /// Reads the header at `offset` of the frame.
    fn parse(frame: Frame, offset: usize) -> Option<Self>;

    /// The destination address folded to one word, see [`lb_common::hash::fold`].
    fn folded_destination(&self) -> u32;

    /// Where the transport header is, options and extension headers skipped; or the reason why it cannot be told.
    fn payload(&self, frame: Frame) -> Result<Payload, Reason>;

    /// Whether a service entry has this destination address.
    fn is_for(&self, service: &Service) -> bool;

    /// Hash of the flow; `ports` in wire order.
    fn flow_hash(&self, ports: u32, protocol: u8) -> u32;

    /// Hash of the flow under a secret key, see [`lb_common::Tag`].
    fn keyed_hash(&self, ports: u32, protocol: u8, key: u64) -> u32;

    /// TTL or hop limit.
    fn ttl(&self) -> u8;

    /// Takes one from TTL or hop limit, and keeps the header's checksum right.
    fn decrement_ttl(&self);
}

/// What an IP packet carries.
#[derive(Clone, Copy)]
pub struct Payload {
    /// IP protocol number.
    pub protocol: u8,
    /// Offset in the frame, bytes.
    pub offset: usize,
    /// How many bytes the packet has from there on, by its IP header.
    pub len: usize,
    /// The place in a fragmented datagram.
    pub fragment: FragmentPart,
}

impl Payload {
    /// Length of the frame in bytes, from the Ethernet header on. Only part of a jumbo frame is directly readable; where
    /// the IP packet goes on behind, its end is taken for the frame's, which saves the helper call.
    #[inline(always)]
    pub fn frame_len(&self, frame: Frame) -> usize {
        frame.len().max(self.offset + self.len)
    }
}

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum FragmentPart {
    /// All of it.
    Whole,
    /// The beginning, with the transport header.
    First,
    /// A later part, without.
    Later,
}
