//! The services and their real servers as they stand: from configuration and health to what the data plane is to do.
//!
//! Plain data and decisions; no sockets, no clock.

use super::ownership;
use crate::{
    balance::{self, Member, TableSize},
    config::{self, Config, Listen, Protocol},
    datapath::{
        Desired, Device, NextHop, RealServer, Service, TunnelSource,
        xdp::{Demand, Inheritance},
    },
    health::{Event, KindError, Maker, State, Target, TargetId},
    network::{self, NextHops},
    script::Runner,
};
use ipnet::IpNet;
use lb_common::{BackendState, Mode, ServiceKey, key};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use targets::Targets;

mod targets;

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
    /// The ownership words that govern them, in the same order.
    pub owners: Vec<u16>,
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
    pub configured_weight: u16,
    /// The weight that its check found, which goes before the configured one.
    pub found_weight: Option<u16>,
    /// Whether it takes new flows.
    pub state: BackendState,
    /// Why, in words.
    pub reason: String,
    /// Its check; `None`: always up.
    pub target: Option<Target>,
}

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
    /// A check cannot be made.
    #[error("service {service}: real server {real_server}: check: {source}")]
    Check {
        /// The service's name.
        service: String,
        /// The real server's address.
        real_server: String,
        /// What is wrong with it.
        #[source]
        source: KindError,
    },
}

impl Pool {
    /// The services of a configuration, every real server up. `runner` sees to the commands of checks.
    ///
    /// # Errors
    /// Where the configuration was not validated.
    pub fn new(config: &Config, runner: &Runner) -> Result<Self, PoolError> {
        let mut targets = Targets::new(Maker::new(config, runner));
        let services = config
            .services
            .iter()
            .map(|service| PoolService::new(service, &config.vrrp, &mut targets))
            .collect::<Result<_, _>>()?;
        Ok(Self { services })
    }

    /// The services.
    pub fn services(&self) -> &[PoolService] {
        &self.services
    }

    /// Takes over what an earlier life knew: a server that it found dead stays out until a check finds otherwise.
    pub fn inherit(&mut self, inheritance: &Inheritance) {
        let mut dead = BTreeSet::new();
        for service in &self.services {
            for real_server in &service.real_servers {
                let known = inheritance.backend(
                    &service.keys,
                    real_server.address,
                    real_server.port.unwrap_or(0),
                );
                let (Some(known), Some(target)) = (known, &real_server.target) else {
                    continue;
                };
                if BackendState::try_from(known.state) == Ok(BackendState::Down) {
                    dead.insert(target.id);
                }
            }
        }
        // Those that share a check share what is known: it will report them together.
        for real_server in self
            .services
            .iter_mut()
            .flat_map(|service| &mut service.real_servers)
        {
            let Some(target) = real_server
                .target
                .as_mut()
                .filter(|target| dead.contains(&target.id))
            else {
                continue;
            };
            target.initial = State::Down;
            real_server.state = BackendState::Down;
            real_server.reason =
                "down before the agent was restarted, not checked since".to_owned();
        }
    }

    /// Everything that is to be checked, each once.
    pub fn targets(&self) -> Vec<Target> {
        let targets = self
            .real_servers()
            .filter_map(|real_server| real_server.target.as_ref());
        let each_once: BTreeMap<TargetId, &Target> =
            targets.map(|target| (target.id, target)).collect();
        each_once.into_values().cloned().collect()
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
            services: self
                .services
                .iter()
                .map(|service| service.keys.len() as u32 * 2)
                .sum(),
            backends: self.real_servers().count() as u32,
            slots: self
                .services
                .iter()
                .map(|service| service.table_size.slots())
                .fold(0, u32::saturating_add),
        }
    }

    /// Takes in a result of a check, and says which real servers it changes, and whose they are.
    pub fn on_health(&mut self, event: &Event) -> Vec<(&PoolService, &PoolRealServer)> {
        let state = match event.state {
            State::Up => BackendState::Up,
            State::Down => BackendState::Down,
            State::Unknown => return Vec::new(),
        };
        let mut changed = Vec::new();
        for (service_at, service) in self.services.iter_mut().enumerate() {
            for (at, real_server) in service.real_servers.iter_mut().enumerate() {
                if real_server
                    .target
                    .as_ref()
                    .is_some_and(|target| target.id == event.target)
                {
                    real_server.reason.clone_from(&event.reason);
                    let before = (real_server.state, real_server.weight());
                    real_server.state = state;
                    real_server.found_weight = event.weight;
                    if before != (state, real_server.weight()) {
                        changed.push((service_at, at));
                    }
                }
            }
        }
        let those = |(service_at, at): (usize, usize)| {
            let service = self.services.get(service_at)?;
            Some((service, service.real_servers.get(at)?))
        };
        changed.into_iter().filter_map(those).collect()
    }

    /// What the data plane is to do, given where the real servers are.
    pub fn desired(&mut self, next_hops: &NextHops, devices: Vec<Device>) -> Desired {
        let services = self
            .services
            .iter_mut()
            .map(|service| service.desired(next_hops))
            .collect();
        Desired { services, devices }
    }

    fn real_servers(&self) -> impl Iterator<Item = &PoolRealServer> {
        self.services
            .iter()
            .flat_map(|service| &service.real_servers)
    }
}

impl PoolService {
    fn new(
        service: &config::Service,
        vrrp: &[config::Vrrp],
        targets: &mut Targets,
    ) -> Result<Self, PoolError> {
        let listen = match &service.listen {
            Listen::Addresses(addresses) => addresses.clone(),
            Listen::Fwmark(_) => Vec::new(),
        };
        let governed = |&address: &SocketAddr| {
            let key = service_key(address, service.protocol)?;
            Some((key, ownership::owner_of(address.ip(), service, vrrp)))
        };
        let (keys, owners) = listen.iter().filter_map(governed).unzip();
        let table_size =
            TableSize::try_from(service.table_size).map_err(|source| PoolError::TableSize {
                service: service.name.clone(),
                source,
            })?;
        let real_servers = service
            .real_servers
            .iter()
            .map(|real_server| PoolRealServer::new(service, real_server, targets));
        let real_servers = real_servers.collect::<Result<_, _>>()?;
        Ok(Self {
            name: service.name.clone(),
            keys,
            owners,
            listen,
            protocol: service.protocol,
            real_servers,
            forwarding: match service.mode {
                config::Mode::Tun => Forwarding::Tunnel {
                    source: service.tun_source,
                },
                config::Mode::Dr | config::Mode::Nat | config::Mode::Local => Forwarding::Direct,
            },
            table_size,
            table: CachedTable::default(),
        })
    }

    fn desired(&mut self, next_hops: &NextHops) -> Service {
        let members: Vec<Member> = (0..)
            .zip(&self.real_servers)
            .filter(|(_, real_server)| {
                real_server.state == BackendState::Up && real_server.weight() > 0
            })
            .map(|(position, real_server)| Member {
                address: real_server.address,
                port: real_server.port.unwrap_or(0),
                weight: real_server.weight(),
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
            owners: self.owners.clone(),
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
    fn new(
        service: &config::Service,
        real_server: &config::RealServer,
        targets: &mut Targets,
    ) -> Result<Self, PoolError> {
        let target = targets.target(service, real_server)?;
        Ok(Self {
            address: real_server.address,
            port: real_server.port,
            configured_weight: real_server.weight,
            found_weight: None,
            state: BackendState::Up,
            reason: if target.is_some() {
                "not checked yet"
            } else {
                "no check is configured"
            }
            .to_owned(),
            target,
        })
    }

    /// Address, with its port if it has one of its own.
    pub fn display_address(&self) -> String {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).to_string(),
            None => self.address.to_string(),
        }
    }

    /// The weight that counts.
    pub fn weight(&self) -> u16 {
        self.found_weight.unwrap_or(self.configured_weight)
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
            Forwarding::Direct | Forwarding::Tunnel { .. } => None,
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
            weight: self.weight(),
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
