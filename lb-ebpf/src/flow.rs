//! The flow table: finding, making and changing entries. No helper is called, no lock taken: every change is a
//! compare-and-exchange of one word, and whoever loses one leaves things as the winner made them.

use crate::{
    atomic,
    maps::{FLOW_BUCKETS, FLOWS},
};
use lb_common::{
    Flow, FlowState, Segment, Tag,
    flow::{Bucket, WAYS},
};

/// An entry that was found.
#[derive(Clone, Copy)]
pub struct Entry {
    word: *mut u64,
    pub flow: Flow,
}

/// The live entry with this tag.
#[inline(always)]
pub fn find(tag: Tag) -> Option<Entry> {
    let [first, second] = tag.buckets();
    match find_in(bucket(first)?, tag) {
        Some(entry) => Some(entry),
        None => find_in(bucket(second)?, tag),
    }
}

/// Takes one more packet of the flow down. Within a tick most packets change nothing, and nothing is written.
#[inline(always)]
pub fn touch(entry: Entry, segment: Segment, now: u32) {
    let after = entry.flow.after(segment, now);
    if segment != Segment::Related && after != entry.flow {
        replace(entry, after);
    }
}

/// Puts `flow` in the place of what the entry said of the same flow.
#[inline(always)]
pub fn replace(entry: Entry, flow: Flow) {
    // SAFETY: the word of an entry, see `find_in`. Where it is lost, another packet of the flow came first.
    unsafe { atomic::replace(entry.word, entry.flow.0, flow.0) };
}

/// Makes an entry: in a free place, else in that of the flow on probation which was silent for longest, else of one that
/// is over. False: every place is an established flow's.
#[inline(always)]
pub fn insert(tag: Tag, flow: Flow, now: u32) -> bool {
    let [first, second] = tag.buckets();
    let (Some(first), Some(second)) = (bucket(first), bucket(second)) else {
        return false;
    };
    let mut best = Victim::NONE;
    best.look(first, now);
    if best.rank != 0 {
        best.look(second, now);
    }
    if best.rank == u32::MAX {
        return false;
    }
    let (tags, word) = (
        word(best.bucket, best.way, 0),
        word(best.bucket, best.way, WAYS),
    );
    // SAFETY: words of one entry. Nobody else touches an entry that is busy.
    unsafe {
        if !atomic::replace(word, best.flow.0, Flow::BUSY.0) {
            return false;
        }
        tags.write_volatile(tag.0);
        atomic::publish(word, flow.0);
    }
    true
}

/// The entry that a new flow is to take the place of.
struct Victim {
    bucket: *mut Bucket,
    way: usize,
    flow: Flow,
    /// The lowest goes first; 0: free; `u32::MAX`: none may be taken.
    rank: u32,
}

impl Victim {
    const NONE: Self = Self {
        bucket: core::ptr::null_mut(),
        way: 0,
        flow: Flow(0),
        rank: u32::MAX,
    };

    #[inline(always)]
    fn look(&mut self, bucket: *mut Bucket, now: u32) {
        for way in 0..WAYS {
            // SAFETY: a word of a map value, see `word`.
            let flow = Flow(unsafe { word(bucket, way, WAYS).read_volatile() });
            let rank = rank(flow, now);
            if rank < self.rank {
                *self = Self {
                    bucket,
                    way,
                    flow,
                    rank,
                };
            }
        }
    }
}

/// Times reach up to bit 28, so that one comparison orders by class, then by age.
#[inline(always)]
fn rank(flow: Flow, now: u32) -> u32 {
    if flow.0 == 0 {
        return 0;
    }
    match flow.state().eviction() {
        Some(class) if flow.is_live() => {
            (class << Flow::SEEN_BITS) + (1 << Flow::SEEN_BITS) - flow.idle(now)
        }
        _ => u32::MAX,
    }
}

#[inline(always)]
fn find_in(bucket: *mut Bucket, tag: Tag) -> Option<Entry> {
    for way in 0..WAYS {
        // SAFETY: words of a map value, see `word`; volatile because others change them.
        let found = unsafe { word(bucket, way, 0).read_volatile() };
        if found == tag.0 {
            let word = word(bucket, way, WAYS);
            // SAFETY: as above.
            let flow = Flow(unsafe { word.read_volatile() });
            if flow.is_live() {
                return Some(Entry { word, flow });
            }
        }
    }
    None
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
