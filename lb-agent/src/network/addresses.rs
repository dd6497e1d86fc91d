//! The host's own IP addresses: is a VIP here, and on which interfaces would its packets arrive.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};

/// One address of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostAddress {
    /// The address itself.
    pub address: IpAddr,
    /// The network it puts on the interface. For a point-to-point address that of the peer.
    pub network: IpNet,
    /// Index of the interface that has it.
    pub interface: u32,
    /// Usable as a source: not waiting for duplicate address detection, nor failed in it.
    pub ready: bool,
}

/// All addresses of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostAddresses(BTreeSet<HostAddress>);

impl HostAddresses {
    /// Whether packets to this address stay on the host. Whole networks made local by a route (`ip
    /// route add local ... dev lo`) are not known here: ask
    /// [`Netlink::route`](super::Netlink::route) where that matters.
    pub fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.0.iter().any(|a| a.address == address)
    }

    /// The interfaces that have exactly this address.
    pub fn interfaces_of(&self, address: IpAddr) -> BTreeSet<u32> {
        self.0
            .iter()
            .filter(|a| a.address == address)
            .map(|a| a.interface)
            .collect()
    }

    /// The interfaces on whose link this address lies: neighbours there send to it without a
    /// router. This is where a VIP's packets arrive, unless they are routed to the host.
    pub fn interfaces_reaching(&self, address: IpAddr) -> BTreeSet<u32> {
        self.0
            .iter()
            .filter(|a| a.address == address || a.network.contains(&address))
            .map(|a| a.interface)
            .collect()
    }

    /// All addresses in order.
    pub fn iter(&self) -> impl Iterator<Item = &HostAddress> {
        self.0.iter()
    }

    /// Whether neighbour discovery can work on an interface: the kernel solicits from its
    /// link-local address, unless a packet of its own gives another source (`ndisc_send_ns`,
    /// net/ipv6/ndisc.c).
    pub(super) fn can_solicit(&self, interface: u32) -> bool {
        self.0.iter().any(|a| {
            a.interface == interface
                && a.ready
                && matches!(a.address, IpAddr::V6(v6) if v6.is_unicast_link_local())
        })
    }

    /// Adds or updates; says whether that changed anything.
    pub(super) fn put(&mut self, address: HostAddress) -> bool {
        self.0.remove(&HostAddress {
            ready: !address.ready,
            ..address
        });
        self.0.insert(address)
    }

    /// Removes, whatever its state was; says whether it was there.
    pub(super) fn remove(&mut self, address: &HostAddress) -> bool {
        let other = self.0.remove(&HostAddress {
            ready: !address.ready,
            ..*address
        });
        self.0.remove(address) || other
    }
}

impl FromIterator<HostAddress> for HostAddresses {
    fn from_iter<I: IntoIterator<Item = HostAddress>>(addresses: I) -> Self {
        Self(addresses.into_iter().collect())
    }
}

impl HostAddress {
    /// Reads a RTM_NEWADDR or RTM_DELADDR message. IFA_LOCAL is the host's address where it is
    /// given; IFA_ADDRESS is then the peer's (the same, unless the link is point-to-point).
    pub(super) fn from_message(message: &AddressMessage) -> Option<Self> {
        let (mut local, mut address, mut flags) = (None, None, AddressFlags::empty());
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(ip) => local = Some(*ip),
                AddressAttribute::Address(ip) => address = Some(*ip),
                AddressAttribute::Flags(value) => flags = *value,
                _ => {}
            }
        }
        let host = local.or(address)?;
        let network = IpNet::new(address.unwrap_or(host), message.header.prefix_len)
            .ok()?
            .trunc();
        let ready = !flags.intersects(
            AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Optimistic,
        );
        Some(Self {
            address: host,
            network,
            interface: message.header.index,
            ready,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(address: &str, network: &str, interface: u32) -> HostAddress {
        HostAddress {
            address: address.parse().unwrap(),
            network: network.parse().unwrap(),
            interface,
            ready: true,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn own_addresses_and_loopback_are_local_and_neighbours_are_not() {
        let addresses: HostAddresses = [host("192.0.2.1", "192.0.2.0/24", 2)].into_iter().collect();
        assert!(addresses.is_local(ip("192.0.2.1")));
        assert!(addresses.is_local(ip("127.0.0.53")));
        assert!(!addresses.is_local(ip("192.0.2.2")));
    }

    #[test]
    fn a_vip_arrives_where_its_network_is_connected() {
        let addresses: HostAddresses = [
            host("192.0.2.1", "192.0.2.0/24", 2),
            host("198.51.100.1", "198.51.100.0/24", 3),
            host("192.0.2.80", "192.0.2.80/32", 1),
        ]
        .into_iter()
        .collect();
        assert_eq!(
            addresses.interfaces_of(ip("192.0.2.80")),
            BTreeSet::from([1])
        );
        assert_eq!(
            addresses.interfaces_reaching(ip("192.0.2.80")),
            BTreeSet::from([1, 2])
        );
        assert!(addresses.interfaces_reaching(ip("203.0.113.1")).is_empty());
    }

    #[test]
    fn a_point_to_point_address_is_the_local_one() {
        let mut message = AddressMessage::default();
        message.header.prefix_len = 32;
        message.header.index = 4;
        message.attributes = vec![
            AddressAttribute::Address(ip("192.0.2.9")),
            AddressAttribute::Local(ip("192.0.2.1")),
        ];
        assert_eq!(
            HostAddress::from_message(&message),
            Some(host("192.0.2.1", "192.0.2.9/32", 4))
        );
    }

    #[test]
    fn solicitations_need_a_link_local_address_that_has_passed_detection() {
        let mut addresses: HostAddresses = [host("2001:db8::1", "2001:db8::/64", 2)]
            .into_iter()
            .collect();
        assert!(!addresses.can_solicit(2));
        let link_local = host("fe80::1", "fe80::/64", 2);
        assert!(addresses.put(HostAddress {
            ready: false,
            ..link_local
        }));
        assert!(!addresses.can_solicit(2));
        assert!(addresses.put(link_local));
        assert!(addresses.can_solicit(2));
        assert!(!addresses.can_solicit(3));
        assert!(!addresses.put(link_local));
        assert!(addresses.remove(&HostAddress {
            ready: false,
            ..link_local
        }));
        assert!(!addresses.can_solicit(2));
    }
}
