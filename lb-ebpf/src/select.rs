//! Which real server gets the packet.

use crate::{
    maps::{BACKENDS, SLOTS},
    verdict::Verdict,
};
use lb_common::{Backend, Live, Reason, Service, Slot, hash};

/// A backend and its id.
#[derive(Clone, Copy)]
pub struct Selected {
    pub id: u32,
    pub backend: &'static Backend,
}

/// The owner of the slot of the flow with this hash. No state, nothing written: a flood of new flows costs what established ones do.
#[inline(always)]
pub fn backend(live: Live, service: &Service, flow: u32) -> Result<Selected, Verdict> {
    if service.slots_len == 0 {
        return Err(Verdict::of_service(Reason::NoRealServer, service.id));
    }
    let place = hash::spread(flow, service.slots_len);
    let Some(slot) = SLOTS.get_ptr(service.slots_start.wrapping_add(place)) else {
        return Err(Verdict::of_service(Reason::Inconsistent, service.id));
    };
    // SAFETY: in bounds by the look-up; one aligned word, volatile because the agent stores to it.
    let id = Slot(unsafe { slot.read_volatile() }).current();
    match BACKENDS.get_ptr(live.place(id)) {
        // SAFETY: the map outlives the program; what changes in a live entry is read volatile where it is used.
        Some(backend) if id != 0 => Ok(Selected {
            id,
            backend: unsafe { &*backend },
        }),
        _ => Err(Verdict::of_service(Reason::Inconsistent, service.id)),
    }
}
