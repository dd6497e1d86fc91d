//! The running agent: what the configuration, the checks and the network say, made true in the data plane.
//!
//! [`start`] brings everything up in the one order that never lets a packet meet an empty configuration; [`Agent::run`]
//! is the loop. It alone writes the maps; checks, next hops and the control socket are tasks that speak to it over
//! bounded channels.

mod devices;
mod interfaces;
mod lock;
mod pool;
mod report;
mod start;

pub use devices::DevicesError;
pub use lock::{Lock, LockError};
pub use pool::{Pool, PoolError};
pub use start::{StartError, start};

use crate::{
    config::Config,
    control::{
        protocol::{Request, Response},
        server::{Asked, Server},
    },
    datapath::{Desired, xdp::Datapath},
    health,
    network::{HostAddresses, Links, Netlink, NextHops, Resolver},
    sys::grace::Grace,
};
use interfaces::Interfaces;
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// How long to wait before a commit that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Everything the loop owns.
#[derive(Debug)]
pub struct Agent {
    config: Config,
    started: Instant,
    pool: Pool,
    datapath: Datapath,
    interfaces: Interfaces,
    netlink: Netlink,
    resolver: Resolver,
    next_hops: watch::Receiver<Arc<NextHops>>,
    links: watch::Receiver<Arc<Links>>,
    addresses: watch::Receiver<Arc<HostAddresses>>,
    checks: health::Driver,
    events: mpsc::Receiver<health::Event>,
    requests: mpsc::Receiver<Asked>,
    grace: Grace,
    /// The grace period under way.
    waiting: Option<JoinHandle<io::Result<()>>>,
    /// What packets meet is not what is wanted.
    is_dirty: bool,
    /// When a failed commit is tried again.
    retry_at: Option<Instant>,
    signals: Signals,
    // Fields are dropped in order: the socket goes before the lock that protects it.
    _server: Server,
    _lock: Lock,
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
            tokio::select! {
                Some(event) = self.events.recv() => {
                    self.on_health(event);
                    // One commit for all that wait.
                    while let Ok(event) = self.events.try_recv() {
                        self.on_health(event);
                    }
                }
                Ok(()) = self.next_hops.changed() => self.on_next_hops(),
                Ok(()) = self.links.changed() => self.on_links().await,
                Ok(()) = self.addresses.changed() => self.is_dirty = true,
                Some((request, answer)) = self.requests.recv() => {
                    // Fails only where the client has gone.
                    let _ = answer.send(self.answer(request));
                }
                passed = wait(&mut self.waiting) => self.on_grace(passed),
                () = sleep_until(retry), if retry.is_some() => self.retry_at = None,
                _ = self.signals.terminate.recv() => break,
                _ = self.signals.interrupt.recv() => break,
                _ = self.signals.hangup.recv() => {
                    tracing::warn!("SIGHUP: reload is not supported yet; restart the agent, forwarding goes on meanwhile");
                }
            }
        }
        self.stop().await;
    }

    async fn stop(self) {
        tracing::info!("ending; forwarding stays loaded until `lb-agent unload`");
        self.checks.stop().await;
        if let Some(waiting) = self.waiting {
            // Nothing is written after it: its outcome is of no more interest.
            let _ = waiting.await;
        }
        if let Err(error) = self.resolver.shutdown().await {
            tracing::warn!(
                error = error.with_cause(),
                "some neighbour entries stay behind"
            );
        }
    }

    fn on_health(&mut self, event: health::Event) {
        let Some((service, real_server)) = self.pool.on_health(&event) else {
            return;
        };
        let address = real_server.display_address();
        tracing::info!(
            service = service.name,
            real_server = address,
            state = real_server.state_name(),
            reason = real_server.reason,
            "real server changed"
        );
        self.is_dirty = true;
    }

    /// A next hop is one word: it needs no commit.
    fn on_next_hops(&mut self) {
        let desired = self.desired();
        match self.datapath.writer().update_next_hops(&desired) {
            Ok(0) => {}
            Ok(changed) => tracing::debug!(changed, "next hops updated"),
            Err(error) => tracing::error!(%error, "next hops not updated"),
        }
        // A real server that became local, or is no longer, changes its mode: that does need one.
        self.is_dirty = true;
    }

    async fn on_links(&mut self) {
        let links = Arc::clone(&self.links.borrow_and_update());
        self.interfaces
            .follow(&links, &mut self.datapath, &self.netlink)
            .await;
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
        self.pool.desired(&next_hops, devices, &addresses)
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
            return;
        }
        match self.datapath.writer().commit(&desired) {
            Ok(generation) => {
                tracing::debug!(generation, "committed");
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

    fn answer(&self, request: Request) -> Response {
        match request {
            Request::Status => match self.report() {
                Ok(status) => Response::Status(Box::new(status)),
                Err(error) => Response::Error(format!("read the maps: {error}")),
            },
        }
    }
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
