//! The resolver's loop: takes notifications, looks up what they make doubtful, keeps neighbours,
//! publishes.
//!
//! Work is done in passes. A pass starts at once when there was quiet before it; what arrives
//! meanwhile waits for the next one, which keeps a distance in proportion to what the last one
//! cost. So a single change is visible within a millisecond, and a flood costs a bounded share of
//! one CPU.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use super::addresses::HostAddresses;
use super::error::NetworkError;
use super::links::Links;
use super::monitor::{Event, Monitor};
use super::neighbours::NeighbourKey;
use super::netlink::Netlink;
use super::next_hop::{NextHop, decide, with_likely_cause};
use super::resolver::{NextHops, ResolverOptions};
use super::routes::Route;
use super::upkeep::{Keeping, Trouble, Upkeep};
use super::view::{Effect, View};

/// Least distance between the end of a pass and the start of the next.
const PASS_GAP: Duration = Duration::from_millis(2);
/// The distance also is this many times what the last pass took: at most a third of a CPU under a
/// lasting flood.
const PASS_GAP_FACTOR: u32 = 2;
/// Wait after a failure to open the notification socket or to read the kernel's tables.
const REOPEN_GAP: Duration = Duration::from_secs(1);

/// Where results go.
pub(super) struct Outputs {
    pub next_hops: watch::Sender<Arc<NextHops>>,
    pub links: watch::Sender<Arc<Links>>,
    pub addresses: watch::Sender<Arc<HostAddresses>>,
}

/// The resolver's state and sockets.
pub(super) struct Engine {
    options: ResolverOptions,
    netlink: Netlink,
    /// `None` after a failure, until the next resync.
    monitor: Option<Monitor>,
    wanted: watch::Receiver<Option<Vec<IpAddr>>>,
    outputs: Outputs,
    view: View,
    /// `None`: nobody has said yet, so nothing of an earlier run may be given up.
    targets: Option<BTreeMap<IpAddr, Target>>,
    upkeep: Upkeep,
    /// Something has changed that a pass has to look at.
    dirty: bool,
    next_pass: Instant,
    next_resync: Instant,
    /// After losses not before this, so that a lasting flood costs a bounded share of one CPU.
    earliest_resync: Instant,
}

#[derive(Default)]
struct Target {
    route: Option<Route>,
    /// The route has to be looked up again.
    doubtful: bool,
    /// Where it was when there last was a way.
    last_interface: Option<u32>,
}

impl Engine {
    /// Opens the sockets and reads the kernel's tables.
    pub async fn open(
        options: ResolverOptions,
        wanted: watch::Receiver<Option<Vec<IpAddr>>>,
        outputs: Outputs,
    ) -> Result<Self, NetworkError> {
        let now = Instant::now();
        let mut engine = Self {
            netlink: Netlink::open()?,
            monitor: Some(Monitor::open(options.notification_buffer_bytes)?),
            wanted,
            outputs,
            view: View::default(),
            targets: None,
            upkeep: Upkeep::new(options.keeping, options.refresh),
            dirty: true,
            next_pass: now,
            next_resync: now,
            earliest_resync: now,
            options,
        };
        engine.resync().await?;
        engine.pass().await;
        Ok(engine)
    }

    /// Works until told to stop; an error when whoever could tell is gone.
    pub async fn run<T>(
        &mut self,
        mut stop: oneshot::Receiver<T>,
    ) -> Result<T, oneshot::error::RecvError> {
        loop {
            let deadline = self.next_deadline();
            tokio::select! {
                biased;
                reply = &mut stop => return reply,
                changed = self.wanted.changed() => match changed {
                    Ok(()) => self.take_targets(),
                    // The sender lives in the Resolver beside the stop channel: the end of one is
                    // the end of the other.
                    Err(_) => return stop.await,
                },
                event = next_event(&mut self.monitor) => self.take_events(event),
                () = tokio::time::sleep_until(deadline) => {}
            }
            let now = Instant::now();
            if now >= self.next_resync {
                self.resync_or_retry().await;
            }
            if (self.dirty
                || self
                    .upkeep
                    .next_deadline()
                    .is_some_and(|at| at <= now.into_std()))
                && now >= self.next_pass
            {
                self.pass().await;
            }
        }
    }

    /// Removes all entries that are ours.
    pub async fn clean_up(&mut self) -> Result<(), NetworkError> {
        self.upkeep.want([]);
        // Our own view may lack what a notification still under way would tell.
        self.view.neighbours = self.netlink.neighbours().await?.into_iter().collect();
        self.give_up().await.map_or(Ok(()), Err)
    }

    fn next_deadline(&self) -> Instant {
        let upkeep = self
            .upkeep
            .next_deadline()
            .map(|at| Instant::from_std(at).max(self.next_pass));
        let pass = self.dirty.then_some(self.next_pass);
        [upkeep, pass]
            .into_iter()
            .flatten()
            .fold(self.next_resync, Instant::min)
    }

    fn take_targets(&mut self) {
        let Some(wanted) = self.wanted.borrow_and_update().clone() else {
            return;
        };
        let mut old = self.targets.take().unwrap_or_default();
        let fresh = || Target {
            doubtful: true,
            ..Target::default()
        };
        self.targets = Some(
            wanted
                .into_iter()
                .map(|address| (address, old.remove(&address).unwrap_or_else(fresh)))
                .collect(),
        );
        self.dirty = true;
    }

    fn take_events(&mut self, first: Option<Event>) {
        let Some(first) = first else {
            warn!("the socket for the kernel's notifications has failed: opening it anew");
            self.monitor = None;
            self.next_resync = Instant::now() + PASS_GAP;
            return;
        };
        self.take_event(first);
        while let Some(event) = self.monitor.as_mut().and_then(Monitor::try_next) {
            self.take_event(event);
        }
    }

    fn take_event(&mut self, event: Event) {
        match self.view.apply(event) {
            Effect::Nothing => {}
            Effect::Neighbour(key) => self.dirty |= self.upkeep.is_wanted(&key),
            Effect::Routes(network) => self.doubt(|target| network.contains(target)),
            Effect::AllRoutes => self.doubt_all(),
            Effect::InterfaceUp(index) => {
                self.upkeep.interface_up(index);
                self.doubt_all();
            }
            // Many such messages may be under way; the first one says it all.
            Effect::Lost if self.next_resync <= self.earliest_resync => {}
            Effect::Lost => {
                warn!("notifications of the kernel were lost: reading everything anew");
                self.next_resync = self.earliest_resync;
            }
        }
    }

    /// The routes of these targets have to be looked up again.
    fn doubt(&mut self, is_affected: impl Fn(&IpAddr) -> bool) {
        for (address, target) in self.targets.iter_mut().flatten() {
            if is_affected(address) {
                target.doubtful = true;
                self.dirty = true;
            }
        }
    }

    /// Links and addresses are published too, so that a pass follows even without targets.
    fn doubt_all(&mut self) {
        self.dirty = true;
        self.doubt(|_| true);
    }

    /// Reads the kernel's tables and doubts every route.
    async fn resync(&mut self) -> Result<(), NetworkError> {
        let start = Instant::now();
        if self.monitor.is_none() {
            self.monitor = Some(Monitor::open(self.options.notification_buffer_bytes)?);
        }
        // The monitor was opened before: what changes from here on comes again as a notification.
        let new = View {
            links: self.netlink.links().await?,
            addresses: self.netlink.addresses().await?,
            neighbours: self.netlink.neighbours().await?.into_iter().collect(),
        };
        for index in self.view.replace(new) {
            self.upkeep.interface_up(index);
        }
        let end = Instant::now();
        self.next_resync = end + self.options.resync;
        self.earliest_resync = end + PASS_GAP.max((end - start) * PASS_GAP_FACTOR);
        self.doubt_all();
        Ok(())
    }

    async fn resync_or_retry(&mut self) {
        let opened = match self.resync().await {
            Ok(()) => return,
            // The request socket itself may have failed.
            Err(error) => {
                warn!(error = %error.with_cause(), retry_in = ?REOPEN_GAP, "cannot read the host's network state");
                Netlink::open()
            }
        };
        match opened {
            Ok(netlink) => self.netlink = netlink,
            Err(error) => warn!(error = %error.with_cause(), "cannot reopen the netlink socket"),
        }
        self.next_resync = Instant::now() + REOPEN_GAP;
    }

    /// Makes things true: routes, then neighbours, then what is published.
    async fn pass(&mut self) {
        let start = Instant::now();
        self.dirty = false;
        self.look_up().await;
        self.upkeep.want(
            self.targets
                .iter()
                .flatten()
                .filter_map(|(_, target)| neighbour_of(target.route.as_ref()?))
                .collect::<BTreeSet<_>>(),
        );
        self.keep(start).await;
        if self.targets.is_some()
            && let Some(error) = self.give_up().await
        {
            warn!(error = %error.with_cause(), "a neighbour entry that is not needed any more stays");
        }
        self.publish();
        let end = Instant::now();
        self.next_pass = end + PASS_GAP.max((end - start) * PASS_GAP_FACTOR);
    }

    async fn look_up(&mut self) {
        for (address, target) in self.targets.iter_mut().flatten() {
            if !target.doubtful {
                continue;
            }
            target.doubtful = false;
            match self.netlink.route(*address).await {
                Ok(route) => {
                    if let Route::Neighbour { interface, .. } = route {
                        target.last_interface = Some(interface);
                    }
                    target.route = Some(route);
                }
                // It says nothing about the route: what was true stays until it can be asked again.
                Err(error) => {
                    let reason = error.with_cause();
                    target.route.get_or_insert(Route::Unreachable { reason });
                    self.next_resync = self.next_resync.min(Instant::now() + REOPEN_GAP);
                }
            }
        }
    }

    async fn keep(&mut self, now: Instant) {
        let view = &self.view;
        let due = self.upkeep.due(
            now.into_std(),
            |key| view.neighbours.get(key),
            |key| view.can_resolve(key),
        );
        let (mut refusals, mut first_refusal) = (0_usize, None);
        for key in due {
            let mut result = self
                .netlink
                .keep_neighbour(key, self.upkeep.keeping())
                .await;
            let refused = |error: &std::io::Error| {
                matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
            };
            if self.upkeep.keeping() == Keeping::Managed && result.as_ref().is_err_and(refused) {
                result = self.netlink.keep_neighbour(key, Keeping::Probed).await;
                if result.is_ok() {
                    info!(
                        "this kernel does not keep neighbour entries by itself: using them at an interval"
                    );
                    self.upkeep.fall_back();
                }
            }
            let refusal = result.err().map(|source| {
                let error = NetworkError::Neighbour {
                    action: "keep",
                    address: key.address,
                    interface: self.view.links.label(key.interface),
                    source,
                };
                error.with_cause()
            });
            if let Some(reason) = self.upkeep.answered(&key, refusal) {
                refusals += 1;
                first_refusal.get_or_insert_with(|| reason.to_owned());
            }
        }
        if let Some(reason) = first_refusal {
            warn!(%reason, entries = refusals, "neighbour entries cannot be kept");
        }
    }

    /// Removes entries that are ours and not wanted; returns the first failure.
    async fn give_up(&mut self) -> Option<NetworkError> {
        let unwanted: Vec<_> = self
            .view
            .neighbours
            .iter()
            .filter(|(key, entry)| entry.is_ours() && !self.upkeep.is_wanted(key))
            .map(|(key, _)| *key)
            .collect();
        let mut first = None;
        for key in unwanted {
            self.view.neighbours.remove(&key);
            if let Err(source) = self.netlink.remove_neighbour(key).await {
                let error = NetworkError::Neighbour {
                    action: "remove",
                    address: key.address,
                    interface: self.view.links.label(key.interface),
                    source,
                };
                first.get_or_insert(error);
            }
        }
        first
    }

    fn publish(&mut self) {
        let next_hops: NextHops = self
            .targets
            .iter()
            .flatten()
            .filter_map(|(address, target)| Some((*address, self.next_hop(target)?)))
            .collect();
        self.outputs.next_hops.send_if_modified(|published| {
            if **published == next_hops {
                return false;
            }
            for (real, new) in &next_hops {
                match published.get(real) {
                    Some(old) if old == new => {}
                    Some(old) => info!(%real, %old, %new, "next hop changed"),
                    None => info!(%real, %new, "next hop found"),
                }
            }
            *published = Arc::new(next_hops);
            true
        });
        publish_if_changed(&self.outputs.links, &self.view.links);
        publish_if_changed(&self.outputs.addresses, &self.view.addresses);
    }

    fn next_hop(&self, target: &Target) -> Option<NextHop> {
        let route = target.route.as_ref()?;
        let key = neighbour_of(route);
        let entry = key.as_ref().and_then(|key| self.view.neighbours.get(key));
        let trouble = key
            .as_ref()
            .map_or(&Trouble::None, |key| self.upkeep.trouble(key));
        let View {
            links, addresses, ..
        } = &self.view;
        let hop = decide(route, links, addresses, entry, trouble);
        let last = target.last_interface.and_then(|index| links.get(index));
        Some(with_likely_cause(hop, route, last))
    }
}

fn publish_if_changed<T: Clone + PartialEq>(output: &watch::Sender<Arc<T>>, now: &T) {
    output.send_if_modified(|published| {
        let changed = **published != *now;
        if changed {
            *published = Arc::new(now.clone());
        }
        changed
    });
}

fn neighbour_of(route: &Route) -> Option<NeighbourKey> {
    match route {
        Route::Neighbour {
            address, interface, ..
        } => Some(NeighbourKey {
            interface: *interface,
            address: *address,
        }),
        Route::Local | Route::Unreachable { .. } => None,
    }
}

/// The monitor's next event; never ready without a monitor.
async fn next_event(monitor: &mut Option<Monitor>) -> Option<Event> {
    match monitor {
        Some(monitor) => monitor.next().await,
        None => std::future::pending().await,
    }
}
