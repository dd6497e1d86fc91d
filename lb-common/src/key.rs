//! How an address and a service are named in the maps.

/// An IP address as four words of the wire's bytes: `u32::from_ne_bytes` of each group of four.
/// IPv4 fills the first word only; the family is told apart by [`ServiceKey::tuple`].
pub type Address = [u32; 4];

/// An address in two words, for what lies on the program's stack: of smaller ones the compiler would store two at once, at
/// places where no verifier allows it.
pub type Wide = [u64; 2];

/// An address in two words.
#[inline(always)]
pub const fn wide(address: &Address) -> Wide {
    [
        address[0] as u64 | (address[1] as u64) << 32,
        address[2] as u64 | (address[3] as u64) << 32,
    ]
}

/// An address in four words again.
#[inline(always)]
pub const fn narrow(wide: &Wide) -> Address {
    [
        wide[0] as u32,
        (wide[0] >> 32) as u32,
        wide[1] as u32,
        (wide[1] >> 32) as u32,
    ]
}

/// IP protocol number of TCP (RFC 9293).
pub const TCP: u8 = 6;
/// IP protocol number of UDP (RFC 768).
pub const UDP: u8 = 17;
/// The family's mark in a tuple: IPv4.
pub const IPV4: u8 = 4;
/// The family's mark in a tuple: IPv6.
pub const IPV6: u8 = 6;

/// Beside the family's mark: the key is a source, see [`reply`].
const REPLY: u8 = 0x80;
/// Beside the family's mark: the key is an address of the host itself, see [`local`].
const LOCAL: u8 = 0x40;

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

/// The tuple under which replies of a real server are known; `port_be` is the port that they come from.
#[inline(always)]
pub const fn reply(port_be: u16, protocol: u8, family: u8) -> u32 {
    tuple(port_be, protocol, family | REPLY)
}

/// The tuple under which an address of the host itself is stored.
#[inline(always)]
pub const fn local(family: u8) -> u32 {
    address_only(family | LOCAL)
}

impl ServiceKey {
    /// The key of an IPv4 service; `address` in wire order.
    pub const fn v4(address: [u8; 4], port: u16, protocol: u8) -> Self {
        Self {
            address: [u32::from_ne_bytes(address), 0, 0, 0],
            tuple: tuple(port.to_be(), protocol, IPV4),
        }
    }

    /// The key of an IPv6 service; `address` in wire order.
    pub const fn v6(address: [u8; 16], port: u16, protocol: u8) -> Self {
        Self {
            address: words(address),
            tuple: tuple(port.to_be(), protocol, IPV6),
        }
    }

    /// The key that stands for the address alone.
    pub const fn address_only(self) -> Self {
        Self {
            address: self.address,
            tuple: address_only((self.tuple >> 24) as u8),
        }
    }

    /// The port in host order; 0: every port.
    pub const fn port(&self) -> u16 {
        u16::from_be(self.tuple as u16)
    }

    /// The family's mark, with what is beside it.
    pub const fn family(&self) -> u8 {
        (self.tuple >> 24) as u8
    }

    /// The IP protocol number.
    pub const fn protocol(&self) -> u8 {
        (self.tuple >> 16) as u8
    }
}

/// The first `prefix` bits of an address, an IPv4 address being the first word; the others are 0.
#[inline(always)]
pub const fn masked(address: &Address, prefix: u32) -> Address {
    [
        address[0] & mask(prefix),
        address[1] & mask(prefix.saturating_sub(32)),
        address[2] & mask(prefix.saturating_sub(64)),
        address[3] & mask(prefix.saturating_sub(96)),
    ]
}

/// The first `bits` bits of a word in wire order.
#[inline(always)]
const fn mask(bits: u32) -> u32 {
    if bits >= 32 {
        u32::MAX
    } else {
        (!((u32::MAX as u64) >> bits) as u32).to_be()
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_gives_back_what_it_was_made_of(address in any::<[u8; 16]>(), port in any::<u16>(), protocol in any::<u8>()) {
            let key = ServiceKey::v6(address, port, protocol);
            prop_assert_eq!((key.port(), key.protocol(), (key.tuple >> 24) as u8), (port, protocol, IPV6));
            let [a, b, c, d, ..] = address;
            let key = ServiceKey::v4([a, b, c, d], port, protocol);
            prop_assert_eq!((key.port(), key.protocol(), (key.tuple >> 24) as u8), (port, protocol, IPV4));
            prop_assert_eq!(key.address[0].to_ne_bytes(), [a, b, c, d]);
            prop_assert_eq!(key.address[1..].to_vec(), [0; 3]);
        }

        #[test]
        fn wide_addresses_lie_in_memory_as_others_do(address in any::<Address>()) {
            let wide = wide(&address);
            prop_assert_eq!(bytemuck::bytes_of(&wide), bytemuck::bytes_of(&address));
            prop_assert_eq!(narrow(&wide), address);
        }

        #[test]
        fn words_keep_the_wires_bytes(address in any::<[u8; 16]>()) {
            let bytes: std::vec::Vec<u8> = words(address).iter().flat_map(|word| word.to_ne_bytes()).collect();
            prop_assert_eq!(bytes, address);
        }

        #[test]
        fn a_prefix_is_what_the_address_begins_with(address in any::<[u8; 16]>(), prefix in 0..=128_u32) {
            let expected = u128::from_be_bytes(address) & u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            prop_assert_eq!(masked(&words(address), prefix), words(expected.to_be_bytes()));
        }

        /// One word tells apart all that can be looked up, and none is 0: a free entry's.
        #[test]
        fn tuples_are_never_free_and_never_alike(port in any::<u16>(), protocol in prop_oneof![Just(TCP), Just(UDP)], family in prop_oneof![Just(IPV4), Just(IPV6)]) {
            let exact = tuple(port.to_be(), protocol, family);
            prop_assert_ne!(exact, 0);
            prop_assert_eq!(any_port(exact), tuple(0, protocol, family));
            prop_assert_eq!(any_port(exact) == exact, port == 0);
            prop_assert_ne!(address_only(family), any_port(exact));
            prop_assert_ne!(address_only(family), 0);
            let marked = [reply(port.to_be(), protocol, family), local(family)];
            prop_assert_ne!(marked[0], marked[1]);
            for marked in marked {
                for plain in [IPV4, IPV6].map(|family| [exact, any_port(exact), address_only(family)]).concat() {
                    prop_assert_ne!(marked, plain);
                }
            }
        }
    }

    #[test]
    fn an_address_alone_has_one_key_whatever_the_service() {
        let [tcp, udp] =
            [TCP, UDP].map(|protocol| ServiceKey::v4([10, 0, 0, 1], 80, protocol).address_only());
        assert_eq!(tcp, udp);
        assert_ne!(
            tcp.tuple,
            ServiceKey::v6([0; 16], 80, TCP).address_only().tuple
        );
        assert_eq!(tcp.tuple, address_only(IPV4));
    }
}
