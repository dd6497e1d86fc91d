//! Ctrl-C and SIGTERM as a flag that loops look at, so that what was built is taken down in order.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use nix::libc::c_int;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From here on SIGINT, SIGTERM and SIGHUP set the flag instead of ending the process. Programs that are started later
/// have the usual meaning of these signals: a handler does not survive exec.
#[expect(unsafe_code, reason = "a signal handler is installed")]
pub fn install() -> Result<()> {
    let action = SigAction::new(
        SigHandler::Handler(note),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler does nothing but store to an atomic, which is async-signal-safe.
        unsafe { sigaction(signal, &action) }.with_context(|| format!("handle {signal}"))?;
    }
    Ok(())
}

/// As if one of the signals had arrived.
pub fn raise() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Whether one of the signals has arrived.
pub fn arrived() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Fails once one of the signals has arrived: for the steps between which to stop.
pub fn check() -> Result<()> {
    if arrived() {
        bail!("interrupted");
    }
    Ok(())
}
