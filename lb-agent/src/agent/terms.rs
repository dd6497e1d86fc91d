//! What becomes of the flows that real servers have: those that were drained, found dead, or removed.
//!
//! Plain data and decisions; the time comes with each call. What it knows is in the maps as well (`Backend::tenure`,
//! `Backend::until_s`), from where the next start takes it.

use crate::{
    balance::term::{Limits, Standing, Term},
    config::{self, Config},
    datapath::{Desired, NextHop, RealServer, Service, xdp::Inheritance},
};
use lb_common::{BackendState, Mode, ServiceKey, Tenure};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The terms of all real servers.
#[derive(Debug, Default)]
pub struct Terms {
    limits: BTreeMap<String, Limits>,
    known: BTreeMap<Key, Known>,
}

/// A real server of a service: the service's name, address and port.
type Key = (String, IpAddr, u16);

#[derive(Debug)]
struct Known {
    standing: Standing,
    term: Term,
    /// As it was last desired: what goes on after it was removed.
    last: RealServer,
}

impl Terms {
    /// The services' limits.
    pub fn new(config: &Config) -> Self {
        let limits = config
            .services
            .iter()
            .map(|service| (service.name.clone(), limits(service)))
            .collect();
        Self {
            limits,
            known: BTreeMap::new(),
        }
    }

    /// Goes by the limits of another configuration from now on.
    pub fn follow(&mut self, config: &Config) {
        self.limits = Self::new(config).limits;
    }

    /// Takes over what an earlier life left in the maps, also of real servers that the configuration has no more.
    pub fn inherit<'a>(
        &mut self,
        services: impl Iterator<Item = (&'a str, &'a [ServiceKey])>,
        inheritance: &Inheritance,
    ) {
        for (name, keys) in services {
            for backend in inheritance.backends(keys) {
                let state = BackendState::try_from(backend.state).unwrap_or(BackendState::Down);
                let term = Term {
                    tenure: Tenure::try_from(backend.tenure).unwrap_or(Tenure::Released),
                    until_s: (backend.until_s != 0).then_some(u64::from(backend.until_s)),
                };
                let standing = match (state, term.tenure) {
                    // A dead one keeps its flows only where that is how it is drained.
                    (BackendState::Down, Tenure::Keeps) => Standing::Drained,
                    (BackendState::Down, _) => Standing::Dead,
                    // Drained and removed come to the same.
                    (BackendState::Up, _) if backend.weight == 0 || term != Term::default() => {
                        Standing::Drained
                    }
                    (BackendState::Up, _) => Standing::Serving,
                };
                let last = RealServer {
                    address: backend.address,
                    port: backend.port,
                    mode: Mode::try_from(backend.mode).unwrap_or(Mode::Dr),
                    tunnel_source: None,
                    weight: backend.weight,
                    state,
                    term,
                    next_hop: NextHop::Unresolved,
                };
                let key = (name.to_owned(), backend.address, backend.port);
                let known = Known {
                    standing,
                    term,
                    last,
                };
                self.known.insert(key, known);
            }
        }
    }

    /// Addresses of all real servers that may have flows.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.known.values().map(|known| known.last.address)
    }

    /// What becomes of the flows of a real server, if it is known.
    pub fn term(&self, service: &str, address: IpAddr, port: u16) -> Option<Term> {
        let known = self.known.get(&(service.to_owned(), address, port))?;
        Some(known.term)
    }

    /// Enters the terms into `desired`, and the real servers that were removed but keep flows. What is wished for a real
    /// server's flows stands there already: one that is dead has them held for a while, or keeps them as if it were
    /// drained; one that the operator has taken out keeps none; one that is drained may keep them until then.
    pub fn apply(
        &mut self,
        desired: &mut Desired,
        way_to: impl Fn(&str, IpAddr) -> Option<RealServer>,
        now_s: u64,
    ) {
        for service in &mut desired.services {
            self.apply_to(service, &way_to, now_s);
        }
        let names: BTreeSet<&String> = desired
            .services
            .iter()
            .map(|service| &service.name)
            .collect();
        self.known.retain(|(name, _, _), _| names.contains(name));
    }

    /// When the next term ends, seconds of boot time.
    pub fn next_end_s(&self) -> Option<u64> {
        self.known
            .values()
            .filter_map(|known| known.term.until_s)
            .min()
    }

    fn apply_to(
        &mut self,
        service: &mut Service,
        way_to: &impl Fn(&str, IpAddr) -> Option<RealServer>,
        now_s: u64,
    ) {
        let limits = self.limits.get(&service.name).copied().unwrap_or(Limits {
            drain_s: 0,
            dead_hold_s: 0,
        });
        let mut present = BTreeSet::new();
        for real_server in &mut service.real_servers {
            let key = (service.name.clone(), real_server.address, real_server.port);
            let wish = real_server.term;
            let standing = match (wish.tenure, real_server.state) {
                (Tenure::Released, _) => Standing::Disabled,
                (Tenure::Holds, BackendState::Down) => Standing::Dead,
                (Tenure::Keeps, BackendState::Down) => Standing::Drained,
                (_, BackendState::Up) if real_server.weight == 0 => Standing::Drained,
                (_, BackendState::Up) => Standing::Serving,
            };
            let known = self.known.entry(key.clone()).or_insert_with(|| Known {
                standing,
                term: Term::first(standing, now_s, limits),
                last: real_server.clone(),
            });
            known.change(standing, now_s, limits);
            if standing == Standing::Drained
                && known.term.tenure == Tenure::Keeps
                && wish.until_s.is_some()
            {
                known.term.until_s = wish.until_s;
                known.term = known.term.at(now_s);
            }
            real_server.term = known.term;
            known.last = real_server.clone();
            present.insert(key);
        }
        let own = |key: &Key| key.0 == service.name && !present.contains(key);
        for (_, known) in self.known.iter_mut().filter(|(key, _)| own(key)) {
            known.change(Standing::Removed, now_s, limits);
        }
        self.known
            .retain(|key, known| !own(key) || known.term.tenure != Tenure::Released);
        for (_, known) in self.known.iter().filter(|(key, _)| own(key)) {
            let Some(way) = way_to(&service.name, known.last.address) else {
                continue;
            };
            service.real_servers.push(RealServer {
                mode: way.mode,
                next_hop: way.next_hop,
                tunnel_source: way.tunnel_source,
                term: known.term,
                weight: 0,
                ..known.last.clone()
            });
        }
    }
}

impl Known {
    fn change(&mut self, standing: Standing, now_s: u64, limits: Limits) {
        self.term = self
            .term
            .at(now_s)
            .changed(self.standing, standing, now_s, limits);
        self.standing = standing;
    }
}

fn limits(service: &config::Service) -> Limits {
    let seconds = |duration: std::time::Duration| duration.as_millis().div_ceil(1000) as u64;
    Limits {
        drain_s: seconds(service.drain_timeout),
        dead_hold_s: seconds(service.dead_hold),
    }
}

#[cfg(test)]
mod tests;
