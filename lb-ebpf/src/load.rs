//! What backends have to do: counted where an entry of the flow table is made, changed or evicted.

use crate::{
    atomic, backends,
    flow::{is_zero, sign},
    maps::LOADS,
};
use lb_common::{Flow, FlowState, Live, Load, load::Connections};

/// Counts an entry that became another: of no flow (`Flow(0)`) before, or after. What belongs to a backend that is no
/// more is counted nowhere.
#[inline(always)]
pub fn count(live: Live, before: Flow, after: Flow) {
    if before.0 as u32 == after.0 as u32 {
        add(
            after.backend(),
            Connections::change(state(before), state(after)),
        );
        return;
    }
    if before.is_live() && backends::of(live, before).is_some() {
        add(before.backend(), Connections::change(state(before), None));
    }
    if after.is_live() {
        add(after.backend(), Connections::change(None, state(after)));
    }
}

#[inline(always)]
fn state(flow: Flow) -> Option<FlowState> {
    flow.is_live().then_some(flow.state())
}

#[inline(always)]
fn add(id: u32, change: u64) {
    if change != 0
        && let Some(load) = LOADS.get_ptr_mut(id)
    {
        // SAFETY: an aligned word of a map value.
        unsafe { atomic::add(&raw mut (*load).connections, change) };
    }
}

/// What is known of a backend's load, each word read once.
#[derive(Clone, Copy)]
pub struct Seen {
    load: *mut Load,
    connections: Connections,
    /// Its weight among those that take new flows; 0: it takes none.
    pub weight: u32,
}

impl Seen {
    #[inline(always)]
    pub fn of(live: Live, id: u32) -> Option<Self> {
        let load = LOADS.get_ptr_mut(id)?;
        // SAFETY: in bounds by the look-up; volatile because others change them.
        let (connections, shares) = unsafe {
            (
                (&raw const (*load).connections).read_volatile(),
                (&raw const (*load).shares).read_volatile(),
            )
        };
        Some(Self {
            load,
            connections: Connections(connections),
            weight: Load::share(shares, live.bank()),
        })
    }

    /// Active connections, as [`Connections::active`], without a branch.
    #[inline(always)]
    pub fn active(&self) -> u64 {
        let word = self.connections.0;
        let borrowed = sign(word << 32);
        let active = (word >> 32).wrapping_add(borrowed) & u32::MAX as u64;
        active & sign(active << 32).wrapping_sub(1)
    }

    /// Inactive connections, as [`Connections::inactive`], without a branch.
    #[inline(always)]
    pub fn inactive(&self) -> u64 {
        let inactive = self.connections.0 & u32::MAX as u64;
        inactive & sign(inactive << 32).wrapping_sub(1)
    }

    /// 1 where it may have no more connections, else 0; as [`Limits::is_full`], without a branch. Whoever finds that this
    /// has changed says so.
    #[inline(always)]
    pub fn is_full(&self) -> u64 {
        // SAFETY: as in `of`.
        let (limits, was_full) = unsafe {
            (
                (&raw const (*self.load).limits).read_volatile(),
                (&raw const (*self.load).full).read_volatile() & 1,
            )
        };
        let (most, again) = (limits & u32::MAX as u64, limits >> 32);
        let limit = most ^ (most ^ again) & was_full.wrapping_neg();
        let is_below = sign((self.active() + self.inactive()).wrapping_sub(limit));
        let is_full = (is_below ^ 1) & (is_zero(most) ^ 1);
        if is_full != was_full {
            // SAFETY: as in `of`.
            unsafe { (&raw mut (*self.load).full).write_volatile(is_full) };
        }
        is_full
    }
}
