//! What the contract has and this version does not do yet, each key with what it would take to meet it.
//!
//! Whoever builds a feature deletes its lines here. A key that has its default value never meets a rule.

use super::context::{Context, Problem};
use super::model::{
    Config, Datapath, Fence, Listen, Mode, NatSource, OnFailure, Protocol, RealServer, Scheduler,
    Service, SyncGroup, Via, Vrrp, VrrpNotify,
};

/// A key, whether a value of it is not supported, and what to call that.
type Rule<T> = (&'static str, fn(&T) -> bool, &'static str);

#[rustfmt::skip]
const GLOBAL: &[Rule<Config>] = &[
    ("datapath", |c| c.datapath == Datapath::Ipvs, "IPVS"),
    ("control.http", |c| c.control.http.is_some(), "the HTTP listener"),
    ("mail", |c| c.mail.is_some(), "mail"),
    ("sync", |c| c.sync.is_some(), "sharing flows with other directors"),
    ("ipvs.sync_daemon", |c| c.ipvs.sync_daemon.is_some(), "IPVS"),
    ("ipvs.timeouts", |c| c.ipvs.timeouts.is_some(), "IPVS"),
];

/// A list of tables, the names of its members, and what it is about.
type List = (&'static str, fn(&Config) -> Vec<&String>, &'static str);

/// Lists of which every member is refused.
#[rustfmt::skip]
const LISTS: &[List] = &[
    ("script", |c| c.tracked_scripts.iter().map(|s| &s.name).collect(), "tracked scripts"),
];

#[rustfmt::skip]
const VRRP: &[Rule<Vrrp>] = &[
    ("routes", |v| !v.routes.is_empty(), "routes that come and go with the addresses"),
    ("accept", |v| !v.accept, "a master that accepts nothing"),
    ("virtual_mac", |v| v.virtual_mac, "virtual MAC addresses"),
    ("track_scripts", |v| !v.track_scripts.is_empty(), "tracked scripts"),
    ("track_services", |v| !v.track_services.is_empty(), "tracked services"),
    ("fence", |v| v.fence == Fence::Strict, "fencing"),
    ("notify", |v| v.notify != VrrpNotify::default(), "notification"),
];

#[rustfmt::skip]
const SYNC_GROUP: &[Rule<SyncGroup>] = &[
    ("track_scripts", |g| !g.track_scripts.is_empty(), "tracked scripts"),
    ("track_services", |g| !g.track_services.is_empty(), "tracked services"),
    ("notify", |g| g.notify != VrrpNotify::default(), "notification"),
];

#[rustfmt::skip]
const SERVICE: &[Rule<Service>] = &[
    ("fwmark", |s| matches!(s.listen, Listen::Fwmark(_)), "services of a firewall mark"),
    ("protocol", |s| s.protocol == Protocol::Sctp, "SCTP"),
    ("mode", |s| s.mode == Mode::Nat, "mode nat"),
    ("mode", |s| s.mode == Mode::Local, "mode local"),
    ("datapath", |s| s.datapath == Datapath::Ipvs, "IPVS"),
    ("scheduler", |s| matches!(s.scheduler, Scheduler::Lblc | Scheduler::Lblcr), "IPVS"),
    ("suspend_checks_in_backup", |s| s.suspend_checks_in_backup, "suspending checks"),
    ("source", |s| s.source != NatSource::Keep, "mode nat"),
    ("nat_direct", |s| !s.nat_direct.is_empty(), "mode nat"),
];

#[rustfmt::skip]
const REAL_SERVER: &[Rule<RealServer>] = &[
    ("on_failure", |r| r.on_failure != OnFailure::Remove, "draining a failed real server"),
];

/// Keys of a check, written on the real server or on its service.
#[rustfmt::skip]
const CHECK: &[Rule<RealServer>] = &[
    ("check.via", |r| r.check.via != Via::Direct, "checks through the virtual address"),
];

/// Reports everything in `config` that is not built yet.
pub(super) fn refuse(cx: &Context, config: &Config) {
    let refused = Refused { cx };
    for (key, _, what) in GLOBAL.iter().filter(|(_, met, _)| met(config)) {
        refused.at(key, what);
    }
    for (list, names, what) in LISTS {
        for name in names(config) {
            refused.at(&format!("{list}.{name}"), what);
        }
    }
    for instance in &config.vrrp {
        refused.by_rules(&format!("vrrp.{}", instance.name), VRRP, instance);
    }
    for group in &config.sync_groups {
        refused.by_rules(&format!("sync_group.{}", group.name), SYNC_GROUP, group);
    }
    for service in &config.services {
        refused.service(service);
    }
}

struct Refused<'a> {
    cx: &'a Context,
}

impl Refused<'_> {
    fn at(&self, key: &str, what: &str) {
        // What is wrong with a value comes first: the one that was meant may be built.
        if !self.cx.is_faulty(key) {
            let problem = Problem::new(format!("not supported yet: {what}"));
            self.cx.error_at(key, problem);
        }
    }

    fn by_rules<T>(&self, path: &str, rules: &[Rule<T>], table: &T) {
        for (key, _, what) in rules.iter().filter(|(_, met, _)| met(table)) {
            self.at(&format!("{path}.{key}"), what);
        }
    }

    fn service(&self, service: &Service) {
        let path = format!("service.{}", service.name);
        for (key, _, what) in SERVICE.iter().filter(|(_, met, _)| met(service)) {
            let key = format!("{path}.{key}");
            // The global datapath is refused where it is chosen.
            if !key.ends_with(".datapath") || self.cx.is_written(&key) {
                self.at(&key, what);
            }
        }
        for real_server in &service.real_servers {
            let own = format!("{path}.real_server.{}", real_server.endpoint());
            for (key, _, what) in REAL_SERVER.iter().filter(|(_, met, _)| met(real_server)) {
                self.at(&format!("{own}.{key}"), what);
            }
            for (key, _, what) in CHECK.iter().filter(|(_, met, _)| met(real_server)) {
                let own = format!("{own}.{key}");
                let whose = match self.cx.is_written(&own) {
                    true => own,
                    false => format!("{path}.{key}"),
                };
                self.at(&whose, what);
            }
        }
    }
}
