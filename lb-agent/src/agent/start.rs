//! From a configuration to a running agent.
//!
//! The order is the point: everything that can be refused is found out before anything is changed; the maps are filled
//! before an interface runs the program; what a failed start has made is taken away again.

use super::{
    Agent, Running, Signals,
    alone::Alone,
    boot_s,
    devices::{self, DevicesError},
    drain::{self, Drains},
    fencing::Fencing,
    interfaces::Interfaces,
    local_health::LocalHealth,
    lock::{Lock, LockError},
    operator::Operator,
    ownership::{self, Held},
    pool::{Pool, PoolError},
    state_file::StateFileError,
    sweep::Sweeper,
    telling::{self, TellingError},
    terms::Terms,
    trackers::{self, Tracker, TrackerError, Trackers},
};
use crate::{
    config::Config,
    control::server::{Asked, Server, ServerError},
    datapath::{
        probe::Probes,
        xdp::{self, AttachError, Datapath, DatapathError, Pins, PinsError},
    },
    health,
    mail::{MailError, Mailer},
    network::{Netlink, NetworkError, NextHop, Resolver, ResolverOptions},
    notify::{self, Notifier},
    script::Runner,
    sys::{grace::Grace, realtime},
    vrrp::shell::{NewsSink, Numbers, Services, Sinks, Vrrp, VrrpError, Watches},
};
use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::geteuid,
};
use std::{
    io,
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Interval, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long the first commit waits for next hops that do not answer.
const RESOLVE_AT_START: Duration = Duration::from_secs(2);

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not root.
    #[error(
        "lb-agent must run as root: loading BPF programs and changing neighbours needs CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_NET_RAW"
    )]
    NotRoot,
    /// There is nothing to do.
    #[error("the configuration has neither [[service]] nor [[vrrp]]: there is nothing to do")]
    NothingToDo,
    /// Another agent runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The configuration was not validated.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// What is kept over a restart cannot be read.
    #[error(transparent)]
    StateFile(#[from] StateFileError),
    /// The network cannot be watched.
    #[error("{}", .0.with_cause())]
    Network(NetworkError),
    /// The interfaces cannot be chosen.
    #[error(transparent)]
    Devices(#[from] DevicesError),
    /// The pin directory cannot be used.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// There is no data plane.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// An interface cannot be attached to.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The control socket cannot be opened.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Mail cannot be sent.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// The elections cannot be held.
    #[error(transparent)]
    Vrrp(#[from] VrrpError),
    /// A tracked script cannot be run.
    #[error(transparent)]
    Tracker(#[from] TrackerError),
    /// Nobody can be told of changes.
    #[error(transparent)]
    Telling(#[from] TellingError),
    /// Signals cannot be caught.
    #[error("catch signals")]
    Signals(#[source] io::Error),
    /// SIGTERM or SIGINT came first.
    #[error("told to end before the start was complete")]
    Interrupted,
}

impl From<NetworkError> for StartError {
    fn from(error: NetworkError) -> Self {
        Self::Network(error)
    }
}

/// Brings the agent up, with the configuration that was read at `path`.
///
/// # Errors
/// The host is then as it was before.
pub async fn start(config: Config, path: &Path, bpffs: &Path) -> Result<Running, StartError> {
    if !geteuid().is_root() {
        return Err(StartError::NotRoot);
    }
    raise_open_files();
    if config.process.lock_memory
        && let Err(error) = realtime::lock_memory()
    {
        tracing::warn!(%error, "memory is not locked");
    }
    match (config.services.is_empty(), config.vrrp.is_empty()) {
        (true, true) => Err(StartError::NothingToDo),
        (true, false) => {
            let alone = Alone::start(config, path, bpffs).await?;
            Ok(Running::Alone(Box::new(alone)))
        }
        (false, _) => {
            let agent = start_serving(config, path, bpffs).await?;
            Ok(Running::Agent(Box::new(agent)))
        }
    }
}

/// Brings up an agent with services.
async fn start_serving(config: Config, path: &Path, bpffs: &Path) -> Result<Agent, StartError> {
    let mut signals = Signals::listen().map_err(StartError::Signals)?;
    Pins::look(bpffs)?;
    let lock = Lock::take(&config.control.socket, bpffs)?;
    let scripts = Runner::default();
    let tracked = trackers::trackers(&config, &scripts)?;
    let notifier = Notifier::spawn(notify::TIMEOUT);
    let news = telling::sink(&config, &scripts, notifier.notices(), |_| {})?;
    let operator = Operator::recall()?;
    let mut pool = Pool::new(&config, &scripts)?;
    let mail = config.mail.as_ref();
    let mail = mail
        .map(|mail| Mailer::spawn(mail, &config.router_id))
        .transpose()?;
    let probes = match pool.steerer() {
        Some(steerer) => {
            let probes = Probes::load().map_err(DatapathError::Load)?;
            steerer.set(probes.table());
            Some(probes)
        }
        None => None,
    };
    let mut terms = Terms::new(&config);
    let netlink = Netlink::open()?;
    let resolver = Resolver::start(ResolverOptions::default()).await?;
    let links = netlink.links().await?;
    let addresses = netlink.addresses().await?;
    let chosen = devices::choose(&config, &pool, &links, &addresses, &netlink).await?;
    for listen in pool.services().iter().flat_map(|service| &service.listen) {
        let is_governed = config.vrrp.iter().any(|vrrp| vrrp.owns(listen.ip()));
        if !is_governed && !addresses.is_local(listen.ip()) {
            tracing::warn!(address = %listen.ip(), "a service listens on an address that is not on this host: nobody answers ARP for it here");
        }
    }

    let pins = Pins::open(bpffs)?;
    let is_forwarding = !pins.linked_interfaces().is_empty();
    let mut datapath = match Datapath::open(pins.clone(), pool.demand()) {
        Ok(datapath) => datapath,
        Err(error) => {
            pins.remove_if_unused();
            return Err(error.into());
        }
    };
    tracing::info!("{}", datapath.inheritance().story);
    pool.inherit(datapath.inheritance());
    pool.recall(operator.words());
    let local_health = LocalHealth::recall(&mut pool)?;
    let (enough, elections_enough) = watch::channel(Arc::new(pool.enough()));
    let mut drains = Drains::default();
    for (service, real_server, word) in operator.words() {
        if word.stance.drains() {
            drains.begin(service, real_server, drain::SILENCE, Instant::now());
        }
    }
    let services = pool.services().iter();
    terms.inherit(
        services.map(|service| (service.name.as_str(), service.keys.as_slice())),
        datapath.inheritance(),
    );
    let real_servers: Vec<IpAddr> = pool
        .addresses()
        .into_iter()
        .chain(terms.addresses())
        .collect();

    resolver.set_targets(real_servers.clone());
    let waited = tokio::select! {
        () = wait_for_next_hops(&resolver, &real_servers) => Ok(()),
        _ = signals.terminate.recv() => Err(StartError::Interrupted),
        _ = signals.interrupt.recv() => Err(StartError::Interrupted),
    };
    let mut interfaces = Interfaces::new(&chosen, config.datapath);
    let brought_up = match waited {
        Ok(()) => {
            bring_up(
                &mut pool,
                &mut terms,
                &mut datapath,
                &mut interfaces,
                &chosen,
                &resolver,
                &netlink,
            )
            .await
        }
        Err(error) => Err(error),
    };
    let fencing = Fencing::open(&config, &pins);
    let numbers = ownership::numbers(&config, &Numbers::default());
    let served = match brought_up {
        Ok(grace) => serve(
            &config,
            &numbers,
            &datapath,
            &resolver,
            &fencing,
            (elections_enough, news.clone()),
        )
        .await
        .map(|served| (grace, served)),
        Err(error) => Err(error),
    };
    let (grace, served) = match served {
        Ok(served) => served,
        Err(error) => {
            // What an earlier run left goes on forwarding; what this one began does not.
            if !is_forwarding {
                drop(datapath);
                if let Err(error) = xdp::unload(bpffs) {
                    tracing::warn!(%error, "clean up after the failed start");
                }
            }
            if let Err(error) = resolver.shutdown().await {
                tracing::warn!(
                    error = error.with_cause(),
                    "clean up after the failed start"
                );
            }
            return Err(error);
        }
    };

    let (sender, events) = mpsc::channel(health::driver::EVENTS);
    let Served {
        server,
        requests,
        vrrp,
        mut held,
    } = served;
    let targets = pool.targets_while(&held.borrow_and_update());
    let checks = health::Driver::spawn(targets, sender, CancellationToken::new());
    let mut agent = Agent {
        path: path.to_owned(),
        pins,
        numbers,
        news,
        started: Instant::now(),
        next_hops: resolver.next_hops(),
        links: resolver.links(),
        addresses: resolver.addresses(),
        pool,
        terms,
        datapath,
        interfaces,
        netlink,
        resolver,
        trackers: track(tracked, vrrp.as_ref()),
        vrrp,
        fencing,
        checks,
        probes,
        scripts,
        notifier,
        mail,
        operator,
        drains,
        local_health,
        enough,
        held,
        events,
        requests,
        grace,
        waiting: None,
        seconds: seconds(),
        sweeper: Sweeper::default(),
        is_dirty: true,
        decided_at: None,
        flip: None,
        retry_at: None,
        signals,
        _server: server,
        _lock: lock,
        config,
    };
    agent.follow_probes();
    tracing::info!(services = agent.pool.services().len(), "ready");
    Ok(agent)
}

/// Runs what instances depend on, where there are any.
pub(super) fn track(tracked: Vec<Tracker>, vrrp: Option<&Vrrp>) -> Trackers {
    vrrp.map(|vrrp| Trackers::spawn(tracked, &vrrp.conditions()))
        .unwrap_or_default()
}

/// Once a second; one that comes late is not made up for.
pub(super) fn seconds() -> Interval {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    seconds
}

/// What the agent is spoken to and elected by.
struct Served {
    server: Server,
    requests: mpsc::Receiver<Asked>,
    vrrp: Option<Vrrp>,
    held: watch::Receiver<Held>,
}

/// Opens the control socket, and holds the elections.
async fn serve(
    config: &Config,
    numbers: &Numbers,
    datapath: &Datapath,
    resolver: &Resolver,
    fencing: &Fencing,
    (services, news): (watch::Receiver<Arc<Services>>, NewsSink),
) -> Result<Served, StartError> {
    let (server, requests) = Server::listen(&config.control.socket)?;
    let (holds, held) = watch::channel(Held::default());
    let mut served = Served {
        server,
        requests,
        vrrp: None,
        held,
    };
    if !config.vrrp.is_empty() {
        let watches = Watches {
            links: resolver.links(),
            addresses: resolver.addresses(),
            services,
        };
        let links = Arc::clone(&resolver.links().borrow());
        let sinks = Sinks {
            ownership: ownership::sink(datapath.owners(), holds),
            fence: fencing.sink(),
            news,
        };
        served.vrrp = Some(Vrrp::start(config, numbers, watches, sinks).await?);
        // Once the elections have said what it is to keep: what an earlier life's fence holds back is held back until then.
        fencing.follow(&links);
    }
    Ok(served)
}

/// A check is an open socket: as many as the administrator allows, not the timid default.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "raise the limit of open files");
    }
}

/// Fills the maps, then has the interfaces run the program.
async fn bring_up(
    pool: &mut Pool,
    terms: &mut Terms,
    datapath: &mut Datapath,
    interfaces: &mut Interfaces,
    chosen: &[crate::network::Link],
    resolver: &Resolver,
    netlink: &Netlink,
) -> Result<Grace, StartError> {
    let grace = Grace::find().map_err(DatapathError::Grace)?;
    let waited = grace.clone();
    tokio::task::spawn_blocking(move || waited.wait())
        .await
        .map_err(io::Error::other)
        .and_then(|passed| passed)
        .map_err(DatapathError::Grace)?;
    datapath.writer().grace_passed();
    let links = netlink.links().await?;
    let addresses = netlink.addresses().await?;
    let attach_to = chosen.iter().map(|link| link.index).collect();
    let next_hops = resolver.next_hops().borrow().clone();
    let devices = devices::describe(&attach_to, &next_hops, &links);
    let mut desired = pool.desired(&next_hops, devices, &addresses, Instant::now());
    let way_to = |service: &str, address| pool.way_to(service, address, &next_hops);
    terms.apply(&mut desired, way_to, boot_s());
    datapath
        .writer()
        .commit(&desired, boot_s())
        .map_err(DatapathError::Commit)?;
    datapath.carry_counters().map_err(DatapathError::Maps)?;
    interfaces.attach(&links, datapath, netlink).await?;
    datapath.settle()?;
    Ok(grace)
}

/// Waits until every next hop is known, or until those that are not had their time: the first commit would drop their
/// packets, which an earlier run's maps still forward.
pub(super) async fn wait_for_next_hops(resolver: &Resolver, addresses: &[IpAddr]) {
    let mut next_hops = resolver.next_hops();
    let known = next_hops.wait_for(|next_hops| {
        addresses.iter().all(|address| {
            matches!(
                next_hops.get(address),
                Some(NextHop::Resolved { .. } | NextHop::Local)
            )
        })
    });
    if timeout(RESOLVE_AT_START, known).await.is_err() {
        for (address, next_hop) in resolver.next_hops().borrow().iter() {
            if let NextHop::Unresolved { reason } = next_hop {
                tracing::warn!(real_server = %address, reason, "next hop not resolved yet");
            }
        }
    }
}
