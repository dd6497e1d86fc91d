//! Going through the flow table: flows that were silent for too long end, and what is left is counted.
//!
//! Reads and changes nothing but words of the flow table, so that it may run beside the agent's loop.

use super::{bank, maps::Maps, windows::View};
use crate::model::Idle;
use lb_common::{
    Backend, Control, Flow, Live, Slot, Tag,
    flow::{Bucket, WAYS},
    hash,
};
use std::{collections::HashMap, mem::offset_of, net::IpAddr};

/// What a sweep needs to know of a service.
#[derive(Clone, Copy, Debug)]
pub struct Assignment {
    /// Its table.
    pub view: View,
    /// How long its flows may be silent.
    pub idle: Idle,
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
    /// Of these, how many another director would give to another real server.
    pub elsewhere: u64,
    /// Which slots have any, one bit each.
    remembered: Vec<u64>,
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
            let Kept {
                assignment,
                place,
                slot,
                whose,
            } = kept;
            if !flow.state().is_over() {
                *swept.connections.entry(whose).or_default() += 1;
            }
            let service = swept.services.entry(assignment.view.service).or_default();
            service.flows += 1;
            service.elsewhere += u64::from(slot.current() != flow.backend());
            service.mark(place, assignment.view.len);
            return;
        }
        // Where that fails a packet of the flow has just come: it is looked at again.
        if maps.flows.replace_word(number, word, flow.0, 0) {
            swept.ended += 1;
            return;
        }
    }
}

/// A flow that is to be kept.
struct Kept<'a> {
    assignment: &'a Assignment,
    /// Of its slot in the table.
    place: u32,
    slot: Slot,
    /// The service's id, and the real server's address and port.
    whose: (u16, IpAddr, u16),
}

impl<'a> Look<'a> {
    /// What there is to know of a flow that is to be kept.
    fn keep(&self, maps: &Maps, flow: Flow, tag: Tag) -> Option<Kept<'a>> {
        let backend: Backend = maps.backends.read(self.live.place(flow.backend()))?;
        let address = bank::ip_address(backend.address, backend.family)?;
        let assignment = self.by_service.get(&backend.service)?;
        let View { start, len, .. } = assignment.view;
        let place = hash::spread(tag.flow(), len);
        let slot = maps.slots.read(start + place)?;
        let is_wanted = flow.is_of(backend.generation)
            && flow.idle(self.clock) <= assignment.idle.of(flow.state())
            && (slot.is_open() || slot.current() != flow.backend());
        let whose = (backend.service, address, u16::from_be(backend.port_be));
        is_wanted.then_some(Kept {
            assignment,
            place,
            slot,
            whose,
        })
    }
}
