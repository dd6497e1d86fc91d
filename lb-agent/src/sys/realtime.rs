//! What keeps a thread on time on a host that has too much to do.

#![expect(unsafe_code, reason = "nix has no sched_setscheduler(2)")]

use nix::sys::mman::{MlockAllFlags, mlockall};
use std::io;

/// Gives the calling thread a real-time priority, 1..=99 (SCHED_RR). What it starts does not inherit it.
///
/// # Errors
/// The kernel's answer: it takes CAP_SYS_NICE.
pub fn set_priority(priority: u8) -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: priority.into(),
    };
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 is the calling thread; the parameters live until the call returns.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Keeps this process's memory, what it has and what it will have, from being swapped out once it has been used.
///
/// # Errors
/// The kernel's answer: it takes CAP_IPC_LOCK.
pub fn lock_memory() -> io::Result<()> {
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    let all = MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE;
    Ok(mlockall(all | on_fault)?)
}
