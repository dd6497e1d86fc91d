//! An agent without services: VRRP alone. Nothing is attached, and neither BPF nor IPVS is needed.

use super::{
    Signals,
    lock::Lock,
    ownership, reload,
    report::vrrp_status,
    start::{StartError, seconds},
    telling,
    trackers::{self, Trackers},
};
use crate::{
    config::{Config, Fence},
    control::{
        protocol::{Request, Response},
        server::{Asked, Server},
        status::Status,
    },
    network::{Links, Resolver, ResolverOptions},
    notify::{self, Notifier},
    script::Runner,
    vrrp::shell::{
        FenceSink, InstanceReport, NewsSink, Numbers, Order, OwnershipSink, Sinks, Vrrp, Watches,
    },
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use tokio::{
    sync::{mpsc, watch},
    time::Interval,
};

/// What the loop owns.
#[derive(Debug)]
pub struct Alone {
    config: Config,
    /// Where that was read.
    path: PathBuf,
    numbers: Numbers,
    news: NewsSink,
    links: watch::Receiver<Arc<Links>>,
    seconds: Interval,
    started: Instant,
    vrrp: Vrrp,
    trackers: Trackers,
    scripts: Runner,
    notifier: Notifier,
    resolver: Resolver,
    requests: mpsc::Receiver<Asked>,
    signals: Signals,
    _server: Server,
    _lock: Lock,
}

impl Alone {
    /// Brings it up.
    ///
    /// # Errors
    /// The host is then as it was before.
    pub(super) async fn start(
        config: Config,
        path: &Path,
        bpffs: &Path,
    ) -> Result<Self, StartError> {
        let signals = Signals::listen().map_err(StartError::Signals)?;
        let lock = Lock::take(&config.control.socket, bpffs)?;
        let scripts = Runner::default();
        let tracked = trackers::trackers(&config, &scripts)?;
        let notifier = Notifier::spawn(notify::TIMEOUT);
        let news = telling::sink(&config, &scripts, notifier.notices(), |_| {})?;
        let resolver = Resolver::start(ResolverOptions::default()).await?;
        let (server, requests) = Server::listen(&config.control.socket)?;
        let watches = Watches {
            links: resolver.links(),
            addresses: resolver.addresses(),
            services: watch::channel(Arc::default()).1,
        };
        let numbers = ownership::numbers(&config, &Numbers::default());
        let sinks = Sinks {
            // There is no data plane to tell.
            ownership: OwnershipSink::new(|_, _, _| {}),
            fence: FenceSink::none(),
            news: news.clone(),
        };
        let vrrp = Vrrp::start(&config, &numbers, watches, sinks).await?;
        let trackers = Trackers::spawn(tracked, &vrrp.conditions());
        tracing::info!(instances = config.vrrp.len(), "ready; no services");
        Ok(Self {
            config,
            path: path.to_owned(),
            numbers,
            news,
            links: resolver.links(),
            seconds: seconds(),
            started: Instant::now(),
            vrrp,
            trackers,
            scripts,
            notifier,
            resolver,
            requests,
            signals,
            _server: server,
            _lock: lock,
        })
    }

    /// Works until SIGTERM or SIGINT. The virtual addresses are given up then.
    pub async fn run(mut self) {
        loop {
            tokio::select! {
                Some((request, answer)) = self.requests.recv() => {
                    // Fails only where the client has gone.
                    let _ = answer.send(self.answer(request).await);
                }
                _ = self.seconds.tick() => {
                    let links = Arc::clone(&self.links.borrow());
                    if self.vrrp.is_stale(&self.config, &links) {
                        reload::follow(&self.vrrp, &self.config, &self.numbers, &self.news).await;
                    }
                }
                _ = self.signals.terminate.recv() => break,
                _ = self.signals.interrupt.recv() => break,
                _ = self.signals.hangup.recv() => {
                    let outcome = self.reload().await;
                    reload::log(outcome);
                }
            }
        }
        tracing::info!("ending");
        self.vrrp.stop().await;
        drop(self.trackers);
        self.notifier.finish().await;
        self.scripts.finish().await;
        if let Err(error) = self.resolver.shutdown().await {
            tracing::warn!(error = error.with_cause(), "end");
        }
    }

    /// Nothing is attached that could hold anything back.
    fn fence(&self, report: &InstanceReport) -> String {
        let mut all = self.config.vrrp.iter();
        match all
            .find(|vrrp| vrrp.name == report.name)
            .map(|vrrp| vrrp.fence)
        {
            Some(Fence::Off) | None => "off",
            Some(Fence::Witness | Fence::Strict) => {
                "not in force: without [[service]] nothing is attached"
            }
        }
        .to_owned()
    }

    /// As [`Agent`](super::Agent)'s, for elections alone.
    async fn reload(&mut self) -> Result<Vec<String>, String> {
        let refused = |error: &dyn std::error::Error| format!("nothing is changed: {error}");
        let config = reload::read(&self.path, &self.config)?;
        let tracked =
            trackers::trackers(&config, &self.scripts).map_err(|error| refused(&error))?;
        let news = telling::sink(&config, &self.scripts, self.notifier.notices(), |_| {})
            .map_err(|error| refused(&error))?;
        let numbers = ownership::numbers(&config, &self.numbers);
        let done = self.vrrp.reload(&config, &numbers, news.clone()).await;
        done.map_err(|error| refused(&error))?;
        self.trackers.replace(tracked, &self.vrrp.conditions());
        (self.numbers, self.config, self.news) = (numbers, config, news);
        Ok(vec![format!(
            "reloaded: {} VRRP instances",
            self.config.vrrp.len()
        )])
    }

    async fn answer(&mut self, request: Request) -> Response {
        match request {
            Request::VrrpRelease { instance } => {
                ownership::hand_over(Some(&self.vrrp), Order::Release, instance).await
            }
            Request::VrrpClaim { instance } => {
                ownership::hand_over(Some(&self.vrrp), Order::Claim, instance).await
            }
            Request::Reload => match self.reload().await {
                Ok(done) => Response::Done(done),
                Err(words) => Response::Error(words),
            },
            Request::Server { .. } => {
                Response::Error("the configuration has no [[service]]".to_owned())
            }
            Request::Status => Response::Status(Box::new(Status {
                router_id: self.config.router_id.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                uptime_s: self.started.elapsed().as_secs(),
                datapath: "none".to_owned(),
                vrrp: self
                    .vrrp
                    .report()
                    .await
                    .iter()
                    .map(|report| vrrp_status(report, self.fence(report)))
                    .collect(),
                ..Status::default()
            })),
        }
    }
}
