//! The tasks that run the checks.
//!
//! One task per target. It owns the target's state machine ([`fsm`](super::fsm)) and its runs that are under way, and is
//! the only place here that reads the clock. A change of state goes out as an [`Event`]; the last run of each target can
//! be read at any time ([`Driver::status`]) without asking the task.
//!
//! Stopping the token given to [`Driver::spawn`], or dropping the driver, ends all tasks and gives up their runs.
//!
//! # When the first runs happen
//!
//! Soon, for nothing is known before: the first runs of all targets are spread over one second, or over the interval if
//! that is shorter. The second runs are spread over the rest of the interval, and as every later one keeps its distance,
//! so are all that follow. The spread is by the target's id (a sequence that fills an interval evenly, however many
//! there are), so the same configuration gives the same load.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::fsm::{Check, Outcome, State, Timing};
use super::probe::Probe;

/// Events that may wait for whoever acts on them, as the depth of the channel handed to [`Driver::spawn`].
///
/// One commit of tables takes in all that wait. A burst beyond this, such as a rack that dies, waits in the targets'
/// own tasks, one event each: nothing is lost and nothing grows.
pub const EVENTS: usize = 256;

/// First runs happen within this time, all targets together.
const FIRST_RUNS: Duration = Duration::from_secs(1);

/// Names a target in events and status. The caller's number, kept over a reload for what is the same to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(pub u32);

/// What is checked, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// What.
    pub probe: Probe,
    /// When, and how many results it takes.
    pub timing: Timing,
}

/// One server to be checked.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name in events and status.
    pub id: TargetId,
    /// What is checked, and when.
    pub spec: Spec,
    /// What to take it for until results say otherwise. Of no effect on a target that is being checked already.
    pub initial: State,
}

/// A target's state has changed, or the weight that its check finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which target. May have been removed since: such an event is to be ignored.
    pub target: TargetId,
    /// `Up` or `Down`.
    pub state: State,
    /// The weight that the check found; `None`: it finds none, and the configured one counts.
    pub weight: Option<u16>,
    /// Why, in words for the operator.
    pub reason: String,
    /// When the run ended that decided.
    pub at: Instant,
}

/// How a target stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Up, down, or not known yet.
    pub state: State,
    /// Since when; the start of its checks, where nothing has changed since.
    pub since: Instant,
    /// The weight that the last good run found, if it finds one.
    pub weight: Option<u16>,
    /// Runs that have ended.
    pub runs: u64,
    /// Runs that failed since the last one that passed.
    pub failures: u32,
    /// When the next run is due; `None`: not before one that is under way has ended.
    pub next_run: Option<Instant>,
    /// The run that ended last.
    pub last: Option<Run>,
}

/// A run that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// How it ended, with the reason in words if badly.
    pub outcome: Outcome,
    /// When it ended.
    pub at: Instant,
    /// From its start to its end.
    pub took: Duration,
    /// How much later than it was due it started.
    pub late: Duration,
}

/// All checks that are running.
#[derive(Debug)]
pub struct Driver {
    checks: BTreeMap<TargetId, Handle>,
    tasks: TaskTracker,
    events: mpsc::Sender<Event>,
    cancel: CancellationToken,
}

/// The driver's end of a target's task.
#[derive(Debug)]
struct Handle {
    spec: watch::Sender<Spec>,
    status: watch::Receiver<Status>,
    cancel: CancellationToken,
}

impl Driver {
    /// Starts checking. Needs a tokio runtime with time and IO, on which the tasks will run.
    pub fn spawn(
        targets: impl IntoIterator<Item = Target>,
        events: mpsc::Sender<Event>,
        cancel: CancellationToken,
    ) -> Self {
        let mut driver = Self {
            checks: BTreeMap::new(),
            tasks: TaskTracker::new(),
            events,
            cancel: cancel.child_token(),
        };
        driver.set_targets(targets);
        driver
    }

    /// Makes these, and only these, the targets: stops what is not among them, starts what is new.
    ///
    /// A target whose id is known goes on with what is known of it: one whose spec is equal notices nothing, another
    /// takes up the new spec. So a server that is down stays down when its check is changed, until the changed check
    /// finds otherwise. Of an id given twice the first counts.
    pub fn set_targets(&mut self, targets: impl IntoIterator<Item = Target>) {
        let mut kept = BTreeSet::new();
        for target in targets {
            if !kept.insert(target.id) {
                continue;
            }
            match self.checks.get(&target.id) {
                Some(handle) => {
                    handle.spec.send_if_modified(|spec| {
                        let changed = *spec != target.spec;
                        *spec = target.spec;
                        changed
                    });
                }
                None => self.start(target),
            }
        }
        self.checks.retain(|id, handle| {
            let keep = kept.contains(id);
            if !keep {
                handle.cancel.cancel();
            }
            keep
        });
    }

    /// How a target stands; `None` if there is no such target.
    pub fn status(&self, target: TargetId) -> Option<Status> {
        let handle = self.checks.get(&target)?;
        Some(handle.status.borrow().clone())
    }

    /// Ends all checks, and returns when the last task has ended.
    pub async fn stop(self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn start(&mut self, target: Target) {
        let (spec, spec_of_task) = watch::channel(target.spec);
        let (status_of_task, status) = watch::channel(Status {
            state: target.initial,
            since: now(),
            weight: None,
            runs: 0,
            failures: 0,
            next_run: None,
            last: None,
        });
        let cancel = self.cancel.child_token();
        let task = Task {
            id: target.id,
            spec: spec_of_task,
            status: status_of_task,
            events: self.events.clone(),
        };
        let cancelled = cancel.clone();
        self.tasks.spawn(async move {
            // `None` is the ordinary end.
            cancelled.run_until_cancelled_owned(task.run()).await;
        });
        let handle = Handle {
            spec,
            status,
            cancel,
        };
        self.checks.insert(target.id, handle);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// What a target's task owns.
struct Task {
    id: TargetId,
    spec: watch::Receiver<Spec>,
    status: watch::Sender<Status>,
    events: mpsc::Sender<Event>,
}

impl Task {
    /// Returns when nobody listens any more; otherwise runs until it is dropped.
    async fn run(mut self) {
        let mut spec = self.spec.borrow_and_update().clone();
        let mut check = self.fresh_check(&spec);
        let mut runs = FuturesUnordered::new();
        loop {
            let due = check.next_run();
            tokio::select! {
                changed = self.spec.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let old = std::mem::replace(&mut spec, self.spec.borrow_and_update().clone());
                    if old.probe == spec.probe {
                        check.set_timing(spec.timing, now());
                    } else {
                        runs.clear();
                        check = self.fresh_check(&spec);
                    }
                }
                Some(run) = runs.next(), if !runs.is_empty() => {
                    if self.on_run(&mut check, run).await.is_err() {
                        return;
                    }
                }
                () = sleep_until(due), if due.is_some() => {
                    let start = now();
                    let late = due.map_or(Duration::ZERO, |due| start.saturating_duration_since(due));
                    check.on_start(start);
                    runs.push(run_once(spec.clone(), start, late));
                }
            }
        }
    }

    fn fresh_check(&self, spec: &Spec) -> Check {
        let (first_run, first_interval) = spread(self.id, spec.timing.interval);
        let state = self.status.borrow().state;
        Check::new(spec.timing, state, now() + first_run, first_interval)
    }

    /// Waits where the channel of events is full.
    async fn on_run(
        &self,
        check: &mut Check,
        run: Run,
    ) -> Result<(), mpsc::error::SendError<Event>> {
        let target = self.id.0;
        let at = run.at;
        let transition = check.on_result(run.outcome.clone(), at);
        debug!(target, outcome = ?run.outcome, took = ?run.took, "check run ended");
        let (known, mut since, runs, mut failures) = {
            let status = self.status.borrow();
            (status.weight, status.since, status.runs, status.failures)
        };
        match run.outcome {
            Outcome::Passed | Outcome::Weighed(_) => failures = 0,
            Outcome::Failed(_) => failures = failures.saturating_add(1),
            Outcome::Inconclusive(_) => {}
        }
        if transition.is_some() {
            since = at;
        }
        let weight = match run.outcome {
            Outcome::Passed => None,
            Outcome::Weighed(weight) => Some(weight),
            Outcome::Failed(_) | Outcome::Inconclusive(_) => known,
        };
        let before = self.status.send_replace(Status {
            state: check.state(),
            since,
            weight,
            runs: runs.saturating_add(1),
            failures,
            next_run: check.next_run(),
            last: Some(run.clone()),
        });
        if let Outcome::Inconclusive(reason) = run.outcome {
            let said_so = before
                .last
                .is_some_and(|last| matches!(last.outcome, Outcome::Inconclusive(_)));
            if !said_so {
                warn!(
                    target,
                    reason, "check cannot be carried out, its server is left as it was"
                );
            }
        }
        let (state, reason) = match transition {
            Some(transition) => (transition.to, transition.reason),
            None if weight != known && check.state() == State::Up => (State::Up, reweighed(weight)),
            None => return Ok(()),
        };
        let event = Event {
            target: self.id,
            state,
            weight,
            reason,
            at,
        };
        self.events.send(event).await
    }
}

fn reweighed(weight: Option<u16>) -> String {
    match weight {
        Some(weight) => format!("the check found the weight {weight}"),
        None => "the check left the weight as configured".to_owned(),
    }
}

async fn run_once(spec: Spec, start: Instant, late: Duration) -> Run {
    let outcome = spec.probe.run(spec.timing.timeout).await;
    let at = now();
    Run {
        outcome,
        at,
        took: at - start,
        late,
    }
}

/// From now to the first run, and from the first to the second, for an even spread of targets with ids in a row.
fn spread(id: TargetId, interval: Duration) -> (Duration, Duration) {
    // The additive recurrence of the plastic number (Roberts, "The Unreasonable Effectiveness of Quasirandom
    // Sequences"): points that fill a square evenly. One coordinate for the first run, the other for the second.
    let fraction = |step: f64| (f64::from(id.0) * step).fract();
    let soon = FIRST_RUNS.min(interval);
    let first = soon.mul_f64(fraction(0.754_877_666_246_692_7));
    let rest = (interval - soon).mul_f64(fraction(0.569_840_290_998_053_2));
    (first, soon + rest)
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
