//! Rules that take more than one key: what `docs/lb.toml` says of keys together, and what is worth a warning.

mod service;
mod vrrp;

use super::context::{Context, Problem};
use super::model::{Config, Service, Tracked};

/// Real servers that a table of the default scheduler has room for, by its size.
const SLOTS_PER_REAL_SERVER: usize = 100;

/// Checks a configuration whose parts are good by themselves.
pub(super) fn config(cx: &Context, config: &Config) {
    vrrp::unique_router_ids(cx, &config.vrrp);
    for instance in &config.vrrp {
        vrrp::instance(cx, instance);
    }
    if config.services.is_empty() && config.vrrp.is_empty() {
        let problem = Problem::new("nothing to serve: `lb-agent run` refuses to start");
        cx.warn_at("service", problem.expected("at least one [[service]]"));
    }
    for service in &config.services {
        service::errors(cx, service);
        suspended_and_tracked(cx, config, service);
        service_warnings(cx, config, service);
    }
}

/// An instance that is in fault by a service whose checks wait for it to be master would wait for ever.
fn suspended_and_tracked(cx: &Context, config: &Config, service: &Service) {
    if !service.suspend_checks_in_backup {
        return;
    }
    let tracks = |tracked: &[Tracked]| tracked.iter().any(|one| one.name == service.name);
    let instances = config.vrrp.iter().filter(|one| tracks(&one.track_services));
    let groups = config.sync_groups.iter();
    let groups = groups.filter(|one| tracks(&one.track_services));
    let names = instances
        .map(|one| one.name.as_str())
        .chain(groups.map(|one| one.name.as_str()));
    if let Some(name) = names.into_iter().next() {
        let message = format!(
            "{name} depends on this service: without checks it would never find out that it is back"
        );
        let problem = Problem::new(message).expected("false, or no `track_services` of it");
        let key = format!("service.{}.suspend_checks_in_backup", service.name);
        cx.error_at(&key, problem);
    }
}

fn service_warnings(cx: &Context, config: &Config, service: &Service) {
    let key = |key: &str| format!("service.{}.{key}", service.name);
    let real_servers = &service.real_servers;
    if real_servers.is_empty() {
        let problem = Problem::new("no real server: the service is always down");
        cx.warn_at(
            &key("real_server"),
            problem.expected("at least one [[service.real_server]]"),
        );
        return;
    }
    let unchecked = real_servers.iter().filter(|rs| rs.check.kinds.is_empty());
    let message = match unchecked.count() {
        0 => None,
        n if n == real_servers.len() => {
            Some("no check: its real servers always count as up".to_owned())
        }
        n => Some(format!(
            "{n} of its {} real servers have no check and always count as up",
            real_servers.len()
        )),
    };
    if let Some(message) = message {
        let problem = Problem::new(message).expected("a kind of check, such as `tcp = {}`");
        cx.warn_at(&key("check"), problem);
    }
    table_size_warning(cx, service);
    let total: u64 = real_servers.iter().map(|rs| u64::from(rs.weight)).sum();
    let needed = u64::from(service.quorum) + u64::from(service.hysteresis);
    if total < needed {
        let message = format!("never reached: the weights of all real servers sum up to {total}");
        let problem =
            Problem::new(message).expected(format!("weights of at least {needed} in all"));
        cx.warn_at(&key("quorum"), problem);
    }
    let remembers = service.persistence.is_some() || !service.scheduler.is_stateless();
    if remembers && !config.vrrp.is_empty() && config.sync.is_none() {
        let problem =
            Problem::new("a failover may move its connections: directors do not share flows")
                .expected("[sync], or scheduler mh, sh or dh without persistence");
        cx.warn_at(&key("scheduler"), problem);
    }
    owner_warnings(cx, config, service);
}

fn table_size_warning(cx: &Context, service: &Service) {
    let key = format!("service.{}.table_size", service.name);
    let count = service.real_servers.len();
    if service.scheduler != super::model::Scheduler::Mh {
        if cx.is_written(&key) {
            let message = format!(
                "without effect: scheduler {} has no table",
                service.scheduler
            );
            cx.warn_at(&key, Problem::new(message));
        }
        return;
    }
    let advised = count.saturating_mul(SLOTS_PER_REAL_SERVER);
    if usize::try_from(service.table_size).unwrap_or(usize::MAX) < advised {
        let message = format!(
            "{} slots are few for {count} real servers: shares get uneven",
            service.table_size
        );
        let wanted = format!("at least {advised}, {SLOTS_PER_REAL_SERVER} for each real server");
        cx.warn_at(&key, Problem::new(message).expected(wanted));
    }
}

/// Addresses that another instance has than the one the service names.
fn owner_warnings(cx: &Context, config: &Config, service: &Service) {
    let named = |name: &String| config.vrrp.iter().find(|instance| instance.name == *name);
    let Some(instance) = service.vrrp.as_ref().and_then(named) else {
        return;
    };
    for (index, socket) in service.listen.addresses().iter().enumerate() {
        if instance.owns(socket.ip()) {
            continue;
        }
        let has = |other: &&super::model::Vrrp| other.owns(socket.ip());
        let owner = match config.vrrp.iter().find(has) {
            Some(other) => format!("{} has it", other.name),
            None => "no instance has it".to_owned(),
        };
        let message = format!(
            "{} is no address of {}: {owner}",
            socket.ip(),
            instance.name
        );
        let key = format!("service.{}.listen[{index}]", service.name);
        cx.warn_at(&key, Problem::new(message));
    }
}
