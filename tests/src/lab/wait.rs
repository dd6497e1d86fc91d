//! Waiting for a condition instead of sleeping and hoping.

use std::fmt::Display;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::interrupt;

/// How often a condition is looked at. A guess: short beside every deadline, long beside the cost of a probe.
const POLL: Duration = Duration::from_millis(10);

/// Asks `probe` until it returns `Ok`, for at most `deadline`; then says what it saw last. Gives up at once on Ctrl-C.
///
/// ```
/// # use std::time::Duration;
/// let error = lb_tests::lab::wait_until(Duration::from_millis(1), "the sun to rise", || Err::<(), _>("it is night"));
/// assert_eq!(error.unwrap_err().to_string(), "waited 1ms for the sun to rise; last seen: it is night");
/// ```
pub fn wait_until<T, S: Display>(
    deadline: Duration,
    what: &str,
    probe: impl FnMut() -> Result<T, S>,
) -> Result<T> {
    wait(deadline, what, interrupt::arrived, probe)
}

/// The same for taking things down, which goes on after a Ctrl-C.
pub(super) fn wait_until_even_if_interrupted<T, S: Display>(
    deadline: Duration,
    what: &str,
    probe: impl FnMut() -> Result<T, S>,
) -> Result<T> {
    wait(deadline, what, || false, probe)
}

fn wait<T, S: Display>(
    deadline: Duration,
    what: &str,
    give_up: impl Fn() -> bool,
    mut probe: impl FnMut() -> Result<T, S>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(seen) if give_up() => {
                bail!("interrupted while waiting for {what}; last seen: {seen}")
            }
            Err(seen) if Instant::now() >= end => {
                bail!("waited {deadline:?} for {what}; last seen: {seen}")
            }
            Err(_) => sleep(POLL),
        }
    }
}
