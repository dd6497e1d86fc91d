//! The scripts that instances and groups depend on: run again and again, and the elections told when one changes.

use crate::{
    config::{Config, TrackedScript},
    script::{Runner, Script, ScriptError},
    vrrp::{
        shell::Conditions,
        streak::Streak,
        tracking::{Condition, Source},
    },
};
use std::{collections::BTreeSet, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

/// A tracked script that cannot be run as it is configured.
#[derive(Debug, thiserror::Error)]
#[error("script {name}: {source}")]
pub struct TrackerError {
    name: String,
    #[source]
    source: ScriptError,
}

/// A script to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracker {
    name: String,
    script: Script,
    router_id: String,
    interval: Duration,
    limit: Duration,
    rise: u32,
    fall: u32,
}

/// Those that run. They end with this value, and what they are running is terminated.
#[derive(Debug, Default)]
pub struct Trackers {
    all: Vec<Tracker>,
    _tasks: JoinSet<()>,
}

/// The scripts of `config` that something depends on.
///
/// # Errors
/// Where one cannot be run.
pub fn trackers(config: &Config, runner: &Runner) -> Result<Vec<Tracker>, TrackerError> {
    let of_instances = config.vrrp.iter().flat_map(|vrrp| &vrrp.track_scripts);
    let of_groups = config.sync_groups.iter();
    let of_groups = of_groups.flat_map(|group| &group.track_scripts);
    let tracked: BTreeSet<&str> = of_instances
        .chain(of_groups)
        .map(|tracked| tracked.name.as_str())
        .collect();
    let wanted = |script: &&TrackedScript| tracked.contains(script.name.as_str());
    let ready = |tracked: &TrackedScript| {
        let user = tracked.user.as_ref();
        let script = Script::new(&tracked.command, user, &config.scripts, runner);
        Ok(Tracker {
            name: tracked.name.clone(),
            script: script.map_err(|source| TrackerError {
                name: tracked.name.clone(),
                source,
            })?,
            router_id: config.router_id.clone(),
            interval: tracked.interval,
            limit: tracked.timeout,
            rise: tracked.rise,
            fall: tracked.fall,
        })
    };
    config
        .tracked_scripts
        .iter()
        .filter(wanted)
        .map(ready)
        .collect()
}

impl Trackers {
    /// Runs these. What they find is told to `conditions`.
    pub fn spawn(all: Vec<Tracker>, conditions: &Conditions) -> Self {
        let mut tasks = JoinSet::new();
        for tracker in &all {
            tasks.spawn(watch(tracker.clone(), conditions.clone()));
        }
        Self { all, _tasks: tasks }
    }

    /// Runs these from now on. Where they are the same, nothing happens.
    pub fn replace(&mut self, all: Vec<Tracker>, conditions: &Conditions) {
        if self.all != all {
            *self = Self::spawn(all, conditions);
        }
    }
}

async fn watch(tracker: Tracker, conditions: Conditions) {
    let Tracker { name, script, .. } = &tracker;
    let environment = [
        ("LB_ROUTER_ID", tracker.router_id.clone()),
        ("LB_KIND", "SCRIPT".to_owned()),
        ("LB_NAME", name.clone()),
    ];
    let mut streak = Streak::new(tracker.rise, tracker.fall);
    loop {
        let next = Instant::now() + tracker.interval;
        // Given up, it is terminated: TERM, then KILL.
        let run = timeout(tracker.limit, script.run(&[], &environment)).await;
        let (is_success, reason) = match run {
            Ok(Ok(ended)) => (ended.status.success(), ended.in_words()),
            Ok(Err(error)) => (false, error.to_string()),
            Err(_) => (
                false,
                format!("did not end within {:?} and was terminated", tracker.limit),
            ),
        };
        if let Some(condition) = streak.on_result(is_success) {
            match condition {
                Condition::Up => tracing::info!(script = name, reason, "up"),
                Condition::Down | Condition::Unknown => {
                    tracing::warn!(script = name, reason, "down");
                }
            }
            conditions
                .set(Source::Script(name.clone()), condition)
                .await;
        }
        sleep_until(next).await;
    }
}
