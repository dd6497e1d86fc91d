//! Translation end to end: the director is the real servers' gateway, and replies come from the virtual address.

use std::net::{IpAddr, SocketAddr};

use lb_tests::director::{Director, drops, real_server, service};
use lb_tests::echo::{Echo, exchange};
use lb_tests::lab::{Lab, Node, Options, VIP4, VIP6};

/// The port of the real servers is another than the service's.
const CONFIG: &str = r#"
router_id = "lb1"
interfaces = ["eth0", "eth1"]

[[service]]
name = "web"
listen = ["10.1.0.100:80"]
mode = "nat"
check = { tcp = {}, interval = "200ms" }
real_server = [{ address = "10.2.0.21:8080" }, { address = "10.2.0.22:8080" }, { address = "10.2.0.23:8080" }]

[[service]]
name = "web6"
listen = ["[fd00:1::100]:80"]
mode = "nat"
check = { tcp = {}, interval = "200ms" }
real_server = [{ address = "[fd00:2::21]:8080" }, { address = "[fd00:2::22]:8080" }, { address = "[fd00:2::23]:8080" }]
"#;

/// What hosts of the back network are told where the director is their gateway: their packets to clients go there, and
/// nowhere else. The virtual addresses are the director's alone.
const GATEWAY: [&str; 5] = [
    "link set eth0 down",
    "address del 10.1.0.100/32 dev lo",
    "address del fd00:1::100/128 dev lo",
    "route add default via 10.2.0.11",
    "-6 route add default via fd00:2::11",
];

fn ip(node: &Node, line: &str) {
    node.run("ip", &line.split(' ').collect::<Vec<_>>())
        .unwrap();
}

fn up(config: &str) -> Director {
    let lab = Lab::up(&Options::default()).unwrap();
    for server in lab.real_servers() {
        GATEWAY.iter().for_each(|line| ip(server, line));
    }
    let director = lab.node("lb1");
    for key in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
        director.run("sysctl", &["-qw", key]).unwrap();
    }
    Director::in_lab(lab, config).unwrap()
}

/// A pattern in which every shift and every swap of two packets shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64 / 8)
        .flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect()
}

#[test]
fn real_servers_behind_the_director_serve_clients_of_both_families() {
    let director = up(CONFIG);
    for target in ["10.1.0.100:80", "[fd00:1::100]:80"] {
        let answers = director.ask(target, 60).unwrap();
        let names: Vec<_> = answers.keys().map(String::as_str).collect();
        assert_eq!(names, ["rs1", "rs2", "rs3"], "{target}");
        let url = format!("http://{target}/bytes/16m");
        let arguments = ["-sS", "-m20", "-o/dev/null", "-w%{size_download}", &url];
        let size = director.client().run("curl", &arguments).unwrap();
        assert_eq!(size, "16777216", "{target}");
    }
    // Servers see the client's own address, and theirs.
    let client: [IpAddr; 2] = [
        "10.1.0.101".parse().unwrap(),
        "fd00:1::101".parse().unwrap(),
    ];
    for server in &director.servers {
        for request in server.requests().unwrap() {
            assert!(client.contains(&request.client), "{request:?}");
            assert_eq!(request.server.port(), 8080);
        }
    }
    let status = director.agent.status().unwrap();
    assert_eq!(status["datapath"], "xdp_native", "{status}");
    for name in ["web", "web6"] {
        assert!(
            service(&status, name)["packets"].as_u64().unwrap() > 240,
            "{status}"
        );
    }
    let replies = service(&status, "web")["replies"].as_u64().unwrap();
    assert!(replies > 16 << 20 >> 11, "{status}");
    assert_eq!(drops(&status, "client_unreachable"), 0, "{status}");
}

#[test]
fn large_transfers_arrive_as_they_were_sent_in_both_directions() {
    let config = CONFIG
        .replace(":80\"", ":7\"")
        .replace(":8080\"", ":7\"")
        .replace(
            "check = { tcp = {}, interval",
            "check = { tcp = {}, port = 8080, interval",
        );
    let director = up(&config);
    let _echoes: Vec<_> = director
        .lab
        .real_servers()
        .map(|node| Echo::tcp(node, "[::]:7".parse().unwrap()).unwrap())
        .collect();
    let sent = pattern(4 << 20);
    for vip in [IpAddr::from(VIP4), VIP6.into()] {
        for _ in 0..2 {
            let back = exchange(director.client(), SocketAddr::new(vip, 7), &sent).unwrap();
            // Not assert_eq: it would print them.
            assert!(back == sent, "{} of {} bytes", back.len(), sent.len());
        }
    }
}

/// Checks and anything else between the director and the real servers, from and to the same ports, is not translated.
#[test]
fn the_director_speaks_with_real_servers_itself() {
    let director = up(CONFIG);
    for address in ["10.2.0.21:8080", "[fd00:2::22]:8080"] {
        let service = if address.starts_with('[') {
            "web6"
        } else {
            "web"
        };
        director
            .wait_for_status("a passed check", |status| {
                let found = real_server(status, service, address);
                match found["reason"].as_str() {
                    Some(reason) if found["state"] == "up" && reason.contains("passed") => Ok(()),
                    _ => Err(found.to_string()),
                }
            })
            .unwrap();
        let url = format!("http://{address}/");
        let body = director
            .node()
            .run("curl", &["-sS", "-m5", "-g", &url])
            .unwrap();
        assert!(body.starts_with("rs"), "{body}");
    }
}

#[test]
fn a_dead_real_server_leaves_and_comes_back() {
    let mut director = up(CONFIG);
    director.servers[0].kill();
    director
        .wait_for_state("web", "10.2.0.21:8080", "down")
        .unwrap();
    let answers = director.ask("10.1.0.100:80", 30).unwrap();
    let names: Vec<_> = answers.keys().map(String::as_str).collect();
    assert_eq!(names, ["rs2", "rs3"]);
}
