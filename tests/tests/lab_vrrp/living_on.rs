//! What a master lives through: its own death, a lost link, a meddler.

use lb_tests::director::agent_binary;
use lb_tests::lab::{Lab, Options, wait_until};
use nix::sys::signal::Signal;

use crate::capture::Capture;
use crate::pair::{
    DEADLINE, FLAVOURS, Pair, has_address, wait_for_address, wait_for_state, wait_until_without,
};

// V77
#[test]
fn an_agent_that_was_killed_goes_on_with_the_addresses_it_left() {
    let flavour = FLAVOURS[2];
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    let (node, vip) = (lab.node("lb1"), flavour.address());
    let mut agent = lab
        .agent("lb1", &agent_binary().unwrap(), &flavour.toml(100))
        .unwrap();
    wait_for_state(&agent, "master");
    wait_for_address(node, vip);
    agent.kill();
    assert!(has_address(node, vip), "what it left goes on");
    let monitor = node.spawn("monitor", {
        let mut command = node.command("ip");
        command.args(["monitor", "address"]);
        command
    });
    let monitor = monitor.unwrap();
    let capture = Capture::start(lab.node("cl1"));
    agent.restart().unwrap();
    let status = wait_for_state(&agent, "master");
    let reason = "an earlier life of the agent was master and left the addresses here";
    assert_eq!(status["reason"], reason, "{status}");
    wait_until(DEADLINE, "adverts", || match capture.adverts().len() {
        0..5 => Err("too few"),
        _ => Ok(()),
    })
    .unwrap();
    assert!(has_address(node, vip));
    let changes = std::fs::read_to_string(monitor.log()).unwrap();
    assert!(
        !changes.contains(vip),
        "the address stayed all the time: {changes}"
    );
    agent.daemon().stop(Signal::SIGTERM, DEADLINE).unwrap();
    assert!(!has_address(node, vip));
}

// V77
#[test]
fn an_agent_that_was_killed_yields_to_whoever_took_over() {
    let mut pair = Pair::up(FLAVOURS[2], 150, 100);
    let vip = pair.flavour.address();
    pair.wait_for_state("master");
    pair.agent.kill();
    wait_for_address(pair.lb2(), vip);
    assert!(
        has_address(pair.lb1(), vip),
        "both have it: nobody takes it from the dead"
    );
    pair.agent.restart().unwrap();
    wait_until_without(pair.lb1(), vip);
    // As any backup that is stronger, it preempts.
    pair.wait_for_state("master");
    wait_until_without(pair.lb2(), vip);
}

// V76
#[test]
fn a_lost_link_is_a_fault_and_its_return_an_election() {
    let pair = Pair::up(FLAVOURS[2], 150, 100);
    let vip = pair.flavour.address();
    pair.wait_for_state("master");
    let port = |state: &str| {
        let arguments = ["link", "set", "dev", "lb1f", state];
        pair.lab.node("sw").run("ip", &arguments).unwrap();
    };
    port("down");
    let status = pair.wait_for_state("fault");
    assert_eq!(status["reason"], "down: interface eth0", "{status}");
    wait_until_without(pair.lb1(), vip);
    wait_for_address(pair.lb2(), vip);
    port("up");
    pair.wait_for_state("master");
    wait_for_address(pair.lb1(), vip);
    wait_until_without(pair.lb2(), vip);
}

// V88
#[test]
fn an_address_that_somebody_removes_is_put_back_and_announced() {
    let flavour = FLAVOURS[0];
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    let (node, vip) = (lab.node("lb1"), flavour.address());
    let agent = lab
        .agent("lb1", &agent_binary().unwrap(), &flavour.toml(100))
        .unwrap();
    wait_for_state(&agent, "master");
    wait_for_address(node, vip);
    let capture = Capture::start(lab.node("cl1"));
    node.run("ip", &["address", "delete", flavour.vip, "dev", "eth0"])
        .unwrap();
    wait_until(DEADLINE, "an announcement of it", || {
        match capture.announcements().len() {
            0 => Err("none"),
            _ => Ok(()),
        }
    })
    .unwrap();
    assert!(has_address(node, vip));
    assert_eq!(
        wait_for_state(&agent, "master")["counters"]["became_master"],
        1
    );
    assert!(
        agent
            .log_tail(50)
            .contains("somebody removed virtual addresses"),
        "{}",
        agent.log_tail(50)
    );
}

#[test]
fn what_is_set_is_marked_as_the_agents() {
    let flavour = FLAVOURS[2];
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    let agent = lab
        .agent("lb1", &agent_binary().unwrap(), &flavour.toml(100))
        .unwrap();
    wait_for_state(&agent, "master");
    wait_for_address(lab.node("lb1"), flavour.address());
    let listed = lab
        .node("lb1")
        .run("ip", &["-j", "-d", "address", "show", "dev", "eth0"])
        .unwrap();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let all = listed[0]["addr_info"].as_array().unwrap();
    let marked: Vec<_> = all
        .iter()
        .filter(|one| one["protocol"].as_str() == Some("208"))
        .collect();
    let marked: Vec<_> = marked
        .iter()
        .filter_map(|one| one["local"].as_str())
        .collect();
    // iproute2 before 6.3 does not show protocols.
    if all.iter().any(|one| one.get("protocol").is_some()) {
        assert_eq!(marked, [flavour.address()], "{listed}");
    }
}

#[test]
fn ownership_is_handed_over_by_hand_and_taken_back() {
    let pair = Pair::up(FLAVOURS[2], 150, 100);
    let vip = pair.flavour.address();
    pair.wait_for_state("master");
    let said = pair.agent.command(&["vrrp", "release", "VI_1"]).unwrap();
    assert_eq!(said, "VI_1 is backup\n");
    wait_for_address(pair.lb2(), vip);
    wait_until_without(pair.lb1(), vip);
    // Stronger, and yet it stays a backup.
    wait_until(DEADLINE, "adverts of keepalived", || {
        let status = pair.wait_for_state("backup");
        match status["counters"]["advert_followed"].as_u64() {
            Some(30..) => Ok(()),
            _ => Err(status),
        }
    })
    .unwrap();
    let said = pair.agent.command(&["vrrp", "claim", "VI_1"]).unwrap();
    assert_eq!(said, "VI_1 is master\n");
    wait_for_address(pair.lb1(), vip);
    wait_until_without(pair.lb2(), vip);
    let unknown = pair.agent.command(&["vrrp", "claim", "VI_2"]).unwrap_err();
    let words = "there is no instance VI_2: there are VI_1";
    assert!(format!("{unknown:#}").contains(words), "{unknown:#}");
}

// V95, V96
#[test]
fn a_group_moves_together_when_one_of_its_links_is_lost() {
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    let config = |name: &str, priority: u8| {
        let instance = |number: u8, leg: &str| {
            format!(
                "[[vrrp]]\nname = \"VI_{number}\"\ninterface = \"{leg}\"\nvirtual_router_id = 5{number}\n\
                 priority = {priority}\nadvert_interval = \"100ms\"\naddresses = [\"10.{number}.0.110/24\"]\n"
            )
        };
        let (front, back) = (instance(1, "eth0"), instance(2, "eth1"));
        let group = "[[sync_group]]\nname = \"VG\"\ninstances = [\"VI_1\", \"VI_2\"]\n";
        format!("router_id = \"{name}\"\n{front}{back}{group}")
    };
    let binary = agent_binary().unwrap();
    let first = lab.agent("lb1", &binary, &config("lb1", 150)).unwrap();
    let second = lab.agent("lb2", &binary, &config("lb2", 100)).unwrap();
    let both = |agent: &lb_tests::lab::Agent, state: &str| {
        wait_until(DEADLINE, &format!("both to be {state}"), || {
            let status = agent.status().map_err(|error| format!("{error:#}"))?;
            let instances = status["vrrp"].as_array().cloned().unwrap_or_default();
            match instances.len() == 2 && instances.iter().all(|one| one["state"] == state) {
                true => Ok(instances),
                false => Err(status["vrrp"].to_string()),
            }
        })
        .unwrap()
    };
    both(&first, "master");
    both(&second, "backup");
    let port = |state: &str| {
        let arguments = ["link", "set", "dev", "lb1b", state];
        lab.node("sw").run("ip", &arguments).unwrap();
    };
    port("down");
    let faults = both(&first, "fault");
    assert_eq!(faults[0]["reason"], "down: interface eth1 of VI_2");
    assert_eq!(faults[1]["reason"], "down: interface eth1");
    wait_until_without(lab.node("lb1"), "10.1.0.110");
    // On the front network it resigned, on the back one nothing could be sent.
    both(&second, "master");
    port("up");
    both(&first, "master");
    both(&second, "backup");
    wait_until_without(lab.node("lb2"), "10.1.0.110");
}
