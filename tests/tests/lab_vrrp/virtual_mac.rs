//! A virtual router with a MAC address of its own: whoever is master, its neighbours need learn nothing anew.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use lb_tests::director::{agent_binary, service};
use lb_tests::lab::{Keepalived, Lab, Node, Options, VIP4, VIP6, wait_until};
use lb_tests::traffic::request_once;
use nix::sys::signal::Signal;

use crate::capture::Capture;
use crate::pair::{DEADLINE, wait_for_state};
use crate::question::Asker;

/// RFC 9568 §7.3, of virtual router 51.
const V4: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];
const V6: [u8; 6] = [0, 0, 0x5e, 0, 2, 51];

fn instance(name: &str, address: IpAddr) -> String {
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    format!(
        "[[vrrp]]\nname = \"{name}\"\ninterface = \"eth0\"\nvirtual_router_id = 51\npriority = 150\n\
         advert_interval = \"100ms\"\naddresses = [\"{address}/{prefix}\"]\nvirtual_mac = true\n"
    )
}

/// A lab whose lb1 does not have the virtual addresses for good.
fn lab() -> Lab {
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    for vip in [format!("{VIP4}/32"), format!("{VIP6}/128")] {
        let delete = ["address", "delete", vip.as_str(), "dev", "eth0"];
        let _ = lab.node("lb1").run("ip", &delete);
    }
    lab
}

fn devices(node: &Node) -> usize {
    let listed = node
        .run("ip", &["-o", "link", "show", "type", "macvlan"])
        .unwrap();
    listed.lines().count()
}

/// Waits for answers to questions about an address, and says from which stations they came.
fn who_answers(asker: &Asker, capture: &Capture, address: IpAddr) -> BTreeSet<[u8; 6]> {
    let since = Instant::now();
    let heard = || -> BTreeSet<[u8; 6]> {
        let claims = capture.claims(address).into_iter();
        claims
            .filter(|(at, _)| *at >= since)
            .map(|(_, station)| station)
            .collect()
    };
    wait_until(DEADLINE, "an answer", || {
        for _ in 0..5 {
            asker.ask(address);
        }
        match heard().is_empty() {
            true => Err("none"),
            false => Ok(()),
        }
    })
    .unwrap();
    heard()
}

// V12, V84, V86
#[test]
fn adverts_announcements_and_answers_come_from_the_virtual_mac_and_frames_to_it_are_forwarded() {
    let lab = lab();
    let _server = lab.nginx("rs1").unwrap();
    let config = format!(
        "router_id = \"lb1\"\ninterfaces = [\"eth0\", \"eth1\"]\n{}{}\
         [[service]]\nname = \"web\"\nlisten = [\"{VIP4}:80\", \"[{VIP6}]:80\"]\nmode = \"dr\"\n\
         [[service.real_server]]\naddress = \"10.1.0.21:80\"\n[[service.real_server]]\naddress = \"[fd00:1::21]:80\"\n",
        instance("VI_4", VIP4.into()),
        instance("VI_6", VIP6.into()),
    );
    let capture = Capture::start(lab.node("rs1"));
    let asker = Asker::new(lab.node("rs1"), "eth0", 1, 21);
    let mut agent = lab.agent("lb1", &agent_binary().unwrap(), &config).unwrap();
    wait_for_state(&agent, "master");
    for (vip, mac) in [(IpAddr::from(VIP4), V4), (IpAddr::from(VIP6), V6)] {
        wait_until(DEADLINE, "an announcement", || {
            let announcements = capture.announcements();
            let found = announcements.iter().find(|one| one.address == vip);
            found.map(|one| assert_eq!(one.mac, mac)).ok_or("none")
        })
        .unwrap();
        assert_eq!(who_answers(&asker, &capture, vip), [mac].into(), "{vip}");
    }
    let stations: BTreeSet<[u8; 6]> = capture.adverts().iter().map(|one| one.source_mac).collect();
    assert_eq!(stations, [V4, V6].into());
    for vip in [
        SocketAddr::new(VIP4.into(), 80),
        SocketAddr::new(VIP6.into(), 80),
    ] {
        assert_eq!(request_once(lab.node("cl1"), vip, DEADLINE).unwrap(), "rs1");
    }
    let status = agent.status().unwrap();
    assert!(
        service(&status, "web")["packets"].as_u64().unwrap() > 0,
        "{status}"
    );
    assert_eq!(devices(lab.node("lb1")), 2);
    agent.daemon().stop(Signal::SIGTERM, DEADLINE).unwrap();
    assert_eq!(devices(lab.node("lb1")), 0, "nothing is left");
}

// V12
#[test]
fn the_mac_stays_when_keepalived_takes_over_and_when_it_gives_back() {
    let lab = lab();
    let ours = format!("router_id = \"lb1\"\n{}", instance("VI_1", VIP4.into()));
    let theirs = format!(
        "global_defs {{\n router_id lb2\n}}\nvrrp_instance VI_1 {{\n state BACKUP\n interface eth0\n use_vmac\n \
         virtual_router_id 51\n priority 100\n advert_int 0.1\n version 3\n \
         virtual_ipaddress {{\n {VIP4}/32\n }}\n}}\n"
    );
    let capture = Capture::start(lab.node("rs1"));
    let asker = Asker::new(lab.node("rs1"), "eth0", 1, 21);
    let mut agent = lab.agent("lb1", &agent_binary().unwrap(), &ours).unwrap();
    wait_for_state(&agent, "master");
    let _keepalived = Keepalived::start(lab.node("lb2"), &theirs).unwrap();
    let wait_for_priority = |priority: u8| {
        wait_until(DEADLINE, &format!("adverts of priority {priority}"), || {
            let adverts = capture.adverts();
            match adverts.last().map(|advert| advert.repr.priority) {
                Some(last) if last == priority => Ok(()),
                last => Err(format!("{last:?}")),
            }
        })
        .unwrap();
    };
    wait_for_priority(150);
    assert_eq!(who_answers(&asker, &capture, VIP4.into()), [V4].into());
    agent.daemon().stop(Signal::SIGTERM, DEADLINE).unwrap();
    wait_for_priority(100);
    assert_eq!(who_answers(&asker, &capture, VIP4.into()), [V4].into());
    agent.restart().unwrap();
    wait_for_state(&agent, "master");
    wait_for_priority(150);
    assert_eq!(who_answers(&asker, &capture, VIP4.into()), [V4].into());
    assert!(
        capture
            .adverts()
            .iter()
            .all(|advert| advert.source_mac == V4)
    );
}
