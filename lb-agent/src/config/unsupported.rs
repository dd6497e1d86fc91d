//! What the contract has and this version does not do yet, each key with what it would take to meet it.
//!
//! Whoever builds a feature deletes its lines here. A key that has its default value never meets a rule.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;

use super::context::{Context, Problem};
use super::model::{
    Config, Datapath, Listen, MailEvent, Mode, NatSource, Protocol, RealServer, Scheduler, Service,
    SyncGroup, Vrrp,
};

/// A key, whether a value of it is not supported, and what to call that.
type Rule<T> = (&'static str, fn(&T) -> bool, &'static str);

#[rustfmt::skip]
const GLOBAL: &[Rule<Config>] = &[
    ("datapath", |c| c.datapath == Datapath::Ipvs, "IPVS"),
    ("control.http", |c| c.control.http.is_some(), "the HTTP listener"),
    ("mail.on", |c| mails_about_vrrp(c), "mail about VRRP"),
    ("sync", |c| c.sync.is_some(), "sharing flows with other directors"),
    ("ipvs.sync_daemon", |c| c.ipvs.sync_daemon.is_some(), "IPVS"),
    ("ipvs.timeouts", |c| c.ipvs.timeouts.is_some(), "IPVS"),
];

#[rustfmt::skip]
const VRRP: &[Rule<Vrrp>] = &[
    ("accept", |v| !v.accept, "a master that accepts nothing"),
];

#[rustfmt::skip]
const SYNC_GROUP: &[Rule<SyncGroup>] = &[
];

#[rustfmt::skip]
const SERVICE: &[Rule<Service>] = &[
    ("fwmark", |s| matches!(s.listen, Listen::Fwmark(_)), "services of a firewall mark"),
    ("protocol", |s| s.protocol == Protocol::Sctp, "SCTP"),
    ("datapath", |s| s.datapath == Datapath::Ipvs, "IPVS"),
    ("scheduler", |s| s.scheduler != Scheduler::Mh, "another scheduler than mh"),
    ("persistence", |s| s.persistence.is_some(), "persistence"),
    ("one_packet", |s| s.one_packet, "scheduling each packet by itself"),
    ("source", |s| s.source != NatSource::Keep, "masquerading"),
    ("nat_direct", |s| !s.nat_direct.is_empty(), "prefixes that mode nat leaves alone"),
    ("listen", |s| s.mode == Mode::Nat && s.listen.addresses().iter().any(|a| a.port() == 0), "mode nat on every port"),
];

#[rustfmt::skip]
const REAL_SERVER: &[Rule<RealServer>] = &[
    ("max_connections", |r| r.max_connections != 0, "limits of connections"),
    ("min_connections", |r| r.min_connections != 0, "limits of connections"),
];

fn mails_about_vrrp(config: &Config) -> bool {
    let mail = config.mail.as_ref();
    !config.vrrp.is_empty() && mail.is_some_and(|mail| mail.on.contains(&MailEvent::Vrrp))
}

/// Reports everything in `config` that is not built yet.
pub(super) fn refuse(cx: &Context, config: &Config) {
    let refused = Refused {
        cx,
        replies: RefCell::default(),
    };
    for (key, _, what) in GLOBAL.iter().filter(|(_, met, _)| met(config)) {
        refused.at(key, what);
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
    /// The virtual address that each port of a NAT real server replies from.
    replies: RefCell<HashMap<(Protocol, SocketAddr), SocketAddr>>,
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

    /// A reply is known by the real server's port that it comes from: one port, one virtual address.
    fn replies(&self, service: &Service) {
        if service.mode != Mode::Nat {
            return;
        }
        for real_server in &service.real_servers {
            for listen in service.listen.addresses() {
                let port = real_server.port.unwrap_or(listen.port());
                let source = (service.protocol, SocketAddr::new(real_server.address, port));
                let first = *self.replies.borrow_mut().entry(source).or_insert(*listen);
                if first != *listen {
                    self.at(
                        &format!("service.{}.real_server.{}.address", service.name, real_server.endpoint()),
                        &format!("mode nat with two virtual addresses, {first} and {listen}, before one port of a real server"),
                    );
                }
            }
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
        self.replies(service);
        for real_server in &service.real_servers {
            let own = format!("{path}.real_server.{}", real_server.endpoint());
            for (key, _, what) in REAL_SERVER.iter().filter(|(_, met, _)| met(real_server)) {
                self.at(&format!("{own}.{key}"), what);
            }
        }
    }
}
