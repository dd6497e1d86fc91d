//! The drills that people try first, with the files of `docs/examples`: stop the daemon, stop the web server, cut the
//! master off; and each of them back again.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use lb_tests::director::agent_binary;
use lb_tests::lab::{Agent, Lab, Node, Options, wait_until};
use lb_tests::traffic::request_once;
use nix::sys::signal::Signal;

use crate::pair::{DEADLINE, has_address, wait_for_address, wait_until_without};

const NGINX_PAIR: &str = include_str!("../../../docs/examples/nginx-pair.toml");
const TWO_MASTERS: &str = include_str!("../../../docs/examples/two-masters.toml");
const VIP: &str = "10.1.0.110";

/// nginx answers on its own port 80.
const CHECK: &str = "#!/bin/bash\nexec 3<>/dev/tcp/127.0.0.1/80\n";

/// The file of the example, for a node of the lab.
fn nginx_pair(node: &Node, own: &str, priority: u8) -> String {
    let script = node.directory().join("check_alived.sh");
    fs::write(&script, CHECK).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let replaced = [
        ("/etc/lb/check_alived.sh", script.to_str().unwrap()),
        // The lab lies where everybody may write.
        ("user = \"root\"", "user = \"root\"\nallow_insecure = true"),
        ("ens192", "eth0"),
        ("10.10.30.100", VIP),
        ("10.10.30.1\"", &format!("{own}\"")),
        ("priority = 254", &format!("priority = {priority}")),
    ];
    replaced
        .iter()
        .fold(NGINX_PAIR.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "the example has no {from}");
            text.replace(from, to)
        })
}

/// Waits until a client of the address is answered by this node.
fn wait_until_served_by(lab: &Lab, name: &str) {
    let target = SocketAddr::new(VIP.parse().unwrap(), 80);
    wait_until(
        DEADLINE,
        &format!("{name} to serve"),
        || match request_once(lab.node("cl1"), target, Duration::from_secs(1)) {
            Ok(server) if server == name => Ok(()),
            Ok(server) => Err(server),
            Err(error) => Err(format!("{error:#}")),
        },
    )
    .unwrap();
}

#[test]
fn a_pair_of_web_servers_lives_through_everything_that_is_stopped_or_cut_off() {
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    let (lb1, lb2) = (lab.node("lb1"), lab.node("lb2"));
    let mut nginx = lab.nginx("lb1").unwrap();
    let _other = lab.nginx("lb2").unwrap();
    let binary = agent_binary().unwrap();
    let start = |name: &str, text: &str| -> Agent { lab.agent(name, &binary, text).unwrap() };
    let mut first = start("lb1", &nginx_pair(lb1, "10.1.0.11", 254));
    let _second = start("lb2", &nginx_pair(lb2, "10.1.0.12", 100));
    wait_until_served_by(&lab, "lb1");
    let host = lb1
        .run("ip", &["-o", "address", "show", "dev", "eth0"])
        .unwrap();
    assert!(host.contains(&format!("{VIP}/32")), "{host}");

    first.daemon().stop(Signal::SIGTERM, DEADLINE).unwrap();
    wait_until_served_by(&lab, "lb2");
    assert!(!has_address(lb1, VIP));
    first.restart().unwrap();
    wait_until_served_by(&lab, "lb1");

    nginx.kill();
    wait_until_served_by(&lab, "lb2");
    wait_until_without(lb1, VIP);
    nginx.restart().unwrap();
    wait_until_served_by(&lab, "lb1");

    // As if its power were cut: nothing of it is heard any more.
    let port = |state: &str| {
        lab.node("sw")
            .run("ip", &["link", "set", "dev", "lb1f", state])
            .unwrap();
    };
    port("down");
    first.kill();
    nginx.kill();
    wait_until_served_by(&lab, "lb2");
    port("up");
    nginx.restart().unwrap();
    first.restart().unwrap();
    wait_until_served_by(&lab, "lb1");
    wait_until_without(lb2, VIP);
}

#[test]
fn of_two_masters_each_takes_the_others_address_over_and_gives_it_back() {
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    let binary = agent_binary().unwrap();
    let (one, two) = ("10.1.0.120", "10.1.0.121");
    let text = TWO_MASTERS
        .replace("192.168.1.100", one)
        .replace("192.168.1.101", two);
    let mirrored = text
        .replace("priority = 150", "priority = x")
        .replace("priority = 100", "priority = 150")
        .replace("priority = x", "priority = 100");
    assert_ne!(text, mirrored);
    let mut first = lab.agent("lb1", &binary, &text).unwrap();
    let mut second = lab.agent("lb2", &binary, &mirrored).unwrap();
    let (lb1, lb2) = (lab.node("lb1"), lab.node("lb2"));
    let settled = || {
        wait_for_address(lb1, one);
        wait_for_address(lb2, two);
        wait_until_without(lb1, two);
        wait_until_without(lb2, one);
    };
    settled();
    first.daemon().stop(Signal::SIGTERM, DEADLINE).unwrap();
    wait_for_address(lb2, one);
    assert!(has_address(lb2, two));
    first.restart().unwrap();
    settled();
    second.kill();
    wait_for_address(lb1, two);
    second.restart().unwrap();
    settled();
}
