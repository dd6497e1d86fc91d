//! The death of the master's agent, and what clients notice of it.

use std::time::{Duration, Instant};

use super::drill::TIMEOUT;

/// From the master's last advert until its backup takes over, by lab/vrrp.toml (RFC 9568 §6.1: three intervals and skew, 361
/// ms), with room for a busy machine; and as long as a request of that time takes to fail.
pub const BOUND: Duration = Duration::from_millis(400).saturating_add(TIMEOUT);
/// Until when the requests are looked at, and from when before the death: several of each connection.
const WINDOW: Duration = Duration::from_secs(1);

/// A master whose agent was killed.
#[derive(Clone, Debug)]
pub struct Failover {
    /// Just before it was.
    pub killed: Instant,
    /// When the backup was first seen to be master.
    pub taken_over: Option<Instant>,
    /// Requests that failed until the bound.
    pub failed: u64,
    /// Requests that failed later.
    pub failed_after_bound: u64,
    /// When answers of this time were there, in no order.
    answers: Vec<Instant>,
}

impl Failover {
    /// Of a master that is killed now; `before`: when answers were there of the last time.
    pub fn new(killed: Instant, before: impl IntoIterator<Item = Instant>) -> Self {
        let recent = |answer: &Instant| *answer + WINDOW >= killed;
        Self {
            killed,
            taken_over: None,
            failed: 0,
            failed_after_bound: 0,
            answers: before.into_iter().filter(recent).collect(),
        }
    }

    /// Counts an answer.
    pub fn add_answer(&mut self, ended: Instant) {
        if ended <= self.killed + BOUND + WINDOW {
            self.answers.push(ended);
        }
    }

    /// Counts a failure; says whether it was to be expected.
    pub fn add_failure(&mut self, ended: Instant) -> bool {
        let within = ended <= self.killed + BOUND;
        *(if within {
            &mut self.failed
        } else {
            &mut self.failed_after_bound
        }) += 1;
        within
    }

    /// The longest time without an answer from the death on.
    pub fn gap(&self) -> Option<Duration> {
        let mut answers = self.answers.clone();
        answers.sort();
        let pairs = answers.iter().zip(answers.iter().skip(1));
        pairs
            .filter(|(_, next)| **next > self.killed)
            .map(|(answer, next)| *next - *answer)
            .max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_the_longest_time_without_an_answer_and_may_begin_before_the_death() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut failover = Failover::new(at(2000), [100, 1400, 1990].map(at));
        assert_eq!(failover.gap(), None, "nobody has answered since");
        for ms in [2400, 2050, 2300] {
            failover.add_answer(at(ms));
        }
        assert_eq!(failover.gap(), Some(Duration::from_millis(250)));
        let mut failover = Failover::new(at(2000), [at(1990)]);
        failover.add_answer(at(2360));
        assert_eq!(failover.gap(), Some(Duration::from_millis(370)));
    }

    #[test]
    fn failures_are_forgiven_until_the_bound() {
        let killed = Instant::now();
        let mut failover = Failover::new(killed, []);
        assert!(failover.add_failure(killed + BOUND));
        assert!(!failover.add_failure(killed + BOUND + Duration::from_millis(1)));
        assert_eq!((failover.failed, failover.failed_after_bound), (1, 1));
    }
}
