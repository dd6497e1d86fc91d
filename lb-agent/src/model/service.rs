//! A service: its slots, its backends and its flows; what its agent does to them, and what they make of a packet.

use super::{Flows, Idle, Slot, Verdict, stateful::Memory};
use crate::balance::term::{Limits, Standing, Term};
use lb_common::{Reason, Scheduling, Segment, Tag, Tenure, hash};
use std::collections::BTreeMap;

/// Transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// The service's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Transport protocol.
    pub protocol: Protocol,
    /// How long a window lasts, seconds: `transition`, for UDP `udp_learn`.
    pub window_s: u64,
    /// How long flows may be silent.
    pub idle: Idle,
    /// How long a server keeps its flows.
    pub limits: Limits,
    /// How servers are chosen for new flows.
    pub scheduling: Scheduling,
    /// How long a client is known, seconds, where clients persist.
    pub persistence_s: u32,
}

/// A backend as its agent sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// How it stands.
    pub standing: Standing,
    /// What becomes of its flows.
    pub term: Term,
}

/// The state of one service.
#[derive(Clone, Debug)]
pub struct Service {
    rules: Rules,
    backends: BTreeMap<u32, Backend>,
    slots: Vec<Slot>,
    flows: Flows,
    pub(super) memory: Memory,
    clock: u32,
    #[cfg(test)]
    pub(super) fault: super::simulation::Fault,
}

impl Service {
    /// A service of this many slots that nobody serves yet.
    pub fn new(rules: Rules, slots: usize) -> Self {
        Self {
            rules,
            backends: BTreeMap::new(),
            slots: vec![Slot::default(); slots],
            flows: Flows::default(),
            memory: Memory::default(),
            clock: 0,
            #[cfg(test)]
            fault: super::simulation::Fault::None,
        }
    }

    /// The slots.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The backends by id.
    pub fn backends(&self) -> &BTreeMap<u32, Backend> {
        &self.backends
    }

    /// The remembered flows.
    pub fn flows(&self) -> &Flows {
        &self.flows
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Ticks that an agent was alive.
    pub(super) fn clock(&self) -> u32 {
        self.clock
    }

    /// The slot of a flow.
    pub fn slot(&self, tag: Tag) -> Option<&Slot> {
        self.slots.get(self.place(tag))
    }

    fn place(&self, tag: Tag) -> usize {
        let hash = self.rules.scheduling.slot_hash(tag.flow());
        hash::spread(hash, self.slots.len() as u32) as usize
    }

    /// Puts another table in the place of the one there is.
    pub(super) fn set_slots(&mut self, table: &[u32]) {
        let settled = |&id: &u32| Slot {
            current: Some(id),
            previous: Some(id),
            ..Slot::default()
        };
        self.slots = table.iter().map(settled).collect();
    }

    /// The agent commits: how each backend stands now (one that is left out was removed), and who owns each slot.
    pub fn commit(
        &mut self,
        standings: &BTreeMap<u32, Standing>,
        owner: impl Fn(usize) -> Option<u32>,
        now_s: u64,
    ) {
        for (&id, &standing) in standings {
            self.backends.entry(id).or_insert(Backend {
                standing,
                term: Term::first(standing, now_s, self.rules.limits),
            });
        }
        for (id, backend) in &mut self.backends {
            let standing = standings.get(id).copied().unwrap_or(Standing::Removed);
            backend.term = backend.term.at(now_s).changed(
                backend.standing,
                standing,
                now_s,
                self.rules.limits,
            );
            backend.standing = standing;
        }
        for (place, slot) in self.slots.iter_mut().enumerate() {
            slot.give(owner(place), now_s, self.rules.window_s);
            #[cfg(test)]
            self.fault.after_change(slot, &self.backends);
        }
        #[cfg(test)]
        self.fault.after_commit(&mut self.flows, &self.backends);
    }

    /// The agent is alive at this second: windows end, flows and backends grow old.
    pub fn tick(&mut self, now_s: u64) {
        self.clock = self.clock.wrapping_add(1);
        for backend in self.backends.values_mut() {
            backend.term = backend.term.at(now_s);
        }
        for slot in &mut self.slots {
            slot.tick(now_s);
        }
        self.backends.retain(|_, backend| {
            backend.standing != Standing::Removed || backend.term.tenure != Tenure::Released
        });
        // Nobody has the entry-less flows of a backend that is no more.
        for slot in self.slots.iter_mut().filter(|slot| slot.is_open()) {
            if slot
                .previous
                .is_some_and(|id| !self.backends.contains_key(&id))
            {
                slot.close();
            }
        }
        self.sweep();
    }

    /// Ends flows that were silent for too long or say what their slot says anyway; a slot without any is settled.
    fn sweep(&mut self) {
        let (slots, backends) = (&self.slots, &self.backends);
        let (idle, clock) = (self.rules.idle, self.clock);
        let scheduling = self.rules.scheduling;
        let place =
            |tag: Tag| hash::spread(scheduling.slot_hash(tag.flow()), slots.len() as u32) as usize;
        self.flows.retain(|tag, flow| {
            let says_more = scheduling.is_stateful() || {
                let slot = &slots[place(tag)];
                slot.is_open() || slot.current != Some(flow.backend)
            };
            backends.contains_key(&flow.backend)
                && clock.wrapping_sub(flow.seen) <= idle.of(flow.state)
                && says_more
        });
        if scheduling.is_stateful() {
            self.sweep_clients();
            return;
        }
        let mut remembers = vec![false; self.slots.len()];
        for tag in self.flows.tags() {
            remembers[place(tag)] = true;
        }
        for (slot, remembers) in self.slots.iter_mut().zip(remembers) {
            slot.remembers &= remembers || slot.is_open();
        }
    }

    /// A packet of the flow with this tag, from a client with that one (which means nothing unless clients persist).
    pub fn decide_for(&mut self, tag: Tag, client: Tag, segment: Segment) -> Verdict {
        if self.rules.scheduling.is_stateful() {
            self.decide_by_memory(tag, client, segment)
        } else {
            self.decide(tag, segment)
        }
    }

    /// A packet of the flow with this tag, of a service that computes its choice.
    pub fn decide(&mut self, tag: Tag, segment: Segment) -> Verdict {
        let Some(&slot) = self.slot(tag) else {
            return Verdict::Dropped(Reason::NoRealServer);
        };
        if slot.is_settled() {
            return to(slot.current);
        }
        if let Some(flow) = self.flows.get(tag) {
            let ends = segment == Segment::Syn && (flow.state.is_over() || self.syn_to_current());
            match self.tenure(flow.backend) {
                Tenure::Keeps if !ends => {
                    self.touch(tag, segment);
                    return Verdict::To(flow.backend);
                }
                Tenure::Holds if is_established(segment) => {
                    self.touch(tag, segment);
                    return Verdict::Dropped(Reason::RealServerDead);
                }
                // The reset that another server answers with ends the connection; no need to know of it.
                Tenure::Released if is_established(segment) => return to(slot.current),
                Tenure::Keeps | Tenure::Holds | Tenure::Released => {
                    return self.give(tag, segment, slot.current);
                }
            }
        }
        if segment == Segment::Syn || !slot.is_open() {
            return self.opens(tag, segment, slot);
        }
        match slot.previous.map(|id| (id, self.tenure(id))) {
            Some((id, Tenure::Keeps)) => {
                if segment != Segment::Rst {
                    self.remember(tag, id, segment);
                }
                Verdict::To(id)
            }
            Some((_, Tenure::Holds)) if is_established(segment) => {
                Verdict::Dropped(Reason::RealServerDead)
            }
            Some((_, Tenure::Released)) if is_established(segment) => to(slot.current),
            Some((_, Tenure::Holds | Tenure::Released)) | None => {
                self.give(tag, segment, slot.current)
            }
        }
    }

    /// A new flow, or one that is where entry-less flows belong.
    fn opens(&mut self, tag: Tag, segment: Segment, slot: Slot) -> Verdict {
        if slot.is_open() {
            self.give(tag, segment, slot.current)
        } else {
            to(slot.current)
        }
    }

    /// The flow is `backend`'s from now on.
    fn give(&mut self, tag: Tag, segment: Segment, backend: Option<u32>) -> Verdict {
        if let Some(backend) = backend {
            self.remember(tag, backend, segment);
        }
        to(backend)
    }

    pub(super) fn remember(&mut self, tag: Tag, backend: u32, segment: Segment) {
        if segment != Segment::Related {
            self.flows.remember(tag, backend, segment, self.clock);
        }
    }

    pub(super) fn touch(&mut self, tag: Tag, segment: Segment) {
        if segment != Segment::Related {
            self.flows.touch(tag, segment, self.clock);
        }
    }

    pub(super) fn tenure(&self, id: u32) -> Tenure {
        self.backends
            .get(&id)
            .map_or(Tenure::Released, |backend| backend.term.tenure)
    }

    /// Another life of the agent: all that it knows is what it finds in the maps.
    pub fn restart(&mut self, now_s: u64) {
        for slot in &mut self.slots {
            *slot = Slot::from((lb_common::Slot::from(*slot), now_s));
        }
    }

    #[cfg(test)]
    pub(super) fn end_windows(&mut self, now_s: u64) {
        for slot in &mut self.slots {
            slot.ends_s = slot.ends_s.map(|_| now_s);
            slot.tick(now_s);
        }
    }

    #[cfg(test)]
    pub(super) fn forget_flows(&mut self) {
        self.flows = Flows::default();
    }

    #[cfg(test)]
    fn syn_to_current(&self) -> bool {
        self.fault == super::simulation::Fault::SynToCurrent
    }

    #[cfg(not(test))]
    fn syn_to_current(&self) -> bool {
        false
    }
}

/// Whether the packet belongs to a connection whose state another server lacks.
pub(super) fn is_established(segment: Segment) -> bool {
    match segment {
        Segment::Data | Segment::Fin | Segment::Rst => true,
        Segment::Syn | Segment::Datagram | Segment::Related => false,
    }
}

pub(super) fn to(backend: Option<u32>) -> Verdict {
    match backend {
        Some(id) => Verdict::To(id),
        None => Verdict::Dropped(Reason::NoRealServer),
    }
}
