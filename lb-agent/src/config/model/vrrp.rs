//! VRRP instances and the groups they move in.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::{Command, User, choice};

/// One VRRP instance: who owns some virtual addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vrrp {
    /// Unique name.
    pub name: String,
    /// Where adverts are sent and heard.
    pub interface: String,
    /// 1..=255, unique by interface and family.
    pub virtual_router_id: u8,
    /// Protocol version.
    pub version: Version,
    /// 1..=254; 255: address owner.
    pub priority: u8,
    /// Version 2: whole seconds 1..=255; version 3: 10 ms..=40.95 s in steps of 10 ms.
    pub advert_interval: Duration,
    /// Adverts lost before a backup takes over.
    pub down_adverts: u8,
    /// Advertised addresses, at least one, all of one family.
    pub addresses: Vec<VirtualAddress>,
    /// Set and announced, but not advertised.
    pub excluded_addresses: Vec<VirtualAddress>,
    /// Routes that come and go with the addresses.
    pub routes: Vec<Route>,
    /// Whether a higher priority takes over from a lower.
    pub preempt: bool,
    /// How long it waits before it does.
    pub preempt_delay: Duration,
    /// Whether the master accepts packets to the addresses when it is not their owner.
    pub accept: bool,
    /// Whether the addresses have the virtual MAC address.
    pub virtual_mac: bool,
    /// Source of adverts; `None`: the interface's primary address.
    pub source_address: Option<IpAddr>,
    /// Routers spoken to one by one; empty: multicast.
    pub unicast_peers: Vec<IpAddr>,
    /// Version 2: plain-text password, 1..=8 bytes.
    pub auth: Option<String>,
    /// Version 3 over IPv4: how the checksum is made.
    pub checksum: Checksum,
    /// Whether the instance's own interface going down is a FAULT.
    pub track_primary: bool,
    /// Interfaces it depends on.
    pub track_interfaces: Vec<Tracked>,
    /// Scripts it depends on.
    pub track_scripts: Vec<Tracked>,
    /// Services it depends on.
    pub track_services: Vec<Tracked>,
    /// Gratuitous ARP and unsolicited neighbour advertisements.
    pub garp: Garp,
    /// What happens to the addresses when this agent falls silent.
    pub fence: Fence,
    /// Commands run on changes.
    pub notify: VrrpNotify,
}

impl Vrrp {
    /// Whether its adverts are IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.addresses
            .first()
            .is_some_and(|first| first.net.addr().is_ipv6())
    }

    /// Whether `address` is one of those it owns as master.
    pub fn owns(&self, address: IpAddr) -> bool {
        let all = self.addresses.iter().chain(&self.excluded_addresses);
        all.into_iter().any(|own| own.net.addr() == address)
    }
}

choice! {
    /// Protocol version.
    Version {
        /// RFC 3768, IPv4 only.
        V2 = "2",
        /// RFC 5798 and RFC 9568.
        #[default]
        V3 = "3",
    }
}

/// An address that the master has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualAddress {
    /// Address and prefix length; host bits are kept.
    pub net: IpNet,
    /// Where it is set; `None`: the instance's interface.
    pub interface: Option<String>,
    /// The address label, at most 15 bytes.
    pub label: Option<String>,
}

/// A route that comes and goes with the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub destination: Destination,
    /// The next router.
    pub via: Option<IpAddr>,
    /// The interface.
    pub interface: Option<String>,
    /// The preferred source address.
    pub source: Option<IpAddr>,
    /// The metric; `None`: the kernel's default.
    pub metric: Option<u32>,
    /// The routing table; `None`: main.
    pub table: Option<u32>,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Everywhere.
    Default,
    /// A network.
    Net(IpNet),
}

choice! {
    /// How the checksum of version 3 over IPv4 is made. Both are accepted on receipt.
    Checksum {
        /// With the pseudo-header.
        #[default]
        Rfc5798 = "rfc5798",
        /// Without it.
        Rfc9568 = "rfc9568",
    }
}

/// Something an instance or group depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// Its name.
    pub name: String,
    /// 0: its failure is a FAULT; positive: added while up; negative: added while down; -253..=253.
    /// `None`: its own weight where it has one (scripts), else 0.
    pub weight: Option<i16>,
}

/// Gratuitous ARP and unsolicited neighbour advertisements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garp {
    /// Announcements of each address in a burst.
    pub repeat: u8,
    /// Until the second burst; zero: none.
    pub delay: Duration,
    /// Between later bursts; zero: none.
    pub refresh: Duration,
    /// Between two announcements.
    pub interval: Duration,
}

choice! {
    /// What happens to the addresses when this agent falls silent.
    Fence {
        /// They fall silent too once another router of this instance is heard.
        #[default]
        Witness = "witness",
        /// They fall silent too, heard or not.
        Strict = "strict",
        /// Nothing.
        Off = "off",
    }
}

/// Commands run when an instance or group changes its state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VrrpNotify {
    /// It became master.
    pub master: Option<Command>,
    /// It became backup.
    pub backup: Option<Command>,
    /// It is at fault.
    pub fault: Option<Command>,
    /// It stopped.
    pub stop: Option<Command>,
    /// Any of these.
    pub any: Option<Command>,
    /// A pipe that gets a line for each change.
    pub fifo: Option<PathBuf>,
    /// Who runs them; `None`: the user of all scripts.
    pub user: Option<User>,
}

/// Instances that move together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncGroup {
    /// Unique name.
    pub name: String,
    /// Names of its instances, at least one.
    pub instances: Vec<String>,
    /// Interfaces it depends on.
    pub track_interfaces: Vec<Tracked>,
    /// Scripts it depends on.
    pub track_scripts: Vec<Tracked>,
    /// Services it depends on.
    pub track_services: Vec<Tracked>,
    /// Commands run on changes.
    pub notify: VrrpNotify,
}
