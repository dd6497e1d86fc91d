//! What the packet's way needs to know of a network protocol, so that it is written once for IPv4 and IPv6.

use crate::frame::Frame;
use lb_common::{Address, Reason, Service};

/// An IP header that was found whole. The compiler makes one copy of the packet's way for each implementation: an
/// IPv4 packet never carries the weight of an IPv6 address.
pub trait Network: Copy {
    /// [`lb_common::key::IPV4`] or [`lb_common::key::IPV6`].
    const FAMILY: u8;
    /// EtherType, wire order.
    const ETHER_TYPE: u16;
    /// Protocol number of a packet of this family inside another (IANA: IPv4 4, IPv6 41).
    const INSIDE: u8;
    /// Length of the header without options or extension headers, bytes.
    const HEADER: usize;
    /// Protocol number of ICMP, or of ICMP for IPv6 (IANA).
    const ICMP: u8;

    /// Reads the header at `offset` of the frame.
    fn parse(frame: Frame, offset: usize) -> Option<Self>;

    /// The destination address folded to one word, see [`lb_common::hash::fold`].
    fn folded_destination(&self) -> u32;

    /// The source address folded, likewise.
    fn folded_source(&self) -> u32;

    /// Where the transport header is, options and extension headers skipped. `None`: that cannot be told, and `fault` is
    /// why. No `Result`: in it the reason would share its place with an offset, which the compiler then takes apart into
    /// bytes, and the verifier of 6.1 knows no bound of what is put together again.
    fn payload(&self, frame: Frame, fault: &mut Reason) -> Option<Payload>;

    /// Whether an entry of the service table has this destination address.
    fn is_for(&self, service: &Service) -> bool;

    /// Whether an entry of the service table has this source address.
    fn is_from(&self, service: &Service) -> bool;

    /// Writes another source address, and keeps the header's own checksum right.
    fn set_source(&self, address: &Address);

    /// Writes another destination address, likewise.
    fn set_destination(&self, address: &Address);

    /// Hash of the flow; `ports` in wire order.
    fn flow_hash(&self, ports: u32, protocol: u8) -> u32;

    /// Hash of the flow under a secret key, see [`lb_common::Tag`].
    fn keyed_hash(&self, ports: u32, protocol: u8, key: u64) -> u32;

    /// Of a packet that answers one of the flow: the hash of the flow. `ports` as the flow has them.
    fn answered_flow_hash(&self, ports: u32, protocol: u8) -> u32;

    /// Of a packet that answers one of the flow: the hash under a secret key.
    fn answered_keyed_hash(&self, ports: u32, protocol: u8, key: u64) -> u32;

    /// The header's own word on what follows it: in IPv6 it may be an extension header.
    fn protocol(&self) -> u8;

    /// Where the transport header is of a packet that an ICMP error quotes, which may end anywhere behind its IP header. Its
    /// `len` means nothing.
    fn quoted(&self, frame: Frame) -> Option<Payload>;

    /// What the fragments of a datagram have in common, as it lies on the wire. Of a packet that is a fragment.
    fn identification(&self, frame: Frame) -> Option<u32>;

    /// Source address, wire order.
    fn source(&self) -> Address;

    /// Destination address, wire order.
    fn destination(&self) -> Address;

    /// Type of service or traffic class, with the ECN bits.
    fn traffic_class(&self) -> u8;

    /// IPv4: the second word, identification and "don't fragment". IPv6 never is fragmented on its way: as of an IPv4
    /// packet that must not be.
    fn identity(&self) -> u32;

    /// Length of the whole packet by its header, bytes. Meaningless before [`Self::payload`] has found it good.
    fn packet_len(&self) -> usize;

    /// Writes a header at `offset` of the frame. `None` where the frame ends before.
    fn write(frame: Frame, offset: usize, header: &Written) -> Option<()>;

    /// TTL or hop limit.
    fn ttl(&self) -> u8;

    /// Writes another TTL or hop limit, and keeps the header's checksum right.
    fn set_ttl(&self, ttl: u8);

    /// Takes one from TTL or hop limit, and keeps the header's checksum right.
    fn decrement_ttl(&self);
}

/// What the header of a packet of our own says.
pub struct Written {
    pub source: Address,
    pub destination: Address,
    /// See [`Network::traffic_class`].
    pub traffic_class: u8,
    /// See [`Network::identity`]. IPv4 only.
    pub identity: u32,
    /// Twenty bits, host order. IPv6 only.
    pub flow_label: u32,
    /// IP protocol number of what follows.
    pub protocol: u8,
    /// Length of what follows, bytes.
    pub payload_len: usize,
}

/// TTL or hop limit of packets of our own (RFC 1700, the kernel's default).
pub const OWN_TTL: u8 = 64;

/// [`Network::identity`] of a packet that must not be fragmented; its identification need not be unique (RFC 6864 §4.1).
pub const UNDIVIDED: u32 = (0x4000_u16.to_be() as u32) << 16;

/// What an IP packet carries.
#[derive(Clone, Copy)]
pub struct Payload {
    /// IP protocol number.
    pub protocol: u8,
    /// The place in a fragmented datagram.
    pub fragment: FragmentPart,
    /// Offset in the frame, bytes.
    pub offset: usize,
    /// How many bytes the packet has from there on, by its IP header.
    pub len: usize,
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
