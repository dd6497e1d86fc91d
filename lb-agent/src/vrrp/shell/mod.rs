//! The IO around the elections: their thread, their sockets, their clock.
//!
//! One thread runs all instances and does nothing that waits: [`host`] has another one for addresses and announcements.
//! Whatever waits in a socket is handed in before a deadline that has passed: silence is only what was not received.

mod clock;
mod elections;
mod fence;
mod host;
mod news;
mod numbers;
mod plan;
mod report;
mod socket;
mod virtual_mac;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

pub use fence::{FenceSink, Herald};
pub use host::{Holder, OwnershipSink};
pub use news::{News, NewsSink, Whose};
pub use numbers::Numbers;
pub use plan::PlanError;
pub use report::InstanceReport;
pub use virtual_mac::is_one as bears_virtual_mac;

use self::elections::Elections;
use self::host::{Host, Job};
use self::plan::Plan;

use crate::config::Config;
use crate::network::{HostAddresses, Links, Netlink, NetworkError, PresentAddress};
use crate::sys::{frames::FrameSocket, realtime};
use crate::vrrp::tracking::{Condition, Source};

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
    /// The device of a virtual MAC address cannot be made.
    #[error("vrrp {instance}: make the device with its virtual MAC address (macvlan)")]
    VirtualMac {
        /// The instance.
        instance: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
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
    /// The interfaces that the instances go by.
    interfaces: Mutex<BTreeSet<u32>>,
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

/// Where it is told how something is that instances depend on.
#[derive(Clone, Debug)]
pub struct Conditions(mpsc::Sender<Command>);

impl Conditions {
    /// Something was looked at. It waits while the elections are busy; where they have ended, nobody is told.
    pub async fn set(&self, source: Source, condition: Condition) {
        let _ = self.0.send(Command::Condition(source, condition)).await;
    }
}

/// Whom the elections tell what they do.
#[derive(Clone, Debug)]
pub struct Sinks {
    /// Whose addresses are.
    pub ownership: OwnershipSink,
    /// That adverts were sent.
    pub fence: FenceSink,
    /// That states have changed.
    pub news: NewsSink,
}

#[derive(Debug)]
enum Command {
    Condition(Source, Condition),
    Reload(Box<Plan>, NewsSink, oneshot::Sender<Result<(), VrrpError>>),
    Report(oneshot::Sender<Vec<InstanceReport>>),
    Order(Order, String, oneshot::Sender<Result<String, String>>),
    Stop(oneshot::Sender<()>),
}

impl Vrrp {
    /// Starts the instances of `config`. What they do is told to `sinks`.
    ///
    /// # Errors
    /// Nothing runs then, and nothing on the host has changed.
    pub async fn start(
        config: &Config,
        numbers: &Numbers,
        watches: Watches,
        sinks: Sinks,
    ) -> Result<Self, VrrpError> {
        let Sinks {
            ownership,
            fence,
            news,
        } = sinks;
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (jobs, work) = mpsc::channel(JOBS);
        let (host_ready, host_started) = oneshot::channel();
        let realtime = config.process.realtime_priority;
        let (config, numbers, ours) = (config.clone(), numbers.clone(), watches.clone());
        let body = move || host_thread(&config, &numbers, watches, ownership, host_ready, work);
        let host = spawn("lb-vrrp-host", body)?;
        let (plan, kept) = host_started.await.map_err(|_| VrrpError::Ended)??;
        fence.arm(&plan.instances);
        let interfaces = plan.interfaces();
        let (ready, started) = oneshot::channel();
        let body = move || {
            on_time(realtime);
            election_thread(plan, kept, ours, (jobs, fence, news), inbox, ready);
        };
        let election = spawn("lb-vrrp", body)?;
        started.await.map_err(|_| VrrpError::Ended)??;
        let threads = [election, host];
        Ok(Self {
            commands,
            interfaces: Mutex::new(interfaces),
            threads,
        })
    }

    /// Where it is told how something is that instances depend on.
    pub fn conditions(&self) -> Conditions {
        Conditions(self.commands.clone())
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

    /// Goes by another configuration from now on. Instances that are in both go on, whatever else changes about them.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub async fn reload(
        &self,
        config: &Config,
        numbers: &Numbers,
        news: NewsSink,
    ) -> Result<(), VrrpError> {
        let netlink = Netlink::open()?;
        let (links, present) = look(config, &netlink).await?;
        let plan = Plan::new(config, &links, &present)?.numbered(numbers);
        let interfaces = plan.interfaces();
        let (answer, answered) = oneshot::channel();
        let command = Command::Reload(Box::new(plan), news, answer);
        self.commands
            .send(command)
            .await
            .map_err(|_| VrrpError::Ended)?;
        answered.await.map_err(|_| VrrpError::Ended)??;
        *self.interfaces() = interfaces;
        Ok(())
    }

    /// Whether an interface that `config` names is another one in `links` than the one that instances go by: it was removed
    /// and made anew. A [`reload`](Self::reload) finds it.
    pub fn is_stale(&self, config: &Config, links: &Links) -> bool {
        let known = self.interfaces();
        let named = config.vrrp.iter().flat_map(|vrrp| {
            let addresses = vrrp.addresses.iter().chain(&vrrp.excluded_addresses);
            let elsewhere = addresses.filter_map(|address| address.interface.as_deref());
            elsewhere.chain([vrrp.interface.as_str()])
        });
        let mut there = named.filter_map(|name| links.by_name(name));
        there.any(|link| !known.contains(&link.index))
    }

    fn interfaces(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.interfaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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

/// Gives the calling thread its priority, if it is to have one. Without it elections go on, later if the host is busy.
fn on_time(priority: u8) {
    if priority > 0
        && let Err(error) = realtime::set_priority(priority)
    {
        tracing::warn!(priority, %error, "the elections run without real-time priority");
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

/// What is on the host, once the devices are there that instances bear their virtual MAC addresses by.
async fn look(
    config: &Config,
    netlink: &Netlink,
) -> Result<(Links, Vec<PresentAddress>), VrrpError> {
    let (links, present) = (netlink.links().await?, netlink.present_addresses().await?);
    virtual_mac::prepare(config, netlink, &links, &present).await?;
    Ok((netlink.links().await?, netlink.present_addresses().await?))
}

type HostStarted = Result<(Plan, BTreeSet<usize>), VrrpError>;

/// Plans, takes away what is of no use any more, and then works on jobs.
fn host_thread(
    config: &Config,
    numbers: &Numbers,
    watches: Watches,
    ownership: OwnershipSink,
    ready: oneshot::Sender<HostStarted>,
    jobs: mpsc::Receiver<Job>,
) {
    let open = async {
        let netlink = Netlink::open()?;
        let (links, present) = look(config, &netlink).await?;
        let plan = Plan::new(config, &links, &present)?.numbered(numbers);
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
    (jobs, fence, news): (mpsc::Sender<Job>, FenceSink, NewsSink),
    inbox: mpsc::Receiver<Command>,
    ready: oneshot::Sender<Result<(), VrrpError>>,
) {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error))),
    };
    runtime.block_on(async {
        let mut elections = match Elections::open(plan, watches, jobs, fence, news) {
            Ok(elections) => elections,
            Err(error) => return drop(ready.send(Err(error))),
        };
        elections.start(&left_behind).await;
        if ready.send(Ok(())).is_ok() {
            elections.run(inbox).await;
        }
    });
}
