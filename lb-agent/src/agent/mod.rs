//! The running agent: what the configuration, the checks and the network say, made true in the data plane.
//!
//! [`start`] brings everything up in the one order that never lets a packet meet an empty configuration; [`Agent::run`]
//! is the loop. It alone writes the maps; checks, next hops and the control socket are tasks that speak to it over
//! bounded channels.

mod alone;
mod devices;
mod drain;
mod fencing;
mod interfaces;
mod local_health;
mod lock;
mod operator;
mod orders;
mod ownership;
mod pool;
mod reload;
mod report;
mod start;
mod state_file;
mod sweep;
mod telling;
mod terms;
mod trackers;

pub use alone::Alone;
pub use devices::DevicesError;
pub use lock::{Lock, LockError};
pub use pool::{Change, Pool, PoolError};
pub use start::{StartError, start};
pub use state_file::StateFileError;
pub use telling::TellingError;
pub use trackers::{TrackerError, trackers};

use crate::{
    config::Config,
    control::server::{Asked, Server},
    datapath::{
        Desired,
        probe::Probes,
        xdp::{Datapath, Pins},
    },
    health,
    mail::{Mailer, Mailing},
    network::{HostAddresses, Links, Netlink, NextHop, NextHops, Resolver},
    notify::Notifier,
    script::Runner,
    sys::grace::Grace,
    vrrp::shell::{NewsSink, Numbers, Services, Vrrp},
};
use drain::Drains;
use fencing::Fencing;
use interfaces::Interfaces;
use local_health::LocalHealth;
use nix::time::{ClockId, clock_gettime};
use operator::Operator;
use ownership::Held;
use std::{
    collections::BTreeSet,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use sweep::Sweeper;
use terms::Terms;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Interval,
};
use trackers::Trackers;

/// How long to wait before a commit that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Everything the loop owns.
#[derive(Debug)]
pub struct Agent {
    config: Config,
    /// Where that was read.
    path: PathBuf,
    pins: Pins,
    started: Instant,
    pool: Pool,
    terms: Terms,
    datapath: Datapath,
    interfaces: Interfaces,
    netlink: Netlink,
    resolver: Resolver,
    /// The elections, where there are any.
    vrrp: Option<Vrrp>,
    /// The ownership words of its instances.
    numbers: Numbers,
    /// Where its elections tell their news.
    news: NewsSink,
    fencing: Fencing,
    trackers: Trackers,
    next_hops: watch::Receiver<Arc<NextHops>>,
    links: watch::Receiver<Arc<Links>>,
    addresses: watch::Receiver<Arc<HostAddresses>>,
    checks: health::Driver,
    /// Where there are checks by way of a virtual address.
    probes: Option<Probes>,
    scripts: Runner,
    notifier: Notifier,
    mail: Option<(Mailer, Mailing)>,
    operator: Operator,
    drains: Drains,
    local_health: LocalHealth,
    /// Which services have enough that lives, for the elections.
    enough: watch::Sender<Arc<Services>>,
    /// The ownership words of what is served here.
    held: watch::Receiver<Held>,
    events: mpsc::Receiver<health::Event>,
    requests: mpsc::Receiver<Asked>,
    grace: Grace,
    /// The grace period under way.
    waiting: Option<JoinHandle<io::Result<()>>>,
    /// What packets meet is not what is wanted.
    is_dirty: bool,
    /// When the first check ended that decided something packets do not obey yet.
    decided_at: Option<Instant>,
    /// How long packets took to obey checks the last time.
    flip: Option<Duration>,
    /// Once a second.
    seconds: Interval,
    sweeper: Sweeper,
    /// When a failed commit is tried again.
    retry_at: Option<Instant>,
    signals: Signals,
    // Fields are dropped in order: the socket goes before the lock that protects it.
    _server: Server,
    _lock: Lock,
}

/// What [`start`] has brought up.
#[derive(Debug)]
pub enum Running {
    /// An agent with services.
    Agent(Box<Agent>),
    /// One without.
    Alone(Box<Alone>),
}

impl Running {
    /// Works until SIGTERM or SIGINT.
    pub async fn run(self) {
        match self {
            Self::Agent(agent) => agent.run().await,
            Self::Alone(alone) => alone.run().await,
        }
    }
}

#[derive(Debug)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

impl Agent {
    /// Works until SIGTERM or SIGINT. Forwarding stays as it is then.
    pub async fn run(mut self) {
        loop {
            self.commit_if_due();
            let retry = self.retry_at.map(tokio::time::Instant::from_std);
            let step = self
                .pool
                .next_step(Instant::now())
                .map(tokio::time::Instant::from_std);
            tokio::select! {
                Some(event) = self.events.recv() => {
                    self.on_health(event);
                    // One commit for all that wait, and a turn for the others however many come.
                    for _ in 1..health::driver::EVENTS {
                        let Ok(event) = self.events.try_recv() else {
                            break;
                        };
                        self.on_health(event);
                    }
                }
                Ok(()) = self.next_hops.changed() => self.on_next_hops(),
                Ok(()) = self.links.changed() => self.on_links().await,
                Ok(()) = self.held.changed() => self.on_held(),
                Ok(()) = self.addresses.changed() => self.is_dirty = true,
                Some((request, answer)) = self.requests.recv() => {
                    // Fails only where the client has gone.
                    let _ = answer.send(self.answer(request).await);
                }
                passed = wait(&mut self.waiting) => self.on_grace(passed),
                _ = self.seconds.tick() => {
                    self.on_second();
                    self.follow_interfaces().await;
                }
                outcome = self.sweeper.outcome() => self.on_swept(outcome),
                () = sleep_until(retry), if retry.is_some() => self.retry_at = None,
                () = sleep_until(step), if step.is_some() => self.is_dirty = true,
                _ = self.signals.terminate.recv() => break,
                _ = self.signals.interrupt.recv() => break,
                _ = self.signals.hangup.recv() => {
                    self.reload_and_log().await;
                }
            }
        }
        self.stop().await;
    }

    async fn stop(self) {
        tracing::info!("ending; forwarding stays loaded until `lb-agent unload`");
        // First: the others are waiting for it.
        if let Some(vrrp) = self.vrrp {
            vrrp.stop().await;
            self.fencing.open_all();
        }
        drop(self.trackers);
        self.checks.stop().await;
        self.notifier.finish().await;
        if let Some((_, mailing)) = self.mail {
            mailing.finish().await;
        }
        self.scripts.finish().await;
        if let Some(waiting) = self.waiting {
            // Nothing is written after it: its outcome is of no more interest.
            let _ = waiting.await;
        }
        self.sweeper.stop().await;
        if let Err(error) = self.resolver.shutdown().await {
            tracing::warn!(
                error = error.with_cause(),
                "some neighbour entries stay behind"
            );
        }
    }

    fn on_health(&mut self, event: health::Event) {
        let decided_at = event.at;
        let changes = self.pool.on_health(&event, Instant::now());
        if !changes.is_empty() {
            self.decided_at.get_or_insert(decided_at);
        }
        self.announce(changes);
    }

    /// Something is served here that was not, or no longer: its checks may have to be made, or not.
    fn on_held(&mut self) {
        let held = self.held.borrow_and_update().clone();
        self.checks.set_targets(self.pool.targets_while(&held));
    }

    /// What has changed is told to the log, to the operator's commands and mail, to the elections and, by the next commit,
    /// to packets.
    fn announce(&mut self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        self.local_health.keep(&self.pool);
        self.enough.send_if_modified(|enough| {
            let now = self.pool.enough();
            let is_news = **enough != now;
            *enough = Arc::new(now);
            is_news
        });
        for change in changes {
            let what = match &change.real_server {
                Some(_) => "real server changed",
                None => "service changed",
            };
            tracing::info!(
                service = change.service,
                real_server = change.real_server,
                old = change.old,
                new = change.new,
                weight = change.weight,
                reason = change.reason,
                "{what}"
            );
            if let Some((mailer, _)) = &self.mail
                && let Some(event) = change.mail(SystemTime::now())
            {
                mailer.tell(event);
            }
            for notice in change.notices(&self.config.router_id) {
                self.notifier.send(notice);
            }
            self.is_dirty = true;
        }
    }

    /// A next hop is one word: it needs no commit.
    fn on_next_hops(&mut self) {
        self.follow_probes();
        let desired = self.desired();
        match self.datapath.writer().update_next_hops(&desired) {
            Ok(0) => {}
            Ok(changed) => tracing::debug!(changed, "next hops updated"),
            Err(error) => tracing::error!(%error, "next hops not updated"),
        }
        // A real server that became local, or is no longer, changes its mode: that does need one.
        self.is_dirty = true;
    }

    /// Checks by way of a virtual address leave by the interfaces that real servers are reached by.
    fn follow_probes(&mut self) {
        let Some(probes) = &mut self.probes else {
            return;
        };
        let (next_hops, links) = (self.next_hops.borrow(), self.links.borrow());
        let egress = next_hops.values().filter_map(|next_hop| match next_hop {
            NextHop::Resolved { ifindex, .. } => links.get(*ifindex),
            NextHop::Local | NextHop::Unresolved { .. } => None,
        });
        let names: BTreeSet<&str> = egress.map(|link| link.name.as_str()).collect();
        probes.follow(names);
    }

    async fn on_links(&mut self) {
        let links = Arc::clone(&self.links.borrow_and_update());
        self.interfaces
            .follow(&links, &mut self.datapath, &self.netlink)
            .await;
        self.fencing.follow(&links);
        self.on_next_hops();
    }

    fn on_grace(&mut self, passed: io::Result<()>) {
        self.waiting = None;
        match passed {
            Ok(()) => self.datapath.writer().grace_passed(),
            Err(error) => {
                tracing::error!(%error, "wait until no packet reads the old configuration; trying again");
                self.retry_at = Some(Instant::now() + RETRY);
            }
        }
    }

    fn desired(&mut self) -> Desired {
        let next_hops = Arc::clone(&self.next_hops.borrow_and_update());
        let devices = devices::describe(
            &self.interfaces.attached(),
            &next_hops,
            &self.links.borrow(),
        );
        let addresses = Arc::clone(&self.addresses.borrow_and_update());
        let mut desired = self
            .pool
            .desired(&next_hops, devices, &addresses, Instant::now());
        let way_to = |service: &str, address| self.pool.way_to(service, address, &next_hops);
        self.terms.apply(&mut desired, way_to, boot_s());
        desired
    }

    /// Commits what has changed, unless the bank to write may still be read: then the end of the grace period comes here
    /// again, with all that has come up meanwhile.
    fn commit_if_due(&mut self) {
        if self.waiting.is_some() || self.retry_at.is_some() {
            return;
        }
        if self.datapath.writer().owes_grace() {
            self.wait_for_grace();
            return;
        }
        if !self.is_dirty {
            return;
        }
        let desired = self.desired();
        self.is_dirty = false;
        if self.datapath.writer().is_committed(&desired) {
            self.decided_at = None;
            return;
        }
        match self.datapath.writer().commit(&desired, boot_s()) {
            Ok(generation) => {
                tracing::debug!(generation, "committed");
                let decided_at = self.decided_at.take();
                self.flip = decided_at.map(|at| at.elapsed()).or(self.flip);
                self.wait_for_grace();
            }
            Err(error) => {
                tracing::error!(%error, "the change is not in force; packets go on as before");
                self.is_dirty = true;
                self.retry_at = Some(Instant::now() + RETRY);
            }
        }
    }

    fn wait_for_grace(&mut self) {
        let grace = self.grace.clone();
        self.waiting = Some(tokio::task::spawn_blocking(move || grace.wait()));
    }
}

/// Seconds since the host was started, also those it slept: what outlives the agent is dated by them.
fn boot_s() -> u64 {
    let time =
        clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has had this clock since 2.6.39");
    time.tv_sec().unsigned_abs()
}

/// The outcome of the grace period under way; pending where there is none.
async fn wait(waiting: &mut Option<JoinHandle<io::Result<()>>>) -> io::Result<()> {
    match waiting {
        Some(task) => task
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error))),
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
