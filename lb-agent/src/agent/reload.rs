//! Another configuration, while everything goes on.
//!
//! All that can be refused is found out first. Then the elections go over, whose part is refused as a whole or done as a whole,
//! and then what is forwarded, by a commit like any other.

use super::{
    Agent, devices,
    interfaces::Interfaces,
    ownership::{self, Held},
    pool::Pool,
    start::{track, wait_for_next_hops},
    telling,
    trackers::{self, Trackers},
};
use crate::{
    config::{self, Config},
    datapath::probe::Probes,
    vrrp::shell::{NewsSink, Numbers, Sinks, Vrrp, Watches},
};
use std::{collections::BTreeSet, net::IpAddr, path::Path, sync::Arc};
use tokio::sync::watch;

/// Reads the file, and refuses what a running agent cannot become.
///
/// # Errors
/// In words for the operator, as many lines as it takes.
pub(super) fn read(path: &Path, running: &Config) -> Result<Config, String> {
    let loaded = config::load(path).map_err(|report| report.to_string())?;
    for warning in &loaded.warnings {
        tracing::warn!(key = warning.key, "{}", warning.message);
    }
    let new = loaded.config;
    let restarts = [
        ("control", running.control != new.control),
        ("process", running.process != new.process),
        ("mail", running.mail != new.mail),
        ("log", running.log != new.log),
        ("interfaces", running.interfaces != new.interfaces),
        ("datapath", running.datapath != new.datapath),
        ("router_id", running.router_id != new.router_id),
        (
            "the first [[service]] or the last",
            running.services.is_empty() != new.services.is_empty(),
        ),
    ];
    let changed: Vec<&str> = restarts
        .into_iter()
        .filter_map(|(key, is_changed)| is_changed.then_some(key))
        .collect();
    match changed.is_empty() {
        true => Ok(new),
        false => Err(format!(
            "nothing is changed: it takes a restart to change {}; forwarding goes on meanwhile",
            changed.join(", ")
        )),
    }
}

impl Agent {
    /// Goes by what the file says now.
    ///
    /// # Errors
    /// In words; nothing has changed then.
    pub(super) async fn reload(&mut self) -> Result<Vec<String>, String> {
        let refused = |error: &dyn std::error::Error| format!("nothing is changed: {error}");
        let config = read(&self.path, &self.config)?;
        let mut pool = Pool::new(&config, &self.scripts).map_err(|error| refused(&error))?;
        if !self.datapath.maps().capacity().suffices(pool.demand()) {
            return Err(
                "nothing is changed: the maps are too small for it, and are made anew by a restart; forwarding goes on meanwhile"
                    .to_owned(),
            );
        }
        let probes = match (&self.probes, pool.steerer()) {
            (None, Some(_)) => Some(Probes::load().map_err(|error| refused(&error))?),
            _ => None,
        };
        let tracked =
            trackers::trackers(&config, &self.scripts).map_err(|error| refused(&error))?;
        let news = telling::sink(&config, &self.scripts, self.notifier.notices(), |_| {})
            .map_err(|error| refused(&error))?;
        self.reattach(&config, &pool).await?;
        self.fencing.ensure(&config, &self.pins);
        let numbers = ownership::numbers(&config, &self.numbers);
        match &self.vrrp {
            Some(_) if config.vrrp.is_empty() => {
                self.trackers = Trackers::default();
                if let Some(vrrp) = self.vrrp.take() {
                    vrrp.stop().await;
                }
                self.fencing.open_all();
            }
            Some(vrrp) => {
                let done = vrrp.reload(&config, &numbers, news.clone()).await;
                done.map_err(|error| refused(&error))?;
                self.trackers.replace(tracked, &vrrp.conditions());
            }
            None if config.vrrp.is_empty() => {}
            None => {
                let watches = Watches {
                    links: self.resolver.links(),
                    addresses: self.resolver.addresses(),
                    services: self.enough.subscribe(),
                };
                let (holds, held) = watch::channel(Held::default());
                self.held = held;
                let sinks = Sinks {
                    ownership: ownership::sink(self.datapath.owners(), holds),
                    fence: self.fencing.sink(),
                    news: news.clone(),
                };
                let started = Vrrp::start(&config, &numbers, watches, sinks).await;
                self.vrrp = Some(started.map_err(|error| refused(&error))?);
                self.trackers = track(tracked, self.vrrp.as_ref());
            }
        }
        self.fencing.follow(&self.links.borrow());
        pool.renumber(&config.vrrp, &numbers);
        pool.take_over(&self.pool);
        pool.recall(self.operator.words());
        let probes = probes.or(self.probes.take());
        self.probes = pool.steerer().zip(probes).map(|(steerer, probes)| {
            steerer.set(probes.table());
            probes
        });
        self.terms.follow(&config);
        let addresses: Vec<IpAddr> = pool
            .addresses()
            .into_iter()
            .chain(self.terms.addresses())
            .collect();
        self.resolver.set_targets(addresses.clone());
        wait_for_next_hops(&self.resolver, &addresses).await;
        let targets = pool.targets_while(&self.held.borrow_and_update());
        self.checks.set_targets(targets);
        self.enough.send_replace(Arc::new(pool.enough()));
        (self.pool, self.numbers, self.config) = (pool, numbers, config);
        self.news = news;
        self.follow_probes();
        self.is_dirty = true;
        Ok(vec![format!(
            "reloaded: {} services, {} VRRP instances",
            self.config.services.len(),
            self.config.vrrp.len()
        )])
    }

    /// Attaches where packets arrive under `config`, if that is elsewhere than now.
    async fn reattach(&mut self, config: &Config, pool: &Pool) -> Result<(), String> {
        let refused = |error: &dyn std::error::Error| format!("nothing is changed: {error}");
        let links = self
            .netlink
            .links()
            .await
            .map_err(|error| refused(&error))?;
        let addresses = self
            .netlink
            .addresses()
            .await
            .map_err(|error| refused(&error))?;
        let chosen = devices::choose(config, pool, &links, &addresses, &self.netlink)
            .await
            .map_err(|error| refused(&error))?;
        let wanted: BTreeSet<u32> = chosen.iter().map(|link| link.index).collect();
        if wanted == self.interfaces.attached() {
            return Ok(());
        }
        let mut interfaces = Interfaces::new(&chosen, config.datapath);
        interfaces
            .attach(&links, &mut self.datapath, &self.netlink)
            .await
            .map_err(|error| refused(&error))?;
        self.interfaces = interfaces;
        Ok(())
    }

    /// Elections go on at an interface that was removed and made anew.
    pub(super) async fn follow_interfaces(&mut self) {
        let links = Arc::clone(&self.links.borrow());
        if let Some(vrrp) = self
            .vrrp
            .as_ref()
            .filter(|vrrp| vrrp.is_stale(&self.config, &links))
        {
            follow(vrrp, &self.config, &self.numbers, &self.news).await;
        }
    }

    /// The same at a signal: the outcome goes to the log.
    pub(super) async fn reload_and_log(&mut self) {
        log(self.reload().await);
    }
}

/// Has elections go by the interfaces of now. Until one that is new has its addresses they cannot; then it is tried again.
pub(super) async fn follow(vrrp: &Vrrp, config: &Config, numbers: &Numbers, news: &NewsSink) {
    match vrrp.reload(config, numbers, news.clone()).await {
        Ok(()) => tracing::info!("elections go on at an interface that was made anew"),
        Err(error) => tracing::debug!(%error, "elections wait for an interface that was made anew"),
    }
}

/// Says how a reload went.
pub(super) fn log(outcome: Result<Vec<String>, String>) {
    match outcome {
        Ok(done) => tracing::info!("{}", done.join("; ")),
        Err(words) => tracing::error!("not reloaded: {words}"),
    }
}
