//! The stream of requests that judges the balancer, judged itself: against nginx without a balancer between.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lb_tests::lab::{Lab, Options, VIP4, VIP6, wait_until};
use lb_tests::traffic::{Load, Stream, request_once};

fn load(targets: &[&str], kept_alive: usize) -> Load {
    Load {
        targets: targets
            .iter()
            .map(|target| target.parse().unwrap())
            .collect(),
        connections: 4,
        kept_alive,
        period: Duration::from_millis(10),
        timeout: Duration::from_secs(1),
    }
}

#[test]
fn each_answer_names_the_server_that_gave_it() {
    let lab = Lab::up(&Options { real_servers: 2 }).unwrap();
    let _servers = [lab.nginx("rs1").unwrap(), lab.nginx("rs2").unwrap()];
    let targets = ["10.1.0.21:80", "[fd00:1::22]:8080"];
    for kept_alive in [0, 4] {
        let stream = Stream::start(lab.node("cl1"), &load(&targets, kept_alive)).unwrap();
        let mut outcomes = Vec::new();
        wait_until(Duration::from_secs(10), "100 requests", || {
            outcomes.extend(stream.take());
            if outcomes.len() < 100 {
                Err(outcomes.len())
            } else {
                Ok(())
            }
        })
        .unwrap();
        outcomes.extend(stream.stop());
        for outcome in &outcomes {
            let expected = if outcome.target.is_ipv4() {
                "rs1"
            } else {
                "rs2"
            };
            assert_eq!(outcome.answer.as_deref(), Ok(expected), "{outcome:?}");
            assert!(outcome.took < Duration::from_secs(1), "{outcome:?}");
        }
    }
}

#[test]
fn requests_fail_from_the_kill_of_a_server_until_it_is_back() {
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    let mut server = lab.nginx("rs1").unwrap();
    let stream = Stream::start(lab.node("cl1"), &load(&["10.1.0.21:80"], 1)).unwrap();
    let mut outcomes = Vec::new();
    let mut wait_for = |what: &str, wanted: bool, after: Instant| {
        wait_until(Duration::from_secs(10), what, || {
            outcomes.extend(stream.take());
            let found = outcomes
                .iter()
                .any(|outcome| outcome.began >= after && outcome.answer.is_ok() == wanted);
            if found {
                Ok(())
            } else {
                Err(format!("{} requests", outcomes.len()))
            }
        })
        .unwrap();
    };
    wait_for("an answer", true, Instant::now());
    let before_kill = Instant::now();
    server.kill();
    let killed = Instant::now();
    wait_for("a failure", false, killed);
    server.restart().unwrap();
    let restored = Instant::now();
    wait_for("an answer again", true, restored);
    outcomes.extend(stream.stop());
    for outcome in &outcomes {
        if outcome.ended() < before_kill || outcome.began > restored {
            assert_eq!(outcome.answer.as_deref(), Ok("rs1"), "{outcome:?}");
        }
    }
    assert!(
        outcomes
            .iter()
            .filter(|outcome| outcome.began > killed && outcome.ended() < restored)
            .any(|outcome| outcome.answer.is_err())
    );
}

#[test]
fn what_nobody_answers_fails_at_the_timeout() {
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    let timeout = Duration::from_millis(300);
    // In the front network, but nobody's; and the port of a host that has no such listener is refused at once.
    let start = Instant::now();
    let error =
        request_once(lab.node("cl1"), "10.1.0.99:80".parse().unwrap(), timeout).unwrap_err();
    // The kernel's clock for connecting ticks in milliseconds, and may be early by one.
    assert!(
        start.elapsed() + Duration::from_millis(20) >= timeout,
        "after {:?}: {error:#}",
        start.elapsed()
    );
    assert!(format!("{error:#}").contains("timeout"), "{error:#}");
    for vip in [
        SocketAddr::new(VIP4.into(), 80),
        SocketAddr::new(VIP6.into(), 80),
    ] {
        let start = Instant::now();
        let error = request_once(lab.node("cl1"), vip, Duration::from_secs(5))
            .unwrap_err()
            .to_string();
        assert!(start.elapsed() < Duration::from_secs(5), "{error}");
        assert!(error.contains(&vip.to_string()), "{error}");
    }
}
