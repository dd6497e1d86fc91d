//! Another configuration: what goes on, goes on with what is known of it.

use super::{Pool, PoolRealServer};
use crate::{config, health::TargetId, vrrp::shell::Numbers};
use std::collections::{BTreeMap, BTreeSet};

impl Pool {
    /// Gives the services the ownership words of `numbers`, in the place of those by the instances' order.
    pub fn renumber(&mut self, instances: &[config::Vrrp], numbers: &Numbers) {
        let owners = self
            .services
            .iter_mut()
            .flat_map(|service| &mut service.owners);
        for owner in owners {
            let place = usize::from(*owner).checked_sub(1);
            let instance = place.and_then(|place| instances.get(place));
            if let Some(number) = instance.and_then(|instance| numbers.of(&instance.name)) {
                *owner = number;
            }
        }
    }

    /// Goes on with what `old` knows: checks that are the same, or of the same real server, keep their names and results.
    pub fn take_over(&mut self, old: &Self) {
        let ids = self.known_targets(old);
        for service in &mut self.services {
            for real_server in &mut service.real_servers {
                if let Some(target) = &mut real_server.target
                    && let Some(id) = ids.get(&target.id)
                {
                    target.id = *id;
                }
                let same = old.find(&service.name, real_server);
                let shared = || {
                    let id = real_server.target.as_ref().map(|target| target.id);
                    let mut others = old.real_servers().filter(|_| id.is_some());
                    others.find(|other| other.target.as_ref().map(|target| target.id) == id)
                };
                if let Some(known) = same.or_else(shared) {
                    real_server.take_over(known);
                }
            }
        }
        self.judge_anew();
    }

    /// For each target its name from now on: that of an equal one, else that of the same real server, else one that nobody had.
    fn known_targets(&self, old: &Self) -> BTreeMap<TargetId, TargetId> {
        let former = old.targets();
        let mut ids = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for target in self.targets() {
            let mut equal = former.iter().filter(|former| former.spec == target.spec);
            if let Some(equal) = equal.find(|former| !taken.contains(&former.id)) {
                taken.insert(equal.id);
                ids.insert(target.id, equal.id);
            }
        }
        for service in &self.services {
            for real_server in &service.real_servers {
                let Some(target) = &real_server.target else {
                    continue;
                };
                let known = old.find(&service.name, real_server);
                let known = known.and_then(|known| Some(known.target.as_ref()?.id));
                if let Some(known) = known.filter(|known| !taken.contains(known))
                    && !ids.contains_key(&target.id)
                {
                    taken.insert(known);
                    ids.insert(target.id, known);
                }
            }
        }
        let last = former.iter().map(|target| target.id.0).max();
        let mut next = last.map_or(0, |last| last + 1);
        for target in self.targets() {
            ids.entry(target.id).or_insert_with(|| {
                next += 1;
                TargetId(next - 1)
            });
        }
        ids
    }

    fn real_servers(&self) -> impl Iterator<Item = &PoolRealServer> {
        let services = self.services.iter();
        services.flat_map(|service| &service.real_servers)
    }

    fn find(&self, service: &str, real_server: &PoolRealServer) -> Option<&PoolRealServer> {
        let services = self.services.iter().filter(|known| known.name == service);
        let mut known = services.flat_map(|service| &service.real_servers);
        let place = (real_server.address, real_server.port);
        known.find(|known| (known.address, known.port) == place)
    }
}
