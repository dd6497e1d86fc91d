//! How packets get to a real server, given where it is.

use crate::{
    balance::term::Term,
    config,
    datapath::{NextHop, RealServer, TunnelSource},
    network::{self, NextHops},
};
use ipnet::IpNet;
use lb_common::{BackendState, Mode};
use std::net::IpAddr;

/// How packets get to real servers that are other hosts.
#[derive(Clone, Copy, Debug)]
pub enum Forwarding {
    /// By MAC address.
    Direct,
    /// To its own address and port; its replies pass here.
    Translation,
    /// Inside another packet.
    Tunnel {
        /// As configured.
        source: Option<IpNet>,
    },
}

/// One that packets may go to.
#[derive(Clone, Copy, Debug)]
pub struct Receiver {
    /// Its address.
    pub address: IpAddr,
    /// Its port; `None`: the port the client asked for.
    pub port: Option<u16>,
    /// The weight that counts.
    pub weight: u16,
    /// What health says.
    pub state: BackendState,
    /// What is wished for its flows: that they stay (until then, where that is said), are held for a while should it come
    /// back, or are released.
    pub term: Term,
}

impl Forwarding {
    /// That of a service; `None`: its packets are the host's own business.
    pub fn of(service: &config::Service) -> Option<Self> {
        match service.mode {
            config::Mode::Tun => Some(Self::Tunnel {
                source: service.tun_source,
            }),
            config::Mode::Nat => Some(Self::Translation),
            config::Mode::Dr => Some(Self::Direct),
            config::Mode::Local => None,
        }
    }

    /// What the data plane is told about one that packets may go to.
    pub fn desired(self, to: Receiver, next_hops: &NextHops) -> RealServer {
        let mode = match self {
            Self::Direct => Mode::Dr,
            Self::Translation => Mode::Nat,
            Self::Tunnel { .. } => Mode::Tun,
        };
        let (mode, next_hop, own_address) = match next_hops.get(&to.address) {
            Some(network::NextHop::Resolved {
                mac,
                ifindex,
                mtu,
                source,
            }) => {
                let via = NextHop::Via {
                    mac: *mac,
                    device: *ifindex,
                    mtu: *mtu,
                };
                (mode, via, *source)
            }
            Some(network::NextHop::Local) => (Mode::Local, NextHop::Unresolved, None),
            Some(network::NextHop::Unresolved { .. }) | None => (mode, NextHop::Unresolved, None),
        };
        let tunnel_source = match self {
            Self::Tunnel { source } if mode == Mode::Tun => source
                .filter(|source| source.addr().is_ipv4() == to.address.is_ipv4())
                .map(TunnelSource::within)
                .or(own_address.map(TunnelSource::fixed)),
            Self::Direct | Self::Translation | Self::Tunnel { .. } => None,
        };
        // Nobody could answer a packet from nowhere.
        let next_hop = if mode == Mode::Tun && tunnel_source.is_none() {
            NextHop::Unresolved
        } else {
            next_hop
        };
        RealServer {
            address: to.address,
            port: to.port.unwrap_or(0),
            mode,
            tunnel_source,
            weight: to.weight,
            state: to.state,
            term: to.term,
            next_hop,
        }
    }
}
