//! How an address and a service are named in the maps.

/// An IP address as four words of the wire's bytes: `u32::from_ne_bytes` of each group of four.
/// IPv4 fills the first word only; the family is told apart by [`ServiceKey::tuple`].
pub type Address = [u32; 4];

/// IP protocol number of TCP (RFC 9293).
pub const TCP: u8 = 6;
/// IP protocol number of UDP (RFC 768).
pub const UDP: u8 = 17;
/// The family's mark in a tuple: IPv4.
pub const IPV4: u8 = 4;
/// The family's mark in a tuple: IPv6.
pub const IPV6: u8 = 6;

/// What a packet is looked up by: destination address, destination port, protocol and family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// Destination address, wire order.
    pub address: Address,
    /// Port, protocol and family in one word, see [`tuple`]. Never 0.
    pub tuple: u32,
}

/// Port in network order (low 16 bits), protocol, family (high 8 bits): one comparison on the packet's way.
#[inline(always)]
pub const fn tuple(port_be: u16, protocol: u8, family: u8) -> u32 {
    port_be as u32 | (protocol as u32) << 16 | (family as u32) << 24
}

/// The tuple of "any port": what a service with port 0 is stored under.
#[inline(always)]
pub const fn any_port(tuple: u32) -> u32 {
    tuple & 0xffff_0000
}

/// The tuple under which an address itself is stored, whatever its services are.
#[inline(always)]
pub const fn address_only(family: u8) -> u32 {
    (family as u32) << 24
}

impl ServiceKey {
    /// The key of an IPv4 service; `address` in wire order.
    pub const fn v4(address: [u8; 4], port: u16, protocol: u8) -> Self {
        Self { address: [u32::from_ne_bytes(address), 0, 0, 0], tuple: tuple(port.to_be(), protocol, IPV4) }
    }

    /// The key of an IPv6 service; `address` in wire order.
    pub const fn v6(address: [u8; 16], port: u16, protocol: u8) -> Self {
        Self { address: words(address), tuple: tuple(port.to_be(), protocol, IPV6) }
    }

    /// The key that stands for the address alone.
    pub const fn address_only(self) -> Self {
        Self { address: self.address, tuple: address_only((self.tuple >> 24) as u8) }
    }

    /// The port in host order; 0: every port.
    pub const fn port(&self) -> u16 {
        u16::from_be(self.tuple as u16)
    }

    /// The IP protocol number.
    pub const fn protocol(&self) -> u8 {
        (self.tuple >> 16) as u8
    }
}

/// Sixteen bytes of an IPv6 address as four words.
pub const fn words(bytes: [u8; 16]) -> Address {
    let b = bytes;
    [
        u32::from_ne_bytes([b[0], b[1], b[2], b[3]]),
        u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        u32::from_ne_bytes([b[8], b[9], b[10], b[11]]),
        u32::from_ne_bytes([b[12], b[13], b[14], b[15]]),
    ]
}
