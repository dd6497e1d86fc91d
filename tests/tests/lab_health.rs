//! Real servers that die and come back, under traffic.

use std::time::{Duration, Instant};

use lb_tests::director::{DEADLINE, Director, LAB_CONFIG, drops, real_server, service};
use lb_tests::lab::wait_until;
use lb_tests::traffic::{Load, Outcome, Stream, request_once};

/// The lab's check: fall x interval + timeout.
const BOUND: Duration = Duration::from_millis(3 * 200 + 400);
/// For the machine, which also runs the clients and the servers.
const SLACK: Duration = Duration::from_millis(300);

/// 500 requests a second.
fn load() -> Load {
    Load {
        targets: vec![
            "10.1.0.100:80".parse().unwrap(),
            "[fd00:1::100]:8080".parse().unwrap(),
        ],
        connections: 10,
        kept_alive: 2,
        period: Duration::from_millis(20),
        timeout: Duration::from_millis(900),
    }
}

#[test]
fn a_dead_server_is_out_within_the_bound_and_back_when_it_lives_again() {
    let mut director = Director::up(LAB_CONFIG).unwrap();
    let generation = director.agent.status().unwrap()["generation"]
        .as_u64()
        .unwrap();
    let stream = Stream::start(director.client(), &load()).unwrap();
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut answers_since = |what: &str, since: Instant, wanted: usize, from: Option<&str>| {
        wait_until(DEADLINE, what, || {
            outcomes.extend(stream.take());
            let found = outcomes.iter().filter(|outcome| {
                let answer = outcome.answer.as_deref();
                outcome.began >= since && from.map_or(answer.is_ok(), |from| answer == Ok(from))
            });
            let count = found.count();
            if count >= wanted { Ok(()) } else { Err(count) }
        })
        .unwrap();
    };
    answers_since("rs2 to serve", Instant::now(), 10, Some("rs2"));
    let killed = Instant::now();
    director.servers[1].kill();
    let out_at = killed + BOUND + SLACK;
    for (name, address) in [("web", "10.1.0.22:80"), ("api", "10.2.0.22:8080")] {
        let found = director.wait_for_state(name, address, "down").unwrap();
        assert_eq!(found["share_percent"], 0.0, "{found}");
        let reason = found["reason"].as_str().unwrap();
        assert!(reason.contains("refused"), "{reason}");
    }
    assert!(
        Instant::now() < out_at,
        "status says so only {:?} after the kill",
        killed.elapsed()
    );
    answers_since("requests after the bound", out_at, 100, None);
    let status = director.agent.status().unwrap();
    assert!(status["generation"].as_u64().unwrap() > generation);
    assert_eq!(service(&status, "web")["state"], "up", "{status}");

    let restored = Instant::now();
    director.servers[1].restart().unwrap();
    answers_since("rs2 to serve again", restored, 20, Some("rs2"));
    outcomes.extend(stream.stop());
    let late: Vec<_> = outcomes
        .iter()
        .filter(|outcome| outcome.answer.is_err())
        .filter(|outcome| outcome.ended() < killed || outcome.began > out_at)
        .collect();
    assert!(late.is_empty(), "{late:?}");
}

#[test]
fn a_service_without_a_live_server_is_down_and_its_packets_are_counted_as_dropped() {
    let mut director = Director::up(LAB_CONFIG).unwrap();
    director
        .servers
        .iter_mut()
        .for_each(lb_tests::lab::Nginx::kill);
    for name in ["web", "api"] {
        director
            .wait_for_status("the service to be down", |status| {
                let found = service(status, name);
                if found["state"] == "down" {
                    Ok(())
                } else {
                    Err(found.to_string())
                }
            })
            .unwrap();
    }
    let before = drops(&director.agent.status().unwrap(), "no_real_server");
    for target in ["10.1.0.100:80", "[fd00:1::100]:8080"] {
        let timeout = Duration::from_millis(200);
        request_once(director.client(), target.parse().unwrap(), timeout).unwrap_err();
    }
    let status = director.agent.status().unwrap();
    assert!(drops(&status, "no_real_server") >= before + 2, "{status}");
    for name in ["web", "api"] {
        let own = service(&status, name)["drops"].to_string();
        assert!(own.contains("no_real_server"), "{own}");
    }
    director
        .servers
        .iter_mut()
        .for_each(|server| server.restart().unwrap());
    for (name, port, network) in [("web", 80, 1), ("api", 8080, 2)] {
        for number in 21..=23 {
            let address = format!("10.{network}.0.{number}:{port}");
            director.wait_for_state(name, &address, "up").unwrap();
        }
    }
    director.ask("10.1.0.100:80", 20).unwrap();
    director.ask("[fd00:1::100]:8080", 20).unwrap();
}

#[test]
fn a_host_that_is_gone_is_out_and_the_status_says_why_in_words() {
    let director = Director::up(LAB_CONFIG).unwrap();
    let rs1 = director.lab.node("rs1");
    rs1.run("ip", &["link", "set", "eth0", "down"]).unwrap();
    let found = director
        .wait_for_state("web", "10.1.0.21:80", "down")
        .unwrap();
    let reason = found["reason"].as_str().unwrap();
    assert!(
        reason.contains("no answer") || reason.contains("timed out") || reason.contains("no route"),
        "{reason}"
    );
    // By its other leg it is there.
    let status = director.agent.status().unwrap();
    assert_eq!(
        real_server(&status, "api", "10.2.0.21:8080")["state"],
        "up",
        "{status}"
    );
    director.ask("10.1.0.100:80", 40).unwrap();
    rs1.run("ip", &["link", "set", "eth0", "up"]).unwrap();
    director
        .wait_for_state("web", "10.1.0.21:80", "up")
        .unwrap();
    let answers = director.ask("10.1.0.100:80", 60).unwrap();
    assert!(answers.contains_key("rs1"), "{answers:?}");
}
