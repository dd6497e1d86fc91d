//! The maps. All but the counters are mapped into the agent's memory, which writes them by plain stores; this program
//! only reads them. An array look-up is no call: the verifier turns it into a few instructions.

use crate::scratch::Scratch;
use aya_ebpf::{
    Global,
    btf_maps::{Array, LruHashMap, PerCpuArray},
    macros::btf_map,
};
use lb_common::{
    Backend, Control, Counter, Load, Route, Service,
    flow::Bucket,
    fragment::{FRAGMENTED, FragmentKey, Taught},
    route,
};

/// `BPF_F_MMAPABLE` (include/uapi/linux/bpf.h).
const MMAPABLE: usize = 1 << 10;

// The sizes here are the smallest; the agent sets those that the configuration needs when it loads the program.

/// The control block. Key: 0. Written by the agent.
#[btf_map]
pub static CONTROL: Array<Control, 1, MMAPABLE> = Array::new();

/// The service table, two banks of `SERVICE_CAPACITY`. Key: position and bank, see [`lb_common::control::banked`]. Written by the agent, the dead bank only.
#[btf_map]
pub static SERVICES: Array<Service, 512, MMAPABLE> = Array::new();

/// [`lb_common::Slot`] words. Key: a service's `slots_start` and on. Written by the agent, unreferenced ranges only.
#[btf_map]
pub static SLOTS: Array<u64, 65537, MMAPABLE> = Array::new();

/// The backend table, two banks. Key: backend id and bank. Written by the agent: the dead bank,
/// and `next_hop` in both.
#[btf_map]
pub static BACKENDS: Array<Backend, 2048, MMAPABLE> = Array::new();

/// What each backend was sent. Key: backend id. Written here, read by the agent.
#[btf_map]
pub static BACKEND_COUNTERS: PerCpuArray<Counter, 1024> = PerCpuArray::new();

/// Packets by reason. Key: service id and [`lb_common::Reason`]. Written here, read by the agent.
#[btf_map]
pub static REASON_COUNTERS: PerCpuArray<u64, 16384> = PerCpuArray::new();

/// When each kind of error may be told again, see [`crate::limit`]. Key: the kind. Written and read here only.
#[btf_map]
pub static LIMITS: PerCpuArray<u64, 2> = PerCpuArray::new();
/// The flow table. Key: a bucket, see [`lb_common::Tag::buckets`]. Entries are made and changed here and ended by both
/// sides; one on probation makes room for a new one, an established one never.
#[btf_map]
pub static FLOWS: Array<Bucket, 1, MMAPABLE> = Array::new();

/// What each backend has to do. Key: backend id. Connections are counted here and, where a flow has ended, by the agent,
/// which writes weights and limits.
#[btf_map]
pub static LOADS: Array<Load, 1024, MMAPABLE> = Array::new();

/// Whose turn it is: a place in a service's table. Key: service id. Written and read here only.
#[btf_map]
pub static TURNS: Array<u64, 256> = Array::new();

/// The ways to clients that a CPU remembers. Key: [`route::place`]. Written and read here only.
#[btf_map]
pub static ROUTES: PerCpuArray<Route, { route::ROUTES as usize }> = PerCpuArray::new();

/// Room beside the stack. Key: 0. Written and read here only, within one packet.
#[btf_map]
pub static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// What became of datagrams' first fragments. Written and read here only; the longest unused make room for new ones.
#[btf_map]
pub static FRAGMENTS: LruHashMap<FragmentKey, Taught, { FRAGMENTED as usize }> = LruHashMap::new();

/// Entries of one bank of [`SERVICES`], a power of two.
#[unsafe(no_mangle)]
pub static SERVICE_CAPACITY: Global<u32> = Global::new(256);

/// Buckets of [`FLOWS`], a power of two.
#[unsafe(no_mangle)]
pub static FLOW_BUCKETS: Global<u32> = Global::new(1);
