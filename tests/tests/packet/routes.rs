//! Ways to clients, asked of the kernel's own routes and neighbours: in a network namespace that the test makes.

use crate::{
    case::{Case, check_on},
    packets::tcp_from,
    rig,
    world::{CLIENT, NAT_PORT, NAT4, NAT6, Named},
};
use lb_common::Reason;
use nix::sched::{CloneFlags, unshare};
use std::{fs, net::IpAddr, process::Command};

/// What is said to ip(8) before the cases are run.
type Stage = (&'static [&'static str], Vec<Case>);

fn client(text: &str) -> (Named, IpAddr) {
    let address: IpAddr = text.parse().expect("an address");
    (if address.is_ipv4() { NAT4 } else { NAT6 }, address)
}

/// A reply to a client.
fn reply(text: &str) -> (Named, Vec<u8>) {
    let (service, client) = client(text);
    let frame = tcp_from(service.real_server(0), NAT_PORT, client, 40_000, 9);
    (service, frame.build())
}

fn refused(what: &str, client: &str, reason: Reason) -> Case {
    let (service, frame) = reply(client);
    Case::refused(format!("{what}: {client}"), frame, reason, service)
}

fn found(what: &str, client: &str) -> Case {
    let (service, frame) = reply(client);
    Case::replied_elsewhere(format!("{what}: {client}"), frame, service)
}

fn hosts_own(what: &str, client: &str) -> Case {
    let (_, frame) = reply(client);
    Case::passed(format!("{what}: {client}"), frame, Reason::NotAService)
}

/// Before the kernel may forward.
fn without_forwarding() -> Vec<Case> {
    ["10.20.0.7", "2001:db8:20::7"]
        .map(|client| refused("forwarding is off", client, Reason::ForwardingDisabled))
        .into()
}

fn with_forwarding() -> [Stage; 2] {
    let mut asked = Vec::new();
    for client in ["10.20.0.7", "2001:db8:20::7"] {
        asked.push(refused(
            "a neighbour that is not resolved",
            client,
            Reason::ClientUnresolved,
        ));
    }
    for client in ["10.21.0.7", "2001:db8:21::7"] {
        asked.push(refused(
            "an unreachable network",
            client,
            Reason::ClientUnreachable,
        ));
    }
    for client in ["10.23.0.7", "2001:db8:23::7"] {
        asked.push(hosts_own("no route, which the host itself answers", client));
    }
    for client in ["10.20.0.1", "2001:db8:20::1"] {
        asked.push(hosts_own(
            "an address of the host that the agent missed",
            client,
        ));
    }
    let mut resolved = Vec::new();
    for client in ["10.20.0.7", "2001:db8:20::7"] {
        resolved.push(found("a neighbour", client));
        resolved.push(found("the same, from memory", client));
    }
    for client in ["10.24.1.2", "2001:db8:24::2"] {
        resolved.push(found("behind a router", client));
    }
    for client in ["10.22.0.7", "2001:db8:22::7"] {
        resolved.push(refused(
            "behind an interface that cannot send",
            client,
            Reason::EgressUnusable,
        ));
    }
    [
        (
            &[
                "link add v2 index 2 type veth peer name p2 index 12",
                "link add v3 index 3 type veth peer name p3 index 13",
                "link set v2 up",
                "link set p2 up",
                "link set v3 up",
                "link set p3 up",
                "address add 10.20.0.1/24 dev v2",
                "address add 2001:db8:20::1/64 dev v2 nodad",
                "address add 10.22.0.1/24 dev v3",
                "address add 2001:db8:22::1/64 dev v3 nodad",
                "route add unreachable 10.21.0.0/24",
                "-6 route add unreachable 2001:db8:21::/64",
            ],
            asked,
        ),
        (
            &[
                "neighbour replace 10.20.0.7 lladdr CLIENT dev v2",
                "neighbour replace 2001:db8:20::7 lladdr CLIENT dev v2",
                "neighbour replace 10.22.0.7 lladdr CLIENT dev v3",
                "neighbour replace 2001:db8:22::7 lladdr CLIENT dev v3",
                "route add 10.24.0.0/16 via 10.20.0.7",
                "-6 route add 2001:db8:24::/64 via 2001:db8:20::7",
            ],
            resolved,
        ),
    ]
}

pub fn cases() -> Vec<Case> {
    let [(_, asked), (_, resolved)] = with_forwarding();
    [without_forwarding(), asked, resolved].concat()
}

fn ip(line: &str) {
    let mac: Vec<String> = CLIENT.iter().map(|octet| format!("{octet:02x}")).collect();
    let line = line.replace("CLIENT", &mac.join(":"));
    let output = Command::new("ip")
        .args(line.split(' '))
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .expect("run ip(8)");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {line}: {said}");
}

fn set_forwarding(on: &str) {
    for family in ["ipv4", "ipv6"] {
        let path = format!("/proc/sys/net/{family}/conf/all/forwarding");
        fs::write(&path, on).unwrap_or_else(|error| panic!("write {path}: {error}"));
    }
}

#[test]
fn replies_go_where_the_kernel_would_send_them() {
    let test = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace");
        ip("link set lo up");
        let mut rig = rig::world();
        for case in cases() {
            let (_, client) = client(case.name.rsplit_once(": ").expect("the client's address").1);
            rig.set_route(client, None);
        }
        set_forwarding("0");
        check_on(&mut rig, &without_forwarding());
        set_forwarding("1");
        for (lines, cases) in with_forwarding() {
            lines.iter().for_each(|line| ip(line));
            check_on(&mut rig, &cases);
        }
    };
    // The namespace is a thread's own, and ends with it.
    let ended = std::thread::spawn(test).join();
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}
