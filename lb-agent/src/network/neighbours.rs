//! Neighbour entries (ARP and ND): what the kernel tells of them, and which are ours.

use std::net::IpAddr;

use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
    NeighbourState,
};
use rtnetlink::packet_route::route::RouteProtocol;

/// The protocol number (NDA_PROTOCOL) on neighbour entries that we keep: `ip neigh` shows `proto
/// 208`. Unassigned in the kernel's include/uapi/linux/rtnetlink.h and in iproute2's rt_protos.
pub const OWNER_PROTOCOL: u8 = 208;

/// Names one neighbour entry: the same address may exist on several links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NeighbourKey {
    pub interface: u32,
    pub address: IpAddr,
}

/// The state of one neighbour entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub state: NeighbourState,
    pub mac: Option<[u8; 6]>,
    /// The kernel itself keeps it resolved (NTF_EXT_MANAGED, kernel 5.16 and later).
    pub managed: bool,
    /// It carries [`OWNER_PROTOCOL`].
    pub marked: bool,
    /// Another program's control plane owns it (NTF_EXT_LEARNED).
    pub external: bool,
}

impl Neighbour {
    /// Reads a RTM_NEWNEIGH or RTM_DELNEIGH message; `None` for bridge entries, proxies and
    /// multicast addresses.
    pub fn from_message(message: &NeighbourMessage) -> Option<(NeighbourKey, Self)> {
        if message.header.flags.contains(NeighbourFlags::Proxy) {
            return None;
        }
        let (mut address, mut mac, mut managed, mut marked) = (None, None, false, false);
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                    address = Some(IpAddr::V4(*v4))
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                    address = Some(IpAddr::V6(*v6))
                }
                NeighbourAttribute::LinkLayerAddress(bytes) => {
                    mac = bytes.as_slice().try_into().ok()
                }
                NeighbourAttribute::ExtFlags(flags) => {
                    managed = flags.contains(NeighbourExtFlags::Managed)
                }
                NeighbourAttribute::Protocol(protocol) => {
                    marked = u8::from(*protocol) == OWNER_PROTOCOL
                }
                _ => {}
            }
        }
        let address = address.filter(|a| !a.is_multicast())?;
        let external = message.header.flags.contains(NeighbourFlags::ExtLearned);
        let key = NeighbourKey {
            interface: message.header.ifindex,
            address,
        };
        Some((
            key,
            Self {
                state: message.header.state,
                mac,
                managed,
                marked,
                external,
            },
        ))
    }

    /// The MAC address, if the kernel itself would send to it now (NUD_VALID in
    /// include/net/neighbour.h) and a frame can be addressed to it.
    pub fn usable_mac(&self) -> Option<[u8; 6]> {
        let valid = match self.state {
            NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
            | NeighbourState::Noarp => true,
            NeighbourState::Incomplete
            | NeighbourState::Failed
            | NeighbourState::None
            | NeighbourState::Other(_) => false,
            _ => false,
        };
        let is_group = |mac: &[u8; 6]| mac.first().is_some_and(|byte| byte & 1 == 1);
        self.mac
            .filter(|mac| valid && *mac != [0; 6] && !is_group(mac))
    }

    /// Somebody else decides about this entry: an operator (permanent), a control plane
    /// (extern_learn), the device (noarp), or another program that asked the kernel to keep it.
    /// Writing to it would take it away from them: the kernel clears PERMANENT and EXT_LEARNED on
    /// any such update.
    pub fn is_foreign(&self) -> bool {
        self.external
            || matches!(
                self.state,
                NeighbourState::Permanent | NeighbourState::Noarp
            )
            || (self.managed && !self.marked)
    }

    /// We made or keep this entry, so we may remove it.
    pub fn is_ours(&self) -> bool {
        self.marked && !self.is_foreign()
    }
}

/// The mark as netlink carries it.
pub(super) fn owner_protocol() -> RouteProtocol {
    RouteProtocol::from(OWNER_PROTOCOL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(state: NeighbourState, attributes: Vec<NeighbourAttribute>) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 2;
        message.header.state = state;
        message.attributes = attributes;
        message
    }

    fn destination(text: &str) -> NeighbourAttribute {
        NeighbourAttribute::Destination(NeighbourAddress::from(text.parse::<IpAddr>().unwrap()))
    }

    #[test]
    fn all_that_decides_about_an_entry_is_read() {
        let mut message = message(
            NeighbourState::Stale,
            vec![
                destination("2001:db8::21"),
                NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 0x21]),
                NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed),
                NeighbourAttribute::Protocol(owner_protocol()),
            ],
        );
        message.header.flags = NeighbourFlags::Router;
        let (key, entry) = Neighbour::from_message(&message).unwrap();
        assert_eq!(
            key,
            NeighbourKey {
                interface: 2,
                address: "2001:db8::21".parse().unwrap()
            }
        );
        assert!(entry.managed && entry.marked && !entry.external && entry.is_ours());
        assert_eq!(entry.usable_mac(), Some([2, 0, 0, 0, 0, 0x21]));
    }

    #[test]
    fn proxies_multicast_and_bridge_entries_are_skipped() {
        let mut proxy = message(NeighbourState::Permanent, vec![destination("192.0.2.21")]);
        proxy.header.flags = NeighbourFlags::Proxy;
        assert_eq!(Neighbour::from_message(&proxy), None);
        assert_eq!(
            Neighbour::from_message(&message(
                NeighbourState::Noarp,
                vec![destination("ff02::1")]
            )),
            None
        );
        let bridge = vec![NeighbourAttribute::LinkLayerAddress(vec![
            2, 0, 0, 0, 0, 0x21,
        ])];
        assert_eq!(
            Neighbour::from_message(&message(NeighbourState::Permanent, bridge)),
            None
        );
    }

    #[test]
    fn an_address_that_is_no_ethernet_mac_is_none() {
        let attributes = vec![
            destination("192.0.2.21"),
            NeighbourAttribute::LinkLayerAddress(vec![0; 20]),
        ];
        let (_, entry) =
            Neighbour::from_message(&message(NeighbourState::Reachable, attributes)).unwrap();
        assert_eq!(entry.usable_mac(), None);
    }
}
