//! How addresses are set and announced, in whose order, and how fast.

use std::time::Duration;

use lb_tests::director::agent_binary;
use lb_tests::lab::{Lab, Options, wait_until};
use nix::sys::signal::Signal;

use crate::capture::Capture;
use crate::pair::{DEADLINE, wait_for_address, wait_for_state, wait_until_without};

/// Between two announcements.
const INTERVAL: Duration = Duration::from_millis(20);

fn config(instance: &str) -> String {
    format!(
        "router_id = \"lb1\"\n[[vrrp]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvirtual_router_id = 51\npriority = 150\n\
         advert_interval = \"100ms\"\n{instance}"
    )
}

// V80, V81, V85
#[test]
fn addresses_are_announced_in_turn_and_not_faster_than_asked_for() {
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    let node = lab.node("lb1");
    let capture = Capture::start(lab.node("cl1"));
    let instance = "addresses = [\"10.1.0.110/24\", { address = \"10.1.0.111/24\", label = \"eth0:lb\" }]\n\
         excluded_addresses = [\"10.1.0.112/32\", \"fd00:1::110/64\"]\n\
         garp = { repeat = 3, delay = \"0s\", interval = \"20ms\" }\n";
    let mut agent = lab
        .agent("lb1", &agent_binary().unwrap(), &config(instance))
        .unwrap();
    wait_for_state(&agent, "master");
    let in_turn = ["10.1.0.110", "10.1.0.111", "10.1.0.112", "fd00:1::110"];
    let mut announced = Vec::new();
    wait_until(DEADLINE, "three rounds of announcements", || {
        announced = capture.announcements();
        match announced.len() {
            12.. => Ok(()),
            count => Err(count.to_string()),
        }
    })
    .unwrap();
    let order: Vec<String> = announced
        .iter()
        .map(|one| one.address.to_string())
        .collect();
    assert_eq!(order, in_turn.repeat(3));
    let times = announced.iter().zip(announced.iter().skip(1));
    for (one, next) in times {
        // A capture writes down late, never early; and it may be late about the first of two.
        assert!(next.at - one.at > INTERVAL / 2, "{:?}", next.at - one.at);
    }

    // Of those, only the advertised ones are in the adverts; all are on the host.
    let adverts = capture.adverts();
    let last = adverts.last().expect("a master sends adverts");
    assert_eq!(last.repr.addresses.len(), 2, "{last:?}");
    let listed = node
        .run("ip", &["-o", "address", "show", "dev", "eth0"])
        .unwrap();
    for address in in_turn {
        let line = listed
            .lines()
            .find(|line| line.contains(&format!(" {address}/")));
        let line = line.unwrap_or_else(|| panic!("no {address} in {listed}"));
        assert!(!line.contains("tentative"), "{line}");
        assert_eq!(line.contains("eth0:lb"), address == "10.1.0.111", "{line}");
        assert_eq!(line.contains("nodad"), address == "fd00:1::110", "{line}");
    }
    agent.daemon().stop(Signal::SIGTERM, DEADLINE).unwrap();
    for address in in_turn {
        wait_until_without(node, address);
    }
}

// V56
#[test]
fn routes_come_and_go_with_the_addresses_and_what_is_there_is_left_alone() {
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    let node = lab.node("lb1");
    let instance = "addresses = [\"10.1.0.110/24\"]\nroutes = [\n\
         \"192.0.2.0/24 via 10.1.0.21 metric 50 src 10.1.0.110\",\n\
         \"198.51.100.0/24 dev eth1 table 1000\",\n\
         \"203.0.113.0/24 via 10.1.0.22\",\n\"2001:db8::/32 via fd00:1::21\",\n]\n";
    let theirs = ["route", "add", "203.0.113.0/24", "via", "10.1.0.101"];
    node.run("ip", &theirs).unwrap();
    let binary = agent_binary().unwrap();
    let mut agent = lab.agent("lb1", &binary, &config(instance)).unwrap();
    wait_for_state(&agent, "master");
    wait_for_address(node, "10.1.0.110");
    let routes = || {
        let v4 = node
            .run(
                "ip",
                &["-4", "route", "show", "table", "all", "proto", "208"],
            )
            .unwrap();
        let v6 = node
            .run(
                "ip",
                &["-6", "route", "show", "table", "all", "proto", "208"],
            )
            .unwrap();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut lines: Vec<String> = v4.lines().chain(v6.lines()).map(words).collect();
        lines.sort();
        lines
    };
    let wait_for_routes = |count: usize| {
        wait_until(DEADLINE, "the routes", || match routes() {
            found if found.len() == count => Ok(()),
            found => Err(format!("{found:#?}")),
        })
        .unwrap();
    };
    wait_for_routes(3);
    let found = routes();
    assert!(
        found[0].starts_with("192.0.2.0/24 via 10.1.0.21 dev eth0 src 10.1.0.110 metric 50"),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("198.51.100.0/24 dev eth1 table 1000 scope link"),
        "{found:?}"
    );
    assert!(
        found[2].starts_with("2001:db8::/32 via fd00:1::21 dev eth0"),
        "{found:?}"
    );
    assert!(
        agent.log_tail(50).contains("203.0.113.0/24"),
        "{}",
        agent.log_tail(50)
    );

    // What a killed agent leaves is adopted, and goes with the next one.
    agent.kill();
    assert_eq!(routes().len(), 3);
    agent.restart().unwrap();
    wait_for_state(&agent, "master");
    assert_eq!(routes().len(), 3);
    agent.daemon().stop(Signal::SIGTERM, DEADLINE).unwrap();
    wait_for_routes(0);
    let left = node
        .run("ip", &["route", "show", "203.0.113.0/24"])
        .unwrap();
    assert!(left.contains("via 10.1.0.101"), "{left}");
}
