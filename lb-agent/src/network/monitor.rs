//! The kernel's notifications of changes to links, addresses, routes, rules and neighbours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::{FutureExt, Stream, StreamExt};
use ipnet::IpNet;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::AsyncSocket;
use tokio::task::JoinHandle;

use super::addresses::HostAddress;
use super::error::NetworkError;
use super::links::Link;
use super::neighbours::{Neighbour, NeighbourKey};
use super::routes::ip_of;

const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// One change, as far as it concerns us.
#[derive(Debug)]
pub(super) enum Event {
    Link(Link),
    LinkGone(u32),
    Address(HostAddress),
    AddressGone(HostAddress),
    Neighbour(NeighbourKey, Neighbour),
    NeighbourGone(NeighbourKey),
    /// A route for this network has come, changed or gone.
    Route(IpNet),
    /// A routing rule has changed: any destination may go elsewhere now.
    Rule,
    /// The kernel had more to say than the socket could hold (ENOBUFS): everything must be read
    /// anew.
    Lost,
}

/// A socket that hears the kernel's notifications.
pub(super) struct Monitor {
    messages: Box<dyn Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Send + Unpin>,
    connection: JoinHandle<()>,
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Monitor {
    /// Opens the socket. The kernel limits `buffer_bytes` to net.core.rmem_max.
    pub fn open(buffer_bytes: usize) -> Result<Self, NetworkError> {
        let open = |source| NetworkError::Open {
            purpose: "notifications",
            source,
        };
        let (mut connection, _, messages) =
            rtnetlink::new_multicast_connection(&GROUPS).map_err(open)?;
        connection
            .socket_mut()
            .socket_mut()
            .set_rx_buf_sz(libc::c_int::try_from(buffer_bytes).unwrap_or(libc::c_int::MAX))
            .map_err(open)?;
        Ok(Self {
            messages: Box::new(messages.map(|(message, _)| message)),
            connection: tokio::spawn(connection),
        })
    }

    /// The next change; `None` when the socket has failed and has to be opened anew. Dropping the
    /// future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = read(self.messages.next().await?) {
                return Some(event);
            }
        }
    }

    /// The next change that is here already.
    pub fn try_next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = read(self.messages.next().now_or_never()??) {
                return Some(event);
            }
        }
    }
}

fn read(message: NetlinkMessage<RouteNetlinkMessage>) -> Option<Event> {
    let message = match message.payload {
        NetlinkPayload::InnerMessage(message) => message,
        NetlinkPayload::Overrun(_) => return Some(Event::Lost),
        _ => return None,
    };
    match message {
        RouteNetlinkMessage::NewLink(link) => Link::from_message(&link).map(Event::Link),
        // A port that leaves a bridge is announced as a deletion too, in family AF_BRIDGE.
        RouteNetlinkMessage::DelLink(link)
            if link.header.interface_family == AddressFamily::Unspec =>
        {
            Some(Event::LinkGone(link.header.index))
        }
        RouteNetlinkMessage::NewAddress(address) => {
            HostAddress::from_message(&address).map(Event::Address)
        }
        RouteNetlinkMessage::DelAddress(address) => {
            HostAddress::from_message(&address).map(Event::AddressGone)
        }
        RouteNetlinkMessage::NewNeighbour(entry) => {
            Neighbour::from_message(&entry).map(|(key, entry)| Event::Neighbour(key, entry))
        }
        RouteNetlinkMessage::DelNeighbour(entry) => {
            Neighbour::from_message(&entry).map(|(key, _)| Event::NeighbourGone(key))
        }
        RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
            network_of(&route).map(Event::Route)
        }
        RouteNetlinkMessage::NewRule(_) | RouteNetlinkMessage::DelRule(_) => Some(Event::Rule),
        _ => None,
    }
}

/// The destinations a route message is about; a default route has no RTA_DST.
fn network_of(route: &RouteMessage) -> Option<IpNet> {
    let destination = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(address) => ip_of(address),
            _ => None,
        });
    let address = match (destination, route.header.address_family) {
        (Some(address), _) => address,
        (None, AddressFamily::Inet) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        (None, AddressFamily::Inet6) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        (None, _) => return None,
    };
    IpNet::new(address, route.header.destination_prefix_length).ok()
}
