//! Counting what became of the requests, and the judgement at the end.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use lb_tests::traffic::{Latencies, Outcome};
use serde::Serialize;

use super::failover::{self, Failover};

/// How many reasons of failures are kept to be shown.
const SHOWN_REASONS: usize = 5;

/// As many of the last answers are remembered.
const RECENT: usize = 1000;

/// A real server that was taken away, and what that did.
#[derive(Clone, Debug)]
pub struct Drill {
    /// The node's name.
    pub server: String,
    /// Just before its nginx was killed.
    pub killed: Instant,
    /// When its nginx listened again.
    pub restored: Option<Instant>,
    /// When the first answer from it arrived after that.
    pub served_again: Option<Instant>,
    /// Failures from the kill until the bound.
    pub failed_within_bound: u64,
    /// Failures later than that.
    pub failed_after_bound: u64,
    /// The last failure after the kill.
    pub last_failure: Option<Instant>,
    /// When the table was first seen changed after the kill.
    pub table_changed: Option<Instant>,
}

/// All requests so far.
#[derive(Debug)]
pub struct Tally {
    bound: Duration,
    /// How many have ended, well or not.
    pub requests: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many of those failed before a server was taken away.
    pub failed_before_kill: u64,
    /// How many each real server answered.
    pub per_real_server: BTreeMap<String, u64>,
    /// How long the answers took.
    pub latencies: Latencies,
    /// What was done to a real server.
    pub drill: Option<Drill>,
    /// What was done to the master.
    pub failover: Option<Failover>,
    /// When the last answers were there.
    recent: VecDeque<Instant>,
    /// Why requests failed that should not have.
    pub reasons: Vec<String>,
}

/// What `--json` writes. Times in milliseconds.
#[derive(Debug, Serialize)]
pub struct Summary {
    passed: bool,
    seconds: f64,
    requests: u64,
    failed: u64,
    failed_before_kill: u64,
    failed_within_bound: u64,
    failed_after_bound: u64,
    bound_ms: f64,
    killed: Option<String>,
    last_failure_after_kill_ms: Option<f64>,
    table_changed_after_kill_ms: Option<f64>,
    served_again_after_ms: Option<f64>,
    failover_gap_ms: Option<f64>,
    failover_seen_ms: Option<f64>,
    failed_in_failover: u64,
    failed_after_failover: u64,
    per_real_server: BTreeMap<String, u64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    generation: Option<u64>,
    datapath: Option<String>,
}

impl Tally {
    /// Nothing yet. `servers` must each serve; `bound` is the longest time from a death to the last failure.
    pub fn new(servers: impl IntoIterator<Item = String>, bound: Duration) -> Self {
        Self {
            bound,
            requests: 0,
            failed: 0,
            failed_before_kill: 0,
            per_real_server: servers.into_iter().map(|server| (server, 0)).collect(),
            latencies: Latencies::default(),
            drill: None,
            failover: None,
            recent: VecDeque::with_capacity(RECENT),
            reasons: Vec::new(),
        }
    }

    /// From now on failures are expected, until the bound.
    pub fn kill(&mut self, server: &str, killed: Instant) {
        self.drill = Some(Drill {
            server: server.to_owned(),
            killed,
            restored: None,
            served_again: None,
            failed_within_bound: 0,
            failed_after_bound: 0,
            last_failure: None,
            table_changed: None,
        });
    }

    /// The master is killed: a short interruption is expected.
    pub fn fail_over(&mut self, killed: Instant) {
        self.failover = Some(Failover::new(killed, self.recent.drain(..)));
    }

    /// Counts one request.
    pub fn add(&mut self, outcome: &Outcome) {
        self.requests += 1;
        match &outcome.answer {
            Ok(server) => self.add_answer(server, outcome),
            Err(reason) => self.add_failure(reason, outcome),
        }
    }

    fn add_answer(&mut self, server: &str, outcome: &Outcome) {
        *self.per_real_server.entry(server.to_owned()).or_default() += 1;
        self.latencies.add(outcome.took);
        match &mut self.failover {
            Some(failover) => failover.add_answer(outcome.ended()),
            None => {
                if self.recent.len() == RECENT {
                    self.recent.pop_front();
                }
                self.recent.push_back(outcome.ended());
            }
        }
        if let Some(drill) = &mut self.drill
            && drill.server == server
            && drill
                .restored
                .is_some_and(|restored| outcome.ended() >= restored)
        {
            drill.served_again.get_or_insert(outcome.ended());
        }
    }

    fn add_failure(&mut self, reason: &str, outcome: &Outcome) {
        self.failed += 1;
        let ended = outcome.ended();
        let expected = match (&mut self.failover, &mut self.drill) {
            (Some(failover), _) if ended >= failover.killed => failover.add_failure(ended),
            (_, Some(drill)) if ended >= drill.killed => {
                drill.last_failure = drill.last_failure.max(Some(ended));
                let within = ended <= drill.killed + self.bound;
                *(if within {
                    &mut drill.failed_within_bound
                } else {
                    &mut drill.failed_after_bound
                }) += 1;
                within
            }
            (_, Some(_) | None) => {
                self.failed_before_kill += 1;
                false
            }
        };
        if !expected && self.reasons.len() < SHOWN_REASONS {
            self.reasons.push(format!("{}: {reason}", outcome.target));
        }
    }

    /// What is wrong with what was seen; nothing: the run has passed.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.failed_before_kill > 0 {
            faults.push(format!(
                "{} requests failed while every real server was well",
                self.failed_before_kill
            ));
        }
        for (server, count) in &self.per_real_server {
            if *count == 0 {
                faults.push(format!("{server} has served no request"));
            }
        }
        if let Some(drill) = &self.drill {
            if drill.failed_after_bound > 0 {
                faults.push(format!(
                    "{} requests failed later than {:.1} s after the kill",
                    drill.failed_after_bound,
                    self.bound.as_secs_f64()
                ));
            }
            if drill.restored.is_some() && drill.served_again.is_none() {
                faults.push(format!(
                    "{} has served no request since it was put back",
                    drill.server
                ));
            }
        }
        if let Some(failover) = &self.failover {
            if failover.failed_after_bound > 0 {
                faults.push(format!(
                    "{} requests failed later than {:.1} s after the master was killed",
                    failover.failed_after_bound,
                    failover::BOUND.as_secs_f64()
                ));
            }
            if failover.taken_over.is_none() {
                faults.push("the backup has not taken over from the killed master".to_owned());
            }
        }
        faults
    }

    /// Everything as `--json` writes it.
    pub fn summary(
        &self,
        took: Duration,
        generation: Option<u64>,
        datapath: Option<String>,
        passed: bool,
    ) -> Summary {
        let drill = self.drill.as_ref();
        let failover = self.failover.as_ref();
        let since_kill = |moment: Option<Instant>| Some(millis(moment? - drill?.killed));
        Summary {
            passed,
            seconds: took.as_secs_f64(),
            requests: self.requests,
            failed: self.failed,
            failed_before_kill: self.failed_before_kill,
            failed_within_bound: drill.map_or(0, |drill| drill.failed_within_bound),
            failed_after_bound: drill.map_or(0, |drill| drill.failed_after_bound),
            bound_ms: millis(self.bound),
            killed: drill.map(|drill| drill.server.clone()),
            last_failure_after_kill_ms: since_kill(drill.and_then(|drill| drill.last_failure)),
            table_changed_after_kill_ms: since_kill(drill.and_then(|drill| drill.table_changed)),
            served_again_after_ms: drill
                .and_then(|drill| Some(millis(drill.served_again? - drill.restored?))),
            failover_gap_ms: failover.and_then(|failover| failover.gap().map(millis)),
            failover_seen_ms: failover
                .and_then(|failover| Some(millis(failover.taken_over? - failover.killed))),
            failed_in_failover: failover.map_or(0, |failover| failover.failed),
            failed_after_failover: failover.map_or(0, |failover| failover.failed_after_bound),
            per_real_server: self.per_real_server.clone(),
            p50_ms: self.latencies.percentile(0.5).map(millis),
            p99_ms: self.latencies.percentile(0.99).map(millis),
            generation,
            datapath,
        }
    }

    /// The longest time from a death to the last failure.
    pub fn bound(&self) -> Duration {
        self.bound
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests;
