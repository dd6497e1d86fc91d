//! The IO around the elections: their thread, their sockets, their clock.
//!
//! One thread runs all instances and does nothing that waits: [`host`] has another one for addresses and announcements.
//! Whatever waits in a socket is handed in before a deadline that has passed: silence is only what was not received.

mod clock;
mod elections;
mod fence;
mod host;
mod plan;
mod report;
mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

pub use fence::{FenceSink, Herald};
pub use host::{Holder, OwnershipSink};
pub use plan::PlanError;
pub use report::InstanceReport;

use self::elections::Elections;
use self::host::{Host, Job};
use self::plan::Plan;

use crate::config::Config;
use crate::network::{HostAddresses, Links, Netlink, NetworkError};
use crate::sys::frames::FrameSocket;

/// Jobs for the host's thread: four for each transition, and as many instances as a host has at most, thrice over.
const JOBS: usize = 255 * 4 * 3;
/// Questions and orders from outside that wait.
const COMMANDS: usize = 16;
/// As many datagrams are read before anything else is looked at.
const BATCH: usize = 256;
/// Before the same complaint about an instance is logged again.
const COMPLAINT_GAP: Duration = Duration::from_secs(60);
/// To take addresses away at the end.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Why VRRP does not run.
#[derive(Debug, thiserror::Error)]
pub enum VrrpError {
    /// The configuration does not fit this host.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The host cannot be looked at.
    #[error("{}", .0.with_cause())]
    Network(NetworkError),
    /// A socket for adverts cannot be opened.
    #[error("open a raw socket for adverts on {interface} (CAP_NET_RAW is needed)")]
    Socket {
        /// The interface.
        interface: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A socket for announcements cannot be opened.
    #[error("open a packet socket for gratuitous ARP (CAP_NET_RAW is needed)")]
    Frames(#[source] io::Error),
    /// A thread cannot be started.
    #[error("start the VRRP thread")]
    Thread(#[source] io::Error),
    /// The thread has ended.
    #[error("the VRRP thread has ended: see the log")]
    Ended,
}

impl From<NetworkError> for VrrpError {
    fn from(error: NetworkError) -> Self {
        Self::Network(error)
    }
}

/// All instances, running.
#[derive(Debug)]
pub struct Vrrp {
    commands: mpsc::Sender<Command>,
    threads: [thread::JoinHandle<()>; 2],
}

/// What the host tells while instances run.
#[derive(Clone, Debug)]
pub struct Watches {
    /// Its interfaces.
    pub links: watch::Receiver<Arc<Links>>,
    /// Its addresses.
    pub addresses: watch::Receiver<Arc<HostAddresses>>,
    /// Its services.
    pub services: watch::Receiver<Arc<Services>>,
}

/// Whether services have enough that lives, by name.
pub type Services = BTreeMap<String, bool>;

/// What an operator may want of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// To give its addresses up.
    Release,
    /// To take them.
    Claim,
}

#[derive(Debug)]
enum Command {
    Report(oneshot::Sender<Vec<InstanceReport>>),
    Order(Order, String, oneshot::Sender<Result<String, String>>),
    Stop(oneshot::Sender<()>),
}

impl Vrrp {
    /// Starts the instances of `config`. Whose their addresses are is told to `ownership`, what is sent to `fence`.
    ///
    /// # Errors
    /// Nothing runs then, and nothing on the host has changed.
    pub async fn start(
        config: &Config,
        watches: Watches,
        ownership: OwnershipSink,
        fence: FenceSink,
    ) -> Result<Self, VrrpError> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (jobs, work) = mpsc::channel(JOBS);
        let (host_ready, host_started) = oneshot::channel();
        let (config, ours) = (config.clone(), watches.clone());
        let body = move || host_thread(&config, watches, ownership, host_ready, work);
        let host = spawn("lb-vrrp-host", body)?;
        let (plan, kept) = host_started.await.map_err(|_| VrrpError::Ended)??;
        fence.arm(&plan.instances);
        let (ready, started) = oneshot::channel();
        let body = move || election_thread(plan, kept, ours, jobs, fence, inbox, ready);
        let election = spawn("lb-vrrp", body)?;
        started.await.map_err(|_| VrrpError::Ended)??;
        let threads = [election, host];
        Ok(Self { commands, threads })
    }

    /// How all instances stand; empty where the thread has ended.
    pub async fn report(&self) -> Vec<InstanceReport> {
        let (answer, answered) = oneshot::channel();
        if self.commands.send(Command::Report(answer)).await.is_err() {
            return Vec::new();
        }
        answered.await.unwrap_or_default()
    }

    /// Has an instance do something by hand, with all that move with it; says in words what it is then, or why not.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn order(&self, order: Order, instance: String) -> Result<String, String> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Order(order, instance, answer);
        let ended = || VrrpError::Ended.to_string();
        self.commands.send(command).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    /// Resigns everywhere, and takes all addresses away.
    pub async fn stop(self) {
        let (done, stopped) = oneshot::channel();
        let is_told = self.commands.send(Command::Stop(done)).await.is_ok();
        if is_told && tokio::time::timeout(STOP_DEADLINE, stopped).await.is_err() {
            tracing::error!("virtual addresses are not all away yet; ending all the same");
            return;
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a VRRP thread has panicked");
            }
        }
    }
}

fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> Result<thread::JoinHandle<()>, VrrpError> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(body).map_err(VrrpError::Thread)
}

fn runtime() -> Result<tokio::runtime::Runtime, VrrpError> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder
        .enable_io()
        .enable_time()
        .build()
        .map_err(VrrpError::Thread)
}

type HostStarted = Result<(Plan, BTreeSet<usize>), VrrpError>;

/// Plans, takes away what is of no use any more, and then works on jobs.
fn host_thread(
    config: &Config,
    watches: Watches,
    ownership: OwnershipSink,
    ready: oneshot::Sender<HostStarted>,
    jobs: mpsc::Receiver<Job>,
) {
    let open = async {
        let netlink = Netlink::open()?;
        let links = netlink.links().await?;
        let present = netlink.present_addresses().await?;
        let plan = Plan::new(config, &links, &present)?;
        let kept = plan.left_behind(&present);
        let frames = FrameSocket::open().map_err(VrrpError::Frames)?;
        let instances = plan.instances.clone();
        let Watches {
            links, addresses, ..
        } = watches;
        let host = Host::new(
            instances, &present, netlink, frames, ownership, links, addresses,
        );
        Ok::<_, VrrpError>((plan, kept, host))
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        // Whoever started it may be gone.
        Err(error) => return drop(ready.send(Err(error))),
    };
    runtime.block_on(async {
        let (plan, kept, mut host) = match open.await {
            Ok(opened) => opened,
            Err(error) => return drop(ready.send(Err(error))),
        };
        host.clean_up(&kept).await;
        if ready.send(Ok((plan, kept))).is_ok() {
            host.run(jobs).await;
        }
    });
}

fn election_thread(
    plan: Plan,
    left_behind: BTreeSet<usize>,
    watches: Watches,
    jobs: mpsc::Sender<Job>,
    fence: FenceSink,
    inbox: mpsc::Receiver<Command>,
    ready: oneshot::Sender<Result<(), VrrpError>>,
) {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error))),
    };
    runtime.block_on(async {
        let mut elections =
            match Elections::open(plan, watches.links, watches.services, jobs, fence) {
                Ok(elections) => elections,
                Err(error) => return drop(ready.send(Err(error))),
            };
        elections.start(&left_behind).await;
        if ready.send(Ok(())).is_ok() {
            elections.run(inbox).await;
        }
    });
}
