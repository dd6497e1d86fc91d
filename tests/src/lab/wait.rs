//! Waiting for a condition instead of sleeping and hoping.

use std::fmt::Display;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at. A guess: short beside every deadline, long beside the cost of a probe.
const POLL: Duration = Duration::from_millis(10);

/// Asks `probe` until it returns `Ok`, for at most `deadline`; then says what it saw last.
///
/// ```
/// # use std::time::Duration;
/// let error = lb_tests::lab::wait_until(Duration::from_millis(1), "the sun to rise", || Err::<(), _>("it is night"));
/// assert_eq!(error.unwrap_err().to_string(), "waited 1ms for the sun to rise; last seen: it is night");
/// ```
pub fn wait_until<T, S: Display>(
    deadline: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<T, S>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= end => {
                bail!("waited {deadline:?} for {what}; last seen: {seen}")
            }
            Err(_) => sleep(POLL),
        }
    }
}
