//! Once a second: windows end, real servers' terms end, and now and then the flow table is gone through.
//!
//! Going through the table takes milliseconds and is done beside the loop; what it found is used here.

use super::{Agent, boot_s};
use crate::{
    datapath::xdp::{Assignment, Maps, Swept, SweptService, sweep},
    sys::grace::Grace,
};
use std::{io, net::IpAddr, sync::Arc, time::Instant};
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
    /// When the one under way began, else the last.
    began: Option<Instant>,
    /// When the last one began.
    last_began: Option<Instant>,
}

/// How soon another sweep is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// There is nothing to find.
    None,
    /// In time.
    Usual,
    /// Somebody watches the count.
    Watched,
}

/// What came of a sweep.
pub(super) type Outcome = io::Result<(Vec<Assignment>, Swept)>;

impl Sweeper {
    /// What the last sweep found of a service.
    pub(super) fn found(&self, service: u16) -> Option<&SweptService> {
        self.last.as_ref()?.services.get(&service)
    }

    /// Connections of a real server of a service, at the last sweep that began at `since` or later; `None`: there was none.
    pub(super) fn connections(
        &self,
        service: u16,
        address: IpAddr,
        port: u16,
        since: Instant,
    ) -> Option<u64> {
        let last = self.last.as_ref();
        let last = last.filter(|_| self.last_began.is_some_and(|began| began >= since))?;
        let found = last.connections.get(&(service, address, port));
        Some(found.copied().unwrap_or(0))
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
        need: Need,
    ) {
        self.waited += 1;
        let has_flows = self.last.as_ref().is_none_or(|swept| {
            let mut services = swept.services.values();
            swept.ended > 0 || services.any(|service| service.flows + service.clients > 0)
        });
        let is_due = match need {
            Need::None => self.waited >= EVERY && has_flows,
            Need::Usual => self.waited >= EVERY,
            Need::Watched => true,
        };
        if self.running.is_some() || !is_due {
            return;
        }
        self.waited = 0;
        self.began = Some(Instant::now());
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
        let need = match windows.open() + windows.remembering() {
            _ if self.drains.go_on() => Need::Watched,
            0 if writer.remembers_all() => Need::Usual,
            0 => Need::None,
            _ => Need::Usual,
        };
        let assignments = || writer.assignments();
        self.sweeper
            .begin(maps, self.grace.clone(), assignments, need);
        self.look_at_drains();
    }

    /// Uses what a sweep found.
    pub(super) fn on_swept(&mut self, outcome: Outcome) {
        match outcome {
            Ok((assignments, swept)) => {
                self.datapath
                    .writer()
                    .forget(&assignments, &swept, boot_s());
                self.sweeper.last = Some(swept);
                self.sweeper.last_began = self.sweeper.began;
            }
            Err(error) => tracing::error!(%error, "go through the flow table; trying again"),
        }
    }
}
