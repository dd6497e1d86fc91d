//! Requests to the kernel over rtnetlink: dumps, route lookups, neighbour entries.
//!
//! The socket is separate from the [monitor](super::monitor)'s, so that a flood of events never
//! gets in the way of a reply.

use std::io;
use std::net::IpAddr;

use futures_util::{Stream, StreamExt};
use rtnetlink::Handle;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
    NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use tokio::task::JoinHandle;

use super::addresses::{HostAddress, HostAddresses};
use super::error::{NetworkError, io_error, io_error_of};
use super::links::{Link, Links};
use super::neighbours::{Neighbour, NeighbourKey, owner_protocol};
use super::routes::{Route, family_of};
use super::upkeep::Keeping;

/// A rtnetlink socket for questions to the kernel, in the network namespace of the thread that
/// opened it.
///
/// The task that reads the socket lives as long as this value.
#[derive(Debug)]
pub struct Netlink {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Netlink {
    /// Opens the socket; needs a tokio runtime with its IO driver.
    pub fn open() -> Result<Self, NetworkError> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|source| NetworkError::Open {
                purpose: "requests",
                source,
            })?;
        Ok(Self {
            handle,
            connection: tokio::spawn(connection),
        })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// All interfaces.
    pub async fn links(&self) -> Result<Links, NetworkError> {
        let messages = collect("interfaces", self.handle.link().get().execute()).await?;
        Ok(messages.iter().filter_map(Link::from_message).collect())
    }

    /// All addresses of the host.
    pub async fn addresses(&self) -> Result<HostAddresses, NetworkError> {
        let messages = collect("addresses", self.handle.address().get().execute()).await?;
        Ok(messages
            .iter()
            .filter_map(HostAddress::from_message)
            .collect())
    }

    /// How the kernel would reach `destination`, by its rules, routes and learned path MTUs.
    pub async fn route(&self, destination: IpAddr) -> Result<Route, NetworkError> {
        if let Some(refusal) = Route::refusal(destination) {
            return Ok(refusal);
        }
        let mut message = RouteMessage::default();
        message.header.address_family = family_of(destination);
        message.header.destination_prefix_length = if destination.is_ipv4() { 32 } else { 128 };
        message
            .attributes
            .push(RouteAttribute::Destination(RouteAddress::from(destination)));
        let mut replies = std::pin::pin!(self.handle.route().get(message).execute());
        match replies.next().await {
            Some(Ok(reply)) => Ok(Route::from_reply(destination, &reply)),
            Some(Err(error)) => {
                let source = io_error(&error);
                Route::from_error(destination, &source).ok_or(NetworkError::RouteLookup {
                    destination,
                    source,
                })
            }
            None => Err(NetworkError::RouteLookup {
                destination,
                source: io::Error::other("the kernel gave no answer"),
            }),
        }
    }

    /// All neighbour entries of both families.
    pub(super) async fn neighbours(&self) -> Result<Vec<(NeighbourKey, Neighbour)>, NetworkError> {
        let messages = collect("neighbours", self.handle.neighbours().get().execute()).await?;
        Ok(messages
            .iter()
            .filter_map(Neighbour::from_message)
            .collect())
    }

    /// Makes the kernel resolve a neighbour now, and keep it if `keeping` says so and it can.
    ///
    /// NTF_USE rides along with NTF_EXT_MANAGED: a kernel before 5.16 skips the attribute it does
    /// not know and then does what NTF_USE says. Without it such a kernel would read the request as
    /// "set the state to none" and forget a valid address. No NLM_F_REPLACE: that would clear the
    /// router flag of an IPv6 neighbour.
    pub(super) async fn keep_neighbour(
        &self,
        key: NeighbourKey,
        keeping: Keeping,
    ) -> Result<(), io::Error> {
        let mut message = neighbour_message(key);
        message.header.flags = NeighbourFlags::Use;
        message
            .attributes
            .push(NeighbourAttribute::Protocol(owner_protocol()));
        if keeping == Keeping::Managed {
            message
                .attributes
                .push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
        }
        self.change(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE)
            .await
    }

    /// Removes a neighbour entry; one that is gone already is no error.
    pub(super) async fn remove_neighbour(&self, key: NeighbourKey) -> Result<(), io::Error> {
        match self
            .change(RouteNetlinkMessage::DelNeighbour(neighbour_message(key)), 0)
            .await
        {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {
                Ok(())
            }
            result => result,
        }
    }

    async fn change(&self, message: RouteNetlinkMessage, flags: u16) -> Result<(), io::Error> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut replies = self
            .handle
            .clone()
            .request(request)
            .map_err(|error| io_error(&error))?;
        while let Some(reply) = replies.next().await {
            if let NetlinkPayload::Error(error) = reply.payload
                && error.code.is_some()
            {
                return Err(io_error_of(&error));
            }
        }
        Ok(())
    }
}

fn neighbour_message(key: NeighbourKey) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family_of(key.address);
    message.header.ifindex = key.interface;
    message.header.state = NeighbourState::None;
    message
        .attributes
        .push(NeighbourAttribute::Destination(NeighbourAddress::from(
            key.address,
        )));
    message
}

async fn collect<T>(
    what: &'static str,
    replies: impl Stream<Item = Result<T, rtnetlink::Error>>,
) -> Result<Vec<T>, NetworkError> {
    let mut replies = std::pin::pin!(replies);
    let mut all = Vec::new();
    while let Some(reply) = replies.next().await {
        all.push(reply.map_err(|error| NetworkError::List {
            what,
            source: io_error(&error),
        })?);
    }
    Ok(all)
}
