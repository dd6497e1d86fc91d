//! The director is a host like any other while XDP is on its interfaces: its own traffic is left alone.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lb_tests::director::{Director, LAB_CONFIG};
use lb_tests::echo::{Echo, exchange};
use lb_tests::lab::{Node, VIP4, VIP6};
use socket2::{Domain, Protocol, Socket, Type};

#[test]
fn a_server_on_the_director_is_reached_by_its_own_and_by_the_virtual_addresses() {
    let director = Director::up(LAB_CONFIG).unwrap();
    let lb1 = director.node();
    // As sshd would: on every address, on a port that no service has.
    let _server = Echo::tcp(lb1, "[::]:2222".parse().unwrap()).unwrap();
    let bytes: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let from = |node: &str, address: &str| {
        let target = SocketAddr::new(address.parse().unwrap(), 2222);
        let back = exchange(director.lab.node(node), target, &bytes).unwrap();
        assert!(back == bytes, "{node} to {target}: {} bytes", back.len());
    };
    for address in ["10.1.0.11", "fd00:1::11", "10.1.0.100", "fd00:1::100"] {
        from("cl1", address);
    }
    for address in ["10.1.0.11", "10.2.0.11", "fd00:1::11", "fd00:2::11"] {
        from("rs1", address);
    }
}

#[test]
fn a_connection_to_the_director_outlives_the_coming_and_going_of_the_program() {
    let mut director = Director::up(LAB_CONFIG).unwrap();
    let _server = Echo::tcp(director.node(), "[::]:2222".parse().unwrap()).unwrap();
    let mut connection = director
        .client()
        .enter(|| std::net::TcpStream::connect("10.1.0.11:2222"))
        .unwrap()
        .unwrap();
    connection
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut is_open = || {
        use std::io::{Read, Write};
        let mut back = [0; 4];
        connection.write_all(b"ping").unwrap();
        connection.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"ping");
    };
    is_open();
    director.agent.kill();
    is_open();
    director.agent.command(&["unload"]).unwrap();
    is_open();
    director.agent.restart().unwrap();
    is_open();
}

#[test]
fn the_director_itself_reaches_the_real_servers() {
    let director = Director::up(LAB_CONFIG).unwrap();
    for number in 21..=23 {
        for host in [
            format!("10.1.0.{number}"),
            format!("10.2.0.{number}"),
            format!("[fd00:1::{number}]"),
            format!("[fd00:2::{number}]"),
        ] {
            let url = format!("http://{host}/");
            let body = director.node().run("curl", &["-sS", "-m5", &url]).unwrap();
            assert_eq!(body, format!("rs{}\n", number - 20));
        }
    }
    let size = director
        .node()
        .run(
            "curl",
            &[
                "-sS",
                "-m20",
                "-o/dev/null",
                "-w%{size_download}",
                "http://10.1.0.21/bytes/16m",
            ],
        )
        .unwrap();
    assert_eq!(size, "16777216");
}

/// Sends an ICMP echo request (RFC 792, RFC 4443 §4.1) from `node` and waits for its answer.
fn ping(node: &Node, address: IpAddr) {
    let (domain, protocol, request, answer) = match address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8, 0),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128, 129),
    };
    // Type, code, checksum, identifier, sequence number. The kernel writes the checksum of ICMPv6.
    let mut message = [request, 0, 0, 0, 0x6c, 0x62, 0, 1];
    if address.is_ipv4() {
        let sum = 0x0800_u16 + 0x6c62 + 1;
        message[2..4].copy_from_slice(&(!sum).to_be_bytes());
    }
    let work = || {
        let socket = Socket::new(domain, Type::RAW, Some(protocol)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        // To hear this host alone.
        socket.connect(&SocketAddr::new(address, 0).into()).unwrap();
        socket.send(&message).unwrap();
        loop {
            let mut buffer = [0; 256];
            let length = std::io::Read::read(&mut &socket, &mut buffer)
                .unwrap_or_else(|error| panic!("no answer from {address}: {error}"));
            // A raw socket of IPv4 sees the IP header.
            let start = if address.is_ipv4() { 20 } else { 0 };
            let heard = &buffer[start..length];
            if heard[0] == answer && heard[4..8] == message[4..8] {
                return;
            }
        }
    };
    node.enter(work).unwrap();
}

#[test]
fn pings_to_the_director_and_to_the_virtual_addresses_are_answered() {
    let director = Director::up(LAB_CONFIG).unwrap();
    let client = director.client();
    client
        .run("ip", &["neighbour", "flush", "dev", "eth0"])
        .unwrap();
    for address in ["10.1.0.11", "fd00:1::11"] {
        ping(client, address.parse().unwrap());
    }
    for vip in [IpAddr::from(VIP4), VIP6.into()] {
        ping(client, vip);
    }
    // ARP and neighbour discovery were answered by the director for all four.
    let neighbours = client.run("ip", &["neighbour", "show"]).unwrap();
    let by_director = neighbours
        .lines()
        .filter(|line| line.contains("02:00:0a:01:00:0b"));
    assert!(by_director.count() >= 4, "{neighbours}");
}
