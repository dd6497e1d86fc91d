//! Setting routes on the host, and taking them away again. They carry [`OWNER_PROTOCOL`], as addresses do.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::StreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};

use super::OWNER_PROTOCOL;
use super::error::{NetworkError, io_error};
use super::netlink::Netlink;
use super::own_addresses::SetAddress;

/// What IPv6 makes of a route without a metric (`IP6_RT_PRIO_USER`, include/net/ip6_fib.h).
const METRIC_V6: u32 = 1024;

/// A route, as it is to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnRoute {
    /// Where it leads.
    pub destination: IpNet,
    /// The next router.
    pub via: Option<IpAddr>,
    /// Index of the interface; `None`: that by which the next router is reached.
    pub interface: Option<u32>,
    /// The preferred source address.
    pub source: Option<IpAddr>,
    /// The metric; `None`: the kernel's default.
    pub metric: Option<u32>,
    /// The routing table; `None`: main.
    pub table: Option<u32>,
}

/// What the kernel tells routes apart by: destination, table and metric.
pub type RouteKey = (IpNet, u32, u32);

impl OwnRoute {
    /// What the kernel tells it apart by.
    pub fn key(&self) -> RouteKey {
        let default = match self.destination {
            IpNet::V4(_) => 0,
            IpNet::V6(_) => METRIC_V6,
        };
        (
            self.destination,
            self.table.unwrap_or(RouteHeader::RT_TABLE_MAIN.into()),
            self.metric.unwrap_or(default),
        )
    }

    fn message(&self) -> RouteMessage {
        let mut message = of_key(self.key());
        message.header.protocol = RouteProtocol::from(OWNER_PROTOCOL);
        message.header.kind = RouteType::Unicast;
        message.header.scope = match (self.destination, self.via) {
            // Without a router the destination is on the link itself.
            (IpNet::V4(_), None) => RouteScope::Link,
            (IpNet::V4(_) | IpNet::V6(_), _) => RouteScope::Universe,
        };
        let attributes = [
            self.via.map(|via| RouteAttribute::Gateway(address(via))),
            self.interface.map(RouteAttribute::Oif),
            self.source
                .map(|source| RouteAttribute::PrefSource(address(source))),
        ];
        message.attributes.extend(attributes.into_iter().flatten());
        message
    }
}

impl Netlink {
    /// The routes that the agent has set, now or in an earlier life.
    pub async fn present_routes(&self) -> Result<Vec<RouteKey>, NetworkError> {
        let mut all = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let mut replies = std::pin::pin!(self.handle().route().get(message).execute());
            while let Some(reply) = replies.next().await {
                let message = reply.map_err(|error| NetworkError::List {
                    what: "routes",
                    source: io_error(&error),
                })?;
                if u8::from(message.header.protocol) == OWNER_PROTOCOL {
                    all.extend(key_of(&message));
                }
            }
        }
        Ok(all)
    }

    /// Sets a route. One that is there, whoever has set it, stays as it is.
    pub async fn set_route(&self, own: &OwnRoute) -> io::Result<SetAddress> {
        let set = self.handle().route().add(own.message()).execute().await;
        match set.map_err(|error| io_error(&error)) {
            Ok(()) => Ok(SetAddress::Added),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(SetAddress::WasThere),
            Err(error) => Err(error),
        }
    }

    /// Removes a route that the agent has set; one that is gone already is no error.
    pub async fn unset_route(&self, key: RouteKey) -> io::Result<()> {
        let mut message = of_key(key);
        message.header.protocol = RouteProtocol::from(OWNER_PROTOCOL);
        // Of any scope.
        message.header.scope = RouteScope::NoWhere;
        let removed = self.handle().route().del(message).execute().await;
        match removed.map_err(|error| io_error(&error)) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENODEV)) => {
                Ok(())
            }
            result => result,
        }
    }
}

fn of_key((destination, table, metric): RouteKey) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = match destination {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    };
    message.header.destination_prefix_length = destination.prefix_len();
    // A number beyond a byte is in the attribute alone.
    message.header.table = u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    message.attributes = vec![RouteAttribute::Table(table)];
    if destination.prefix_len() > 0 {
        message
            .attributes
            .push(RouteAttribute::Destination(address(destination.network())));
    }
    if metric > 0 {
        message.attributes.push(RouteAttribute::Priority(metric));
    }
    message
}

fn key_of(message: &RouteMessage) -> Option<RouteKey> {
    let mut destination = match message.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let (mut table, mut metric) = (u32::from(message.header.table), 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                destination = IpAddr::V4(*address);
            }
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => {
                destination = IpAddr::V6(*address);
            }
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(number) => metric = *number,
            _ => {}
        }
    }
    let length = message.header.destination_prefix_length;
    Some((IpNet::new(destination, length).ok()?, table, metric))
}

fn address(address: IpAddr) -> RouteAddress {
    RouteAddress::from(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_known_again_by_destination_table_and_metric() {
        for (destination, metric, table, key) in [
            ("0.0.0.0/0", None, None, ("0.0.0.0/0", 254, 0)),
            ("0.0.0.0/0", Some(50), Some(1000), ("0.0.0.0/0", 1000, 50)),
            ("::/0", None, None, ("::/0", 254, 1024)),
            ("2001:db8::/32", Some(7), Some(9), ("2001:db8::/32", 9, 7)),
        ] {
            let route = OwnRoute {
                destination: destination.parse().unwrap(),
                via: None,
                interface: Some(3),
                source: None,
                metric,
                table,
            };
            let key: RouteKey = (key.0.parse().unwrap(), key.1, key.2);
            assert_eq!(route.key(), key);
            assert_eq!(key_of(&route.message()), Some(key));
        }
    }
}
