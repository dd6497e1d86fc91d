//! What the kernel has told so far of links, addresses and neighbours: one copy, kept up to date by
//! notifications, and what each of them makes doubtful.

use std::collections::HashMap;

use ipnet::IpNet;

use super::addresses::HostAddresses;
use super::links::Links;
use super::monitor::Event;
use super::neighbours::{Neighbour, NeighbourKey};

/// The kernel's tables as last heard.
#[derive(Debug, Default)]
pub(super) struct View {
    pub links: Links,
    pub addresses: HostAddresses,
    pub neighbours: HashMap<NeighbourKey, Neighbour>,
}

/// What follows from a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing new.
    Nothing,
    /// This neighbour's entry may have changed.
    Neighbour(NeighbourKey),
    /// Destinations in this network may be routed otherwise.
    Routes(IpNet),
    /// Any destination may be routed otherwise. The kernel announces no deletion of the IPv4 routes
    /// that go with a link or an address.
    AllRoutes,
    /// As `AllRoutes`, and what was tried on this interface before says nothing now.
    InterfaceUp(u32),
    /// The view itself is out of date.
    Lost,
}

impl View {
    /// Takes a notification in.
    pub fn apply(&mut self, event: Event) -> Effect {
        match event {
            Event::Link(link) => {
                let index = link.index;
                let old = self.links.put(link);
                let new = self.links.get(index);
                let was_up = old.as_ref().is_some_and(|link| link.up);
                if old.as_ref() == new {
                    Effect::Nothing
                } else if !was_up && new.is_some_and(|link| link.up) {
                    Effect::InterfaceUp(index)
                } else {
                    Effect::AllRoutes
                }
            }
            Event::LinkGone(index) => {
                self.links.remove(index);
                self.neighbours.retain(|key, _| key.interface != index);
                Effect::AllRoutes
            }
            Event::Address(address) => all_routes_if(self.addresses.put(address)),
            Event::AddressGone(address) => all_routes_if(self.addresses.remove(&address)),
            Event::Neighbour(key, entry) => {
                self.neighbours.insert(key, entry);
                Effect::Neighbour(key)
            }
            Event::NeighbourGone(key) => {
                self.neighbours.remove(&key);
                Effect::Neighbour(key)
            }
            Event::Route(network) => Effect::Routes(network),
            Event::Rule => Effect::AllRoutes,
            Event::Lost => Effect::Lost,
        }
    }

    /// Takes a whole new view; returns the interfaces that are up and were not.
    pub fn replace(&mut self, new: Self) -> Vec<u32> {
        let old = std::mem::replace(self, new);
        let was_up = |index| old.links.get(index).is_some_and(|link| link.up);
        self.links
            .iter()
            .filter(|link| link.up && !was_up(link.index))
            .map(|link| link.index)
            .collect()
    }

    /// Whether the kernel can resolve a neighbour now: its link is able to, and for IPv6 there is an
    /// address to ask from.
    pub fn can_resolve(&self, key: &NeighbourKey) -> bool {
        self.links
            .get(key.interface)
            .is_some_and(|link| link.up && link.arp && link.mac.is_some())
            && (key.address.is_ipv4() || self.addresses.can_solicit(key.interface))
    }
}

fn all_routes_if(changed: bool) -> Effect {
    if changed {
        Effect::AllRoutes
    } else {
        Effect::Nothing
    }
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::neighbour::NeighbourState;

    use super::*;
    use crate::network::addresses::HostAddress;
    use crate::network::links::Link;

    fn eth0() -> Link {
        Link {
            index: 2,
            name: "eth0".into(),
            mac: Some([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            up: true,
            admin_up: true,
            arp: true,
            kind: None,
            xdp: None,
            master: None,
            vlan: None,
        }
    }

    fn address() -> HostAddress {
        HostAddress {
            address: "192.0.2.1".parse().unwrap(),
            network: "192.0.2.0/24".parse().unwrap(),
            interface: 2,
            ready: true,
        }
    }

    #[test]
    fn what_is_known_already_has_no_effect() {
        let mut view = View::default();
        assert_eq!(view.apply(Event::Link(eth0())), Effect::InterfaceUp(2));
        assert_eq!(view.apply(Event::Link(eth0())), Effect::Nothing);
        assert_eq!(view.apply(Event::Address(address())), Effect::AllRoutes);
        assert_eq!(view.apply(Event::Address(address())), Effect::Nothing);
        assert_eq!(view.apply(Event::AddressGone(address())), Effect::AllRoutes);
        assert_eq!(view.apply(Event::AddressGone(address())), Effect::Nothing);
    }

    #[test]
    fn an_interface_counts_as_come_up_each_time_it_does() {
        let mut view = View::default();
        let down = Link {
            up: false,
            ..eth0()
        };
        assert_eq!(view.apply(Event::Link(down.clone())), Effect::AllRoutes);
        assert_eq!(view.apply(Event::Link(eth0())), Effect::InterfaceUp(2));
        assert_eq!(
            view.apply(Event::Link(Link {
                mtu: 9000,
                ..eth0()
            })),
            Effect::AllRoutes
        );
        assert_eq!(view.apply(Event::Link(down)), Effect::AllRoutes);
        let new = || View {
            links: [eth0()].into_iter().collect(),
            ..View::default()
        };
        assert_eq!(view.replace(new()), [2]);
        assert!(view.replace(new()).is_empty());
    }

    #[test]
    fn the_neighbours_of_a_link_that_is_gone_are_gone() {
        let mut view = View::default();
        let key = NeighbourKey {
            interface: 2,
            address: "192.0.2.21".parse().unwrap(),
        };
        let entry = Neighbour {
            state: NeighbourState::Stale,
            mac: None,
            managed: false,
            marked: false,
            external: false,
        };
        view.apply(Event::Link(eth0()));
        assert_eq!(
            view.apply(Event::Neighbour(key, entry)),
            Effect::Neighbour(key)
        );
        assert_eq!(view.apply(Event::LinkGone(2)), Effect::AllRoutes);
        assert!(view.neighbours.is_empty());
    }

    #[test]
    fn only_a_link_that_is_up_and_does_arp_can_resolve() {
        let key = NeighbourKey {
            interface: 2,
            address: "192.0.2.21".parse().unwrap(),
        };
        let can = |link| {
            View {
                links: [link].into_iter().collect(),
                ..View::default()
            }
            .can_resolve(&key)
        };
        assert!(can(eth0()));
        for unfit in [
            Link {
                up: false,
                ..eth0()
            },
            Link {
                arp: false,
                ..eth0()
            },
            Link {
                mac: None,
                ..eth0()
            },
            Link { index: 3, ..eth0() },
        ] {
            assert!(!can(unfit.clone()), "{unfit:?}");
        }
    }
}
