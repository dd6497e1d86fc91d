//! The services and their real servers as they stand: from configuration and health to what the data plane is to do.
//!
//! Plain data and decisions; no sockets, no clock.

use super::ownership;
use crate::{
    balance::{self, Member, TableSize},
    config::{self, CheckKind, Config, Listen, Protocol},
    datapath::{
        Desired, Device, NextHop, RealServer, Service,
        xdp::{Demand, Inheritance},
    },
    health::{Event, Spec, State, Target, TargetId, Timing},
    network::{self, NextHops},
};
use lb_common::{BackendState, Mode, ServiceKey, key};
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
    /// The ownership words that govern them, in the same order.
    pub owners: Vec<u16>,
    /// Its real servers, in the configuration's order.
    pub real_servers: Vec<PoolRealServer>,
    table_size: TableSize,
    table: CachedTable,
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
            .map(|service| PoolService::new(service, &config.vrrp, &mut next_target))
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
    fn new(
        service: &config::Service,
        vrrp: &[config::Vrrp],
        next_target: &mut u32,
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
        Ok(Self {
            name: service.name.clone(),
            keys,
            owners,
            listen,
            protocol: service.protocol,
            real_servers: service
                .real_servers
                .iter()
                .map(|real_server| PoolRealServer::new(real_server, next_target))
                .collect(),
            table_size,
            table: CachedTable::default(),
        })
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
            owners: self.owners.clone(),
            table: Arc::clone(&self.table.slots),
            real_servers: self
                .real_servers
                .iter()
                .map(|real_server| real_server.desired(next_hops))
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

    fn desired(&self, next_hops: &NextHops) -> RealServer {
        let (mode, next_hop) = match next_hops.get(&self.address) {
            Some(network::NextHop::Resolved { mac, ifindex, .. }) => (
                Mode::Dr,
                NextHop::Via {
                    mac: *mac,
                    device: *ifindex,
                },
            ),
            Some(network::NextHop::Local) => (Mode::Local, NextHop::Unresolved),
            Some(network::NextHop::Unresolved { .. }) | None => (Mode::Dr, NextHop::Unresolved),
        };
        RealServer {
            address: self.address,
            port: self.port.unwrap_or(0),
            mode,
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
