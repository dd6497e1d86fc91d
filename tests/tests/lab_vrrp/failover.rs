//! Two directors with real traffic: what clients notice when the addresses move.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lb_tests::crowd::{self, Crowd, Fate};
use lb_tests::director::{agent_binary, service};
use lb_tests::lab::{Agent, Lab, Options, VIP4, wait_until};
use lb_tests::traffic::{Load, Stream};
use nix::sys::signal::Signal;

use crate::pair::{DEADLINE, wait_for_address, wait_for_state};

/// Connections of one client to one address.
const CONNECTIONS: usize = 1000;
/// What all of them may take to be answered.
const PATIENCE: Duration = Duration::from_secs(10);

fn config(name: &str, priority: u8) -> String {
    let real_servers: String = (21..=23)
        .map(|host| format!("[[service.real_server]]\naddress = \"10.1.0.{host}\"\n"))
        .collect();
    format!(
        "router_id = \"{name}\"\ninterfaces = [\"eth0\", \"eth1\"]\n\
         [[vrrp]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvirtual_router_id = 51\npriority = {priority}\n\
         advert_interval = \"100ms\"\naddresses = [\"{VIP4}/24\"]\n\
         [[service]]\nname = \"all\"\nlisten = [\"{VIP4}:0\"]\nmode = \"dr\"\n{real_servers}"
    )
}

/// Both directors, the first of which is master.
fn up() -> (Lab, Agent, Agent) {
    let lab = Lab::up(&Options::default()).unwrap();
    let vip = format!("{VIP4}/32");
    let delete = ["address", "delete", vip.as_str(), "dev", "eth0"];
    lab.node("lb1").run("ip", &delete).unwrap();
    let binary = agent_binary().unwrap();
    let first = lab.agent("lb1", &binary, &config("lb1", 150)).unwrap();
    let second = lab.agent("lb2", &binary, &config("lb2", 100)).unwrap();
    wait_for_state(&first, "master");
    wait_for_state(&second, "backup");
    wait_for_address(lab.node("lb1"), &VIP4.to_string());
    (lab, first, second)
}

#[test]
fn no_settled_connection_is_lost_when_the_masters_agent_is_killed() {
    crowd::raise_open_files().unwrap();
    let (lab, mut first, second) = up();
    let port = 7000;
    let _hosts: Vec<_> = lab
        .real_servers()
        .map(|node| crowd::Host::start(node, SocketAddr::new([0, 0, 0, 0].into(), port)).unwrap())
        .collect();
    let target = SocketAddr::new(VIP4.into(), port);
    let mut idle = Crowd::open(lab.node("cl1"), target, CONNECTIONS).unwrap();
    let mut active = idle.split_off(CONNECTIONS / 2);
    let is_over = AtomicBool::new(false);
    let lost = thread::scope(|scope| {
        let speaking = scope.spawn(|| {
            let mut worst = Fate::default();
            while !is_over.load(Ordering::Relaxed) {
                let fate = active.speak(PATIENCE);
                worst.lost = worst.lost.max(fate.lost);
                worst.silent = worst.silent.max(fate.silent);
            }
            worst
        });
        first.kill();
        wait_for_state(&second, "master");
        wait_for_address(lab.node("lb2"), &VIP4.to_string());
        wait_until(DEADLINE, "packets by way of lb2", || {
            let status = second.status().map_err(|error| format!("{error:#}"))?;
            match service(&status, "all")["packets"].as_u64() {
                Some(1..) => Ok(()),
                packets => Err(format!("{packets:?}")),
            }
        })
        .unwrap();
        is_over.store(true, Ordering::Relaxed);
        speaking.join().unwrap()
    });
    assert_eq!((lost.lost, lost.silent), (0, 0));
    let fate = idle.speak(PATIENCE);
    assert_eq!((fate.lost, fate.silent), (0, 0), "those that were idle");
}

#[test]
fn an_orderly_hand_over_loses_no_request() {
    let (lab, mut first, second) = up();
    let _servers: Vec<_> = (1..=3)
        .map(|number| lab.nginx(&format!("rs{number}")).unwrap())
        .collect();
    let load = Load {
        targets: vec![SocketAddr::new(VIP4.into(), 80)],
        connections: 8,
        kept_alive: 4,
        period: Duration::from_millis(10),
        timeout: Duration::from_secs(10),
    };
    let stream = Stream::start(lab.node("cl1"), &load).unwrap();
    let asked = || {
        let mut count = 0;
        wait_until(DEADLINE, "requests", || {
            let more = stream.take();
            let failed = more.iter().find(|outcome| outcome.answer.is_err());
            assert!(failed.is_none(), "{failed:?}");
            count += more.len();
            (count >= 20).then_some(()).ok_or(count.to_string())
        })
    };
    asked().unwrap();
    let release = first.command(&["vrrp", "release", "VI_1"]).unwrap();
    assert!(release.contains("backup"), "{release}");
    wait_for_state(&second, "master");
    asked().unwrap();
    first.command(&["vrrp", "claim", "VI_1"]).unwrap();
    wait_for_state(&second, "backup");
    asked().unwrap();
    first.daemon().stop(Signal::SIGTERM, DEADLINE).unwrap();
    wait_for_state(&second, "master");
    asked().unwrap();
    let rest = stream.stop();
    let failed: Vec<_> = rest
        .iter()
        .filter(|outcome| outcome.answer.is_err())
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}
