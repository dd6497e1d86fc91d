//! Once a second: windows end, real servers' terms end, and now and then the flow table is gone through.
//!
//! Going through the table takes milliseconds and is done beside the loop; what it found is used here.

use super::{Agent, boot_s};
use crate::{
    datapath::xdp::{Assignment, Maps, Swept, SweptService, sweep},
    sys::grace::Grace,
};
use std::{io, sync::Arc};
use tokio::task::JoinHandle;

/// Seconds between two sweeps: short beside any timeout of flows.
const EVERY: u32 = 5;

/// Goes through the flow table.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    running: Option<JoinHandle<Outcome>>,
    /// Seconds since the last one began.
    waited: u32,
    /// What the last one found; `None`: there was none yet.
    last: Option<Swept>,
}

/// What came of a sweep.
pub(super) type Outcome = io::Result<(Vec<Assignment>, Swept)>;

impl Sweeper {
    /// What the last sweep found of a service.
    pub(super) fn found(&self, service: u16) -> Option<&SweptService> {
        self.last.as_ref()?.services.get(&service)
    }

    /// The end of the sweep under way; pending where there is none.
    pub(super) async fn outcome(&mut self) -> Outcome {
        let outcome = match &mut self.running {
            Some(task) => task
                .await
                .unwrap_or_else(|error| Err(io::Error::other(error))),
            None => std::future::pending().await,
        };
        self.running = None;
        outcome
    }

    /// Waits for the sweep under way.
    pub(super) async fn stop(self) {
        if let Some(task) = self.running {
            // It only tidies up: the next life does it again.
            let _ = task.await;
        }
    }

    /// Begins a sweep if it is time. One that may have been needed lately is followed by another.
    fn begin(
        &mut self,
        maps: Arc<Maps>,
        grace: Grace,
        assignments: impl FnOnce() -> Vec<Assignment>,
        is_needed: bool,
    ) {
        self.waited += 1;
        let has_flows = self.last.as_ref().is_none_or(|swept| {
            let mut services = swept.services.values();
            swept.ended > 0 || services.any(|service| service.flows + service.clients > 0)
        });
        if self.running.is_some() || self.waited < EVERY || !(is_needed || has_flows) {
            return;
        }
        self.waited = 0;
        let assignments = assignments();
        self.running = Some(tokio::task::spawn_blocking(move || {
            // What a packet remembers by a word that was changed since is in the table then.
            grace.wait()?;
            let swept = sweep(&maps, &assignments);
            Ok((assignments, swept))
        }));
    }
}

impl Agent {
    /// Everything that time alone brings.
    pub(super) fn on_second(&mut self) {
        let now_s = boot_s();
        let maps = Arc::clone(self.datapath.maps());
        let writer = self.datapath.writer();
        writer.tick();
        let ended = writer.end_windows(now_s);
        if ended > 0 {
            tracing::info!(
                slots = ended,
                "windows ended: flows without an entry belong to the owners of now"
            );
        }
        if self.terms.next_end_s().is_some_and(|end| end <= now_s) {
            self.is_dirty = true;
        }
        let windows = writer.windows();
        let is_needed = windows.open() + windows.remembering() > 0 || writer.remembers_all();
        let assignments = || writer.assignments();
        self.sweeper
            .begin(maps, self.grace.clone(), assignments, is_needed);
    }

    /// Uses what a sweep found.
    pub(super) fn on_swept(&mut self, outcome: Outcome) {
        match outcome {
            Ok((assignments, swept)) => {
                self.datapath
                    .writer()
                    .forget(&assignments, &swept, boot_s());
                self.sweeper.last = Some(swept);
            }
            Err(error) => tracing::error!(%error, "go through the flow table; trying again"),
        }
    }
}
