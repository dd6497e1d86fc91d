//! An interface that is removed and made anew under its name.

use lb_tests::director::agent_binary;
use lb_tests::lab::{Lab, Options, wait_until};

use crate::pair::{DEADLINE, wait_for_state};

#[test]
fn elections_go_on_at_an_interface_that_was_made_anew() {
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    let node = lab.node("lb1");
    let ip = |line: &str| {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        node.run("ip", &arguments).unwrap()
    };
    let make = || {
        ip("link add v0 type veth peer name v1");
        ip("link set v1 up");
        ip("link set v0 up");
        ip("address add 10.7.0.1/24 dev v0");
    };
    make();
    let config = "router_id = \"lb1\"\n[process]\nrealtime_priority = 10\nlock_memory = true\n\
         [[vrrp]]\nname = \"VI_1\"\ninterface = \"v0\"\nvirtual_router_id = 51\n\
         advert_interval = \"100ms\"\naddresses = [\"10.7.0.100/24\"]\n";
    let mut agent = lab.agent("lb1", &agent_binary().unwrap(), config).unwrap();
    wait_for_state(&agent, "master");
    let has_address = || {
        wait_until(DEADLINE, "the address on v0", || {
            let listed = node.run("ip", &["-o", "address", "show", "dev", "v0"]);
            let listed = listed.map_err(|error| format!("{error:#}"))?;
            match listed.contains(" 10.7.0.100/24") {
                true => Ok(()),
                false => Err(listed),
            }
        })
        .unwrap();
    };
    has_address();
    let pid = agent.daemon().pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let locked = status
        .lines()
        .find(|line| line.starts_with("VmLck:"))
        .unwrap();
    assert!(!locked.ends_with(" 0 kB"), "{locked}");
    // Fields 3 and on of stat(5) follow the name in brackets; the 40th is rt_priority.
    let realtime = std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .any(|task| {
            let text = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
            let rest = text
                .rsplit(") ")
                .next()
                .unwrap()
                .split(' ')
                .nth(37)
                .unwrap();
            text.contains("(lb-vrrp)") && rest == "10"
        });
    assert!(realtime, "the elections' thread has its priority");

    ip("link delete v0");
    let status = wait_for_state(&agent, "fault");
    assert_eq!(status["reason"], "down: interface v0", "{status}");
    make();
    wait_for_state(&agent, "master");
    has_address();
}
