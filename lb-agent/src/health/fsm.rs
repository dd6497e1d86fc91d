//! When a check runs, and what its results say about the real server.
//!
//! One machine for one check of one real server. It owns no clock, socket or task: [`driver`](super::driver) asks
//! [`next_run`](Check::next_run), says [`on_start`](Check::on_start) when it starts a run and hands in the outcome with
//! [`on_result`](Check::on_result).
//!
//! ```text
//!              a run passed                     fall failures in a row
//!  Unknown ───────────────────▶ Up ◀────────── Down ◀─────────────────── Up
//!     │                             rise passes                           ▲
//!     └───────────────────────────────▶ Down                in a row
//!              a run failed
//! ```
//!
//! # How soon a death is seen
//!
//! Runs start `interval` apart, or `retry_interval` after a failure, and each ends within `timeout`. **A server that
//! dies is down at most `fall × interval + timeout` later.** For this to hold where `timeout` is longer than `interval`,
//! a run does not wait for the one before it: up to `fall` runs of a server that is up may be under way at once, as many
//! as it takes to condemn it. A server that is not up is tried by one run at a time.
//!
//! With a `retry_interval` longer than `interval` the operator has asked for patience, and the bound is
//! `interval + timeout + (fall - 1) × (retry_interval + timeout)`. [`Timing::detection_bound`] says which it is.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// When runs happen, and how many results in a row it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From the start of a run to the start of the next.
    pub interval: Duration,
    /// The longest a run may take, as a whole. Who runs the check ends it then and reports a failure.
    pub timeout: Duration,
    /// Failures in a row before a server is down.
    pub fall: NonZeroU32,
    /// Passes in a row before a server is up again.
    pub rise: NonZeroU32,
    /// From a failure to the start of the next run.
    pub retry_interval: Duration,
}

impl Timing {
    /// The longest it takes from a server's death until it is down. Runs are assumed to start and end on time.
    pub fn detection_bound(&self) -> Duration {
        let fall = self.fall.get();
        if self.retry_interval <= self.interval {
            (self.interval.saturating_mul(fall)).saturating_add(self.timeout)
        } else {
            let first = self.interval.saturating_add(self.timeout);
            let other = self.retry_interval.saturating_add(self.timeout);
            first.saturating_add(other.saturating_mul(fall - 1))
        }
    }
}

/// What is known about a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No run has ended yet and nothing was presumed: the first result decides, alone.
    Unknown,
    /// It serves.
    Up,
    /// It must not be sent anything new.
    Down,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered as it should.
    Passed,
    /// It did, and this is the weight it should have.
    Weighed(u16),
    /// It did not, or not in time. Why, in words for the operator.
    Failed(String),
    /// The run could not be carried out for a reason of this host's own, such as no file descriptor left. It says
    /// nothing about the server and counts neither way: otherwise a shortage here would condemn every server at once.
    Inconclusive(String),
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The state now: `Up` or `Down`.
    pub to: State,
    /// Why, in words for the operator.
    pub reason: String,
}

/// One check of one real server.
#[derive(Clone, Debug)]
pub struct Check {
    timing: Timing,
    standing: Standing,
    /// Runs that have started and not ended.
    under_way: u32,
    /// When the next run is due, should one be allowed.
    due: Instant,
    /// From the start of the first run to the second; taken when used.
    first_interval: Option<Duration>,
}

/// The state with what counts in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Unknown,
    Up {
        /// In a row, below `fall`.
        failures: u32,
    },
    Down {
        /// In a row, below `rise`.
        passes: u32,
    },
}

impl Check {
    /// A check whose first run is due at `first_run` and whose second comes `first_interval` later.
    ///
    /// The two numbers are where jitter comes in: whoever has many checks spreads them here, and they stay apart.
    /// `first_interval` is cut to the interval, so that the detection bound holds from the start.
    pub fn new(
        timing: Timing,
        initial: State,
        first_run: Instant,
        first_interval: Duration,
    ) -> Self {
        let standing = match initial {
            State::Unknown => Standing::Unknown,
            State::Up => Standing::Up { failures: 0 },
            State::Down => Standing::Down { passes: 0 },
        };
        Self {
            timing,
            standing,
            under_way: 0,
            due: first_run,
            first_interval: Some(first_interval.min(timing.interval)),
        }
    }

    /// What is known about the server.
    pub fn state(&self) -> State {
        match self.standing {
            Standing::Unknown => State::Unknown,
            Standing::Up { .. } => State::Up,
            Standing::Down { .. } => State::Down,
        }
    }

    /// When to start the next run; in the past means at once. `None`: not before a run that is under way has ended.
    pub fn next_run(&self) -> Option<Instant> {
        let allowed = match self.standing {
            Standing::Up { failures } => self.timing.fall.get() - failures,
            Standing::Unknown | Standing::Down { .. } => 1,
        };
        (self.under_way < allowed).then_some(self.due)
    }

    /// A run starts.
    pub fn on_start(&mut self, now: Instant) {
        self.under_way += 1;
        self.due = later(
            now,
            self.first_interval.take().unwrap_or(self.timing.interval),
        );
    }

    /// A run that was started has ended.
    pub fn on_result(&mut self, outcome: Outcome, now: Instant) -> Option<Transition> {
        self.under_way = self.under_way.saturating_sub(1);
        let from = self.state();
        let (fall, rise) = (self.timing.fall.get(), self.timing.rise.get());
        let (standing, reason) = match (self.standing, outcome) {
            (Standing::Unknown, Outcome::Passed | Outcome::Weighed(_)) => (
                Standing::Up { failures: 0 },
                "first check passed".to_owned(),
            ),
            (Standing::Unknown, Outcome::Failed(why)) => {
                self.retry(now);
                (Standing::Down { passes: 0 }, why)
            }
            (Standing::Up { .. }, Outcome::Passed | Outcome::Weighed(_)) => {
                (Standing::Up { failures: 0 }, String::new())
            }
            (Standing::Up { failures }, Outcome::Failed(why)) => {
                self.retry(now);
                match failures + 1 {
                    failures if failures < fall => (Standing::Up { failures }, why),
                    _ => (Standing::Down { passes: 0 }, in_a_row(&why, fall)),
                }
            }
            (Standing::Down { passes }, Outcome::Passed | Outcome::Weighed(_)) => {
                match passes + 1 {
                    passes if passes < rise => (Standing::Down { passes }, String::new()),
                    _ => (Standing::Up { failures: 0 }, in_a_row("check passed", rise)),
                }
            }
            (Standing::Down { .. }, Outcome::Failed(why)) => {
                self.retry(now);
                (Standing::Down { passes: 0 }, why)
            }
            (
                standing @ (Standing::Unknown | Standing::Up { .. } | Standing::Down { .. }),
                Outcome::Inconclusive(why),
            ) => {
                self.retry(now);
                (standing, why)
            }
        };
        self.standing = standing;
        let to = self.state();
        (from != to).then_some(Transition { from, to, reason })
    }

    /// Takes new timing into use, such as a reload brings. What is known so far stays, and runs that are under way
    /// count as before.
    pub fn set_timing(&mut self, timing: Timing, now: Instant) {
        self.timing = timing;
        self.due = self.due.min(later(now, timing.interval));
        if let Standing::Up { failures } = &mut self.standing {
            *failures = (*failures).min(timing.fall.get() - 1);
        }
    }

    /// After a failure the next run is due `retry_interval` from now.
    ///
    /// Of a server that is up, an earlier due time stands: a failure must not put off the run that would have come
    /// anyway, or the detection bound would not hold. Unless the operator asked for just that.
    fn retry(&mut self, now: Instant) {
        let retry = later(now, self.timing.retry_interval);
        let up = matches!(self.standing, Standing::Up { .. });
        self.due = if up && self.timing.retry_interval <= self.timing.interval {
            self.due.min(retry)
        } else {
            retry
        };
    }
}

/// `now + wait`, and never an overflow: a wait of more than a year is a year.
fn later(now: Instant, wait: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    now + wait.min(YEAR)
}

fn in_a_row(what: &str, times: u32) -> String {
    match times {
        1 => what.to_owned(),
        _ => format!("{what} ({times} in a row)"),
    }
}

#[cfg(test)]
mod tests;
