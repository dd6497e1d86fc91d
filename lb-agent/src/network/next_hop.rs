//! Where a packet to a real server has to go next: the decision, as a plain function over what the
//! kernel told.

use std::net::IpAddr;

use super::addresses::HostAddresses;
use super::links::{Link, Links};
use super::neighbours::Neighbour;
use super::routes::Route;
use super::upkeep::Trouble;
use rtnetlink::packet_route::neighbour::NeighbourState;

/// Where the data plane sends packets for one real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextHop {
    /// To this MAC address, out of this interface.
    Resolved {
        /// MAC address of the real server, or of the router before it.
        mac: [u8; 6],
        /// Index of the egress interface.
        ifindex: u32,
        /// Largest IP packet on the way, in bytes: the interface's MTU, or less where the route or
        /// a learned path MTU says so.
        mtu: u32,
        /// The address this host would use as source towards the real server.
        source: Option<IpAddr>,
    },
    /// The address is this host's own: the packet goes up the stack.
    Local,
    /// Nowhere, and why, for the operator's eyes.
    Unresolved {
        /// For example "neighbour 10.1.0.21 on eth0 does not answer".
        reason: String,
    },
}

impl NextHop {
    fn unresolved(reason: impl Into<String>) -> Self {
        Self::Unresolved {
            reason: reason.into(),
        }
    }
}

impl std::fmt::Display for NextHop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Resolved {
                mac: [a, b, c, d, e, g],
                ifindex,
                mtu,
                ..
            } => {
                write!(
                    f,
                    "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x} on interface {ifindex}, mtu {mtu}"
                )
            }
            Self::Local => f.write_str("local"),
            Self::Unresolved { reason } => write!(f, "unresolved: {reason}"),
        }
    }
}

/// The next hop that follows from a route, the links and the state of the neighbour entry.
///
/// `trouble` is what is known about the neighbour beyond its present state: the kernel tries a
/// silent neighbour again and again, and its entry then changes between "failed" and "incomplete"
/// although nothing has changed for us.
pub(super) fn decide(
    route: &Route,
    links: &Links,
    addresses: &HostAddresses,
    neighbour: Option<&Neighbour>,
    trouble: &Trouble,
) -> NextHop {
    let (address, interface, mtu, source) = match route {
        Route::Local => return NextHop::Local,
        Route::Unreachable { reason } => return NextHop::unresolved(reason.clone()),
        Route::Neighbour {
            address,
            interface,
            mtu,
            source,
        } => (*address, *interface, *mtu, *source),
    };
    let Some(link) = links.get(interface) else {
        return NextHop::unresolved(format!(
            "the route leads to interface {interface}, which does not exist"
        ));
    };
    let name = &link.name;
    if !link.admin_up {
        return NextHop::unresolved(format!("interface {name} is down"));
    }
    if !link.up {
        return NextHop::unresolved(format!("interface {name} has no carrier"));
    }
    if link.mac.is_none() {
        return NextHop::unresolved(format!(
            "interface {name} is not Ethernet: there is no MAC address to send to"
        ));
    }
    if let Some(mac) = neighbour
        .and_then(|n| n.usable_mac())
        .filter(|_| link.arp || is_permanent(neighbour))
    {
        let mtu = mtu.map_or(link.mtu, |route_mtu| route_mtu.min(link.mtu));
        return NextHop::Resolved {
            mac,
            ifindex: interface,
            mtu,
            source,
        };
    }
    if !link.arp && !is_permanent(neighbour) {
        return NextHop::unresolved(format!(
            "interface {name} resolves no addresses (NOARP): add a permanent neighbour entry for {address}"
        ));
    }
    if address.is_ipv6() && !addresses.can_solicit(interface) {
        return NextHop::unresolved(format!(
            "interface {name} has no usable IPv6 link-local address, which neighbour discovery needs \
             (duplicate address detection still runs or has failed, or addr_gen_mode is none)"
        ));
    }
    match (trouble, neighbour) {
        (Trouble::Refused { reason }, _) => NextHop::unresolved(reason.clone()),
        (_, Some(entry)) if entry.external => NextHop::unresolved(format!(
            "neighbour {address} on {name} is kept by another program (extern_learn) and is {}",
            entry.state
        )),
        (_, Some(entry)) if entry.state == NeighbourState::Permanent => NextHop::unresolved(
            format!("neighbour {address} on {name} is permanent without a usable MAC address"),
        ),
        (Trouble::Silent, _) => {
            NextHop::unresolved(format!("neighbour {address} on {name} does not answer"))
        }
        (Trouble::None, Some(entry)) if entry.state == NeighbourState::Failed => {
            NextHop::unresolved(format!("neighbour {address} on {name} does not answer"))
        }
        (Trouble::None, _) => {
            NextHop::unresolved(format!("neighbour {address} on {name} is being resolved"))
        }
    }
}

/// Adds to a missing route the likely cause: the kernel removes the routes of an interface that goes
/// down. `last` is the interface on which the address was last reachable.
pub(super) fn with_likely_cause(hop: NextHop, route: &Route, last: Option<&Link>) -> NextHop {
    match (hop, route, last) {
        (NextHop::Unresolved { reason }, Route::Unreachable { .. }, Some(link)) if !link.up => {
            let state = if link.admin_up {
                "has no carrier"
            } else {
                "is down"
            };
            NextHop::unresolved(format!(
                "{reason} (interface {}, where it was, {state})",
                link.name
            ))
        }
        (hop, _, _) => hop,
    }
}

fn is_permanent(neighbour: Option<&Neighbour>) -> bool {
    neighbour.is_some_and(|n| n.state == NeighbourState::Permanent)
}

#[cfg(test)]
mod tests;
