//! An agent without services: VRRP alone. Nothing is attached, and neither BPF nor IPVS is needed.

use super::{Signals, lock::Lock, ownership, report::vrrp_status, start::StartError};
use crate::{
    config::{Config, Fence},
    control::{
        protocol::{Request, Response},
        server::{Asked, Server},
        status::Status,
    },
    network::{Resolver, ResolverOptions},
    vrrp::shell::{FenceSink, InstanceReport, Order, OwnershipSink, Vrrp, Watches},
};
use std::{path::Path, sync::Arc, time::Instant};
use tokio::sync::{mpsc, watch};

/// What the loop owns.
#[derive(Debug)]
pub struct Alone {
    config: Config,
    started: Instant,
    vrrp: Vrrp,
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
    pub(super) async fn start(config: Config, bpffs: &Path) -> Result<Self, StartError> {
        let signals = Signals::listen().map_err(StartError::Signals)?;
        let lock = Lock::take(&config.control.socket, bpffs)?;
        let resolver = Resolver::start(ResolverOptions::default()).await?;
        let (server, requests) = Server::listen(&config.control.socket)?;
        let watches = Watches {
            links: resolver.links(),
            addresses: resolver.addresses(),
            services: watch::channel(Arc::default()).1,
        };
        // There is no data plane to tell.
        let ownership = OwnershipSink::new(|_, _| {});
        let vrrp = Vrrp::start(&config, watches, ownership, FenceSink::none()).await?;
        tracing::info!(instances = config.vrrp.len(), "ready; no services");
        Ok(Self {
            config,
            started: Instant::now(),
            vrrp,
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
                _ = self.signals.terminate.recv() => break,
                _ = self.signals.interrupt.recv() => break,
                _ = self.signals.hangup.recv() => {
                    tracing::warn!("SIGHUP: reload is not supported yet; restart the agent");
                }
            }
        }
        tracing::info!("ending");
        self.vrrp.stop().await;
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

    async fn answer(&self, request: Request) -> Response {
        match request {
            Request::VrrpRelease { instance } => {
                ownership::hand_over(Some(&self.vrrp), Order::Release, instance).await
            }
            Request::VrrpClaim { instance } => {
                ownership::hand_over(Some(&self.vrrp), Order::Claim, instance).await
            }
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
