//! Services that remember every flow: their scheduler keeps state, or their clients persist.
//!
//! The rules are in `lb_agent::model` (6 to 8).

use crate::{
    atomic, backends, flow,
    flow::{is_zero, sign},
    load::Seen,
    maps::{SLOTS, TURNS},
    parts,
    select::{self, HELD, Question, is_of_connection, not_remembered},
};
use lb_common::{
    Flow, FlowState, Live, Method, Scheduling, Segment, Slot, Tag, Tenure, hash, key,
    scheduling::{CANDIDATES, FLOW_BITS},
};

/// Who gets a packet of a service whose slots are picked by an address.
#[inline(always)]
pub fn by_address(question: &Question) -> u32 {
    let (slot, tag) = slot_and_tag(question);
    if slot.is_settled() {
        return slot.current();
    }
    select::decide(question, slot, tag)
}

/// The slot that an address picks; the flow is known by a tag that says which slot it is.
#[inline(always)]
fn slot_and_tag(question: &Question) -> (Slot, Tag) {
    let picks = address_hash(question);
    let slot = match len(question) {
        0 => 0,
        len => slot(question, hash::spread(picks, len)),
    };
    let tag = Tag(question.tag.0 & !(!FLOW_BITS as u64) | picks as u64);
    (Slot(slot), tag)
}

/// The hash of the address that the method looks at.
#[inline(always)]
pub fn address_hash(question: &Question) -> u32 {
    let address = match question.scheduling.method() {
        Method::BySource => &question.source,
        _ => &question.destination,
    };
    hash::address(address) & !FLOW_BITS
}

/// What the packet's client is known by.
#[inline(always)]
fn client_tag(question: &Question) -> Tag {
    let client = key::masked(&question.source, question.scheduling.prefix());
    hash::client(&client, question.service, question.key)
}

/// A segment of no connection that is known.
pub const UNKNOWN: u32 = u32::MAX - 1;
/// Every backend that takes new flows has as many connections as it may.
pub const ALL_FULL: u32 = u32::MAX - 2;
/// The flow table has no room.
pub const NO_ROOM: u32 = u32::MAX - 3;

/// A new flow: somebody is to be chosen for it.
const NEW: u64 = u32::MAX as u64 - 4;
/// Beside a backend's id: its flow was confirmed and has something new to say of its client.
const VOUCHES: u64 = 1 << 32;

/// Who gets the packet: a backend's id, 0 for nobody, or one of the words above. Each step is a part of its own, see
/// [`parts`]: inlined, each would multiply the states that the verifier follows in all others, beyond its limit.
#[inline(always)]
pub fn decide(question: &Question) -> u32 {
    if !question.scheduling.is_stateful() {
        return parts::lb_by_address(question);
    }
    let is_datagram = question.segment == Segment::Datagram;
    let is_single = question.scheduling.is_one_packet() && is_datagram;
    let known = if is_single {
        NEW
    } else {
        parts::lb_known(question)
    };
    if known != NEW {
        if known & VOUCHES != 0 {
            parts::lb_keep_client(question, known as u32, FlowState::Regular as u32);
        }
        return known as u32;
    }
    let persists = question.scheduling.is_persistent();
    let mut id = if persists {
        parts::lb_client(question)
    } else {
        0
    };
    if id == 0 {
        id = parts::lb_choose(question);
        if persists && id < ALL_FULL {
            parts::lb_keep_client(question, id, FlowState::Visitor as u32);
        }
    }
    if id == 0 || id == ALL_FULL || is_single || parts::lb_remember(question, id) != 0 {
        return id;
    }
    if is_datagram || question.scheduling.is_sloppy() {
        not_remembered(question.service);
        return id;
    }
    NO_ROOM
}

/// What the flow table says of the packet's flow.
#[inline(always)]
pub fn known(question: &Question) -> u64 {
    let &Question {
        segment, live, now, ..
    } = question;
    let found = flow::find(question.tag);
    if !found.is_known() {
        let opens = !is_of_connection(segment)
            || segment == Segment::Data && question.scheduling.is_sloppy();
        return if opens { NEW } else { UNKNOWN as u64 };
    }
    let is_new = segment == Segment::Syn && found.flow.state().is_over();
    match backends::tenure(backends::of(live, found.flow)) {
        Tenure::Keeps if !is_new => {
            let id = found.flow.backend() as u64;
            let is_confirmed = found.flow.after(segment, now).state().eviction().is_none();
            if flow::touch(live, found, segment, now)
                && is_confirmed
                && question.scheduling.is_persistent()
            {
                return id | VOUCHES;
            }
            id
        }
        Tenure::Holds if is_of_connection(segment) => {
            flow::touch(live, found, segment, now);
            HELD as u64
        }
        // The reset that another server answers with ends the connection; which one does not matter.
        Tenure::Released if is_of_connection(segment) => anyone(question) as u64,
        Tenure::Keeps | Tenure::Holds | Tenure::Released => NEW,
    }
}

/// Remembers where a new flow goes; 0: there is no room. Where another packet of the flow came first, its choice holds
/// from the next packet on.
#[inline(always)]
pub fn remember(question: &Question, id: u32) -> u32 {
    let &Question {
        segment, live, now, ..
    } = question;
    let Some(backend) = backends::entry(live, id) else {
        return 1;
    };
    let first = flow::first(id, backend.generation, segment, now);
    let found = flow::find(question.tag);
    let is_remembered = if found.is_known() {
        flow::replace(live, found, first);
        true
    } else {
        flow::insert(live, question.tag, first, now)
    };
    if let Some(seen) = Seen::of(live, id) {
        // Looked at, so that it is noted.
        seen.is_full();
    }
    is_remembered as u32
}

/// The backend of the packet's client, as long as that takes new flows; 0: there is none.
#[inline(always)]
pub fn client(question: &Question) -> u32 {
    let known = flow::find(client_tag(question));
    if !known.is_known() || !takes_new(question.live, known.flow) {
        return 0;
    }
    let state = known.flow.state();
    flow::replace(question.live, known, at(known.flow, state, question.now));
    known.flow.backend()
}

/// Remembers the client of a flow that goes to a backend. A visitor's choice is new; a flow that was confirmed vouches
/// for the client it has, also for one that was forgotten: as long as a client has a connection, its next one goes
/// there too.
#[inline(always)]
pub fn keep_client(question: &Question, id: u32, state: u32) -> u32 {
    let Some(backend) = backends::entry(question.live, id) else {
        return 0;
    };
    let is_visitor = state == FlowState::Visitor as u32;
    let state = if is_visitor {
        FlowState::Visitor
    } else {
        FlowState::Regular
    };
    let client = Flow::new(id, backend.generation, state, question.now);
    let tag = client_tag(question);
    let known = flow::find(tag);
    if !known.is_known() {
        flow::insert(question.live, tag, client, question.now);
    } else if is_visitor || known.flow.0 as u32 == client.0 as u32 && known.flow != client {
        flow::replace(question.live, known, client);
    }
    0
}

/// Who the scheduler chooses; 0: there is nobody.
#[inline(always)]
pub fn choose(question: &Question) -> u32 {
    if len(question) == 0 {
        return 0;
    }
    match question.scheduling.method() {
        Method::BySlot | Method::BySource | Method::ByDestination => anyone(question),
        Method::InTurn => in_turn(question),
        _ => least(question),
    }
}

/// The same entry in a state, used at `now`.
#[inline(always)]
fn at(flow: Flow, state: FlowState, now: u32) -> Flow {
    Flow(flow.0 as u32 as u64 | (state as u64) << 32 | (now as u64) << 36)
}

/// Whether new flows may go where a client's entry says.
#[inline(always)]
fn takes_new(live: Live, client: Flow) -> bool {
    matches!(backends::tenure(backends::of(live, client)), Tenure::Keeps)
        && Seen::of(live, client.backend()).is_some_and(|seen| seen.weight != 0)
}

/// The word at a place of the service's table.
#[inline(always)]
fn slot(question: &Question, place: u32) -> u64 {
    match SLOTS.get_ptr(question.slots_start.wrapping_add(place)) {
        // SAFETY: in bounds by the look-up; one aligned word, volatile because the agent stores to it.
        Some(slot) => unsafe { slot.read_volatile() },
        None => 0,
    }
}

/// The backend at a place of the service's table.
#[inline(always)]
fn listed(question: &Question, place: u32) -> u32 {
    Slot(slot(question, place)).current()
}

/// Who has the slot of the flow; where the table has no slots, one of those who take new flows.
#[inline(always)]
fn anyone(question: &Question) -> u32 {
    let flow = match question.scheduling.method() {
        Method::BySource | Method::ByDestination => address_hash(question),
        _ => question.tag.flow(),
    };
    match len(question) {
        0 => 0,
        len => listed(question, hash::spread(flow, len)),
    }
}

/// Who gets a packet that speaks of a flow: its backend, or where that has let it go, another.
#[inline(always)]
pub fn related(question: &Question) -> u32 {
    if question.scheduling == Scheduling(0) {
        return select::decide_related(question.live, question.slot, question.tag);
    }
    if !question.scheduling.is_stateful() {
        let (slot, tag) = slot_and_tag(question);
        return select::decide_related(question.live, slot, tag);
    }
    let found = flow::find(question.tag);
    if !found.is_known() {
        return UNKNOWN;
    }
    match backends::tenure(backends::of(question.live, found.flow)) {
        Tenure::Keeps => found.flow.backend(),
        Tenure::Holds | Tenure::Released => anyone(question),
    }
}

/// Length of the table, read anew each time: of one that it has compared before the verifier knows so much that no two
/// rounds of a loop are alike to it.
#[inline(always)]
fn len(question: &Question) -> u32 {
    // SAFETY: a reference; volatile so that it is read.
    unsafe { (&raw const question.slots_len).read_volatile() }
}

/// The next in turn who is not full.
#[inline(always)]
fn in_turn(question: &Question) -> u32 {
    let Some(turns) = TURNS.get_ptr_mut(question.service as u32) else {
        return ALL_FULL;
    };
    // SAFETY: in bounds by the look-up; volatile because others change it.
    let word = unsafe { turns.read_volatile() };
    let mut place = word as u32;
    let mut chosen = ALL_FULL;
    for tried in 1..=CANDIDATES {
        if place >= len(question) {
            place = 0;
        }
        let id = listed(question, place);
        place += 1;
        let Some(seen) = Seen::of(question.live, id) else {
            break;
        };
        if seen.is_full() == 0 {
            chosen = id;
            break;
        }
        if tried >= len(question) {
            break;
        }
    }
    // SAFETY: as above. Where it fails another CPU's flow has taken the same turn.
    unsafe { atomic::replace(turns, word, place as u64) };
    chosen
}

/// Who of the table has least to do, and is not full. What is compared is worked out without a branch: the verifier
/// follows every round of the loop once for each way through it.
#[inline(always)]
fn least(question: &Question) -> u32 {
    let of = |methods: u32| {
        let set = methods >> (question.scheduling.0 & 0xf) & 1;
        (set as u64).wrapping_neg()
    };
    let (by_overhead, by_weight) = (of(BY_OVERHEAD), of(BY_WEIGHT));
    let takes_idle = of(1 << Method::NeverQueue as u32);
    // Datagrams are never active: what a scheduler for delay can count is flows.
    let counts_all = is_zero(question.segment as u64 ^ Segment::Datagram as u64).wrapping_neg();
    let mut best = Candidate {
        id: ALL_FULL as u64,
        cost: 1,
        weight: 0,
    };
    for place in 0..CANDIDATES {
        if place >= len(question) {
            break;
        }
        let id = listed(question, place);
        let Some(seen) = Seen::of(question.live, id) else {
            break;
        };
        let (active, inactive) = (seen.active(), seen.inactive());
        let busy = active + (inactive & counts_all);
        let overhead = (active << 8) + inactive;
        let cost = overhead & by_overhead | (busy + 1) & !by_overhead;
        let is_idle = is_zero(busy).wrapping_neg() & takes_idle;
        best.or(Candidate {
            id: id as u64,
            cost: cost & !is_idle,
            // Without weight it is no better than any.
            weight: (seen.weight as u64 & by_weight | 1 & !by_weight)
                & seen.is_full().wrapping_sub(1),
        });
    }
    best.id as u32
}

/// Methods that compare overheads, and those that compare by weight, a bit each.
const BY_OVERHEAD: u32 = 1 << Method::Least as u32 | 1 << Method::LeastByWeight as u32;
const BY_WEIGHT: u32 = 1 << Method::LeastByWeight as u32
    | 1 << Method::ShortestDelay as u32
    | 1 << Method::NeverQueue as u32;

/// One who takes new flows, and what it has to do for its weight.
#[derive(Clone, Copy)]
struct Candidate {
    id: u64,
    cost: u64,
    weight: u64,
}

impl Candidate {
    /// The one with less to do for its weight, compared as fractions; of equals the first.
    #[inline(always)]
    fn or(&mut self, other: Self) {
        let (others, own) = (other.cost * self.weight, self.cost * other.weight);
        let is_less = sign(others.wrapping_sub(own)).wrapping_neg();
        self.id ^= (self.id ^ other.id) & is_less;
        self.cost ^= (self.cost ^ other.cost) & is_less;
        self.weight ^= (self.weight ^ other.weight) & is_less;
    }
}
