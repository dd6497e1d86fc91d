//! The services and their real servers as they stand: from configuration and health to what the data plane is to do.
//!
//! Plain data and decisions; no sockets, no clock.

use super::ownership::Held;
use crate::{
    balance,
    config::Config,
    datapath::{
        Desired, Device, RealServer,
        xdp::{Demand, Inheritance},
    },
    health::{Event, KindError, Maker, Target, TargetId, detour::Steerer},
    network::{HostAddresses, NextHops},
    script::{Runner, ScriptError},
};
use change::Commands;
use lb_common::BackendState;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Instant,
};
use targets::Targets;

mod change;
mod forwarding;
mod real_server;
mod reload;
mod service;
mod targets;
mod word;

pub use change::{Change, History};
pub use real_server::PoolRealServer;
pub use service::PoolService;
pub use word::{Stance, Word};

/// All services.
#[derive(Debug)]
pub struct Pool {
    services: Vec<PoolService>,
    steerer: Steerer,
}

/// Addresses of the host itself that the service table has room for, besides those of services.
const HOST_ADDRESSES: u32 = 64;

/// A configuration that cannot be turned into services.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The table's size is not possible. [`config::load`](crate::config::load) lets none pass.
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
    /// A command for its changes cannot be run.
    #[error("service {service}: notify: {source}")]
    Notify {
        /// The service's name.
        service: String,
        /// What is wrong with it.
        #[source]
        source: ScriptError,
    },
}

impl Pool {
    /// How packets would go to a real server at `address` that service `name` had, if there is such a service.
    pub(super) fn way_to(
        &self,
        name: &str,
        address: IpAddr,
        next_hops: &NextHops,
    ) -> Option<RealServer> {
        let service = self.services.iter().find(|service| service.name == name)?;
        Some(service.way_to(address, next_hops))
    }

    /// The services of a configuration, every real server up unless it is to start down. `runner` sees to commands.
    ///
    /// # Errors
    /// Where a check or a command cannot be made ready.
    pub fn new(config: &Config, runner: &Runner) -> Result<Self, PoolError> {
        let steerer = Steerer::default();
        let mut targets = Targets::new(Maker::new(config, runner), steerer.clone());
        let commands = Commands {
            settings: &config.scripts,
            runner,
        };
        let services = config
            .services
            .iter()
            .map(|service| PoolService::new(service, &config.vrrp, &mut targets, &commands))
            .collect::<Result<_, _>>()?;
        let mut pool = Self { services, steerer };
        pool.judge_anew();
        Ok(pool)
    }

    /// The services.
    pub fn services(&self) -> &[PoolService] {
        &self.services
    }

    /// Takes over what an earlier life knew: a server that it found dead stays out until a check finds otherwise, and one
    /// that it found well goes on serving, even where it would otherwise start down.
    pub fn inherit(&mut self, inheritance: &Inheritance) {
        let mut known: BTreeMap<TargetId, BackendState> = BTreeMap::new();
        for service in &self.services {
            for real_server in &service.real_servers {
                let port = real_server.port.unwrap_or(0);
                let found = inheritance.backend(&service.keys, real_server.address, port);
                let (Some(found), Some(target)) = (found, &real_server.target) else {
                    continue;
                };
                // Those that share a check share what is known: it will report them together.
                match BackendState::try_from(found.state) {
                    Ok(BackendState::Down) => {
                        known.insert(target.id, BackendState::Down);
                    }
                    Ok(BackendState::Up) => {
                        known.entry(target.id).or_insert(BackendState::Up);
                    }
                    Err(_) => {}
                }
            }
        }
        let all = self
            .services
            .iter_mut()
            .flat_map(|service| &mut service.real_servers);
        for real_server in all {
            let target = real_server.target.as_ref();
            if let Some(&state) = target.and_then(|target| known.get(&target.id)) {
                real_server.inherit(state);
            }
        }
        self.judge_anew();
    }

    /// The same of what the data plane does not know: services with mode local, real servers, states.
    pub fn inherit_local<'a>(
        &mut self,
        known: impl Iterator<Item = (&'a str, &'a str, BackendState)>,
    ) {
        for (service, real_server, state) in known {
            let mut services = self.services.iter_mut();
            let service = services.find(|known| known.name == service && !known.is_forwarded());
            let real_servers = service.map(|service| service.real_servers.iter_mut());
            let mut real_servers = real_servers.into_iter().flatten();
            if let Some(found) = real_servers.find(|known| known.display_address() == real_server) {
                found.inherit(state);
            }
        }
        self.judge_anew();
    }

    /// Everything that is to be checked, each once.
    pub fn targets(&self) -> Vec<Target> {
        targets_of(self.services.iter())
    }

    /// What is to be checked while these ownership words are held here: services may want no checks elsewhere.
    pub fn targets_while(&self, held: &Held) -> Vec<Target> {
        targets_of(
            self.services
                .iter()
                .filter(|service| service.is_checked(held)),
        )
    }

    /// Whether services have enough that lives, by name.
    pub fn enough(&self) -> BTreeMap<String, bool> {
        let services = self.services.iter();
        services
            .map(|service| (service.name.clone(), service.is_up()))
            .collect()
    }

    /// Those that packets are forwarded for.
    fn forwarded(&self) -> impl Iterator<Item = &PoolService> {
        self.services
            .iter()
            .filter(|service| service.is_forwarded())
    }

    /// Addresses whose next hops are needed.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let addresses: BTreeSet<IpAddr> =
            self.forwarded().flat_map(PoolService::addresses).collect();
        addresses.into_iter().collect()
    }

    /// Who sees to checks by way of the virtual address; `None`: there is no such check.
    pub fn steerer(&self) -> Option<&Steerer> {
        let mut targets = self
            .services
            .iter()
            .flat_map(|service| &service.real_servers);
        let by_vip = |one: &PoolRealServer| {
            let target = one.target.as_ref();
            target.is_some_and(|target| target.spec.probe.origin.detour.is_some())
        };
        targets.any(by_vip).then_some(&self.steerer)
    }

    /// What the tables take at most.
    pub fn demand(&self) -> Demand {
        Demand {
            services: self.forwarded().map(PoolService::entries).sum::<u32>()
                + if self.translates() { HOST_ADDRESSES } else { 0 },
            backends: self
                .forwarded()
                .map(|service| service.addresses().count() as u32)
                .sum(),
            slots: self
                .forwarded()
                .map(|service| service.table_size.slots())
                .fold(0, u32::saturating_add),
        }
    }

    /// Takes in a result of a check, and says what it changes.
    pub fn on_health(&mut self, event: &Event, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        for service in &mut self.services {
            for real_server in &mut service.real_servers {
                let target = real_server.target.as_ref();
                if target.is_some_and(|target| target.id == event.target) {
                    changes.extend(real_server.on_health(&service.name, event, now));
                }
            }
        }
        changes.extend(self.judge(now));
        changes
    }

    /// Takes in what the operator says about a real server, and says what it changes. Of one that is not there nothing
    /// changes.
    pub fn on_word(
        &mut self,
        service: &str,
        real_server: &str,
        word: Word,
        now: Instant,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for known in self
            .services
            .iter_mut()
            .filter(|known| known.name == service)
        {
            let mut real_servers = known.real_servers.iter_mut();
            if let Some(found) = real_servers.find(|known| known.display_address() == real_server) {
                changes.extend(found.on_word(&known.name, word, now));
            }
        }
        changes.extend(self.judge(now));
        changes
    }

    /// Takes in that a real server was drained, and says what that changes.
    pub fn on_drained(
        &mut self,
        service: &str,
        real_server: &str,
        reason: &str,
        now: Instant,
    ) -> Option<Change> {
        let mut services = self.services.iter_mut();
        let known = services.find(|known| known.name == service)?;
        let mut real_servers = known.real_servers.iter_mut();
        real_servers
            .find(|known| known.display_address() == real_server)?
            .on_drained(service, reason, now)
    }

    /// Takes in all that the operator has said in earlier lives, before anything is served.
    pub fn recall<'a>(&mut self, words: impl Iterator<Item = (&'a str, &'a str, Word)>) {
        for (service, real_server, word) in words {
            let services = self
                .services
                .iter_mut()
                .filter(|known| known.name == service);
            let mut found = services
                .flat_map(|service| &mut service.real_servers)
                .filter(|known| known.display_address() == real_server);
            match found.next() {
                Some(found) => found.word = word,
                None => tracing::warn!(
                    service,
                    real_server,
                    "the operator has said something about a real server that is not configured; it is kept"
                ),
            }
        }
        self.judge_anew();
    }

    /// When something changes by itself.
    pub fn next_step(&self, now: Instant) -> Option<Instant> {
        self.services
            .iter()
            .filter_map(|service| service.next_step(now))
            .min()
    }

    /// What the data plane is to do, given where the real servers are and which addresses the host has.
    pub fn desired(
        &mut self,
        next_hops: &NextHops,
        devices: Vec<Device>,
        addresses: &HostAddresses,
        now: Instant,
    ) -> Desired {
        let translates = self.translates();
        let local = addresses.iter().filter(|_| translates);
        let local = local.map(|own| own.address).collect();
        let services = self
            .services
            .iter_mut()
            .filter(|service| service.is_forwarded())
            .map(|service| service.desired(next_hops, now))
            .collect();
        Desired {
            services,
            devices,
            local,
        }
    }

    /// Whether replies of real servers pass here.
    fn translates(&self) -> bool {
        self.services.iter().any(PoolService::translates)
    }

    /// Before anything is served: what was judged until now is no state that could change.
    fn judge_anew(&mut self) {
        for service in &mut self.services {
            service.judge_anew();
        }
    }

    fn judge(&mut self, now: Instant) -> Vec<Change> {
        self.services
            .iter_mut()
            .filter_map(|service| service.judge(now))
            .collect()
    }
}

fn targets_of<'a>(services: impl Iterator<Item = &'a PoolService>) -> Vec<Target> {
    let real_servers = services.flat_map(|service| &service.real_servers);
    let targets = real_servers.filter_map(|real_server| real_server.target.as_ref());
    let each_once: BTreeMap<TargetId, &Target> =
        targets.map(|target| (target.id, target)).collect();
    each_once.into_values().cloned().collect()
}

#[cfg(test)]
pub(super) use tests::pool_of as test_pool;
#[cfg(test)]
mod tests;
