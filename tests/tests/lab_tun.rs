//! Tunnels end to end: real servers on the other side of a network of 1,500 bytes, of either family.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use lb_tests::decapsulator::Decapsulator;
use lb_tests::director::{Director, answers, real_server, service};
use lb_tests::echo::{Echo, exchange};
use lb_tests::lab::{Lab, Options, VIP4, VIP6};

/// Three real servers: over the front network and IPv4, over the back one and IPv6, and the back one and IPv4.
const CONFIG: &str = r#"
router_id = "lb1"
interfaces = ["eth0", "eth1"]

[[service]]
name = "web"
listen = ["10.1.0.100:80", "[fd00:1::100]:80"]
mode = "tun"
check = { tcp = {}, interval = "200ms" }
real_server = [{ address = "10.1.0.21:80" }, { address = "[fd00:2::22]:80" }, { address = "10.2.0.23:80" }]
"#;

fn up(config: &str) -> (Director, Vec<Decapsulator>) {
    let lab = Lab::up(&Options::default()).unwrap();
    let ends = lab
        .real_servers()
        .map(|node| Decapsulator::start(node).unwrap())
        .collect();
    (Director::in_lab(lab, config).unwrap(), ends)
}

/// A pattern in which every shift and every swap of two packets shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64 / 8)
        .flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect()
}

#[test]
fn real_servers_of_both_families_serve_clients_of_both_families_through_tunnels() {
    let (director, _ends) = up(CONFIG);
    for target in ["10.1.0.100:80", "[fd00:1::100]:80"] {
        let answers = director.ask(target, 60).unwrap();
        let names: Vec<_> = answers.keys().map(String::as_str).collect();
        assert_eq!(names, ["rs1", "rs2", "rs3"], "{target}");
    }
    let url = format!("http://{VIP4}/bytes/16m");
    let arguments = ["-sS", "-m20", "-o/dev/null", "-w%{size_download}", &url];
    let size = director.client().run("curl", &arguments).unwrap();
    assert_eq!(size, "16777216");
    // Servers see the client's own address, and that it asked for the virtual one.
    for server in &director.servers {
        for request in server.requests().unwrap() {
            let wanted: [IpAddr; 2] = match request.client {
                IpAddr::V4(_) => ["10.1.0.101".parse().unwrap(), VIP4.into()],
                IpAddr::V6(_) => ["fd00:1::101".parse().unwrap(), VIP6.into()],
            };
            assert_eq!([request.client, request.server.ip()], wanted);
        }
    }
    let status = director.agent.status().unwrap();
    assert_eq!(status["datapath"], "xdp_native", "{status}");
    assert!(
        service(&status, "web")["packets"].as_u64().unwrap() > 480,
        "{status}"
    );
}

/// Full segments do not fit with an outer header: the client is told, sends smaller ones, and all of them arrive. Nothing is
/// set on the client for it.
#[test]
fn a_large_upload_fits_through_an_underlay_of_1500_bytes() {
    let config = CONFIG.replace(":80\"", ":7\"").replace(
        "check = { tcp = {}, interval = \"200ms\" }",
        "check = { tcp = {}, port = 80, interval = \"200ms\" }",
    );
    let (director, _ends) = up(&config);
    let _echoes: Vec<_> = director
        .lab
        .real_servers()
        .map(|node| Echo::tcp(node, "[::]:7".parse().unwrap()).unwrap())
        .collect();
    let sent = pattern(2 << 20);
    // Several connections: they go to servers behind both kinds of outer header.
    for vip in [IpAddr::from(VIP4), VIP6.into()] {
        for _ in 0..4 {
            let back = exchange(director.client(), SocketAddr::new(vip, 7), &sent).unwrap();
            // Not assert_eq: it would print them.
            assert!(back == sent, "{} of {} bytes", back.len(), sent.len());
        }
    }
    let status = director.agent.status().unwrap();
    assert!(answers(&status, "answered_too_large") > 0, "{status}");
}

#[test]
fn the_outer_source_is_varied_inside_the_prefix_that_is_configured() {
    let config = CONFIG.replace(
        "mode = \"tun\"",
        "mode = \"tun\"\ntun_source = \"10.9.0.0/16\"",
    );
    let (director, ends) = up(&config);
    let answers = director.ask("10.1.0.100:80", 60).unwrap();
    assert_eq!(answers.len(), 3, "{answers:?}");
    // Some twenty flows to each, of 65,536 addresses.
    let fits = |source: &IpAddr| matches!(source, IpAddr::V4(v4) if v4.octets()[..2] == [10, 9]);
    for end in [&ends[0], &ends[2]] {
        let sources = end.sources();
        assert!(sources.len() > 5 && sources.iter().all(fits), "{sources:?}");
    }
    // The prefix is of the other family: the director's own address is the source.
    let director_address: IpAddr = "fd00:2::11".parse().unwrap();
    assert_eq!(ends[1].sources(), BTreeSet::from([director_address]));
    let status = director.agent.status().unwrap();
    assert_eq!(
        real_server(&status, "web", "10.1.0.21:80")["state"],
        "up",
        "{status}"
    );
}
