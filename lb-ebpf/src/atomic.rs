//! Atomic words in map values. The target has them (`BPF_CMPXCHG`, `BPF_XCHG`: Linux 5.12), the compiler's own type for
//! them hides them.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd, atomic_xchg};

/// Puts `new` where `old` is; false: something else was there.
///
/// # Safety
/// `word` points to an aligned word of a map value.
#[inline(always)]
pub unsafe fn replace(word: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, old, new)
            .1
    }
}

/// Stores `new` after everything that was written before.
///
/// # Safety
/// As for [`replace`].
#[inline(always)]
pub unsafe fn publish(word: *mut u64, new: u64) {
    // SAFETY: as the caller promises.
    unsafe { atomic_xchg::<u64, { AtomicOrdering::SeqCst }>(word, new) };
}

/// Adds `value`, wrapping around.
///
/// # Safety
/// As for [`replace`].
#[inline(always)]
pub unsafe fn add(word: *mut u64, value: u64) {
    // SAFETY: as the caller promises. What was there is not asked for: an addition that tells it is another instruction,
    // which the compiler takes only where its result is used or its order matters.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(word, value) };
}
