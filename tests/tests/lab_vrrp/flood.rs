//! A flood of packets to the virtual address: elections go on as if there were none.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use lb_tests::director::{agent_binary, service};
use lb_tests::lab::{Keepalived, Lab, Options, VIP4};

use crate::capture::Capture;
use crate::pair::{DEADLINE, wait_for_address, wait_for_state};

const INTERVAL: Duration = Duration::from_millis(100);
/// How long it lasts, and at most how many datagrams.
const FLOOD: Duration = Duration::from_secs(3);
const DATAGRAMS: usize = 400_000;

// V109
#[test]
fn a_flood_to_the_address_delays_no_advert_and_makes_nobody_take_over() {
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    let vip = format!("{VIP4}/32");
    let delete = ["address", "delete", vip.as_str(), "dev", "eth0"];
    lab.node("lb1").run("ip", &delete).unwrap();
    let ours = format!(
        "router_id = \"lb1\"\ninterfaces = [\"eth0\", \"eth1\"]\n\
         [[vrrp]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvirtual_router_id = 51\npriority = 150\n\
         advert_interval = \"100ms\"\naddresses = [\"{VIP4}/24\"]\n\
         [[service]]\nname = \"udp\"\nprotocol = \"udp\"\nlisten = [\"{VIP4}:9\"]\nmode = \"dr\"\n\
         [[service.real_server]]\naddress = \"10.1.0.21:9\"\n"
    );
    let theirs = format!(
        "global_defs {{\n router_id lb2\n}}\nvrrp_instance VI_1 {{\n state BACKUP\n interface eth0\n \
         virtual_router_id 51\n priority 100\n advert_int 0.1\n version 3\n \
         virtual_ipaddress {{\n {VIP4}/24\n }}\n}}\n"
    );
    let agent = lab.agent("lb1", &agent_binary().unwrap(), &ours).unwrap();
    wait_for_state(&agent, "master");
    wait_for_address(lab.node("lb1"), &VIP4.to_string());
    let keepalived = Keepalived::start(lab.node("lb2"), &theirs).unwrap();
    keepalived
        .wait_for_log("Entering BACKUP STATE", DEADLINE)
        .unwrap();
    let capture = Capture::start(lab.node("lb2"));

    let client = lab.node("cl1");
    let open = || {
        UdpSocket::bind(("0.0.0.0", 0)).and_then(|socket| {
            socket.connect((VIP4, 9))?;
            Ok(socket)
        })
    };
    let socket = client.enter(open).unwrap().unwrap();
    let began = Instant::now();
    let flood = thread::spawn(move || {
        let mut sent = 0;
        while began.elapsed() < FLOOD && sent < DATAGRAMS {
            // A full queue is as good as a full network.
            sent += usize::from(socket.send(&[0; 64]).is_ok());
        }
        sent
    });
    let sent = flood.join().unwrap();
    let over = Instant::now();

    let adverts = capture.adverts();
    let during = adverts
        .iter()
        .filter(|advert| advert.at > began && advert.at < over);
    let times: Vec<Instant> = during.map(|advert| advert.at).collect();
    let pairs = times.iter().zip(times.iter().skip(1));
    let gap = pairs.map(|(one, next)| *next - *one).max().unwrap();
    assert!(
        gap < 3 * INTERVAL,
        "{gap:?} without an advert; {sent} datagrams"
    );
    assert!(
        !keepalived.log().contains("MASTER STATE"),
        "{}",
        keepalived.log()
    );
    let status = agent.status().unwrap();
    assert_eq!(status["vrrp"][0]["state"], "master", "{status}");
    assert_eq!(
        status["vrrp"][0]["counters"]["became_master"], 1,
        "{status}"
    );
    let forwarded = service(&status, "udp")["packets"].as_u64().unwrap();
    assert!(forwarded > 10_000, "of {sent}, {forwarded} were forwarded");
}
