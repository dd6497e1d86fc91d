//! Another configuration, while elections go on.
//!
//! An instance of the same name, interface, virtual router id, family and version goes on: its deadlines stand, and what the
//! change asks for is done by the election itself. Others resign, or begin as at a start.

use super::{Elections, Group, Member, socket_for};
use crate::vrrp::{
    counters::Counters,
    fsm::State,
    shell::{
        VrrpError,
        host::Job,
        news::NewsSink,
        plan::{Instance, Plan},
    },
    tracking::Source,
};
use std::collections::{BTreeMap, BTreeSet};

impl Elections {
    /// Goes by `plan` from now on.
    ///
    /// # Errors
    /// Where a socket cannot be opened; nothing has changed then.
    pub(in crate::vrrp::shell) async fn reload(
        &mut self,
        plan: Plan,
        news: NewsSink,
    ) -> Result<(), VrrpError> {
        let mut opened = Vec::new();
        let mut places: BTreeMap<_, _> = self.places.clone();
        for instance in &plan.instances {
            socket_for(instance, &mut places, self.sockets.len(), &mut opened)?;
        }
        let mut senders = Vec::new();
        for instance in &plan.instances {
            senders.push(super::sender(instance)?);
        }
        self.sockets.extend(opened);
        self.places = places;

        let from: Vec<Option<usize>> = plan
            .instances
            .iter()
            .map(|instance| {
                self.members
                    .iter()
                    .position(|member| goes_on(&member.instance, instance))
            })
            .collect();
        let kept: BTreeSet<usize> = from.iter().copied().flatten().collect();
        for place in (0..self.members.len()).filter(|place| !kept.contains(place)) {
            let steps = self.node.retire(place, self.clock.now());
            self.carry_out(steps).await;
        }
        let readdressed: Vec<usize> = from
            .iter()
            .zip(&plan.instances)
            .enumerate()
            .filter_map(|(place, (from, instance))| {
                let old = &self.members.get((*from)?)?.instance;
                let is_same = old.addresses == instance.addresses
                    && old.advert.addresses == instance.advert.addresses;
                (!is_same).then_some(place)
            })
            .collect();

        self.give(Job::Replace(plan.instances.clone(), from.clone()))
            .await;
        self.fence.arm(&plan.instances);
        self.news = news;
        self.regroup(&plan);
        let mut old: Vec<Option<Member>> = std::mem::take(&mut self.members)
            .into_iter()
            .map(Some)
            .collect();
        for ((instance, from), sender) in plan.instances.iter().zip(&from).zip(senders) {
            let kept = from.and_then(|from| old.get_mut(from)?.take());
            let socket = self
                .places
                .get(&place_of(instance))
                .copied()
                .unwrap_or_default();
            self.members.push(match kept {
                Some(member) => Member {
                    instance: instance.clone(),
                    socket,
                    sender,
                    ..member
                },
                None => Member {
                    instance: instance.clone(),
                    socket,
                    sender,
                    refused: Counters::new(),
                    complaints: BTreeMap::new(),
                    sends: true,
                    changed: (State::Init, String::new()),
                },
            });
        }
        self.track(&plan);
        let steps = self
            .node
            .replace(plan.setups, plan.groups, &from, self.clock.now());
        self.carry_out(steps).await;
        for place in readdressed {
            let steps = self.node.on_addresses_changed(place, self.clock.now());
            self.carry_out(steps).await;
        }
        Ok(())
    }

    /// Notes what is known of what instances begin to depend on. A script or service that is new to them counts as well
    /// until it is heard of: nothing that goes on is to fall for a check that has not been made.
    fn track(&mut self, plan: &Plan) {
        let of_groups = plan.groups.iter().flat_map(|group| &group.tracked);
        let of_all = plan.setups.iter().flat_map(|setup| &setup.tracked);
        let sources: BTreeSet<Source> = of_all
            .chain(of_groups)
            .map(|tracked| tracked.source.clone())
            .collect();
        self.tracked = sources.iter().filter_map(super::interface_of).collect();
        for source in sources {
            let condition = match &source {
                Source::Interface(name) => self.link(name),
                Source::Script(_) | Source::Service(_) => crate::vrrp::tracking::Condition::Up,
            };
            self.node.suppose(source, condition);
        }
    }

    fn regroup(&mut self, plan: &Plan) {
        let old = std::mem::take(&mut self.groups);
        let state_of = |name: &str| {
            let known = old.iter().find(|group| group.name == name);
            known.map_or(State::Init, |group| group.state)
        };
        let group = |group: &crate::vrrp::node::GroupSetup| Group {
            name: group.name.clone(),
            members: group.members.clone(),
            state: state_of(&group.name),
        };
        self.groups = plan.groups.iter().map(group).collect();
    }
}

/// Whether one election is the other's, under a new configuration.
fn goes_on(old: &Instance, new: &Instance) -> bool {
    let identity = |instance: &Instance| {
        (
            instance.name.clone(),
            place_of(instance),
            instance.advert.virtual_router_id,
            instance.filter.version,
            instance.virtual_mac.clone(),
        )
    };
    identity(old) == identity(new)
}

fn place_of(instance: &Instance) -> (u32, bool) {
    super::place_of(instance)
}
