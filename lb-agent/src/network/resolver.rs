//! The resolver's public face: start it, tell it the real servers' addresses, read what is true
//! now.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::addresses::HostAddresses;
use super::engine::{Engine, Outputs};
use super::error::NetworkError;
use super::links::Links;
use super::next_hop::NextHop;
use super::upkeep::Keeping;

/// The next hop of every target. A target is missing only until its first lookup, a moment after
/// [`Resolver::set_targets`].
pub type NextHops = BTreeMap<IpAddr, NextHop>;

/// What a [`Resolver`] can be told at the start; the defaults are right for production.
#[derive(Debug, Clone)]
pub struct ResolverOptions {
    /// How neighbour entries are kept.
    pub keeping: Keeping,
    /// How often an entry is used that the kernel does not keep by itself. Well below
    /// `gc_stale_time` (60 s), after which the kernel may drop it.
    pub refresh: Duration,
    /// How often everything is read anew, in case a notification was missed or there is none (a
    /// learned path MTU has none).
    pub resync: Duration,
    /// Receive buffer for notifications in bytes; the kernel limits it to net.core.rmem_max.
    pub notification_buffer_bytes: usize,
}

impl Default for ResolverOptions {
    fn default() -> Self {
        Self {
            keeping: Keeping::Managed,
            refresh: Duration::from_secs(10),
            resync: Duration::from_secs(30),
            notification_buffer_bytes: 4 << 20,
        }
    }
}

/// Keeps the next hops of a set of addresses.
///
/// It runs on a thread of its own: the kernel handles a netlink request inside the system call and
/// waits for its routing lock there, for seconds while a driver reconfigures itself. Nothing else
/// of the agent shall wait with it. The thread works in the network namespace of the thread that
/// called [`start`](Self::start).
///
/// Each of [`next_hops`](Self::next_hops), [`links`](Self::links) and
/// [`addresses`](Self::addresses) is a `watch` channel of the whole truth: a reader that is slow or
/// comes late misses intermediate states and never the last one, and nothing can pile up.
///
/// Dropped without [`shutdown`](Self::shutdown) (or killed), it leaves its neighbour entries with
/// the kernel, which goes on keeping them; the next start adopts them.
#[derive(Debug)]
pub struct Resolver {
    targets: watch::Sender<Option<Vec<IpAddr>>>,
    next_hops: watch::Receiver<Arc<NextHops>>,
    links: watch::Receiver<Arc<Links>>,
    addresses: watch::Receiver<Arc<HostAddresses>>,
    stop: oneshot::Sender<oneshot::Sender<Result<(), NetworkError>>>,
}

impl Resolver {
    /// Starts the thread and returns when it has read the host's links, addresses and neighbours.
    pub async fn start(options: ResolverOptions) -> Result<Self, NetworkError> {
        let (targets, wanted) = watch::channel(None);
        let (next_hops_out, next_hops) = watch::channel(Arc::default());
        let (links_out, links) = watch::channel(Arc::default());
        let (addresses_out, addresses) = watch::channel(Arc::default());
        let (stop, stopped) = oneshot::channel::<oneshot::Sender<_>>();
        let (started, start) = oneshot::channel();
        let outputs = Outputs {
            next_hops: next_hops_out,
            links: links_out,
            addresses: addresses_out,
        };

        let body = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .enable_time()
                .build()
            {
                Ok(runtime) => runtime,
                Err(source) => {
                    // A receiver that is gone has nobody to tell.
                    let _ = started.send(Err(NetworkError::Thread { source }));
                    return;
                }
            };
            runtime.block_on(async move {
                let mut engine = match Engine::open(options, wanted, outputs).await {
                    Ok(engine) => engine,
                    Err(error) => {
                        let _ = started.send(Err(error));
                        return;
                    }
                };
                if started.send(Ok(())).is_err() {
                    return;
                }
                // An error is the drop of the Resolver: leave everything as it is.
                if let Ok(reply) = engine.run(stopped).await {
                    let _ = reply.send(engine.clean_up().await);
                }
            });
        };
        std::thread::Builder::new()
            .name("lb-network".into())
            .spawn(body)
            .map_err(|source| NetworkError::Thread { source })?;
        start.await.map_err(|_| NetworkError::Ended)??;
        Ok(Self {
            targets,
            next_hops,
            links,
            addresses,
            stop,
        })
    }

    /// These addresses are of interest from now on, and no others. Entries kept for others are
    /// given up, also those of an earlier run.
    pub fn set_targets(&self, targets: Vec<IpAddr>) {
        self.targets.send_replace(Some(targets));
    }

    /// What is true now, and a way to wait for changes.
    pub fn next_hops(&self) -> watch::Receiver<Arc<NextHops>> {
        self.next_hops.clone()
    }

    /// The host's interfaces. The kernel does not announce a program that is attached or detached by
    /// a BPF link (seen on 6.18): it shows here with the next resync, and at once in
    /// [`Netlink::links`](super::Netlink::links).
    pub fn links(&self) -> watch::Receiver<Arc<Links>> {
        self.links.clone()
    }

    /// The host's addresses.
    pub fn addresses(&self) -> watch::Receiver<Arc<HostAddresses>> {
        self.addresses.clone()
    }

    /// Removes all neighbour entries that are ours and ends the thread. Of several failures the
    /// first is returned; the others are in the log.
    pub async fn shutdown(self) -> Result<(), NetworkError> {
        let (reply, done) = oneshot::channel();
        self.stop.send(reply).map_err(|_| NetworkError::Ended)?;
        done.await.map_err(|_| NetworkError::Ended)?
    }
}
