//! Real traffic through the virtual addresses to real servers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use lb_tests::director::{Director, LAB_CONFIG, interface, real_server, service};
use lb_tests::echo::{Echo, exchange};
use lb_tests::lab::{Lab, Node, Options, VIP4, VIP6};

const BOTH_LEGS: &str = "router_id = \"lb1\"\ninterfaces = [\"eth0\", \"eth1\"]\n";

/// A counter of a network device of a node.
fn counter(node: &Node, device: &str, name: &str) -> u64 {
    let path = format!("/sys/class/net/{device}/statistics/{name}");
    node.run("cat", &[&path]).unwrap().trim().parse().unwrap()
}

fn names(answers: &BTreeMap<String, usize>) -> Vec<&str> {
    answers.keys().map(String::as_str).collect()
}

/// A pattern in which every shift and every swap of two packets shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64 / 8)
        .flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect()
}

#[test]
fn every_real_server_serves_both_families_and_sees_the_clients_own_address() {
    let director = Director::up(LAB_CONFIG).unwrap();
    // 60 requests miss one of three servers once in 10^10 runs.
    for target in [
        "10.1.0.100:80",
        "[fd00:1::100]:80",
        "10.1.0.100:8080",
        "[fd00:1::100]:8080",
    ] {
        let answers = director.ask(target, 60).unwrap();
        assert_eq!(names(&answers), ["rs1", "rs2", "rs3"], "{target}");
    }
    for vip in ["10.1.0.100", "[fd00:1::100]"] {
        let url = format!("http://{vip}/");
        let body = director
            .client()
            .run("curl", &["-sS", "-m5", &url])
            .unwrap();
        assert!(
            ["rs1\n", "rs2\n", "rs3\n"].contains(&body.as_str()),
            "{body}"
        );
    }
    let client: [IpAddr; 2] = [
        "10.1.0.101".parse().unwrap(),
        "fd00:1::101".parse().unwrap(),
    ];
    for server in &director.servers {
        let requests = server.requests().unwrap();
        for request in &requests {
            assert_eq!(request.status, 200, "{request:?}");
            let (from, to): (IpAddr, IpAddr) = match request.client {
                IpAddr::V4(_) => (client[0], VIP4.into()),
                IpAddr::V6(_) => (client[1], VIP6.into()),
            };
            assert_eq!((request.client, request.server.ip()), (from, to));
        }
        let asked: BTreeSet<SocketAddr> = requests.iter().map(|request| request.server).collect();
        assert_eq!(asked.len(), 4, "{asked:?}");
    }
}

#[test]
fn packets_are_forwarded_in_the_driver_and_by_the_leg_that_the_real_servers_are_on() {
    let director = Director::up(LAB_CONFIG).unwrap();
    let status = director.agent.status().unwrap();
    assert_eq!(status["datapath"], "xdp_native", "{status}");
    for leg in ["eth0", "eth1"] {
        assert_eq!(interface(&status, leg)["mode"], "native", "{status}");
    }
    // What the kernel says of it itself.
    let links = director.node().run("ip", &["-o", "link", "show"]).unwrap();
    for line in links.lines().filter(|line| line.contains(": eth")) {
        assert!(
            line.contains(" xdp ") && !line.contains("xdpgeneric"),
            "{line}"
        );
    }
    let switch = director.lab.node("sw");
    let sent_by = |port: &str| counter(switch, port, "rx_packets");
    // A request is at least SYN, ACK, request, FIN: 200 requests are 800 packets, and health checks are far fewer.
    for (target, by, not_by) in [
        ("10.1.0.100:80", "lb1f", "lb1b"),
        ("[fd00:1::100]:8080", "lb1b", "lb1f"),
    ] {
        let (before, before_other) = (sent_by(by), sent_by(not_by));
        director.ask(target, 200).unwrap();
        let (sent, other) = (sent_by(by) - before, sent_by(not_by) - before_other);
        assert!(sent >= 800, "{target}: {sent} by {by}");
        assert!(other < 800, "{target}: {other} by {not_by}");
    }
}

#[test]
fn answers_do_not_pass_the_director() {
    let director = Director::up(LAB_CONFIG).unwrap();
    let switch = director.lab.node("sw");
    for vip in ["10.1.0.100", "[fd00:1::100]"] {
        let towards_director = |port: &str| counter(switch, port, "tx_bytes");
        let before = towards_director("lb1f") + towards_director("lb1b");
        let url = format!("http://{vip}/bytes/16m");
        let size = director
            .client()
            .run(
                "curl",
                &["-sS", "-m20", "-o/dev/null", "-w%{size_download}", &url],
            )
            .unwrap();
        assert_eq!(size, "16777216");
        let passed = towards_director("lb1f") + towards_director("lb1b") - before;
        // The client's acknowledgements alone: two for 64 KiB at most, 60 bytes and more each.
        assert!(passed < 4 << 20, "{passed} bytes went to the director");
    }
}

#[test]
fn sixteen_megabytes_arrive_as_they_were_sent_in_both_directions() {
    let config = format!(
        "{BOTH_LEGS}
[[service]]
name = \"echo\"
listen = [\"10.1.0.100:7\", \"[fd00:1::100]:7\"]
mode = \"dr\"
real_server = [{{ address = \"10.1.0.21:7\" }}, {{ address = \"10.2.0.22:7\" }}]
"
    );
    let director = Director::up(&config).unwrap();
    let _echoes: Vec<_> = ["rs1", "rs2"]
        .into_iter()
        .map(|name| Echo::tcp(director.lab.node(name), "[::]:7".parse().unwrap()).unwrap())
        .collect();
    let sent = pattern(16 << 20);
    for vip in [IpAddr::from(VIP4), VIP6.into()] {
        let back = exchange(director.client(), SocketAddr::new(vip, 7), &sent).unwrap();
        // Not assert_eq: it would print them.
        assert!(back == sent, "{} of {} bytes", back.len(), sent.len());
    }
}

/// Sends from `ports` source ports, `each` datagrams from each; returns who answered each port.
fn ask_by_udp(client: &Node, target: SocketAddr, ports: usize, each: usize) -> Vec<String> {
    let own: SocketAddr = if target.is_ipv4() {
        "10.1.0.101:0".parse().unwrap()
    } else {
        "[fd00:1::101]:0".parse().unwrap()
    };
    let work = || {
        (0..ports)
            .map(|port| {
                let socket = UdpSocket::bind(own).unwrap();
                socket
                    .set_read_timeout(Some(Duration::from_secs(5)))
                    .unwrap();
                let servers: BTreeSet<String> = (0..each)
                    .map(|number| {
                        let text = format!("{port} {number}");
                        socket.send_to(text.as_bytes(), target).unwrap();
                        let mut buffer = [0; 256];
                        let (length, peer) = socket.recv_from(&mut buffer).unwrap();
                        assert_eq!(peer, target, "the answer comes from the virtual address");
                        let answer = String::from_utf8(buffer[..length].to_vec()).unwrap();
                        let (server, echoed) = answer.split_once(' ').unwrap();
                        assert_eq!(echoed, text);
                        server.to_owned()
                    })
                    .collect();
                assert_eq!(servers.len(), 1, "one flow, one server: {servers:?}");
                servers.into_iter().next().unwrap()
            })
            .collect()
    };
    client.enter(work).unwrap()
}

#[test]
fn udp_is_echoed_from_the_virtual_address_and_a_flow_stays_with_its_server() {
    let config = format!(
        "{BOTH_LEGS}
[[service]]
name = \"dns\"
listen = [\"10.1.0.100:53\", \"[fd00:1::100]:53\"]
protocol = \"udp\"
mode = \"dr\"
check = {{ tcp = {{}}, port = 80, interval = \"200ms\" }}
real_server = [{{ address = \"10.1.0.21:53\" }}, {{ address = \"10.1.0.22:53\" }}, {{ address = \"10.2.0.23:53\" }}]
"
    );
    let director = Director::up(&config).unwrap();
    let vips = [IpAddr::from(VIP4), VIP6.into()].map(|vip| SocketAddr::new(vip, 53));
    let _echoes: Vec<_> = director
        .lab
        .real_servers()
        .flat_map(|node| vips.map(|vip| Echo::udp(node, vip).unwrap()))
        .collect();
    for vip in vips {
        let answered = ask_by_udp(director.client(), vip, 50, 4);
        let servers: BTreeSet<_> = answered.iter().collect();
        assert_eq!(servers.len(), 3, "{vip}: {servers:?}");
    }
    let status = director.agent.status().unwrap();
    assert_eq!(service(&status, "dns")["packets"], 2 * 50 * 4, "{status}");
}

#[test]
fn connections_are_shared_out_by_weight() {
    let config = format!(
        "{BOTH_LEGS}
[[service]]
name = \"web\"
listen = [\"10.1.0.100:80\", \"[fd00:1::100]:80\"]
mode = \"dr\"
real_server = [{{ address = \"10.1.0.21:80\", weight = 1 }}, {{ address = \"10.1.0.22:80\", weight = 3 }}, {{ address = \"10.1.0.23:80\", weight = 0 }}]
"
    );
    let director = Director::up(&config).unwrap();
    let mut heavy = 0;
    for target in ["10.1.0.100:80", "[fd00:1::100]:80"] {
        let answers = director.ask(target, 300).unwrap();
        assert_eq!(names(&answers), ["rs1", "rs2"], "weight 0 takes none");
        heavy += answers["rs2"];
    }
    // 600 connections, 3/4 of them: 450 expected, standard deviation sqrt(600 * 3/4 * 1/4) = 10.6. Six of these: once in
    // 10^9 runs.
    assert!(
        (386..=514).contains(&heavy),
        "{heavy} of 600 to the server of weight 3"
    );
}

#[test]
fn port_zero_serves_every_port_that_no_other_service_has() {
    let config = format!(
        "{BOTH_LEGS}
[[service]]
name = \"all\"
listen = [\"10.1.0.100:0\", \"[fd00:1::100]:0\"]
mode = \"dr\"
real_server = [{{ address = \"10.1.0.21\" }}]

[[service]]
name = \"web\"
listen = [\"10.1.0.100:80\", \"[fd00:1::100]:80\"]
mode = \"dr\"
real_server = [{{ address = \"10.1.0.22:80\" }}]
"
    );
    let director = Director::up(&config).unwrap();
    for (target, server) in [
        ("10.1.0.100:8080", "rs1"),
        ("[fd00:1::100]:8080", "rs1"),
        ("10.1.0.100:80", "rs2"),
        ("[fd00:1::100]:80", "rs2"),
    ] {
        assert_eq!(names(&director.ask(target, 10).unwrap()), [server]);
    }
}

#[test]
fn a_service_has_as_many_virtual_addresses_as_it_lists() {
    let lab = Lab::up(&Options::default()).unwrap();
    let more = ["10.1.0.150/32", "10.1.0.151/32", "fd00:1::150/128"];
    for address in more {
        let add = |node: &Node, device| node.run("ip", &["address", "add", address, "dev", device]);
        add(lab.node("lb1"), "eth0").unwrap();
        lab.real_servers()
            .for_each(|node| drop(add(node, "lo").unwrap()));
    }
    let config = format!(
        "{BOTH_LEGS}
[[service]]
name = \"web\"
listen = [\"10.1.0.100:80\", \"10.1.0.150:80\", \"10.1.0.151:80\", \"[fd00:1::150]:80\", \"10.1.0.150:8080\"]
mode = \"dr\"
real_server = [{{ address = \"10.1.0.21\" }}, {{ address = \"10.2.0.22\" }}]
"
    );
    let director = Director::in_lab(lab, &config).unwrap();
    for target in [
        "10.1.0.100:80",
        "10.1.0.150:80",
        "10.1.0.151:80",
        "[fd00:1::150]:80",
        "10.1.0.150:8080",
    ] {
        let answers = director.ask(target, 40).unwrap();
        assert_eq!(names(&answers), ["rs1", "rs2"], "{target}");
    }
}

#[test]
fn real_servers_with_ipv6_addresses_are_checked_and_serve_clients_of_both_families() {
    let config = format!(
        "{BOTH_LEGS}
[[service]]
name = \"web\"
listen = [\"10.1.0.100:80\", \"[fd00:1::100]:80\"]
mode = \"dr\"
check = {{ tcp = {{}}, interval = \"100ms\", retry_interval = \"100ms\", timeout = \"400ms\" }}
real_server = [{{ address = \"[fd00:1::21]:80\" }}, {{ address = \"[fd00:2::22]:80\" }}]
"
    );
    let mut director = Director::up(&config).unwrap();
    for address in ["[fd00:1::21]:80", "[fd00:2::22]:80"] {
        director
            .wait_for_status("a passed check", |status| {
                let found = real_server(status, "web", address);
                let reason = found["reason"].as_str().unwrap_or_default();
                if found["state"] == "up" && reason.contains("passed") {
                    Ok(())
                } else {
                    Err(found.to_string())
                }
            })
            .unwrap();
    }
    for target in ["10.1.0.100:80", "[fd00:1::100]:80"] {
        assert_eq!(names(&director.ask(target, 40).unwrap()), ["rs1", "rs2"]);
    }
    director.servers[1].kill();
    director
        .wait_for_state("web", "[fd00:2::22]:80", "down")
        .unwrap();
    assert_eq!(names(&director.ask("10.1.0.100:80", 20).unwrap()), ["rs1"]);
}

#[test]
fn the_interfaces_are_found_where_none_are_configured() {
    let config: String = LAB_CONFIG
        .lines()
        .filter(|line| !line.starts_with("interfaces"))
        .map(|line| format!("{line}\n"))
        .collect();
    let director = Director::up(&config).unwrap();
    let status = director.agent.status().unwrap();
    for leg in ["eth0", "eth1"] {
        assert_eq!(interface(&status, leg)["mode"], "native", "{status}");
    }
    for target in ["10.1.0.100:80", "[fd00:1::100]:8080"] {
        director.ask(target, 20).unwrap();
    }
}
