//! Which real server gets the packet.
//!
//! Almost always the slot of the flow's hash knows: one owner, nothing remembered. Only where it was given to another
//! lately, or flows of before still live, does the flow table decide ([`decide`]). The rules are in `lb_agent::model`.

use crate::{
    flow,
    maps::{BACKENDS, REASON_COUNTERS, SLOTS},
    parts, scratch, stats,
    verdict::Verdict,
    vip::ControlBlock,
};
use lb_common::{
    Backend, Flow, Live, Reason, Segment, Service, Slot, Tag, Tenure, hash, reason::REASONS,
};

/// A backend and its id.
#[derive(Clone, Copy)]
pub struct Selected {
    pub id: u32,
    pub backend: &'static Backend,
}

/// What is asked of the flow table.
#[repr(C)]
pub struct Question {
    slot: Slot,
    tag: Tag,
    live: Live,
    /// Ticks.
    now: u32,
    service: u16,
    segment: Segment,
}

/// What is asked of a packet only where the slot does not know.
pub trait Asked {
    /// Hash of the flow under this key.
    fn keyed_hash(&self, key: u64) -> u32;

    /// What the packet is to its flow.
    fn segment(&self) -> Result<Segment, Reason>;
}

/// The backend of the flow with this hash.
#[inline(always)]
pub fn backend(
    control: ControlBlock,
    live: Live,
    service: &Service,
    flow: u32,
    packet: &impl Asked,
) -> Result<Selected, Verdict> {
    let refuse = |reason| Verdict::of_service(reason, service.id);
    if service.slots_len == 0 {
        return Err(refuse(Reason::NoRealServer));
    }
    let place = hash::spread(flow, service.slots_len);
    let Some(slot) = SLOTS.get_ptr(service.slots_start.wrapping_add(place)) else {
        return Err(refuse(Reason::Inconsistent));
    };
    // SAFETY: in bounds by the look-up; one aligned word, volatile because the agent stores to it.
    let slot = Slot(unsafe { slot.read_volatile() });
    let mut id = slot.current();
    if !slot.is_settled() {
        let keyed = packet.keyed_hash(control.flow_key());
        let segment = packet.segment().map_err(refuse)?;
        let room = scratch::get().ok_or_else(|| refuse(Reason::Inconsistent))?;
        // SAFETY: this CPU's own.
        id = unsafe {
            let question = &raw mut (*room).question;
            (*question).slot = slot;
            (*question).tag = Tag::new(flow, keyed);
            (*question).live = live;
            (*question).now = control.clock();
            (*question).service = service.id;
            (*question).segment = segment;
            parts::lb_decide(question)
        };
        if id == HELD {
            return Err(refuse(Reason::RealServerDead));
        }
    }
    if id == 0 {
        return Err(refuse(Reason::NoRealServer));
    }
    match entry(live, id) {
        Some(backend) => Ok(Selected { id, backend }),
        None => Err(refuse(Reason::Inconsistent)),
    }
}

const KEEPS: u8 = Tenure::Keeps as u8;
const HOLDS: u8 = Tenure::Holds as u8;

/// In the place of a backend's id: the packet is held.
const HELD: u32 = u32::MAX;

/// What the flow table makes of a packet: a backend's id, 0 for nobody, or [`HELD`].
#[inline(always)]
pub fn decide(question: &Question) -> u32 {
    let &Question {
        slot, tag, segment, ..
    } = question;
    let current = slot.current();
    let Some(found) = flow::find(tag) else {
        return decide_unknown(question);
    };
    let is_new = segment == Segment::Syn && found.flow.state().is_over();
    let id = found.flow.backend();
    match tenure(question.live, id, Some(found.flow)) {
        Tenure::Keeps if !is_new => {
            flow::touch(found, segment, question.now);
            id
        }
        Tenure::Holds if is_of_connection(segment) => {
            flow::touch(found, segment, question.now);
            HELD
        }
        // Another server's reset ends the connection: no need to know of it.
        Tenure::Released if is_of_connection(segment) => current,
        Tenure::Keeps | Tenure::Holds | Tenure::Released => {
            if let Some(backend) = entry(question.live, current)
                && segment != Segment::Related
            {
                flow::replace(
                    found,
                    flow::first(current, backend.generation, segment, question.now),
                );
            }
            current
        }
    }
}

/// A flow without an entry: `previous` has it, unless it is new.
#[inline(always)]
fn decide_unknown(question: &Question) -> u32 {
    let &Question { slot, segment, .. } = question;
    if !slot.is_open() {
        return slot.current();
    }
    let mut id = slot.current();
    if segment != Segment::Syn {
        match tenure(question.live, slot.previous(), None) {
            Tenure::Keeps => id = slot.previous(),
            Tenure::Holds if is_of_connection(segment) => return HELD,
            Tenure::Released if is_of_connection(segment) => return id,
            Tenure::Holds | Tenure::Released => {}
        }
    }
    if let Some(backend) = entry(question.live, id)
        && !matches!(segment, Segment::Related | Segment::Rst)
    {
        remember(question, id, backend);
    }
    id
}

#[inline(always)]
fn remember(question: &Question, id: u32, backend: &Backend) {
    let flow = flow::first(id, backend.generation, question.segment, question.now);
    if !flow::insert(question.tag, flow, question.now) {
        stats::count_one(
            REASON_COUNTERS
                .get_ptr_mut(question.service as u32 * REASONS + Reason::NotRemembered as u32),
        );
    }
}

/// Whether the packet belongs to a connection whose state another server lacks.
#[inline(always)]
fn is_of_connection(segment: Segment) -> bool {
    matches!(segment, Segment::Data | Segment::Fin | Segment::Rst)
}

/// What becomes of the flows of the backend with this id, or of this one; one that is no more has released them.
#[inline(always)]
fn tenure(live: Live, id: u32, flow: Option<Flow>) -> Tenure {
    match entry(live, id) {
        Some(backend) if flow.is_none_or(|flow| flow.is_of(backend.generation)) => {
            match backend.tenure {
                KEEPS => Tenure::Keeps,
                HOLDS => Tenure::Holds,
                _ => Tenure::Released,
            }
        }
        _ => Tenure::Released,
    }
}

/// The live bank's backend with this id.
#[inline(always)]
pub fn entry(live: Live, id: u32) -> Option<&'static Backend> {
    // SAFETY: in bounds by the look-up; the map outlives the program; what changes in a live entry is read volatile where
    // it is used.
    match BACKENDS.get_ptr(live.place(id)) {
        Some(backend) if id != 0 => Some(unsafe { &*backend }),
        _ => None,
    }
}
