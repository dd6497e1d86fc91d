//! The backend table, as it is asked by id.

use crate::maps::BACKENDS;
use lb_common::{Backend, Flow, Live, Tenure};

const KEEPS: u8 = Tenure::Keeps as u8;
const HOLDS: u8 = Tenure::Holds as u8;

/// The live bank's backend with this id.
#[inline(always)]
pub fn entry(live: Live, id: u32) -> Option<&'static Backend> {
    // SAFETY: in bounds by the look-up; the map outlives the program; what changes in a live entry is read volatile where
    // it is used.
    match BACKENDS.get_ptr(live.place(id)) {
        Some(backend) if id != 0 => Some(unsafe { &*backend }),
        _ => None,
    }
}

/// The backend that a remembered flow belongs to; `None` where its id has another holder now, or none.
#[inline(always)]
pub fn of(live: Live, flow: Flow) -> Option<&'static Backend> {
    match entry(live, flow.backend()) {
        Some(backend) if flow.is_of(backend.generation) => Some(backend),
        _ => None,
    }
}

/// What becomes of the flows of a backend; one that is no more has released them.
#[inline(always)]
pub fn tenure(backend: Option<&Backend>) -> Tenure {
    match backend {
        Some(backend) => match backend.tenure {
            KEEPS => Tenure::Keeps,
            HOLDS => Tenure::Holds,
            _ => Tenure::Released,
        },
        None => Tenure::Released,
    }
}
