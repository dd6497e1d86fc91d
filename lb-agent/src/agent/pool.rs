//! The services and their real servers as they stand: from configuration and health to what the data plane is to do.
//!
//! Plain data and decisions; no sockets, no clock.

use crate::{
    balance::{self, Member, TableSize},
    config::{self, CheckKind, Config, Listen, Protocol},
    datapath::{
        Desired, Device, NextHop, RealServer, Service, TunnelSource,
        xdp::{Demand, Inheritance},
    },
    health::{Event, Spec, State, Target, TargetId, Timing},
    network::{self, HostAddresses, NextHops},
};
use ipnet::IpNet;
use lb_common::{BackendState, Mode, ServiceKey, control::ALWAYS_OWNED, key};
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
};

/// All services.
#[derive(Debug)]
pub struct Pool {
    services: Vec<PoolService>,
}

/// A service.
#[derive(Debug)]
pub struct PoolService {
    /// Its name.
    pub name: String,
    /// Listen addresses.
    pub listen: Vec<SocketAddr>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// How its entries are found in the maps.
    pub keys: Vec<ServiceKey>,
    /// Its real servers, in the configuration's order.
    pub real_servers: Vec<PoolRealServer>,
    forwarding: Forwarding,
    table_size: TableSize,
    table: CachedTable,
}

/// How packets get to real servers that are other hosts.
#[derive(Clone, Copy, Debug)]
enum Forwarding {
    Direct,
    Translation,
    /// `source`: as configured.
    Tunnel {
        source: Option<IpNet>,
    },
}

/// A real server of a service.
#[derive(Debug)]
pub struct PoolRealServer {
    /// Its address.
    pub address: IpAddr,
    /// Its port; `None`: the port the client asked for.
    pub port: Option<u16>,
    /// Configured weight.
    pub weight: u16,
    /// Whether it takes new flows.
    pub state: BackendState,
    /// Why, in words.
    pub reason: String,
    /// Its check; `None`: always up.
    pub target: Option<Target>,
}

/// Addresses of the host itself that the service table has room for, besides those of services.
const HOST_ADDRESSES: u32 = 64;

/// The last table that was built, and from what.
#[derive(Debug, Default)]
struct CachedTable {
    members: Vec<Member>,
    slots: Arc<[u32]>,
}

/// A configuration that cannot be turned into services. [`config::load`] lets none pass.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The table's size is not possible.
    #[error("service {service}: {source}")]
    TableSize {
        /// The service's name.
        service: String,
        /// What is wrong with it.
        #[source]
        source: balance::TableSizeError,
    },
}

impl Pool {
    /// The services of a configuration, every real server up.
    ///
    /// # Errors
    /// Where the configuration was not validated.
    pub fn new(config: &Config) -> Result<Self, PoolError> {
        let mut next_target = 0;
        let services = config
            .services
            .iter()
            .map(|service| PoolService::new(service, &mut next_target))
            .collect::<Result<_, _>>()?;
        Ok(Self { services })
    }

    /// The services.
    pub fn services(&self) -> &[PoolService] {
        &self.services
    }

    /// Takes over what an earlier life knew: a server that it found dead stays out until a check finds otherwise.
    pub fn inherit(&mut self, inheritance: &Inheritance) {
        for service in &mut self.services {
            for real_server in &mut service.real_servers {
                let known = inheritance.backend(
                    &service.keys,
                    real_server.address,
                    real_server.port.unwrap_or(0),
                );
                let (Some(known), Some(target)) = (known, &mut real_server.target) else {
                    continue;
                };
                if BackendState::try_from(known.state) == Ok(BackendState::Down) {
                    real_server.state = BackendState::Down;
                    real_server.reason =
                        "down before the agent was restarted, not checked since".to_owned();
                    target.initial = State::Down;
                }
            }
        }
    }

    /// Everything that is to be checked.
    pub fn targets(&self) -> Vec<Target> {
        self.real_servers()
            .filter_map(|real_server| real_server.target.clone())
            .collect()
    }

    /// Addresses whose next hops are needed.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.real_servers()
            .map(|real_server| real_server.address)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// What the tables take at most.
    pub fn demand(&self) -> Demand {
        Demand {
            services: self.services.iter().map(PoolService::entries).sum::<u32>()
                + if self.services.iter().any(PoolService::translates) {
                    HOST_ADDRESSES
                } else {
                    0
                },
            backends: self.real_servers().count() as u32,
            slots: self
                .services
                .iter()
                .map(|service| service.table_size.slots())
                .sum(),
        }
    }

    /// Takes in a result of a check, and says which service and real server it is about. `None` where it changes nothing.
    pub fn on_health(&mut self, event: &Event) -> Option<(&PoolService, &PoolRealServer)> {
        let state = match event.state {
            State::Up => BackendState::Up,
            State::Down => BackendState::Down,
            State::Unknown => return None,
        };
        let (service, position) = self.find(event.target)?;
        let service = &mut self.services[service];
        let real_server = &mut service.real_servers[position];
        real_server.reason.clone_from(&event.reason);
        let changed = std::mem::replace(&mut real_server.state, state) != state;
        let service = &*service;
        changed.then(|| (service, &service.real_servers[position]))
    }

    /// What the data plane is to do, given where the real servers are and which addresses the host has.
    pub fn desired(
        &mut self,
        next_hops: &NextHops,
        devices: Vec<Device>,
        addresses: &HostAddresses,
    ) -> Desired {
        let translates = self.services.iter().any(PoolService::translates);
        let local = addresses.iter().filter(|_| translates);
        let local = local.map(|own| own.address).collect();
        let services = self
            .services
            .iter_mut()
            .map(|service| service.desired(next_hops))
            .collect();
        Desired {
            services,
            devices,
            local,
        }
    }

    fn real_servers(&self) -> impl Iterator<Item = &PoolRealServer> {
        self.services
            .iter()
            .flat_map(|service| &service.real_servers)
    }

    fn find(&self, id: TargetId) -> Option<(usize, usize)> {
        self.services
            .iter()
            .enumerate()
            .find_map(|(index, service)| {
                let is_it = |real_server: &PoolRealServer| {
                    real_server
                        .target
                        .as_ref()
                        .is_some_and(|target| target.id == id)
                };
                Some((index, service.real_servers.iter().position(is_it)?))
            })
    }
}

impl PoolService {
    fn new(service: &config::Service, next_target: &mut u32) -> Result<Self, PoolError> {
        let listen = match &service.listen {
            Listen::Addresses(addresses) => addresses.clone(),
            Listen::Fwmark(_) => Vec::new(),
        };
        let table_size =
            TableSize::try_from(service.table_size).map_err(|source| PoolError::TableSize {
                service: service.name.clone(),
                source,
            })?;
        Ok(Self {
            name: service.name.clone(),
            keys: listen
                .iter()
                .filter_map(|&address| service_key(address, service.protocol))
                .collect(),
            listen,
            protocol: service.protocol,
            forwarding: match service.mode {
                config::Mode::Tun => Forwarding::Tunnel {
                    source: service.tun_source,
                },
                config::Mode::Nat => Forwarding::Translation,
                config::Mode::Dr | config::Mode::Local => Forwarding::Direct,
            },
            real_servers: service
                .real_servers
                .iter()
                .map(|real_server| PoolRealServer::new(real_server, next_target))
                .collect(),
            table_size,
            table: CachedTable::default(),
        })
    }

    /// Whether replies of its real servers pass here.
    fn translates(&self) -> bool {
        matches!(self.forwarding, Forwarding::Translation)
    }

    /// Entries of the service table that it takes: its listen addresses, each address by itself, and what replies are known
    /// by.
    fn entries(&self) -> u32 {
        let replies = match self.translates() {
            true => self.keys.len() * self.real_servers.len(),
            false => 0,
        };
        (self.keys.len() * 2 + replies) as u32
    }

    fn desired(&mut self, next_hops: &NextHops) -> Service {
        let members: Vec<Member> = (0..)
            .zip(&self.real_servers)
            .filter(|(_, real_server)| {
                real_server.state == BackendState::Up && real_server.weight > 0
            })
            .map(|(position, real_server)| Member {
                address: real_server.address,
                port: real_server.port.unwrap_or(0),
                weight: real_server.weight,
                backend: position,
            })
            .collect();
        if members != self.table.members {
            let slots = balance::maglev::table(&members, self.table_size)
                .unwrap_or_default()
                .into();
            self.table = CachedTable { members, slots };
        }
        Service {
            name: self.name.clone(),
            keys: self.keys.clone(),
            owner: ALWAYS_OWNED,
            table: Arc::clone(&self.table.slots),
            real_servers: self
                .real_servers
                .iter()
                .map(|real_server| real_server.desired(self.forwarding, next_hops))
                .collect(),
        }
    }
}

impl PoolRealServer {
    fn new(real_server: &config::RealServer, next_target: &mut u32) -> Self {
        let check = &real_server.check;
        let is_checked = check.kinds.contains(&CheckKind::Tcp);
        let target = is_checked.then(|| {
            let id = TargetId(*next_target);
            *next_target += 1;
            let spec = Spec {
                address: check.address,
                port: check.port,
                source: check.source_address,
                timing: Timing {
                    interval: check.interval,
                    timeout: check.timeout,
                    fall: NonZeroU32::new(check.fall).unwrap_or(NonZeroU32::MIN),
                    rise: NonZeroU32::new(check.rise).unwrap_or(NonZeroU32::MIN),
                    retry_interval: check.retry_interval,
                },
            };
            Target {
                id,
                spec,
                initial: State::Up,
            }
        });
        Self {
            address: real_server.address,
            port: real_server.port,
            weight: real_server.weight,
            state: BackendState::Up,
            reason: if is_checked {
                "not checked yet".to_owned()
            } else {
                "no check is configured".to_owned()
            },
            target,
        }
    }

    /// Address, with its port if it has one of its own.
    pub fn display_address(&self) -> String {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).to_string(),
            None => self.address.to_string(),
        }
    }

    /// Its state's name.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            BackendState::Up => "up",
            BackendState::Down => "down",
        }
    }

    fn desired(&self, forwarding: Forwarding, next_hops: &NextHops) -> RealServer {
        let mode = match forwarding {
            Forwarding::Direct => Mode::Dr,
            Forwarding::Translation => Mode::Nat,
            Forwarding::Tunnel { .. } => Mode::Tun,
        };
        let (mode, next_hop, own_address) = match next_hops.get(&self.address) {
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
        let tunnel_source = match forwarding {
            Forwarding::Tunnel { source } if mode == Mode::Tun => source
                .filter(|source| source.addr().is_ipv4() == self.address.is_ipv4())
                .map(TunnelSource::within)
                .or(own_address.map(TunnelSource::fixed)),
            Forwarding::Direct | Forwarding::Translation | Forwarding::Tunnel { .. } => None,
        };
        // Nobody could answer a packet from nowhere.
        let next_hop = if mode == Mode::Tun && tunnel_source.is_none() {
            NextHop::Unresolved
        } else {
            next_hop
        };
        RealServer {
            address: self.address,
            port: self.port.unwrap_or(0),
            mode,
            tunnel_source,
            weight: self.weight,
            state: self.state,
            next_hop,
        }
    }
}

/// The key of a listen address; `None` for what the data plane does not balance.
fn service_key(address: SocketAddr, protocol: Protocol) -> Option<ServiceKey> {
    let protocol = match protocol {
        Protocol::Tcp => key::TCP,
        Protocol::Udp => key::UDP,
        Protocol::Sctp => return None,
    };
    Some(match address {
        SocketAddr::V4(v4) => ServiceKey::v4(v4.ip().octets(), v4.port(), protocol),
        SocketAddr::V6(v6) => ServiceKey::v6(v6.ip().octets(), v6.port(), protocol),
    })
}

#[cfg(test)]
mod tests;
