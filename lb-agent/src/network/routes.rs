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
        /// Whose MAC address is needed. The family may differ from that of the destination (`via inet6`).
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

    /// What an error reply to a lookup means. `None`: the lookup failed for a reason that says nothing about the route.
    ///
    /// The codes are those of `fib_props` in net/ipv4/fib_semantics.c and `ip6_rt_type_to_error` in net/ipv6/route.c; seen on 6.18.
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
