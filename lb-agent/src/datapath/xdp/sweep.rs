//! Going through the flow table: flows and clients that were silent for too long end, and what is left is counted.
//!
//! Reads and changes nothing but words of the flow table and the counts of connections, so that it may run beside the
//! agent's loop.

use super::{bank, maps::Maps, windows::View};
use crate::datapath::FlowRules;
use lb_common::{
    Backend, Control, Flow, Live, Load, Slot, Tag,
    flow::{Bucket, WAYS},
    hash,
    load::Connections,
};
use std::{collections::HashMap, mem::offset_of, net::IpAddr};

/// What a sweep needs to know of a service.
#[derive(Clone, Copy, Debug)]
pub struct Assignment {
    /// Its table.
    pub view: View,
    /// Where its flows go, and how long they may be silent.
    pub rules: FlowRules,
}

/// What a sweep found.
#[derive(Debug, Default)]
pub struct Swept {
    /// Flows that were ended.
    pub ended: u64,
    /// By service id.
    pub services: HashMap<u16, SweptService>,
    /// Remembered flows that are not over, by the service's id, and address and port of the real server that has them.
    pub connections: HashMap<(u16, IpAddr, u16), u64>,
}

/// What a sweep found of a service.
#[derive(Debug, Default)]
pub struct SweptService {
    /// Remembered flows that are left.
    pub flows: u64,
    /// Of these, how many another director would give to another real server, or to none.
    pub elsewhere: u64,
    /// Clients that persist.
    pub clients: u64,
    /// Of each backend.
    pub backends: HashMap<u32, SweptBackend>,
    /// Which slots have any, one bit each.
    remembered: Vec<u64>,
}

/// What a sweep found of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweptBackend {
    /// Remembered flows that IPVS would count as active connections.
    pub active: u64,
    /// The others.
    pub inactive: u64,
    /// Clients that persist.
    pub clients: u64,
}

impl SweptService {
    /// Whether the slot at this place of the table has a remembered flow.
    pub fn is_remembered(&self, place: u32) -> bool {
        self.remembered
            .get(place as usize / 64)
            .is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    fn mark(&mut self, place: u32, len: u32) {
        self.remembered.resize((len as usize).div_ceil(64), 0);
        if let Some(word) = self.remembered.get_mut(place as usize / 64) {
            *word |= 1 << (place % 64);
        }
    }
}

/// Goes through the whole table. Flows end that are idle, that belong to no backend there is, or that say what their slot
/// says anyway.
pub fn sweep(maps: &Maps, assignments: &[Assignment]) -> Swept {
    let live = Live(maps.control.load_word(0, offset_of!(Control, live)));
    let clock =
        maps.control.load_word(0, offset_of!(Control, clock)) as u32 & ((1 << Flow::SEEN_BITS) - 1);
    let look = Look {
        live,
        clock,
        by_service: assignments
            .iter()
            .map(|assignment| (assignment.view.service, assignment))
            .collect(),
    };
    let mut swept = Swept::default();
    for assignment in assignments {
        swept
            .services
            .insert(assignment.view.service, SweptService::default());
    }
    for number in 0..maps.flows.len() {
        for way in 0..WAYS {
            sweep_entry(maps, number, way, &look, &mut swept);
        }
    }
    swept
}

/// What holds for the whole sweep.
struct Look<'a> {
    live: Live,
    clock: u32,
    by_service: HashMap<u16, &'a Assignment>,
}

fn sweep_entry(maps: &Maps, number: u32, way: usize, look: &Look<'_>, swept: &mut Swept) {
    let word = offset_of!(Bucket, flows) + way * 8;
    loop {
        let flow = Flow(maps.flows.load_word(number, word));
        if !flow.is_live() {
            return;
        }
        let tag = offset_of!(Bucket, tags) + way * 8;
        let tag = Tag(maps.flows.load_word(number, tag));
        if let Some(kept) = look.keep(maps, flow, tag) {
            swept.count(flow, kept);
            return;
        }
        // Where that fails a packet of the flow has just come: it is looked at again.
        if maps.flows.replace_word(number, word, flow.0, Flow::BUSY.0) {
            look.uncount(maps, flow);
            let tag = offset_of!(Bucket, tags) + way * 8;
            maps.flows.store_word(number, tag, 0);
            maps.flows.store_word(number, word, 0);
            swept.ended += 1;
            return;
        }
    }
}

impl Swept {
    fn count(&mut self, flow: Flow, kept: Kept<'_>) {
        let view = kept.assignment.view;
        let service = self.services.entry(view.service).or_default();
        let backend = service.backends.entry(flow.backend()).or_default();
        if flow.state().is_client() {
            backend.clients += 1;
            service.clients += 1;
            return;
        }
        if flow.state().is_active() {
            backend.active += 1;
        } else {
            backend.inactive += 1;
        }
        service.flows += 1;
        if !flow.state().is_over() {
            *self.connections.entry(kept.whose).or_default() += 1;
        }
        match kept.slot {
            Some((place, slot)) => {
                service.elsewhere += u64::from(slot.current() != flow.backend());
                service.mark(place, view.len);
            }
            None => service.elsewhere += 1,
        }
    }
}

/// A flow that is to be kept.
struct Kept<'a> {
    assignment: &'a Assignment,
    /// The place of its slot and the slot, where that says anything.
    slot: Option<(u32, Slot)>,
    /// The service's id, and the real server's address and port.
    whose: (u16, IpAddr, u16),
}

impl<'a> Look<'a> {
    /// A flow or client that is to be kept.
    fn keep(&self, maps: &Maps, flow: Flow, tag: Tag) -> Option<Kept<'a>> {
        let backend: Backend = maps.backends.read(self.live.place(flow.backend()))?;
        let address = bank::ip_address(backend.address, backend.family)?;
        let assignment = self.by_service.get(&backend.service)?;
        let FlowRules {
            scheduling,
            idle,
            persistence_s,
            ..
        } = assignment.rules;
        let state = flow.state();
        let silent = flow.idle(self.clock);
        let is_known = flow.is_of(backend.generation);
        let whose = (backend.service, address, u16::from_be(backend.port_be));
        if scheduling.is_stateful() {
            let limit = match state.is_client() {
                true if scheduling.is_persistent() => persistence_s,
                true => return None,
                false => idle.of(state),
            };
            let kept = Kept {
                assignment,
                slot: None,
                whose,
            };
            return (is_known && silent <= limit).then_some(kept);
        }
        let View { start, len, .. } = assignment.view;
        let place = hash::spread(scheduling.slot_hash(tag.flow()), len);
        let slot = maps.slots.read(start + place)?;
        let is_wanted = is_known
            && !state.is_client()
            && silent <= idle.of(state)
            && (slot.is_open() || slot.current() != flow.backend());
        is_wanted.then_some(Kept {
            assignment,
            slot: Some((place, slot)),
            whose,
        })
    }

    /// Takes a flow that has ended from its backend's connections.
    fn uncount(&self, maps: &Maps, flow: Flow) {
        let id = flow.backend();
        let backend = maps.backends.read(self.live.place(id));
        if backend.is_some_and(|backend| flow.is_of(backend.generation)) && id < maps.loads.len() {
            let change = Connections::change(Some(flow.state()), None);
            maps.loads
                .add_to_word(id, offset_of!(Load, connections), change);
        }
    }
}
