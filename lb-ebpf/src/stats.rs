//! Counters of this CPU. A packet updates one.

use lb_common::Counter;

/// Adds a packet of `bytes` bytes to a backend's counter.
#[inline(always)]
pub fn count(counter: Option<*mut Counter>, bytes: usize) {
    if let Some(counter) = counter {
        // SAFETY: a map value of this CPU; nothing else on this CPU runs meanwhile.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += bytes as u64;
        }
    }
}

/// Adds one.
#[inline(always)]
pub fn count_one(counter: Option<*mut u64>) {
    if let Some(counter) = counter {
        // SAFETY: as in `count`.
        unsafe { *counter += 1 }
    }
}
