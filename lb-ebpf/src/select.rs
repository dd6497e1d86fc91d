//! Which real server gets the packet.
//!
//! Almost always the slot of the flow's hash knows: one owner, nothing remembered. Only where it was given to another
//! lately, or flows of before still live, does the flow table decide ([`decide`]). The rules are in `lb_agent::model`.

use crate::{
    backends, flow,
    maps::{REASON_COUNTERS, SLOTS},
    parts, schedule, scratch, stats,
    verdict::Verdict,
    vip::ControlBlock,
};
use lb_common::{
    Address, Backend, Live, Reason, Scheduling, Segment, Service, Slot, Tag, Tenure, hash,
    reason::REASONS,
};

/// A backend and its id.
#[derive(Clone, Copy)]
pub struct Selected {
    pub id: u32,
    pub backend: &'static Backend,
}

/// What is asked of the flow table, and of the scheduler.
#[repr(C)]
pub struct Question {
    /// Where the flow's hash alone picks it.
    pub slot: Slot,
    pub tag: Tag,
    /// The client's address, wire order.
    pub source: Address,
    /// The virtual address, wire order.
    pub destination: Address,
    /// The secret key of tags.
    pub key: u64,
    pub live: Live,
    /// Ticks.
    pub now: u32,
    pub slots_start: u32,
    pub slots_len: u32,
    pub scheduling: Scheduling,
    pub service: u16,
    pub segment: Segment,
}

/// What is asked of a packet only where the slot does not know.
pub trait Asked {
    /// Hash of the flow under this key.
    fn keyed_hash(&self, key: u64) -> u32;

    /// What the packet is to its flow.
    fn segment(&self) -> Result<Segment, Reason>;

    /// Source address, wire order.
    fn source(&self) -> Address;
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
    let mut word = 0;
    if service.scheduling == 0 {
        if service.slots_len == 0 {
            return Err(refuse(Reason::NoRealServer));
        }
        let place = hash::spread(flow, service.slots_len);
        let Some(slot) = SLOTS.get_ptr(service.slots_start.wrapping_add(place)) else {
            return Err(refuse(Reason::Inconsistent));
        };
        // SAFETY: in bounds by the look-up; one aligned word, volatile because the agent stores to it.
        let slot = Slot(unsafe { slot.read_volatile() });
        if slot.is_settled() {
            return selected(live, service, slot.current());
        }
        word = slot.0;
    }
    let segment = packet.segment().map_err(refuse)?;
    let room = scratch::get().ok_or_else(|| refuse(Reason::Inconsistent))?;
    // SAFETY: this CPU's own.
    let id = unsafe {
        let question = &raw mut (*room).question;
        (*question).slot = Slot(word);
        (*question).tag = Tag::new(flow, packet.keyed_hash(control.flow_key()));
        (*question).source = packet.source();
        (*question).key = control.flow_key();
        (*question).live = live;
        (*question).now = control.clock();
        (*question).destination = service.address;
        (*question).slots_start = service.slots_start;
        (*question).slots_len = service.slots_len;
        (*question).scheduling = Scheduling(service.scheduling);
        (*question).service = service.id;
        (*question).segment = segment;
        if segment == Segment::Related {
            parts::lb_related(question)
        } else if service.scheduling == 0 {
            parts::lb_decide(question)
        } else {
            parts::lb_schedule(question)
        }
    };
    match id {
        HELD => Err(refuse(Reason::RealServerDead)),
        schedule::UNKNOWN => Err(refuse(Reason::UnknownConnection)),
        schedule::ALL_FULL => Err(refuse(Reason::AllFull)),
        schedule::NO_ROOM => Err(refuse(Reason::FlowTableFull)),
        id => selected(live, service, id),
    }
}

/// The backend with this id; 0: there is none.
#[inline(always)]
fn selected(live: Live, service: &Service, id: u32) -> Result<Selected, Verdict> {
    let refuse = |reason| Verdict::of_service(reason, service.id);
    if id == 0 {
        return Err(refuse(Reason::NoRealServer));
    }
    match backends::entry(live, id) {
        Some(backend) => Ok(Selected { id, backend }),
        None => Err(refuse(Reason::Inconsistent)),
    }
}

/// In the place of a backend's id: the packet is held.
pub const HELD: u32 = u32::MAX;

/// What the flow table makes of a packet: a backend's id, 0 for nobody, or [`HELD`].
#[inline(always)]
pub fn decide(question: &Question, slot: Slot, tag: Tag) -> u32 {
    let segment = question.segment;
    let current = slot.current();
    let found = flow::find(tag);
    if !found.is_known() {
        return decide_unknown(question, slot, tag);
    }
    let is_new = segment == Segment::Syn && found.flow.state().is_over();
    let id = found.flow.backend();
    match backends::tenure(backends::of(question.live, found.flow)) {
        Tenure::Keeps if !is_new => {
            flow::touch(question.live, found, segment, question.now);
            id
        }
        Tenure::Holds if is_of_connection(segment) => {
            flow::touch(question.live, found, segment, question.now);
            HELD
        }
        // Another server's reset ends the connection: no need to know of it.
        Tenure::Released if is_of_connection(segment) => current,
        Tenure::Keeps | Tenure::Holds | Tenure::Released => {
            if let Some(backend) = backends::entry(question.live, current)
                && segment != Segment::Related
            {
                let first = flow::first(current, backend.generation, segment, question.now);
                flow::replace(question.live, found, first);
            }
            current
        }
    }
}

/// The same for a packet that speaks of the flow. It is in another one, where the stack is short.
#[inline(always)]
pub fn decide_related(live: Live, slot: Slot, tag: Tag) -> u32 {
    let found = flow::find(tag);
    let (id, backend) = if found.is_known() {
        (found.flow.backend(), backends::of(live, found.flow))
    } else {
        (slot.previous(), backends::entry(live, slot.previous()))
    };
    match backends::tenure(backend) {
        Tenure::Keeps => id,
        Tenure::Holds | Tenure::Released => slot.current(),
    }
}

/// A flow without an entry: `previous` has it, unless it is new.
#[inline(always)]
fn decide_unknown(question: &Question, slot: Slot, tag: Tag) -> u32 {
    let segment = question.segment;
    if !slot.is_open() {
        return slot.current();
    }
    let mut id = slot.current();
    if segment != Segment::Syn {
        match backends::tenure(backends::entry(question.live, slot.previous())) {
            Tenure::Keeps => id = slot.previous(),
            Tenure::Holds if is_of_connection(segment) => return HELD,
            Tenure::Released if is_of_connection(segment) => return id,
            Tenure::Holds | Tenure::Released => {}
        }
    }
    if let Some(backend) = backends::entry(question.live, id)
        && !matches!(segment, Segment::Related | Segment::Rst)
    {
        remember(question, tag, id, backend);
    }
    id
}

#[inline(always)]
fn remember(question: &Question, tag: Tag, id: u32, backend: &Backend) {
    let flow = flow::first(id, backend.generation, question.segment, question.now);
    if !flow::insert(question.live, tag, flow, question.now) {
        not_remembered(question.service);
    }
}

/// Counts a flow that was forwarded but found no room in the flow table.
#[inline(always)]
pub fn not_remembered(service: u16) {
    stats::count_one(
        REASON_COUNTERS.get_ptr_mut(service as u32 * REASONS + Reason::NotRemembered as u32),
    );
}

/// Whether the packet belongs to a connection whose state another server lacks.
#[inline(always)]
pub fn is_of_connection(segment: Segment) -> bool {
    matches!(segment, Segment::Data | Segment::Fin | Segment::Rst)
}
