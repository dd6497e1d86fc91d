//! All virtual routers of one host: their elections, what they depend on, and the groups they move in.
//!
//! A [`Node`] is to its [`Machine`]s what a machine is to one election: it has no clock, socket or task, is told what
//! happens and when, and says what to do.
//!
//! # Groups
//!
//! Instances of a sync group are master together or not at all:
//!
//! * None takes over before every one of them would: what one of them hears keeps all of them back.
//! * When one is no longer master, the others give their addresses up too, in the same step.
//! * A fault of one is a fault of all. They recover together.
//! * Weights count for all of them: members of unlike priority would win on one network and lose on the other. For the
//!   same reason the routers of a group should have unlike priorities, each the same in all of its instances.

use std::collections::BTreeSet;
use std::num::NonZeroU8;
use std::time::Instant;

use super::fsm::{Action, Advert, Local, Machine, Notice, Parameters, Promotion, Refusal, State};
use super::tracking::{Condition, Conditions, Source, Tracked};

/// What an operator chose for one instance.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its name.
    pub name: String,
    /// With the priority before any weight is counted. Whether it takes over by itself is decided here.
    pub parameters: Parameters,
    /// What it depends on.
    pub tracked: Vec<Tracked>,
}

/// What an operator chose for one group.
#[derive(Clone, Debug)]
pub struct GroupSetup {
    /// Its name.
    pub name: String,
    /// Places of its instances in the list of all. An instance is in one group at most.
    pub members: Vec<usize>,
    /// What all of them depend on.
    pub tracked: Vec<Tracked>,
}

/// An action of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its place in the list of all.
    pub instance: usize,
    /// What to do.
    pub action: Action,
}

/// All virtual routers of one host.
#[derive(Clone, Debug)]
pub struct Node {
    instances: Vec<Instance>,
    groups: Vec<GroupSetup>,
    conditions: Conditions,
}

/// One virtual router.
#[derive(Clone, Debug)]
struct Instance {
    name: String,
    machine: Machine,
    /// The priority before any weight is counted.
    base: NonZeroU8,
    tracked: Vec<Tracked>,
    group: Option<usize>,
}

impl Node {
    /// One that has not been started.
    pub fn new(setups: Vec<Setup>, groups: Vec<GroupSetup>, now: Instant) -> Self {
        let group_of = |instance: usize| {
            groups
                .iter()
                .position(|group| group.members.contains(&instance))
        };
        let instances = setups.into_iter().enumerate().map(|(place, setup)| {
            let group = group_of(place);
            let promotion = match group {
                Some(_) => Promotion::Together,
                None => Promotion::AtOnce,
            };
            let base = setup.parameters.priority;
            let parameters = Parameters {
                promotion,
                ..setup.parameters
            };
            Instance {
                name: setup.name,
                machine: Machine::new(parameters, now),
                base,
                tracked: setup.tracked,
                group,
            }
        });
        Self {
            instances: instances.collect(),
            groups: groups.clone(),
            conditions: Conditions::default(),
        }
    }

    /// All instances take part from now on. The addresses of those in `left_behind` are here, left by an earlier life of
    /// the agent that was cut off; where that is not so of all that move together, it does not count.
    #[must_use = "steps are to be carried out"]
    pub fn start(&mut self, left_behind: &BTreeSet<usize>, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        self.weigh(now, &mut steps);
        for instance in 0..self.instances.len() {
            let members = self.moving_with(instance);
            let adopts = members.iter().all(|member| left_behind.contains(member));
            let event = if adopts { Local::Adopt } else { Local::Start };
            self.local(instance, event, now, &mut steps);
        }
        self.move_together(now, &mut steps);
        steps
    }

    /// All instances give up their addresses and take part no more.
    #[must_use = "steps are to be carried out"]
    pub fn stop(&mut self, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        for instance in 0..self.instances.len() {
            self.local(instance, Local::Stop, now, &mut steps);
        }
        steps
    }

    /// An instance is not configured any more: it gives up its addresses and takes part no more.
    #[must_use = "steps are to be carried out"]
    pub fn retire(&mut self, instance: usize, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        self.local(instance, Local::Stop, now, &mut steps);
        steps
    }

    /// Notes how something is that nobody depends on yet, unless it is known.
    pub fn suppose(&mut self, source: Source, condition: Condition) {
        if self.conditions.get(&source) == Condition::Unknown {
            self.conditions.set(source, condition);
        }
    }

    /// A reload: these are the instances and groups from now on. Those with a place in `from` are the ones that were
    /// there before, and go on; the others are new, and take part from now on.
    #[must_use = "steps are to be carried out"]
    pub fn replace(
        &mut self,
        setups: Vec<Setup>,
        groups: Vec<GroupSetup>,
        from: &[Option<usize>],
        now: Instant,
    ) -> Vec<Step> {
        let changed: Vec<Parameters> = setups
            .iter()
            .map(|setup| setup.parameters.clone())
            .collect();
        let fresh = Self::new(setups, groups, now);
        let mut old: Vec<Option<Instance>> = std::mem::take(&mut self.instances)
            .into_iter()
            .map(Some)
            .collect();
        let kept = |place: usize, old: &mut Vec<Option<Instance>>| {
            let from = from.get(place).copied().flatten()?;
            old.get_mut(from)?.take().map(|instance| instance.machine)
        };
        for (place, instance) in fresh.instances.into_iter().enumerate() {
            let machine = kept(place, &mut old).unwrap_or_else(|| instance.machine.clone());
            self.instances.push(Instance {
                machine,
                ..instance
            });
        }
        self.groups = fresh.groups;
        let mut steps = Vec::new();
        for (place, parameters) in changed.into_iter().enumerate() {
            let is_kept = from.get(place).copied().flatten().is_some();
            if let Some((priority, _)) = self.weighed(place).filter(|_| is_kept) {
                let promotion = match self.instances.get(place).and_then(|found| found.group) {
                    Some(_) => Promotion::Together,
                    None => Promotion::AtOnce,
                };
                let parameters = Parameters {
                    priority,
                    promotion,
                    ..parameters
                };
                if self.machine(place).map(Machine::parameters) != Some(&parameters) {
                    self.local(place, Local::Parameters(parameters), now, &mut steps);
                }
            }
        }
        self.weigh(now, &mut steps);
        for place in 0..self.instances.len() {
            if from.get(place).copied().flatten().is_none() {
                self.local(place, Local::Start, now, &mut steps);
            }
        }
        self.move_together(now, &mut steps);
        steps
    }

    /// An instance received and accepted an advert of another router.
    #[must_use = "steps are to be carried out"]
    pub fn on_packet(&mut self, instance: usize, advert: &Advert, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(receiver) = self.instances.get_mut(instance) {
            let actions = receiver.machine.on_packet(advert, now);
            append(&mut steps, instance, actions);
        }
        self.move_together(now, &mut steps);
        steps
    }

    /// A deadline has come. Too early a call does nothing.
    #[must_use = "steps are to be carried out"]
    pub fn on_timer(&mut self, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        for (place, instance) in self.instances.iter_mut().enumerate() {
            let deadline = instance.machine.next_deadline();
            if deadline.is_some_and(|deadline| deadline <= now) {
                append(&mut steps, place, instance.machine.on_timer(now));
            }
        }
        self.move_together(now, &mut steps);
        steps
    }

    /// Something that instances may depend on was looked at.
    #[must_use = "steps are to be carried out"]
    pub fn on_condition(
        &mut self,
        source: Source,
        condition: Condition,
        now: Instant,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.conditions.set(source, condition) {
            self.weigh(now, &mut steps);
            self.move_together(now, &mut steps);
        }
        steps
    }

    /// The addresses of an instance that it advertises or sets are others now, or were meddled with.
    #[must_use = "steps are to be carried out"]
    pub fn on_addresses_changed(&mut self, instance: usize, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        self.local(instance, Local::AddressesChanged, now, &mut steps);
        steps
    }

    /// By hand: the instance, and all that move with it, give up their addresses.
    #[must_use = "steps are to be carried out"]
    pub fn release(&mut self, instance: usize, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        for member in self.moving_with(instance) {
            self.local(member, Local::Release, now, &mut steps);
        }
        steps
    }

    /// By hand: the instance, and all that move with it, take their addresses. If one of them cannot, none does.
    #[must_use = "steps are to be carried out"]
    pub fn claim(&mut self, instance: usize, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        let members = self.moving_with(instance);
        match self.refusal(&members) {
            Some((instance, refusal)) => steps.push(Step {
                instance,
                action: Action::Report(Notice::Refused(refusal)),
            }),
            None => {
                for member in members {
                    self.local(member, Local::Claim, now, &mut steps);
                }
            }
        }
        steps
    }

    /// When [`on_timer`](Self::on_timer) has something to do; in the past means at once.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = self.instances.iter();
        deadlines
            .filter_map(|instance| instance.machine.next_deadline())
            .min()
    }

    /// The election of one instance.
    pub fn machine(&self, instance: usize) -> Option<&Machine> {
        self.instances.get(instance).map(|found| &found.machine)
    }

    /// The elections of all, in order, with the names of the instances.
    pub fn machines(&self) -> impl Iterator<Item = (&str, &Machine)> {
        let all = self.instances.iter();
        all.map(|instance| (instance.name.as_str(), &instance.machine))
    }

    fn refusal(&self, members: &[usize]) -> Option<(usize, Refusal)> {
        members.iter().find_map(|&member| {
            let refusal = self.machine(member)?.refusal()?;
            Some((member, refusal))
        })
    }

    /// The instance, and those of its group.
    fn moving_with(&self, instance: usize) -> Vec<usize> {
        let group = self.instances.get(instance).and_then(|found| found.group);
        match group.and_then(|group| self.groups.get(group)) {
            Some(group) => group.members.clone(),
            None => vec![instance],
        }
    }

    fn local(&mut self, instance: usize, event: Local, now: Instant, steps: &mut Vec<Step>) {
        if let Some(found) = self.instances.get_mut(instance) {
            append(steps, instance, found.machine.on_local(event, now));
        }
    }

    /// Tells every instance what conditions mean for it.
    fn weigh(&mut self, now: Instant, steps: &mut Vec<Step>) {
        for instance in 0..self.instances.len() {
            let Some((priority, faults)) = self.weighed(instance) else {
                continue;
            };
            let Some(machine) = self.machine(instance) else {
                continue;
            };
            let former: BTreeSet<String> = machine.faults().map(str::to_owned).collect();
            if machine.parameters().priority != priority {
                self.local(instance, Local::Priority(priority), now, steps);
            }
            // What is down first: nothing recovers while something else has just failed.
            for source in faults.difference(&former) {
                self.local(instance, Local::Down(source.clone()), now, steps);
            }
            for source in former.difference(&faults) {
                self.local(instance, Local::Up(source.clone()), now, steps);
            }
        }
    }

    /// The priority of an instance, and its faults.
    fn weighed(&self, instance: usize) -> Option<(NonZeroU8, BTreeSet<String>)> {
        let found = self.instances.get(instance)?;
        let words = |source: &Source| source.to_string();
        let own: BTreeSet<_> = self.conditions.faults(&found.tracked).map(words).collect();
        let Some(group) = found.group.and_then(|group| self.groups.get(group)) else {
            let priority = self.conditions.priority(found.base, &found.tracked);
            return Some((priority, own));
        };
        let members = || {
            let members = group.members.iter();
            members.filter_map(|&member| self.instances.get(member))
        };
        let others = members().filter(|member| member.name != found.name);
        let others = others.flat_map(|member| {
            let faults = self.conditions.faults(&member.tracked);
            faults.map(move |source| format!("{source} of {}", member.name))
        });
        let groups = self.conditions.faults(&group.tracked).map(words);
        let faults = own.into_iter().chain(groups).chain(others).collect();
        // Something that several members depend on counts once.
        let mut tracked: Vec<&Tracked> = Vec::new();
        for one in members()
            .flat_map(|member| &member.tracked)
            .chain(&group.tracked)
        {
            if !tracked.contains(&one) {
                tracked.push(one);
            }
        }
        Some((self.conditions.priority(found.base, tracked), faults))
    }

    /// Restores that members of a group are master together or not at all.
    fn move_together(&mut self, now: Instant, steps: &mut Vec<Step>) {
        for group in 0..self.groups.len() {
            let Some(members) = self.groups.get(group).map(|group| group.members.clone()) else {
                continue;
            };
            let state = |member: &usize| self.machine(*member).map(Machine::state);
            let is_ready = |member: &usize| self.machine(*member).is_some_and(Machine::is_ready);
            let all_ready = members.iter().all(is_ready);
            let lost = members
                .iter()
                .find(|member| state(member) != Some(State::Master))
                .and_then(|&member| self.instances.get(member))
                .map(|instance| instance.name.clone());
            match lost {
                None => {}
                Some(_) if all_ready => {
                    for &member in &members {
                        self.local(member, Local::Promote, now, steps);
                    }
                }
                // Does nothing to those that are not master.
                Some(lost) => {
                    for &member in &members {
                        let member_lost = lost.clone();
                        let event = Local::Yield {
                            member: member_lost,
                        };
                        self.local(member, event, now, steps);
                    }
                }
            }
        }
    }
}

fn append(steps: &mut Vec<Step>, instance: usize, actions: Vec<Action>) {
    steps.extend(actions.into_iter().map(|action| Step { instance, action }));
}

#[cfg(test)]
mod tests;
