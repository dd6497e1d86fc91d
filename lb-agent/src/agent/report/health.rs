//! What the status says of a real server's checks and of what has happened to it.

use crate::{
    agent::pool::History,
    control::status::{ChangeStatus, CheckStatus},
    health::{Outcome, State, Status},
};
use std::time::Instant;

/// How its check stands.
pub(super) fn check(status: Status, now: Instant) -> CheckStatus {
    let seconds_since = |then: Instant| now.saturating_duration_since(then).as_secs();
    let next = status
        .next_run
        .map(|next| next.saturating_duration_since(now).as_millis());
    CheckStatus {
        state: match status.state {
            State::Unknown => "unknown",
            State::Up => "up",
            State::Down => "down",
        }
        .to_owned(),
        since_s: seconds_since(status.since),
        took_ms: status
            .last
            .as_ref()
            .map_or(0.0, |run| run.took.as_secs_f64() * 1000.0),
        late_ms: status
            .last
            .as_ref()
            .map_or(0.0, |run| run.late.as_secs_f64() * 1000.0),
        ago_s: status.last.as_ref().map(|run| seconds_since(run.at)),
        runs: status.runs,
        failures: status.failures,
        next_ms: next.and_then(|ms| u64::try_from(ms).ok()),
        last: status
            .last
            .map(|run| in_words(run.outcome))
            .unwrap_or_default(),
    }
}

fn in_words(outcome: Outcome) -> String {
    match outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Weighed(weight) => format!("passed, found the weight {weight}"),
        Outcome::Failed(reason) => reason,
        Outcome::Inconclusive(reason) => format!("could not be made: {reason}"),
    }
}

/// The last changes.
pub(super) fn history(history: &History, now: Instant) -> Vec<ChangeStatus> {
    let changes = history.iter().map(|(at, change)| ChangeStatus {
        ago_s: now.saturating_duration_since(*at).as_secs(),
        old: change.old.to_owned(),
        new: change.new.to_owned(),
        weight: change.weight.unwrap_or_default(),
        reason: change.reason.clone(),
    });
    changes.collect()
}
