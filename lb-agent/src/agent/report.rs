//! The agent's status: what the maps say, in the order and with the names of the configuration.

mod health;

use super::{
    Agent, boot_s,
    drain::End,
    interfaces::{InterfaceView, mode_name},
    pool::{PoolRealServer, PoolService, Word},
};
use crate::{
    balance::ramp,
    config::Endpoint,
    control::status::{
        DrainStatus, InterfaceStatus, MasterStatus, RealServerStatus, ReasonCount, ServiceStatus,
        SorryServerStatus, Status, VrrpStatus,
    },
    datapath::xdp::{BackendSnapshot, MapsError, ServiceSnapshot, Snapshot},
    health::Outcome,
    network::{Links, NextHop, NextHops, XdpMode},
    vrrp::shell::InstanceReport,
};
use lb_common::{BackendState, Reason, load::Connections};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

impl Agent {
    /// How everything stands.
    ///
    /// # Errors
    /// Where the maps cannot be read.
    pub(super) async fn report(&self) -> Result<Status, MapsError> {
        let vrrp = match &self.vrrp {
            Some(vrrp) => vrrp.report().await,
            None => Vec::new(),
        };
        // Asked and not remembered: the kernel tells nobody when an attachment ends.
        let links = match self.netlink.links().await {
            Ok(links) => Arc::new(links),
            Err(error) => {
                tracing::warn!(error = error.with_cause(), "read the interfaces");
                Arc::clone(&self.links.borrow())
            }
        };
        let attached = self.interfaces.view(&links, self.datapath.program_id());
        let snapshot = Snapshot::read(self.datapath.maps())?;
        let next_hops = self.next_hops.borrow();
        Ok(Status {
            router_id: self.config.router_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs(),
            generation: snapshot.generation,
            flip_us: self
                .flip
                .and_then(|flip| u64::try_from(flip.as_micros()).ok()),
            datapath: datapath_name(&attached).to_owned(),
            interfaces: self.interface_reports(&attached, &links, &next_hops),
            vrrp: vrrp
                .iter()
                .zip(&self.config.vrrp)
                .map(|(report, config)| {
                    let number = self.numbers.of(&config.name).unwrap_or_default();
                    vrrp_status(report, self.fencing.describe(number, config.fence))
                })
                .collect(),
            services: self
                .pool
                .services()
                .iter()
                .map(|service| self.service_report(service, &snapshot, &next_hops))
                .collect(),
            drops: counts(&snapshot.drops),
            passed: counts(&snapshot.passes),
            answered: counts(&snapshot.answers),
        })
    }

    /// The interfaces attached to, and those that frames leave by without being attached to.
    fn interface_reports(
        &self,
        views: &[InterfaceView<'_>],
        links: &Links,
        next_hops: &NextHops,
    ) -> Vec<InterfaceStatus> {
        let mut reports: Vec<InterfaceStatus> = views
            .iter()
            .map(|view| InterfaceStatus {
                name: view.name.to_owned(),
                mode: mode_name(view.mode).to_owned(),
                reason: view.reason.to_string(),
            })
            .collect();
        let attached = self.interfaces.attached();
        let egress: BTreeSet<u32> = next_hops
            .values()
            .filter_map(|next_hop| match next_hop {
                NextHop::Resolved { ifindex, .. } => Some(*ifindex),
                NextHop::Local | NextHop::Unresolved { .. } => None,
            })
            .collect();
        for ifindex in egress.difference(&attached) {
            let below = links.get(*ifindex).and_then(|link| link.vlan);
            if below.is_some_and(|vlan| attached.contains(&vlan.parent)) {
                continue;
            }
            let mode = links
                .get(*ifindex)
                .and_then(|link| link.xdp)
                .map(|xdp| xdp.mode);
            let reason = match mode {
                Some(XdpMode::Native | XdpMode::Offload) => {
                    "real servers are behind it; it carries a program of somebody else's"
                }
                _ => {
                    "real servers are behind it, but it carries no XDP program: some drivers drop what is redirected to \
                     such an interface; add it to `interfaces`"
                }
            };
            reports.push(InterfaceStatus {
                name: links.label(*ifindex),
                mode: "none".to_owned(),
                reason: reason.to_owned(),
            });
        }
        reports
    }

    fn service_report(
        &self,
        service: &PoolService,
        snapshot: &Snapshot,
        next_hops: &NextHops,
    ) -> ServiceStatus {
        let listen = service.listen.iter().map(ToString::to_string).collect();
        let id = service
            .keys
            .iter()
            .find_map(|key| snapshot.services.get(key));
        let swept = id.and_then(|&id| self.sweeper.found(id));
        if !service.is_forwarded() {
            return self.local_report(service, listen);
        }
        let Some(found) = id.and_then(|id| snapshot.by_id.get(id)) else {
            return ServiceStatus {
                name: service.name.clone(),
                state: "absent".to_owned(),
                listen,
                ..ServiceStatus::default()
            };
        };
        let report = |real_server: &PoolRealServer| {
            let port = real_server.port.unwrap_or(0);
            let backend = found
                .backends
                .iter()
                .find(|backend| backend.address == real_server.address && backend.port == port);
            let swept = backend.zip(swept);
            let clients = swept.and_then(|(backend, swept)| swept.backends.get(&backend.id));
            RealServerStatus {
                clients: clients.map_or(0, |found| found.clients),
                ..self.real_server_report(service, real_server, backend, found, next_hops)
            }
        };
        ServiceStatus {
            name: service.name.clone(),
            replies: found.replies,
            state: if found.slots > 0 && service.is_up() {
                "up"
            } else {
                "down"
            }
            .to_owned(),
            reason: service.quorum_in_words(),
            history: health::history(&service.history, Instant::now()),
            sorry_server: service
                .sorry_server
                .map(|sorry| self.sorry_report(sorry, found)),
            listen,
            packets: found
                .backends
                .iter()
                .map(|backend| backend.counter.packets)
                .sum(),
            bytes: found
                .backends
                .iter()
                .map(|backend| backend.counter.bytes)
                .sum(),
            open_slots: found.open,
            remembering_slots: found.remembering,
            scheduler: service.scheduler.to_string(),
            persistence: service.persistence(swept.map_or(0, |found| found.clients)),
            flows: swept.map_or(0, |found| found.flows),
            moved_by_failover: swept.map_or(0, |found| found.elsewhere),
            real_servers: service.real_servers.iter().map(report).collect(),
            drops: counts(&found.drops),
        }
    }

    fn real_server_report(
        &self,
        service: &PoolService,
        real_server: &PoolRealServer,
        backend: Option<&BackendSnapshot>,
        found: &ServiceSnapshot,
        next_hops: &NextHops,
    ) -> RealServerStatus {
        let Some(backend) = backend else {
            return RealServerStatus {
                state: "absent".to_owned(),
                ..self.health_report(service, real_server, next_hops)
            };
        };
        RealServerStatus {
            state: match BackendState::try_from(backend.state) {
                Ok(_) if !real_server.word.stance.serves() && backend.slots == 0 => {
                    real_server.state_name().to_owned()
                }
                Ok(BackendState::Up) => "up".to_owned(),
                Ok(BackendState::Down) => "down".to_owned(),
                Err(code) => format!("unknown ({code})"),
            },
            weight: backend.weight,
            drain: self.drain_report(service, real_server, backend),
            share_percent: found.share_percent(backend),
            active_connections: Connections(backend.load.connections).active(),
            inactive_connections: Connections(backend.load.connections).inactive(),
            max_connections: backend.load.limits as u32,
            next_hop: match backend.next_hop {
                _ if backend.is_local() => "local".to_owned(),
                Some(mac) => mac.map(|octet| format!("{octet:02x}")).join(":"),
                None => "unresolved".to_owned(),
            },
            packets: backend.counter.packets,
            bytes: backend.counter.bytes,
            ..self.health_report(service, real_server, next_hops)
        }
    }

    /// What is known of a real server without the data plane.
    fn health_report(
        &self,
        service: &PoolService,
        real_server: &PoolRealServer,
        next_hops: &NextHops,
    ) -> RealServerStatus {
        let now = Instant::now();
        let target = real_server.target.as_ref();
        let status = target.and_then(|target| self.checks.status(target.id));
        let mut reason = self.reason(real_server, next_hops);
        if !service.is_checked(&self.held.borrow()) {
            reason = format!("not checked while its virtual addresses are elsewhere; {reason}");
        }
        RealServerStatus {
            address: real_server.display_address(),
            state: real_server.state_name().to_owned(),
            reason,
            weight: real_server.weight(),
            since_s: real_server
                .since
                .map(|since| now.saturating_duration_since(since).as_secs()),
            check: status.map(|status| health::check(status, now)),
            history: health::history(&real_server.history, now),
            ..RealServerStatus::default()
        }
    }

    /// A service that is checked and counted, and never forwarded.
    fn local_report(&self, service: &PoolService, listen: Vec<String>) -> ServiceStatus {
        let next_hops = NextHops::new();
        let report = |real_server| RealServerStatus {
            next_hop: "local".to_owned(),
            ..self.health_report(service, real_server, &next_hops)
        };
        ServiceStatus {
            name: service.name.clone(),
            state: if service.is_up() { "up" } else { "down" }.to_owned(),
            reason: service.quorum_in_words(),
            history: health::history(&service.history, Instant::now()),
            listen,
            real_servers: service.real_servers.iter().map(report).collect(),
            ..ServiceStatus::default()
        }
    }

    /// How its drain stands.
    fn drain_report(
        &self,
        service: &PoolService,
        real_server: &PoolRealServer,
        backend: &BackendSnapshot,
    ) -> Option<DrainStatus> {
        let drain = self
            .drains
            .get(&service.name, &real_server.display_address())?;
        let until_s = u64::from(backend.until_s);
        let deadline_s = until_s.checked_sub(boot_s());
        Some(DrainStatus {
            connections: drain.connections(),
            deadline_s: deadline_s.filter(|_| until_s > 0 && drain.end().is_none()),
            cut: drain.end().map(End::cut),
        })
    }

    /// The one that stands in while the service is down.
    fn sorry_report(&self, sorry: Endpoint, found: &ServiceSnapshot) -> SorryServerStatus {
        let port = sorry.port.unwrap_or(0);
        let same =
            |backend: &&BackendSnapshot| (backend.address, backend.port) == (sorry.address, port);
        let backend = found.backends.iter().find(same);
        SorryServerStatus {
            address: sorry.to_string(),
            serves: backend.is_some_and(|backend| backend.slots > 0),
            packets: backend.map_or(0, |backend| backend.counter.packets),
            bytes: backend.map_or(0, |backend| backend.counter.bytes),
        }
    }

    /// The last check's words, and what is wrong with the way there.
    fn reason(&self, real_server: &PoolRealServer, next_hops: &NextHops) -> String {
        let last = real_server
            .target
            .as_ref()
            .and_then(|target| self.checks.status(target.id))
            .and_then(|status| status.last);
        let mut reason = match last {
            Some(run) => match run.outcome {
                Outcome::Passed | Outcome::Weighed(_) => {
                    format!("check passed in {:.1} ms", run.took.as_secs_f64() * 1000.0)
                }
                Outcome::Failed(reason) => format!("check failed: {reason}"),
                Outcome::Inconclusive(reason) => format!("check could not be made: {reason}"),
            },
            None => real_server.reason.clone(),
        };
        if let Some(step) = real_server.ramp_step(Instant::now()) {
            let percent = step * 100 / ramp::STEPS;
            reason = format!("slow start: {percent} % of its weight; {reason}");
        }
        if real_server.word != Word::default() {
            reason = format!(
                "the operator says: {}; {reason}",
                real_server.word.in_words()
            );
        }
        if let Some(NextHop::Unresolved { reason: hop }) = next_hops.get(&real_server.address) {
            reason = format!("{reason}; next hop: {hop}");
        }
        reason
    }
}

/// How an instance stands, as status shows it.
pub(super) fn vrrp_status(report: &InstanceReport, fence: String) -> VrrpStatus {
    let counters = report.counters.iter().filter(|(_, count)| *count > 0);
    VrrpStatus {
        name: report.name.clone(),
        state: report.state.name().to_owned(),
        since: humantime::format_rfc3339_seconds(report.since).to_string(),
        reason: report.reason.clone(),
        priority: report.priority,
        master: report.master.map(|(address, priority)| MasterStatus {
            address: address.to_string(),
            priority,
        }),
        next_deadline_ms: report
            .next_deadline
            .and_then(|left| u64::try_from(left.as_millis()).ok()),
        fence,
        counters: counters
            .map(|&(name, count)| (name.to_owned(), count))
            .collect(),
    }
}

/// What forwards packets, all interfaces taken together.
fn datapath_name(views: &[InterfaceView<'_>]) -> &'static str {
    let modes: BTreeSet<&str> = views.iter().map(|view| mode_name(view.mode)).collect();
    match modes.into_iter().collect::<Vec<_>>()[..] {
        [] | ["none"] => "none",
        ["native"] => "xdp_native",
        ["generic"] => "xdp_generic",
        _ => "xdp_mixed",
    }
}

fn counts(reasons: &BTreeMap<Reason, u64>) -> Vec<ReasonCount> {
    reasons
        .iter()
        .map(|(reason, &count)| ReasonCount {
            reason: reason.name().to_owned(),
            count,
        })
        .collect()
}
