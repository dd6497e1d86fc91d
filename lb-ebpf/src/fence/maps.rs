//! The fence's maps: mostly written by the agent, looked up only for packets that are about addresses or elections.

use aya_ebpf::{
    btf_maps::{Array, HashMap, PerCpuArray},
    macros::btf_map,
};
use lb_common::fence::{Address, FENCE_COUNTERS, Fence, Herald};

/// `BPF_F_MMAPABLE` (include/uapi/linux/bpf.h).
const MMAPABLE: usize = 1 << 10;
/// `BPF_F_NO_PREALLOC` (include/uapi/linux/bpf.h): most places stay free.
const NO_PREALLOC: usize = 1;

/// One for each virtual router. Key: the number of its ownership word. Written by the agent; `witnessed_ns` here.
#[btf_map]
pub static FENCES: Array<Fence, { lb_common::fence::FENCES }, MMAPABLE> = Array::new();

/// Whose an address is. Written by the agent.
#[btf_map]
pub static ADDRESSES: HashMap<Address, u32, 65536, NO_PREALLOC> = HashMap::new();

/// Whose an advert is. Written by the agent.
#[btf_map]
pub static HERALDS: HashMap<Herald, u32, 65536, NO_PREALLOC> = HashMap::new();

/// Packets held back. Key: number of the fence and row. Written here, read by the agent.
#[btf_map]
pub static HELD_BACK: PerCpuArray<u64, { lb_common::fence::FENCES * FENCE_COUNTERS }> =
    PerCpuArray::new();

/// The number of the fence that an address has.
#[inline(always)]
pub fn fence_of_address(address: &Address) -> Option<u32> {
    // SAFETY: the value is one word, which the agent replaces as a whole.
    unsafe { ADDRESSES.get(address).copied() }
}

/// The number of the fence that an advert concerns.
#[inline(always)]
pub fn fence_of_herald(herald: &Herald) -> Option<u32> {
    // SAFETY: as above.
    unsafe { HERALDS.get(herald).copied() }
}

/// What is known of a fence now: the agent writes its words while packets pass.
#[inline(always)]
pub fn fence(number: u32) -> Option<Fence> {
    // SAFETY: in bounds by the look-up, aligned; volatile because the agent stores to it.
    FENCES
        .get_ptr(number)
        .map(|fence| unsafe { fence.read_volatile() })
}

/// Writes down when another router was heard.
#[inline(always)]
pub fn witness(number: u32, at_ns: u64) {
    if let Some(fence) = FENCES.get_ptr_mut(number) {
        // SAFETY: in bounds by the look-up; one aligned word, written here alone.
        unsafe { (&raw mut (*fence).witnessed_ns).write_volatile(at_ns) }
    }
}

/// Adds one to a counter.
#[inline(always)]
pub fn count(place: u32) {
    if let Some(counter) = HELD_BACK.get_ptr_mut(place) {
        // SAFETY: a map value of this CPU; nothing else on this CPU runs meanwhile.
        unsafe { *counter += 1 }
    }
}
