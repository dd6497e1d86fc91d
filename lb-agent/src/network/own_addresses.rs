//! Setting addresses on the host, and taking them away again.
//!
//! What is set carries [`OWNER_PROTOCOL`] as its protocol (`ip address` shows `proto 208`), so that it can be told from
//! what the operator set. Kernels before 5.18 do not keep it: there every address that is configured as ours counts as ours.

use std::io;
use std::net::IpAddr;

use futures_util::StreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
    AddressScope, CacheInfo,
};

use super::OWNER_PROTOCOL;
use super::error::{NetworkError, io_error};
use super::netlink::Netlink;

/// An address on an interface, as it is to be or as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnAddress {
    /// Index of the interface.
    pub interface: u32,
    /// The address and the length of its prefix; host bits are kept.
    pub net: IpNet,
    /// Its label, IPv4 only.
    pub label: Option<String>,
}

/// An address that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentAddress {
    /// Index of the interface.
    pub interface: u32,
    /// The address and the length of its prefix.
    pub net: IpNet,
    /// The agent has set it.
    pub ours: bool,
    /// Another address of the same network came first (IFA_F_SECONDARY).
    pub secondary: bool,
    /// Reaches beyond this link.
    pub global: bool,
}

/// What became of a wish to set an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetAddress {
    /// It is set.
    Added,
    /// It was there.
    WasThere,
}

impl Netlink {
    /// Every address of the host.
    pub async fn present_addresses(&self) -> Result<Vec<PresentAddress>, NetworkError> {
        let mut replies = std::pin::pin!(self.handle().address().get().execute());
        let mut all = Vec::new();
        while let Some(reply) = replies.next().await {
            let message = reply.map_err(|error| NetworkError::List {
                what: "addresses",
                source: io_error(&error),
            })?;
            all.extend(PresentAddress::from_message(&message));
        }
        Ok(all)
    }

    /// Sets an address. IPv6: without duplicate address detection, because it must answer at once, and deprecated, so that
    /// the host does not speak from it by itself.
    pub async fn set_address(&self, own: &OwnAddress) -> io::Result<SetAddress> {
        let mut request =
            self.handle()
                .address()
                .add(own.interface, own.net.addr(), own.net.prefix_len());
        let attributes = &mut request.message_mut().attributes;
        attributes.push(AddressAttribute::Protocol(AddressProtocol::from(
            OWNER_PROTOCOL,
        )));
        attributes.extend(own.label.clone().map(AddressAttribute::Label));
        if own.net.addr().is_ipv6() {
            let mut lifetimes = CacheInfo::default();
            lifetimes.ifa_valid = u32::MAX;
            attributes.push(AddressAttribute::CacheInfo(lifetimes));
            request.message_mut().header.flags = AddressHeaderFlags::Nodad;
        }
        match request.execute().await.map_err(|error| io_error(&error)) {
            Ok(()) => Ok(SetAddress::Added),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(SetAddress::WasThere),
            Err(error) => Err(error),
        }
    }

    /// Removes an address; one that is gone already, or whose interface is, is no error.
    pub async fn unset_address(&self, interface: u32, net: IpNet) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = match net.addr() {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message.header.index = interface;
        message.header.prefix_len = net.prefix_len();
        message.attributes = match net.addr() {
            IpAddr::V4(_) => vec![AddressAttribute::Local(net.addr())],
            IpAddr::V6(_) => vec![AddressAttribute::Address(net.addr())],
        };
        let removed = self.handle().address().del(message).execute().await;
        match removed.map_err(|error| io_error(&error)) {
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EADDRNOTAVAIL | libc::ENODEV)
                ) =>
            {
                Ok(())
            }
            result => result,
        }
    }
}

impl PresentAddress {
    fn from_message(message: &AddressMessage) -> Option<Self> {
        let (mut local, mut address, mut flags, mut ours) = (None, None, None, false);
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(ip) => local = Some(*ip),
                AddressAttribute::Address(ip) => address = Some(*ip),
                AddressAttribute::Flags(value) => flags = Some(*value),
                AddressAttribute::Protocol(protocol) => {
                    ours = u8::from(*protocol) == OWNER_PROTOCOL;
                }
                _ => {}
            }
        }
        Some(Self {
            interface: message.header.index,
            net: IpNet::new(local.or(address)?, message.header.prefix_len).ok()?,
            ours,
            secondary: flags.is_some_and(|flags| flags.contains(AddressFlags::Secondary)),
            global: message.header.scope == AddressScope::Universe,
        })
    }
}
