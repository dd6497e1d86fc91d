//! The agent dies, ends, starts again, and is taken away: what that does to traffic, which is nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lb_tests::director::{
    DEADLINE, Director, LAB_CONFIG, agent_binary, interface, real_server, refused_command, service,
    traces,
};
use lb_tests::lab::{Ended, wait_until};
use lb_tests::traffic::{Load, Outcome, Stream};
use nix::sys::signal::Signal;

/// Requests of both families, over kept and over new connections.
struct Traffic {
    stream: Stream,
    outcomes: Vec<Outcome>,
}

impl Traffic {
    fn start(director: &Director) -> Self {
        Self::with_kept_alive(director, 3)
    }

    fn with_kept_alive(director: &Director, kept_alive: usize) -> Self {
        let targets = [
            "10.1.0.100:80",
            "[fd00:1::100]:80",
            "10.1.0.100:8080",
            "[fd00:1::100]:8080",
        ];
        let load = Load {
            targets: targets.map(|target| target.parse().unwrap()).to_vec(),
            connections: 8,
            kept_alive,
            period: Duration::from_millis(10),
            // Longer than the first retransmission of a SYN: a lost one shows in `took`.
            timeout: Duration::from_secs(5),
        };
        Self {
            stream: Stream::start(director.client(), &load).unwrap(),
            outcomes: Vec::new(),
        }
    }

    /// Waits for this many requests that begin from now on.
    fn wait_for_more(&mut self, wanted: usize) {
        let now = Instant::now();
        wait_until(DEADLINE, "requests to go on", || {
            self.outcomes.extend(self.stream.take());
            let begun = |outcome: &&Outcome| outcome.began >= now;
            let count = self.outcomes.iter().filter(begun).count();
            if count >= wanted {
                Ok(())
            } else {
                Err(format!("{count} of {wanted}"))
            }
        })
        .unwrap();
    }

    /// Every request was answered; none was so slow that a packet of it must have been lost.
    fn assert_undisturbed(self) -> Vec<Outcome> {
        self.assert_undisturbed_but_at(None)
    }

    /// As above, but for requests that were under way at `moment`, when the tables changed under them.
    fn assert_undisturbed_but_at(mut self, moment: Option<(Instant, Instant)>) -> Vec<Outcome> {
        self.outcomes.extend(self.stream.stop());
        let under_way = |outcome: &Outcome| {
            moment.is_some_and(|(from, to)| {
                outcome.began <= to && outcome.began + outcome.took >= from
            })
        };
        let failed: Vec<_> = self
            .outcomes
            .iter()
            .filter(|outcome| outcome.answer.is_err() && !under_way(outcome))
            .collect();
        assert!(
            failed.is_empty(),
            "{} of {} failed: {failed:?}",
            failed.len(),
            self.outcomes.len()
        );
        // Linux asks again after 1 s for a lost SYN (RFC 6298 §2.1), and after 200 ms at least for lost data.
        let slow = self
            .outcomes
            .iter()
            .filter(|outcome| outcome.took >= Duration::from_secs(1));
        assert_eq!(slow.count(), 0, "some were slow: packets were lost");
        self.outcomes
    }
}

fn number(value: &serde_json::Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_killed_agent_is_not_missed_and_the_next_one_adopts_what_it_left() {
    let mut director = Director::up(LAB_CONFIG).unwrap();
    let mut traffic = Traffic::start(&director);
    traffic.wait_for_more(200);
    let before = director.agent.status().unwrap();

    director.agent.kill();
    traffic.wait_for_more(300);
    director.agent.restart().unwrap();
    traffic.wait_for_more(300);

    let after = director.agent.status().unwrap();
    assert_ne!(after["pid"], before["pid"]);
    let log = director.agent.log_tail(1000);
    assert!(
        log.contains("adopted the data plane of an earlier run"),
        "{log}"
    );
    assert!(
        number(&after["generation"]) > number(&before["generation"]),
        "{after}"
    );
    for leg in ["eth0", "eth1"] {
        let found = interface(&after, leg);
        assert_eq!(found["mode"], "native", "{after}");
        let reason = found["reason"].as_str().unwrap();
        assert!(reason.contains("earlier run"), "{reason}");
    }
    for name in ["web", "api"] {
        let (then, now) = (service(&before, name), service(&after, name));
        assert_eq!(now["state"], "up");
        // 300 requests without an agent, 300 with the next: three packets and more each, half of them to each service.
        let grown = number(&now["packets"]) - number(&then["packets"]);
        assert!(grown > 600, "{name} by {grown} packets");
        assert!(number(&now["bytes"]) > number(&then["bytes"]));
    }
    traffic.assert_undisturbed();
}

#[test]
fn a_restart_many_times_over_costs_no_request() {
    let mut director = Director::up(LAB_CONFIG).unwrap();
    let mut traffic = Traffic::start(&director);
    for _ in 0..5 {
        traffic.wait_for_more(50);
        director.agent.restart().unwrap();
    }
    traffic.wait_for_more(100);
    traffic.assert_undisturbed();
}

#[test]
fn a_server_that_was_found_dead_is_not_let_in_by_a_restart() {
    let mut director = Director::up(LAB_CONFIG).unwrap();
    director.servers[0].kill();
    for (name, address) in [("web", "10.1.0.21:80"), ("api", "10.2.0.21:8080")] {
        director.wait_for_state(name, address, "down").unwrap();
    }
    let sent_before =
        real_server(&director.agent.status().unwrap(), "web", "10.1.0.21:80")["packets"].clone();
    let mut traffic = Traffic::start(&director);
    traffic.wait_for_more(50);
    director.agent.kill();
    traffic.wait_for_more(50);
    director.agent.restart().unwrap();
    let first = director.agent.status().unwrap();
    for (name, address) in [("web", "10.1.0.21:80"), ("api", "10.2.0.21:8080")] {
        let found = real_server(&first, name, address);
        assert_eq!(found["state"], "down", "{found}");
        assert_eq!(found["share_percent"], 0.0, "{found}");
    }
    traffic.wait_for_more(100);
    let outcomes = traffic.assert_undisturbed();
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.answer.as_deref() != Ok("rs1"))
    );
    let status = director.agent.status().unwrap();
    let found = real_server(&status, "web", "10.1.0.21:80");
    assert_eq!(found["packets"], sent_before, "not a packet more: {found}");

    director.servers[0].restart().unwrap();
    director
        .wait_for_state("web", "10.1.0.21:80", "up")
        .unwrap();
    let answers = director.ask("10.1.0.100:80", 60).unwrap();
    assert!(answers.contains_key("rs1"), "{answers:?}");
}

#[test]
fn an_ended_agent_leaves_forwarding_loaded_and_unload_takes_it_away() {
    let mut director = Director::up(LAB_CONFIG).unwrap();
    let unload = |director: &Director| {
        let mut command = director.node().command(agent_binary().unwrap());
        command.arg("unload");
        command
    };
    let refusal = refused_command(director.node(), unload(&director)).unwrap();
    let pid = director.agent.daemon().pid();
    let message = refusal.message().unwrap();
    assert!(
        message.contains("running") && message.contains(&format!("pid {pid}")),
        "{message}"
    );

    let mut traffic = Traffic::start(&director);
    traffic.wait_for_more(50);
    let ended = director.agent.daemon().stop(Signal::SIGTERM, DEADLINE);
    assert_eq!(ended.unwrap(), Ended::Exited(0));
    assert!(!director.node().directory().join("run/lb.sock").exists());
    traffic.wait_for_more(200);
    traffic.assert_undisturbed();
    let left = traces(director.node()).unwrap().join("\n");
    assert!(left.contains("bpf/lb") && left.contains("xdp"), "{left}");

    let text = director.agent.command(&["unload"]).unwrap();
    assert!(text.contains("/sys/fs/bpf/lb/"), "{text}");
    assert_eq!(traces(director.node()).unwrap(), Vec::<String>::new());
    let text = director.agent.command(&["unload"]).unwrap();
    assert_eq!(text, "nothing was loaded\n");
    // And from nothing again.
    director.agent.restart().unwrap();
    director.ask("10.1.0.100:80", 10).unwrap();
}

/// The lab's configuration and this many services more, each with an address of its own.
fn with_more_services(count: usize) -> String {
    let more: String = (0..count)
        .map(|number| {
            let (high, low) = (number / 250, number % 250 + 1);
            format!(
                "
[[service]]
name = \"more-{number}\"
listen = [\"10.3.{high}.{low}:80\"]
mode = \"dr\"
table_size = 251
real_server = [{{ address = \"10.1.0.21:80\" }}]
"
            )
        })
        .collect();
    format!("{LAB_CONFIG}{more}")
}

#[test]
fn maps_that_have_become_too_small_are_replaced_without_a_lost_request() {
    let mut director = Director::up(LAB_CONFIG).unwrap();
    let mut traffic = Traffic::start(&director);
    traffic.wait_for_more(200);
    std::fs::write(director.agent.config(), with_more_services(300)).unwrap();
    director.agent.restart().unwrap();
    traffic.wait_for_more(200);
    let log = director.agent.log_tail(2000);
    assert!(log.contains("too small and are being replaced"), "{log}");
    let after = director.agent.status().unwrap();
    assert_eq!(after["services"].as_array().unwrap().len(), 302);
    for state in after["services"].as_array().unwrap() {
        assert_eq!(state["state"], "up", "{state}");
    }
    // And the next start finds the new ones.
    director.agent.restart().unwrap();
    let log = director.agent.log_tail(20);
    assert!(log.contains("adopted the data plane"), "{log}");
    traffic.wait_for_more(100);
    traffic.assert_undisturbed();
}

#[test]
fn an_interface_that_is_no_longer_configured_is_released() {
    let mut director = Director::up(LAB_CONFIG).unwrap();
    let config = LAB_CONFIG.replace("[\"eth0\", \"eth1\"]", "[\"eth0\"]");
    assert_ne!(config, LAB_CONFIG);
    std::fs::write(director.agent.config(), config).unwrap();
    director.agent.restart().unwrap();
    let links = director.node().run("ip", &["-o", "link", "show"]).unwrap();
    for line in links.lines() {
        assert_eq!(line.contains("xdp"), line.contains(": eth0"), "{line}");
    }
    let target: SocketAddr = "10.1.0.100:80".parse().unwrap();
    director.ask(&target.to_string(), 20).unwrap();
}

#[test]
fn a_configuration_that_was_changed_is_in_force_after_a_restart_and_costs_no_later_request() {
    let mut director = Director::up(LAB_CONFIG).unwrap();
    // Only new connections, and but for the requests under way at the commit: those of a server that is taken out of the
    // file end with it.
    let mut traffic = Traffic::with_kept_alive(&director, 0);
    traffic.wait_for_more(100);
    let (without_rs3, _) = LAB_CONFIG
        .split_once("[[service.real_server]]\naddress = \"10.1.0.23:80\"\n")
        .unwrap();
    let (_, api) = LAB_CONFIG.split_once("# The same servers").unwrap();
    let one_more = "
[[service]]
name = \"more\"
listen = [\"10.1.0.100:0\"]
mode = \"dr\"
real_server = [{ address = \"10.1.0.22\" }]
";
    let changed = format!("{without_rs3}#{api}{one_more}");
    std::fs::write(director.agent.config(), changed).unwrap();
    let restart = Instant::now();
    director.agent.restart().unwrap();
    let restarted = Instant::now();
    traffic.wait_for_more(200);
    let status = director.agent.status().unwrap();
    let real_servers = service(&status, "web")["real_servers"].as_array().unwrap();
    assert_eq!(real_servers.len(), 2, "{status}");
    assert_eq!(service(&status, "more")["state"], "up", "{status}");
    let outcomes = traffic.assert_undisturbed_but_at(Some((restart, restarted)));
    let to_rs3 = outcomes.iter().filter(|outcome| {
        outcome.began > restarted
            && outcome.target.port() == 80
            && outcome.answer.as_deref() == Ok("rs3")
    });
    assert_eq!(to_rs3.count(), 0);

    // And back again, with one service less.
    std::fs::write(director.agent.config(), LAB_CONFIG).unwrap();
    director.agent.restart().unwrap();
    let answers = director.ask("10.1.0.100:80", 60).unwrap();
    assert_eq!(answers.len(), 3, "{answers:?}");
    let status = director.agent.status().unwrap();
    assert_eq!(status["services"].as_array().unwrap().len(), 2, "{status}");
}
