//! Rules of one service.

use lb_common::Deadline;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::config::context::{Context, Problem};
use crate::config::model::{
    CheckKind, Datapath, Endpoint, Listen, Mode, NatSource, Protocol, RealServer, Scheduler,
    Service, Via,
};

/// Reports every rule that a service breaks.
pub(super) fn errors(cx: &Context, service: &Service) {
    let rules = Rules { cx, service };
    rules.needs_ipvs();
    rules.keys_of_other_modes();
    rules.transition();
    rules.hysteresis();
    rules.one_packet();
    rules.real_servers();
    if let Some(endpoint) = service.sorry_server {
        rules.port(endpoint, &rules.key("sorry_server"));
        rules.sorry_server(endpoint);
    }
}

struct Rules<'a> {
    cx: &'a Context,
    service: &'a Service,
}

impl Rules<'_> {
    fn key(&self, key: &str) -> String {
        format!("service.{}.{key}", self.service.name)
    }

    fn real_server_key(&self, index: usize, key: &str) -> String {
        let by_address = |real_server: &RealServer| real_server.endpoint().to_string();
        let name = self.service.real_servers.get(index).map(by_address);
        self.key(&format!("real_server.{}.{key}", name.unwrap_or_default()))
    }

    fn error(&self, key: &str, message: impl Into<String>, expected: impl Into<String>) {
        let problem = Problem::new(message).expected(expected);
        self.cx.error_at(&self.key(key), problem);
    }

    fn sorry_server(&self, endpoint: Endpoint) {
        let mut real_servers = self.service.real_servers.iter();
        if real_servers.any(|real_server| real_server.endpoint() == endpoint) {
            let message = format!("{endpoint} is a real server of this service");
            self.error(
                "sorry_server",
                message,
                "one that is not checked with the others",
            );
        }
    }

    fn needs_ipvs(&self) {
        let datapath = self.service.datapath;
        if !matches!(datapath, Datapath::Xdp | Datapath::XdpNative) {
            return;
        }
        let expected =
            format!("`datapath = \"ipvs\"` or \"auto\" for this service, which has {datapath}");
        let refuse = |key: &str, what: &str| {
            self.error(key, format!("{what} takes IPVS"), expected.as_str());
        };
        if self.service.protocol == Protocol::Sctp {
            refuse("protocol", "sctp");
        }
        match self.service.scheduler {
            Scheduler::Lblc | Scheduler::Lblcr => refuse("scheduler", "a locality-based scheduler"),
            Scheduler::Mh | Scheduler::Rr | Scheduler::Wrr | Scheduler::Lc | Scheduler::Wlc => {}
            Scheduler::Sh | Scheduler::Dh | Scheduler::Sed | Scheduler::Nq => {}
        }
        if matches!(self.service.listen, Listen::Fwmark(_)) {
            refuse("fwmark", "a firewall mark");
        }
    }

    fn keys_of_other_modes(&self) {
        let service = self.service;
        let mode = service.mode;
        if service.source != NatSource::Keep && mode != Mode::Nat {
            self.error(
                "source",
                format!("without effect in mode {mode}"),
                "mode nat",
            );
        }
        if !service.nat_direct.is_empty() && mode != Mode::Nat {
            self.error(
                "nat_direct",
                format!("without effect in mode {mode}"),
                "mode nat",
            );
        }
        if !service.nat_direct.is_empty() && service.source == NatSource::Masquerade {
            let message = "without effect with `source = \"masquerade\"`";
            self.error("nat_direct", message, "`source = \"keep\"`");
        }
        let Some(source) = service.tun_source else {
            return;
        };
        if mode != Mode::Tun {
            self.error(
                "tun_source",
                format!("without effect in mode {mode}"),
                "mode tun",
            );
            return;
        }
        let same_family = |rs: &RealServer| rs.address.is_ipv4() == source.addr().is_ipv4();
        if !service.real_servers.is_empty() && !service.real_servers.iter().any(same_family) {
            let message = format!("no real server can be reached from {source}");
            self.error(
                "tun_source",
                message,
                "an address of the real servers' family",
            );
        }
    }

    fn transition(&self) {
        let service = self.service;
        let longest = Duration::from_secs(Deadline::MAX_WINDOW_S);
        for (key, window) in [
            ("transition", service.transition),
            ("udp_learn", service.udp_learn),
        ] {
            if window > longest {
                let window = crate::config::format_duration(window);
                let message = format!("{window} is longer than the data plane can keep");
                let longest = crate::config::format_duration(longest);
                self.error(key, message, format!("at most {longest}"));
            }
        }
        let idle = service.idle_timeout.tcp;
        if service.protocol == Protocol::Udp || service.transition >= idle {
            return;
        }
        let idle = crate::config::format_duration(idle);
        let transition = crate::config::format_duration(service.transition);
        // The one that is written is the one to look at.
        if self.cx.is_written(&self.key("transition")) {
            let message = format!("{transition} is shorter than `idle_timeout.tcp`");
            self.error("transition", message, format!("at least {idle}"));
        } else {
            let message = format!("longer than `transition`, which is {transition}");
            let expected = format!("at most {transition}, or `transition = \"{idle}\"` besides");
            self.error("idle_timeout.tcp", message, expected);
        }
    }

    fn hysteresis(&self) {
        let Service {
            quorum, hysteresis, ..
        } = self.service;
        if hysteresis >= quorum && *hysteresis > 0 {
            let message = format!("{hysteresis} is not below `quorum`");
            let wanted = format!("less than {quorum}, or the service would never go down");
            self.error("hysteresis", message, wanted);
        }
    }

    fn one_packet(&self) {
        if self.service.one_packet && self.service.protocol != Protocol::Udp {
            let message = format!("cannot be with protocol {}", self.service.protocol);
            self.error("one_packet", message, "`protocol = \"udp\"`");
        }
    }

    fn real_servers(&self) {
        let mut seen: HashMap<(IpAddr, Option<u16>), usize> = HashMap::new();
        for (index, real_server) in self.service.real_servers.iter().enumerate() {
            let endpoint = real_server.endpoint();
            self.port(endpoint, &self.real_server_key(index, "address"));
            let same = (endpoint.address, endpoint.port.or(self.only_port()));
            if let Some(first) = seen.insert(same, index) {
                let first = self.cx.place(&self.real_server_key(first, "address"));
                let problem = Problem::new(format!(
                    "`{endpoint}` is a real server of this service twice"
                ));
                let problem = problem.related(first, "first written here");
                self.cx
                    .error_at(&self.real_server_key(index, "address"), problem);
            }
            if real_server.max_connections > 0 && self.service.scheduler.is_stateless() {
                let scheduler = self.service.scheduler;
                let problem = Problem::new(format!(
                    "cannot be with scheduler {scheduler}: directors would disagree"
                ))
                .expected("a scheduler that counts connections: rr, wrr, lc, wlc, sed, nq");
                self.cx
                    .error_at(&self.real_server_key(index, "max_connections"), problem);
            }
            self.family(index, real_server);
            self.check(index, real_server);
        }
    }

    /// The port of all addresses, if they have one and the same.
    fn only_port(&self) -> Option<u16> {
        let addresses = self.service.listen.addresses();
        let first = addresses.first()?.port();
        let same = addresses.iter().all(|address| address.port() == first);
        (same && first != 0).then_some(first)
    }

    /// DR and TUN do not change packets: the port stays as the client wrote it.
    fn port(&self, endpoint: Endpoint, key: &str) {
        let mode = self.service.mode;
        let Some(port) = endpoint.port else {
            return;
        };
        if !matches!(mode, Mode::Dr | Mode::Tun) {
            return;
        }
        let other = self
            .service
            .listen
            .addresses()
            .iter()
            .find(|address| address.port() != port);
        if let Some(other) = other {
            let message =
                format!("port {port} is not that of `{other}`, and mode {mode} changes no port");
            let right = match self.only_port() {
                Some(only) => Endpoint {
                    port: Some(only),
                    ..endpoint
                },
                None => Endpoint {
                    port: None,
                    ..endpoint
                },
            };
            let problem = Problem::new(message)
                .expected("the service's port, or none: the port that the client asked for")
                .suggest_text(Some(right.to_string()));
            self.cx.error_at(key, problem);
        }
    }

    /// NAT rewrites addresses of one family into addresses of the same.
    fn family(&self, index: usize, real_server: &RealServer) {
        let addresses = self.service.listen.addresses();
        let same = |ip: IpAddr| ip.is_ipv4() == real_server.address.is_ipv4();
        if self.service.mode == Mode::Nat && !addresses.iter().all(|address| same(address.ip())) {
            let problem = Problem::new("mode nat does not translate between IPv4 and IPv6")
                .expected(
                    "an address of the family of all of `listen`: each family is a service of its own",
                );
            self.cx
                .error_at(&self.real_server_key(index, "address"), problem);
        }
    }

    fn check(&self, index: usize, real_server: &RealServer) {
        let check = &real_server.check;
        let written = |key: &str| self.written_for(index, &format!("check.{key}"));
        if check.via == Via::Vip && !matches!(self.service.mode, Mode::Dr | Mode::Tun) {
            let problem = Problem::new(format!("`vip` is no way in mode {}", self.service.mode));
            self.cx.error_at(
                &written("via"),
                problem.expected("`direct`, or mode dr or tun"),
            );
        }
        if check.via == Via::Vip {
            self.by_vip(index, real_server);
        }
        if let Some(source) = check.source_address
            && source.is_ipv4() != check.address.is_ipv4()
        {
            let message = format!("{source} cannot reach {}, which is checked", check.address);
            let problem = Problem::new(message).expected("an address of the same family");
            self.cx.error_at(&written("source_address"), problem);
        }
    }

    /// What cannot take the way by the virtual address.
    fn by_vip(&self, index: usize, real_server: &RealServer) {
        let check = &real_server.check;
        let refuse = |key: &str, message: String, expected: &str| {
            let key = self.written_for(index, key);
            let problem = Problem::new(message).expected(expected);
            self.cx.error_at(&key, problem);
        };
        if self.service.address_like(real_server.address).is_none() {
            let message = format!(
                "no address of the service is of the family of {}",
                real_server.address
            );
            refuse(
                "check.via",
                message,
                "`direct`, or such an address in `listen`",
            );
        }
        if check.address != real_server.address {
            let message =
                "a check by way of the virtual address goes to the real server".to_owned();
            refuse(
                "check.address",
                message,
                "no `address`, or `via = \"direct\"`",
            );
        }
        for kind in &check.kinds {
            if matches!(kind, CheckKind::Ping | CheckKind::Misc { .. }) {
                let key = format!("check.{}", kind.key());
                let message = "cannot be made by way of the virtual address".to_owned();
                refuse(
                    &key,
                    message,
                    "`via = \"direct\"`, or another kind of check",
                );
            }
        }
    }

    /// The key of a real server, or of its service where that is where it is written.
    fn written_for(&self, index: usize, key: &str) -> String {
        let own = self.real_server_key(index, key);
        match self.cx.is_written(&own) {
            true => own,
            false => self.key(key),
        }
    }
}
