//! What the data plane is asked to do: plain data, built anew from configuration, health and neighbours.

use crate::{balance::term::Term, model::Idle};
use ipnet::IpNet;
use lb_common::{BackendState, Mode, Scheduling, ServiceKey, control::ALWAYS_OWNED, load::Limits};
use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

/// Everything the data plane is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The services, in the configuration's order.
    pub services: Vec<Service>,
    /// The interfaces that packets come from or go to.
    pub devices: Vec<Device>,
    /// The host's own addresses: what NAT real servers send there is no reply to a client.
    pub local: BTreeSet<IpAddr>,
}

/// A service and its real servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name, for messages.
    pub name: String,
    /// Listen addresses, ports and protocol.
    pub keys: Vec<ServiceKey>,
    /// The ownership words that govern them, in the order of `keys`; those that are missing are always owned.
    pub owners: Vec<u16>,
    /// Who owns each slot, as positions in `real_servers`; empty: nobody is there to serve. Shared, so that an
    /// unchanged table is known by its address.
    pub table: Arc<[u32]>,
    /// The share of each of `real_servers`, in their order; those that are missing have none.
    pub shares: Vec<Share>,
    /// The real servers, those that are down too, and those that were removed but keep flows.
    pub real_servers: Vec<RealServer>,
    /// Where new flows go, and how long they are known.
    pub flows: FlowRules,
}

/// What a scheduler that keeps state is told of a real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Its weight among those that take new flows; 0: it takes none.
    pub weight: u16,
    /// How many connections it may have.
    pub limits: Limits,
}

/// Where a service's new flows go, and how long flows are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRules {
    /// How new flows are given to real servers. Where that is not by slot, the table lists turns or real servers.
    pub scheduling: Scheduling,
    /// Lengths of clients' prefixes, IPv4 and IPv6, where they persist.
    pub prefixes: [u8; 2],
    /// How long flows of before a change of the table are told from new ones, seconds.
    pub window_s: u64,
    /// How long a remembered flow may be silent.
    pub idle: Idle,
    /// How long a client is known, seconds, where clients persist.
    pub persistence_s: u32,
}

impl Default for FlowRules {
    /// The contract's defaults for TCP.
    fn default() -> Self {
        Self {
            scheduling: Scheduling::default(),
            prefixes: [32, 128],
            window_s: 900,
            idle: Idle {
                tcp_s: 900,
                tcp_fin_s: 120,
                udp_s: 300,
            },
            persistence_s: 0,
        }
    }
}

/// A real server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealServer {
    /// Its address.
    pub address: IpAddr,
    /// Its port; 0: the port the client asked for.
    pub port: u16,
    /// How packets reach it.
    pub mode: Mode,
    /// Source of the outer headers; [`Mode::Tun`] alone has one.
    pub tunnel_source: Option<TunnelSource>,
    /// Configured weight.
    pub weight: u16,
    /// What health says.
    pub state: BackendState,
    /// What becomes of the flows it has.
    pub term: Term,
    /// Where its frames go.
    pub next_hop: NextHop,
}

/// Where tunnelled packets say that they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelSource {
    /// Of the real server's family; its varying bits are zero.
    pub address: IpAddr,
    /// How many of its last bits differ from flow to flow, at most 32; 0: it is fixed.
    pub varying_bits: u8,
}

impl TunnelSource {
    /// Fixed.
    pub fn fixed(address: IpAddr) -> Self {
        Self {
            address,
            varying_bits: 0,
        }
    }

    /// Varied inside `network`: over its last 32 bits at most.
    pub fn within(network: IpNet) -> Self {
        let varying_bits = (network.max_prefix_len() - network.prefix_len()).min(32);
        Self {
            address: network.network(),
            varying_bits,
        }
    }
}

impl Service {
    /// Its keys, each with the ownership word that governs it.
    pub fn governed_keys(&self) -> impl Iterator<Item = (ServiceKey, u16)> {
        let owners = self
            .owners
            .iter()
            .copied()
            .chain(std::iter::repeat(ALWAYS_OWNED));
        self.keys.iter().copied().zip(owners)
    }

    /// Whether the two differ in nothing that needs a commit.
    pub fn equals_but_for_next_hops(&self, other: &Self) -> bool {
        let same_real_servers = |(a, b): (&RealServer, &RealServer)| {
            RealServer {
                next_hop: b.next_hop,
                ..a.clone()
            } == *b
        };
        self.name == other.name
            && self.keys == other.keys
            && self.owners == other.owners
            && self.flows == other.flows
            && self.shares == other.shares
            && (Arc::ptr_eq(&self.table, &other.table) || self.table == other.table)
            && self.real_servers.len() == other.real_servers.len()
            && self
                .real_servers
                .iter()
                .zip(&other.real_servers)
                .all(same_real_servers)
    }
}

/// Where frames for a real server go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// Not known yet, or there is none: packets are dropped and counted.
    Unresolved,
    /// To this station.
    Via {
        /// The neighbour's MAC address.
        mac: [u8; 6],
        /// [`Device::index`] of the interface towards it.
        device: u32,
        /// Largest IP packet on the way, bytes; 0: any.
        mtu: u32,
    },
}

/// An interface of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// The kernel's index of the interface that routes name.
    pub index: u32,
    /// The index of the interface that frames enter and leave by: another one where `index` is a VLAN device.
    pub frames: u32,
    /// VLAN ids that frames carry there: outer in the low 16 bits, inner in the high ones; 0: none.
    pub vlans: u32,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Whether frames may leave by it.
    pub transmits: bool,
}
