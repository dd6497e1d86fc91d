//! The kernel's answer to "how would you reach this address", read from RTM_GETROUTE.

use std::io;
use std::net::IpAddr;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};

/// How the kernel would reach an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// It is an address of this host.
    Local,
    /// By a neighbour on a link: the address itself, or a gateway.
    Neighbour {
        /// Whose MAC address is needed. The family may differ from that of the destination (`via
        /// inet6`).
        address: IpAddr,
        /// Index of the interface.
        interface: u32,
        /// The MTU of the route or of the learned path, in bytes; `None`: that of the interface.
        mtu: Option<u32>,
        /// The host's source address towards the destination.
        source: Option<IpAddr>,
    },
    /// Not at all, and why.
    Unreachable {
        /// For the operator.
        reason: String,
    },
}

impl Route {
    fn unreachable(reason: impl Into<String>) -> Self {
        Self::Unreachable {
            reason: reason.into(),
        }
    }

    /// Why the address needs no lookup because no answer could be right.
    pub(super) fn refusal(destination: IpAddr) -> Option<Self> {
        let kind = match destination {
            _ if destination.is_unspecified() => "is the unspecified address",
            _ if destination.is_multicast() => "is a multicast address",
            IpAddr::V4(v4) if v4.is_broadcast() => "is the broadcast address",
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                "is link-local: which interface is meant is not known"
            }
            _ => return None,
        };
        Some(Self::unreachable(format!("{destination} {kind}")))
    }

    /// Reads the reply to a lookup of `destination`.
    pub(super) fn from_reply(destination: IpAddr, reply: &RouteMessage) -> Self {
        match reply.header.kind {
            RouteType::Local | RouteType::Anycast => return Self::Local,
            RouteType::Unicast => {}
            RouteType::Broadcast => {
                return Self::unreachable(format!("{destination} is a broadcast address"));
            }
            RouteType::Multicast => {
                return Self::unreachable(format!("{destination} is a multicast address"));
            }
            other => {
                return Self::unreachable(format!(
                    "the route to {destination} is of type {other:?}"
                ));
            }
        }
        let (mut gateway, mut interface, mut mtu, mut source) = (None, None, None, None);
        for attribute in &reply.attributes {
            match attribute {
                RouteAttribute::Gateway(address) => gateway = ip_of(address),
                RouteAttribute::Via(RouteVia::Inet(address)) => {
                    gateway = Some(IpAddr::V4(*address))
                }
                RouteAttribute::Via(RouteVia::Inet6(address)) => {
                    gateway = Some(IpAddr::V6(*address))
                }
                RouteAttribute::Via(_) => {
                    return Self::unreachable(format!(
                        "the route to {destination} leads through a gateway that has no IP address"
                    ));
                }
                RouteAttribute::EncapType(_) => {
                    return Self::unreachable(format!(
                        "the route to {destination} leads into a tunnel (encap), which only the kernel can do"
                    ));
                }
                RouteAttribute::Oif(index) => interface = Some(*index),
                RouteAttribute::PrefSource(address) => source = ip_of(address),
                RouteAttribute::Metrics(metrics) => {
                    mtu = metrics.iter().find_map(|metric| match metric {
                        RouteMetric::Mtu(bytes) if *bytes > 0 => Some(*bytes),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        match interface {
            Some(interface) => Self::Neighbour {
                address: gateway.unwrap_or(destination),
                interface,
                mtu,
                source,
            },
            None => Self::unreachable(format!("the route to {destination} names no interface")),
        }
    }

    /// What an error reply to a lookup means. `None`: the lookup failed for a reason that says
    /// nothing about the route.
    ///
    /// The codes are those of `fib_props` in net/ipv4/fib_semantics.c and `ip6_rt_type_to_error` in
    /// net/ipv6/route.c; seen on 6.18.
    pub(super) fn from_error(destination: IpAddr, error: &io::Error) -> Option<Self> {
        let reason = match error.raw_os_error()? {
            libc::ENETUNREACH => format!("no route to {destination}"),
            libc::EHOSTUNREACH => format!("the route to {destination} is of type unreachable"),
            libc::EACCES => format!("the route to {destination} is of type prohibit"),
            libc::EINVAL => format!("the route to {destination} is of type blackhole"),
            libc::ENETDOWN => format!("the interface on the route to {destination} is down"),
            _ => return None,
        };
        Some(Self::unreachable(reason))
    }
}

/// The family of an address in netlink's terms.
pub(super) fn family_of(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// The IP address inside a route attribute.
pub(super) fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::route::RouteLwEnCapType;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn reply(kind: RouteType, attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.kind = kind;
        message.attributes = attributes;
        message
    }

    fn read(kind: RouteType, attributes: Vec<RouteAttribute>) -> Route {
        Route::from_reply(ip("192.0.2.21"), &reply(kind, attributes))
    }

    fn reason(route: Route) -> String {
        match route {
            Route::Unreachable { reason } => reason,
            other => panic!("expected unreachable, got {other:?}"),
        }
    }

    #[test]
    fn without_a_gateway_the_destination_itself_is_the_neighbour() {
        let route = read(
            RouteType::Unicast,
            vec![
                RouteAttribute::Oif(2),
                RouteAttribute::PrefSource(ip("192.0.2.1").into()),
            ],
        );
        assert_eq!(
            route,
            Route::Neighbour {
                address: ip("192.0.2.21"),
                interface: 2,
                mtu: None,
                source: Some(ip("192.0.2.1"))
            }
        );
    }

    #[test]
    fn a_gateway_of_either_family_is_the_neighbour() {
        for (gateway, address) in [
            (
                RouteAttribute::Gateway(ip("192.0.2.254").into()),
                "192.0.2.254",
            ),
            (
                RouteAttribute::Via(RouteVia::Inet6("fe80::1".parse().unwrap())),
                "fe80::1",
            ),
            (
                RouteAttribute::Via(RouteVia::Inet("192.0.2.254".parse().unwrap())),
                "192.0.2.254",
            ),
        ] {
            let route = read(RouteType::Unicast, vec![gateway, RouteAttribute::Oif(2)]);
            assert_eq!(
                route,
                Route::Neighbour {
                    address: ip(address),
                    interface: 2,
                    mtu: None,
                    source: None
                }
            );
        }
    }

    #[test]
    fn the_mtu_comes_from_the_metrics_unless_it_is_unset() {
        for (metric, expected) in [(1400, Some(1400)), (0, None)] {
            let metrics =
                RouteAttribute::Metrics(vec![RouteMetric::Hoplimit(64), RouteMetric::Mtu(metric)]);
            let route = read(RouteType::Unicast, vec![RouteAttribute::Oif(2), metrics]);
            assert!(
                matches!(route, Route::Neighbour { mtu, .. } if mtu == expected),
                "{route:?}"
            );
        }
    }

    #[test]
    fn a_route_that_xdp_cannot_follow_says_why() {
        let oif = || RouteAttribute::Oif(2);
        let encap = vec![oif(), RouteAttribute::EncapType(RouteLwEnCapType::Mpls)];
        assert!(reason(read(RouteType::Unicast, encap)).contains("tunnel"));
        let other = vec![oif(), RouteAttribute::Via(RouteVia::Packet(vec![0; 6]))];
        assert!(reason(read(RouteType::Unicast, other)).contains("no IP address"));
        assert!(reason(read(RouteType::Unicast, vec![])).contains("names no interface"));
    }

    #[test]
    fn each_route_type_has_its_answer() {
        let oif = || vec![RouteAttribute::Oif(2)];
        assert_eq!(read(RouteType::Local, oif()), Route::Local);
        assert_eq!(read(RouteType::Anycast, oif()), Route::Local);
        assert!(reason(read(RouteType::Broadcast, oif())).contains("broadcast"));
        assert!(reason(read(RouteType::Multicast, oif())).contains("multicast"));
        for kind in [
            RouteType::BlackHole,
            RouteType::Unreachable,
            RouteType::Prohibit,
            RouteType::Throw,
            RouteType::Nat,
        ] {
            assert!(reason(read(kind, oif())).contains(&format!("{kind:?}")));
        }
    }

    #[test]
    fn only_errors_about_the_route_become_an_answer() {
        let answer =
            |errno| Route::from_error(ip("192.0.2.21"), &io::Error::from_raw_os_error(errno));
        for (errno, text) in [
            (libc::ENETUNREACH, "no route to 192.0.2.21"),
            (libc::EHOSTUNREACH, "unreachable"),
            (libc::EACCES, "prohibit"),
            (libc::EINVAL, "blackhole"),
            (libc::ENETDOWN, "down"),
        ] {
            assert!(reason(answer(errno).unwrap()).contains(text));
        }
        for errno in [libc::EPERM, libc::ENOBUFS, libc::ENOMEM] {
            assert_eq!(answer(errno), None);
        }
        assert_eq!(
            Route::from_error(ip("192.0.2.21"), &io::Error::other("socket gone")),
            None
        );
    }
}
