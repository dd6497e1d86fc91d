//! The flow table: finding, making and changing entries. No helper is called, no lock taken: every change is a
//! compare-and-exchange of one word, and whoever loses one leaves things as the winner made them.

use crate::{
    atomic, load,
    maps::{FLOW_BUCKETS, FLOWS},
};
use core::arch::asm;
use lb_common::{
    Flow, FlowState, Live, Segment, Tag,
    flow::{Bucket, WAYS},
};

/// What was found. No `Option`: what that leaves undefined where there is none, the compiler may copy all the same, and the
/// verifier refuses ("R9 !read_ok").
#[derive(Clone, Copy)]
pub struct Entry {
    word: *mut u64,
    /// 0: nothing was found.
    pub flow: Flow,
}

impl Entry {
    const NONE: Self = Self {
        word: core::ptr::null_mut(),
        flow: Flow(0),
    };

    /// Whether there is one.
    #[inline(always)]
    pub fn is_known(&self) -> bool {
        !self.word.is_null()
    }
}

/// The live entry with this tag.
#[inline(always)]
pub fn find(tag: Tag) -> Entry {
    let [first, second] = tag.buckets();
    let (Some(first), Some(second)) = (bucket(first), bucket(second)) else {
        return Entry::NONE;
    };
    let (mut place, mut ways) = (first, ways_with(first, tag.0));
    if ways == 0 {
        (place, ways) = (second, ways_with(second, tag.0));
    }
    if ways == 0 {
        return Entry::NONE;
    }
    let word = word(place, lowest(ways), WAYS);
    // SAFETY: a word of a map value, see `word`; volatile because others change it.
    let flow = Flow(unsafe { word.read_volatile() });
    if flow.is_live() {
        Entry { word, flow }
    } else {
        Entry::NONE
    }
}

/// Takes one more packet of the flow down; true where that changed anything. Within a tick most packets change nothing, and
/// nothing is written.
#[inline(always)]
pub fn touch(live: Live, entry: Entry, segment: Segment, now: u32) -> bool {
    let after = entry.flow.after(segment, now);
    segment != Segment::Related && after != entry.flow && replace(live, entry, after)
}

/// Puts `flow` in the place of what the entry said of the same flow. False: another packet of the flow came first.
#[inline(always)]
pub fn replace(live: Live, entry: Entry, flow: Flow) -> bool {
    // SAFETY: the word of an entry, see `find_in`.
    let replaced = unsafe { atomic::replace(entry.word, entry.flow.0, flow.0) };
    if replaced {
        load::count(live, entry.flow, flow);
    }
    replaced
}

/// Makes an entry: in a free place, else in that of the flow on probation which was silent for longest, else of one that
/// is over. False: every place is an established flow's.
#[inline(always)]
pub fn insert(live: Live, tag: Tag, flow: Flow, now: u32) -> bool {
    let [first, second] = tag.buckets();
    let (Some(first), Some(second)) = (bucket(first), bucket(second)) else {
        return false;
    };
    // Free places have no tag. The look for this flow's has just been at the tags: no other cache line is needed to find
    // one, and the emptier bucket is the better one.
    let (in_first, in_second) = (ways_with(first, 0), ways_with(second, 0));
    let (mut place, mut ways) = (first, in_first);
    if count(in_second) > count(in_first) {
        (place, ways) = (second, in_second);
    }
    if ways != 0 && take(live, place, lowest(ways), Flow(0), tag, flow) {
        return true;
    }
    let (mut place, mut victim) = (first, Victim::of(first, now));
    if victim.rank() > PROBATION {
        (place, victim) = (second, Victim::of(second, now));
    }
    if victim.rank() >= NEVER {
        return false;
    }
    let way = victim.way();
    // SAFETY: a word of a map value, see `word`.
    let old = Flow(unsafe { word(place, way, WAYS).read_volatile() });
    // It may be another one now, but none that must stay.
    old.may_be_evicted() && take(live, place, way, old, tag, flow)
}

/// Puts `flow` where `old` is; false: something else is.
#[inline(always)]
fn take(live: Live, bucket: *mut Bucket, way: usize, old: Flow, tag: Tag, flow: Flow) -> bool {
    let (tags, word) = (word(bucket, way, 0), word(bucket, way, WAYS));
    // SAFETY: words of one entry. Nobody else touches an entry that is busy.
    unsafe {
        if !atomic::replace(word, old.0, Flow::BUSY.0) {
            return false;
        }
        tags.write_volatile(tag.0);
        atomic::publish(word, flow.0);
    }
    load::count(live, old, flow);
    true
}

/// The entry that a new flow is to take the place of: how soon it may go, and which way it is, in one number, of which the
/// lowest goes first.
#[derive(Clone, Copy)]
struct Victim(u64);

/// The rank of those on probation, and of free places, is not above it.
const PROBATION: u64 = 1 << Flow::SEEN_BITS;
/// The rank of those that are never evicted is not below it.
const NEVER: u64 = 1 << 32;

impl Victim {
    /// The first of a bucket to go.
    #[inline(always)]
    fn of(bucket: *mut Bucket, now: u32) -> Self {
        let mut best = u64::MAX >> 1;
        for way in 0..WAYS {
            // SAFETY: a word of a map value, see `word`.
            let flow = Flow(unsafe { word(bucket, way, WAYS).read_volatile() });
            let candidate = rank(flow, now) << 3 | way as u64;
            let is_less = sign(candidate.wrapping_sub(best));
            best ^= (best ^ candidate) & is_less.wrapping_neg();
        }
        Self(best)
    }

    #[inline(always)]
    fn rank(self) -> u64 {
        self.0 >> 3
    }

    #[inline(always)]
    fn way(self) -> usize {
        self.0 as usize & (WAYS - 1)
    }
}

/// How soon an entry may be evicted, without a branch. Times reach up to bit 28, so that one comparison orders by class,
/// then by age.
#[inline(always)]
fn rank(flow: Flow, now: u32) -> u64 {
    let state = flow.0 >> 32 & 0xf;
    let is_free = is_zero(flow.0);
    let is_live = is_zero(flow.backend() as u64) ^ 1;
    let is_evictable = (FlowState::EVICTABLE >> state) & 1 & is_live;
    let is_over = (FlowState::OVER >> state) & 1;
    let rank = (is_over << Flow::SEEN_BITS) + PROBATION - flow.idle(now) as u64;
    rank & is_live.wrapping_neg() | ((is_free | is_evictable) ^ 1) << 32
}

/// The ways of a bucket whose tag is `tag`, a bit each. Without a branch: the verifier would follow what comes after once
/// for each way.
#[inline(always)]
fn ways_with(bucket: *mut Bucket, tag: u64) -> u64 {
    let mut ways = 0;
    for way in 0..WAYS {
        // SAFETY: a word of a map value, see `word`; volatile because others change it.
        let found = unsafe { word(bucket, way, 0).read_volatile() };
        ways |= is_zero(found ^ tag) << way;
    }
    ways
}

/// The number of the lowest bit that is set, of eight of which one is.
#[inline(always)]
fn lowest(ways: u64) -> usize {
    let only = ways & ways.wrapping_neg();
    // A de Bruijn sequence: each window of three bits is another.
    let window = ((only * 0x17) >> 5) & 7;
    (0x5637_4210_u64 >> (window * 4)) as usize & (WAYS - 1)
}

/// How many of eight bits are set.
#[inline(always)]
fn count(ways: u64) -> u64 {
    let pairs = ways - (ways >> 1 & 0x55);
    let fours = (pairs & 0x33) + (pairs >> 2 & 0x33);
    (fours + (fours >> 4)) & 0xf
}

/// 1 for 0, else 0.
#[inline(always)]
pub fn is_zero(value: u64) -> u64 {
    sign(value | value.wrapping_neg()) ^ 1
}

/// The highest bit. The compiler is kept from seeing what it is asked for: of a shift it makes a comparison, and a branch.
#[inline(always)]
pub fn sign(mut value: u64) -> u64 {
    // SAFETY: one instruction, on a register.
    unsafe { asm!("{0} >>= 63", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) };
    value
}

#[inline(always)]
fn bucket(number: u32) -> Option<*mut Bucket> {
    FLOWS.get_ptr_mut(number & (FLOW_BUCKETS.load() - 1))
}

/// The word of entry `way` in the half of the bucket that begins at word `half`: 0 for tags, [`WAYS`] for flows.
#[inline(always)]
fn word(bucket: *mut Bucket, way: usize, half: usize) -> *mut u64 {
    // SAFETY: the mask keeps it in the half; the caller's bucket is a map value.
    unsafe { bucket.cast::<u64>().add(half + (way & (WAYS - 1))) }
}

/// The state of a flow that begins here.
#[inline(always)]
pub fn first(backend: u32, generation: u16, segment: Segment, now: u32) -> Flow {
    Flow::new(backend, generation, FlowState::first(segment), now)
}
