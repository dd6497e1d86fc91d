//! What takes room beside the common way. On the stack, which all functions that call each other share, there is little
//! (512 bytes: `MAX_BPF_STACK`, include/linux/filter.h).

use crate::{ipv6::Walked, maps::SCRATCH, route::Lookup, select::Question, vip::Sought};
use lb_common::fragment::{FragmentKey, Taught};

/// Room for one packet. Its parts are used by one function at a time, which fills them first.
#[repr(C)]
pub struct Scratch {
    pub question: Question,
    pub sought: Sought,
    pub walked: Walked,
    pub lookup: Lookup,
    pub fragment: FragmentKey,
    pub taught: Taught,
}

/// This CPU's.
#[inline(always)]
pub fn get() -> Option<*mut Scratch> {
    SCRATCH.get_ptr_mut(0)
}
