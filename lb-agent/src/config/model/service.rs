//! Services and their real servers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::{Check, Command, Datapath, User, choice};

/// What some virtual addresses serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Unique name.
    pub name: String,
    /// What traffic belongs to it.
    pub listen: Listen,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Instance that decides whether this node serves; `None`: for each address the instance that has it.
    pub vrrp: Option<String>,
    /// How packets get to real servers.
    pub mode: Mode,
    /// What forwards its packets; the global choice where it makes none.
    pub datapath: Datapath,
    /// How a real server is chosen.
    pub scheduler: Scheduler,
    /// Slots of the Maglev table, a prime, 251..=131071.
    pub table_size: u32,
    /// How long connections opened before a change of the table are told from new ones.
    pub transition: Duration,
    /// How long after a change an unknown UDP flow counts as an old one.
    pub udp_learn: Duration,
    /// How long connections of a dead server are held before they go elsewhere.
    pub dead_hold: Duration,
    /// Clients that stay with their real server; `None`: off.
    pub persistence: Option<Persistence>,
    /// UDP: each packet is scheduled by itself.
    pub one_packet: bool,
    /// Weight of live real servers below which the service is down, at least 1.
    pub quorum: u32,
    /// How far beyond the quorum the weight must go for a change; below the quorum.
    pub hysteresis: u32,
    /// Takes over while the service is down.
    pub sorry_server: Option<Endpoint>,
    /// How long a recovered real server's weight is ramped; zero: not at all.
    pub slow_start: Duration,
    /// How long old connections keep a real server that was drained or removed.
    pub drain_timeout: Duration,
    /// How long a flow may be silent.
    pub idle_timeout: IdleTimeout,
    /// Whether real servers wait for their first good check.
    pub start_down: bool,
    /// Whether checks rest while this node does not own the address.
    pub suspend_checks_in_backup: bool,
    /// NAT: whose address the real server sees.
    pub source: NatSource,
    /// NAT without masquerading: prefixes that speak with the real servers untranslated.
    pub nat_direct: Vec<IpNet>,
    /// TUN: the outer source address, or the prefix it is varied in; `None`: the director's.
    pub tun_source: Option<IpNet>,
    /// Commands run on changes.
    pub notify: ServiceNotify,
    /// Who does the work.
    pub real_servers: Vec<RealServer>,
}

/// What traffic belongs to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Virtual addresses with port, at least one. Port 0: every port.
    Addresses(Vec<SocketAddr>),
    /// A firewall mark.
    Fwmark(u32),
}

impl Listen {
    /// The virtual addresses; none for a firewall mark.
    pub fn addresses(&self) -> &[SocketAddr] {
        match self {
            Self::Addresses(addresses) => addresses,
            Self::Fwmark(_) => &[],
        }
    }
}

choice! {
    /// Transport protocol.
    Protocol {
        /// TCP.
        #[default]
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
        /// SCTP, by IPVS only.
        Sctp = "sctp",
    }
}

choice! {
    /// How packets get to real servers.
    Mode {
        /// Direct routing: by MAC address, unchanged otherwise.
        #[default]
        Dr = "dr",
        /// Addresses are translated both ways.
        Nat = "nat",
        /// Inside another IP packet.
        Tun = "tun",
        /// Never forwarded: checked and counted only.
        Local = "local",
    }
}

choice! {
    /// How a real server is chosen.
    Scheduler {
        /// Maglev hashing.
        #[default]
        Mh = "mh",
        /// In turn.
        Rr = "rr",
        /// In turn, by weight.
        Wrr = "wrr",
        /// Fewest connections.
        Lc = "lc",
        /// Fewest connections, by weight.
        Wlc = "wlc",
        /// Hash of the source.
        Sh = "sh",
        /// Hash of the destination.
        Dh = "dh",
        /// Shortest expected delay.
        Sed = "sed",
        /// Never queue.
        Nq = "nq",
        /// Locality-based fewest connections, by IPVS only.
        Lblc = "lblc",
        /// The same with replication, by IPVS only.
        Lblcr = "lblcr",
    }
}

impl Scheduler {
    /// Whether directors of the same configuration and health choose alike without sharing state.
    pub fn is_stateless(self) -> bool {
        matches!(self, Self::Mh | Self::Sh | Self::Dh)
    }
}

impl Service {
    /// The first of its addresses that is of the family of this one.
    pub fn address_like(&self, other: IpAddr) -> Option<IpAddr> {
        let mut addresses = self.listen.addresses().iter().map(SocketAddr::ip);
        addresses.find(|address| address.is_ipv4() == other.is_ipv4())
    }
}

/// Clients that stay with their real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// Since the client's last connection.
    pub timeout: Duration,
    /// IPv4 clients of one prefix of this length stay together, 1..=32.
    pub prefix_v4: u8,
    /// IPv6 clients of one prefix of this length stay together, 1..=128.
    pub prefix_v6: u8,
}

/// How long a flow may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleTimeout {
    /// An established TCP connection.
    pub tcp: Duration,
    /// A TCP connection that is being closed.
    pub tcp_fin: Duration,
    /// A UDP flow.
    pub udp: Duration,
}

/// An address with or without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port, never 0; `None`: the port that the client asked for.
    pub port: Option<u16>,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

choice! {
    /// Whose address the real server sees.
    NatSource {
        /// The client's.
        #[default]
        Keep = "keep",
        /// The director's.
        Masquerade = "masquerade",
    }
}

/// Commands run when a service or one of its real servers changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceNotify {
    /// The service reached its quorum.
    pub up: Option<Command>,
    /// The service lost its quorum.
    pub down: Option<Command>,
    /// A real server went up.
    pub real_server_up: Option<Command>,
    /// A real server went down.
    pub real_server_down: Option<Command>,
    /// Who runs them; `None`: the user of all scripts.
    pub user: Option<User>,
}

/// One that does a service's work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealServer {
    /// Its address.
    pub address: IpAddr,
    /// Its port, never 0; `None`: the port that the client asked for.
    pub port: Option<u16>,
    /// Its share. 0: no new connections.
    pub weight: u16,
    /// What happens when its check fails.
    pub on_failure: OnFailure,
    /// How it is checked.
    pub check: Check,
    /// More connections than this are not given to it; 0: no limit.
    pub max_connections: u32,
    /// Once at the limit, it gets new ones below this number only; 0: below the limit.
    pub min_connections: u32,
    /// Commands run on changes, besides the service's.
    pub notify: RealServerNotify,
}

impl RealServer {
    /// Address and port as they are written.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            address: self.address,
            port: self.port,
        }
    }
}

choice! {
    /// What happens to a real server whose check fails.
    OnFailure {
        /// It is taken out.
        #[default]
        Remove = "remove",
        /// It keeps its connections and gets no new ones.
        Drain = "drain",
    }
}

/// Commands run when one real server changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealServerNotify {
    /// It went up.
    pub up: Option<Command>,
    /// It went down.
    pub down: Option<Command>,
    /// Who runs them; `None`: the user of all scripts.
    pub user: Option<User>,
}
