//! Which real server gets the packet.
//!
//! Almost always the slot of the flow's hash knows: one owner, nothing remembered. Only where it was given to another
//! lately, or flows of before still live, does the flow table decide ([`decide`]). The rules are in `lb_agent::model`.

use crate::{
    backends, flow,
    maps::{REASON_COUNTERS, SLOTS},
    schedule, stats,
    verdict::Verdict,
    vip::ControlBlock,
};
use lb_common::{
    Address, Backend, Live, Method, Reason, Scheduling, Segment, Service, Slot, Tag, Tenure, hash,
    key, reason::REASONS, scheduling::FLOW_BITS,
};

/// A backend and its id.
#[derive(Clone, Copy)]
pub struct Selected {
    pub id: u32,
    pub backend: &'static Backend,
}

/// What is asked of the flow table. Kept in one place in memory: a call takes five arguments.
struct Question {
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

    /// Source address, wire order.
    fn source(&self) -> Address;

    /// Destination address, wire order.
    fn destination(&self) -> Address;
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
    let scheduling = Scheduling(service.scheduling);
    let (mut flow, mut slot_hash) = (flow, flow);
    if scheduling != Scheduling(0) {
        let address = match scheduling.method() {
            _ if scheduling.is_stateful() => {
                return scheduled(control, live, service, flow, packet);
            }
            Method::BySource => packet.source(),
            _ => packet.destination(),
        };
        slot_hash = hash::address(&address) & !FLOW_BITS;
        flow = slot_hash | flow & FLOW_BITS;
    }
    if service.slots_len == 0 {
        return Err(refuse(Reason::NoRealServer));
    }
    let place = hash::spread(slot_hash, service.slots_len);
    let Some(slot) = SLOTS.get_ptr(service.slots_start.wrapping_add(place)) else {
        return Err(refuse(Reason::Inconsistent));
    };
    // SAFETY: in bounds by the look-up; one aligned word, volatile because the agent stores to it.
    let slot = Slot(unsafe { slot.read_volatile() });
    let mut id = slot.current();
    if !slot.is_settled() {
        let keyed = packet.keyed_hash(control.flow_key());
        let segment = packet.segment().map_err(refuse)?;
        let question = Question {
            slot,
            tag: Tag::new(flow, keyed),
            live,
            now: control.clock(),
            service: service.id,
            segment,
        };
        id = decide(&question);
        if id == HELD {
            return Err(refuse(Reason::RealServerDead));
        }
    }
    selected(live, service, id)
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

/// The backend of a flow of a service that remembers each.
#[inline(always)]
fn scheduled(
    control: ControlBlock,
    live: Live,
    service: &Service,
    flow: u32,
    packet: &impl Asked,
) -> Result<Selected, Verdict> {
    let refuse = |reason| Verdict::of_service(reason, service.id);
    let scheduling = Scheduling(service.scheduling);
    let (source, key) = (packet.source(), control.flow_key());
    let client = match scheduling.is_persistent() {
        true => hash::client(&key::masked(&source, scheduling.prefix()), service.id, key),
        false => Tag(0),
    };
    let slot_hash = match scheduling.method() {
        Method::BySource => hash::address(&source),
        Method::ByDestination => hash::address(&packet.destination()),
        _ => flow,
    };
    let question = schedule::Question {
        tag: Tag::new(flow, packet.keyed_hash(key)),
        client,
        live,
        slots_start: service.slots_start,
        slots_len: service.slots_len,
        slot_hash: scheduling.slot_hash(slot_hash),
        scheduling,
        now: control.clock(),
        service: service.id,
        segment: packet.segment().map_err(refuse)?,
    };
    match schedule::decide(&question) {
        schedule::HELD => Err(refuse(Reason::RealServerDead)),
        schedule::UNKNOWN => Err(refuse(Reason::UnknownConnection)),
        schedule::ALL_FULL => Err(refuse(Reason::AllFull)),
        schedule::NO_ROOM => Err(refuse(Reason::FlowTableFull)),
        id => selected(live, service, id),
    }
}

/// In the place of a backend's id: the packet is held.
const HELD: u32 = u32::MAX;

/// What the flow table makes of a packet: a backend's id, 0 for nobody, or [`HELD`]. One function for all, off the way of
/// settled flows. Cold like every function that is called: aya 0.14 knows functions by their address alone, so that they
/// must all lie in one section (`aya_obj::relocation`, `linked_functions`).
#[cold]
#[inline(never)]
fn decide(question: &Question) -> u32 {
    let &Question {
        slot, tag, segment, ..
    } = question;
    let current = slot.current();
    let found = flow::find(tag);
    if !found.is_known() {
        return decide_unknown(question);
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

/// A flow without an entry: `previous` has it, unless it is new.
#[inline(always)]
fn decide_unknown(question: &Question) -> u32 {
    let &Question { slot, segment, .. } = question;
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
        remember(question, id, backend);
    }
    id
}

#[inline(always)]
fn remember(question: &Question, id: u32, backend: &Backend) {
    let flow = flow::first(id, backend.generation, question.segment, question.now);
    if !flow::insert(question.live, question.tag, flow, question.now) {
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
