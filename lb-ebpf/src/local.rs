//! A real server that is this very host: its packets go up.

use crate::{maps::BACKEND_COUNTERS, select::Selected, stats, verdict::Verdict};
use lb_common::{Reason, Service};

/// Passes the packet, in a frame of `len` bytes, to the host's own stack, counted as its backend's.
#[inline(always)]
pub fn deliver(len: usize, service: &Service, selected: Selected) -> Result<Verdict, Verdict> {
    stats::count(BACKEND_COUNTERS.get_ptr_mut(selected.id), len);
    Ok(Verdict::of_service(Reason::RealServerIsLocal, service.id))
}
