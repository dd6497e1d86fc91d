//! Two directors with one virtual address: it is served where its instance is master, and nowhere else.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use lb_tests::director::{agent_binary, drops, service};
use lb_tests::lab::{Lab, Options, VIP4, wait_until};
use lb_tests::traffic::request_once;
use nix::sys::signal::Signal;

use crate::pair::{DEADLINE, has_address, wait_for_address, wait_for_state};

fn config(name: &str, priority: u8) -> String {
    let real_servers: String = (21..=23)
        .map(|host| format!("[[service.real_server]]\naddress = \"10.1.0.{host}:80\"\n"))
        .collect();
    format!(
        "router_id = \"{name}\"\ninterfaces = [\"eth0\", \"eth1\"]\n\
         [[vrrp]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvirtual_router_id = 51\npriority = {priority}\n\
         advert_interval = \"100ms\"\naddresses = [\"{VIP4}/24\"]\n\
         [[service]]\nname = \"web\"\nlisten = [\"{VIP4}:80\"]\nmode = \"dr\"\n{real_servers}"
    )
}

#[test]
fn a_service_is_forwarded_where_its_instance_is_master_and_moves_with_it() {
    let lab = Lab::up(&Options::default()).unwrap();
    let _servers: Vec<_> = (1..=3)
        .map(|number| lab.nginx(&format!("rs{number}")).unwrap())
        .collect();
    let vip = VIP4.to_string();
    lab.node("lb1")
        .run(
            "ip",
            &["address", "delete", &format!("{VIP4}/32"), "dev", "eth0"],
        )
        .unwrap();
    let binary = agent_binary().unwrap();
    let mut first = lab.agent("lb1", &binary, &config("lb1", 150)).unwrap();
    let second = lab.agent("lb2", &binary, &config("lb2", 100)).unwrap();
    wait_for_state(&first, "master");
    wait_for_state(&second, "backup");
    wait_for_address(lab.node("lb1"), &vip);

    let target: SocketAddr = format!("{VIP4}:80").parse().unwrap();
    let ask = || request_once(lab.node("cl1"), target, Duration::from_secs(5));
    let ask_all = || {
        (0..60)
            .map(|_| ask().unwrap())
            .collect::<BTreeSet<String>>()
    };
    let forwarded = |agent: &lb_tests::lab::Agent| {
        let status = agent.status().unwrap();
        service(&status, "web")["packets"].as_u64().unwrap()
    };
    let everyone: BTreeSet<String> = ["rs1", "rs2", "rs3"].map(str::to_owned).into();
    assert_eq!(ask_all(), everyone);
    assert!(forwarded(&first) > 0);
    assert_eq!(forwarded(&second), 0, "the backup forwards nothing");

    first.daemon().stop(Signal::SIGTERM, DEADLINE).unwrap();
    wait_for_state(&second, "master");
    assert!(!has_address(lab.node("lb1"), &vip));
    wait_until(DEADLINE, "an answer by way of lb2", || {
        ask().map_err(|error| format!("{error:#}"))
    })
    .unwrap();
    assert_eq!(ask_all(), everyone);
    assert!(forwarded(&second) > 0);

    // lb1 comes back and takes over; its backup gives the address up before it stops forwarding.
    first.restart().unwrap();
    wait_for_state(&first, "master");
    wait_for_state(&second, "backup");
    wait_for_address(lab.node("lb1"), &vip);
    wait_until(DEADLINE, "an answer by way of lb1", || {
        ask().map_err(|error| format!("{error:#}"))
    })
    .unwrap();
    assert_eq!(ask_all(), everyone);
    let status = second.status().unwrap();
    assert_eq!(drops(&status, "not_owner_still_local"), 0, "{status}");
}
