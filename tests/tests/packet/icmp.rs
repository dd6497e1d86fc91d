//! ICMP: echo is answered; an error goes where the flow goes that it speaks of, in every mode, and is right there.

use crate::{
    case::{Case, check},
    packets::{
        DESTINATION_OPTIONS, End, Frame, HOP_BY_HOP, extension, flow_hash, icmp_message, ip_offset,
        routed, tcp_from, translated, tunnelled_as, udp_from,
    },
    rig,
    world::{
        CLIENT, DIRECTOR, EMPTY, LOCAL, NAT4, NAT4_PORT, NAT6, NAT6_PORT, NOT_OWNED, Named,
        OTHER_PORT, STILL_LOCAL, TUN4, TUN4_VARIED, TUN6, TUN6_VARIED, VIRTUAL, VIRTUAL_MAC, WEB,
        clients, v4, v6,
    },
};
use lb_common::{Reason, key};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A client's port.
const PORT: u16 = 40_000;

fn router(family: u8) -> IpAddr {
    match family {
        key::IPV4 => Ipv4Addr::new(10, 77, 0, 1).into(),
        _ => Ipv6Addr::new(0x2001, 0xdb8, 77, 0, 0, 0, 0, 1).into(),
    }
}

/// Type and code of each error, and the second word of its header.
fn errors(family: u8) -> Vec<(&'static str, [u8; 2], u32)> {
    match family {
        key::IPV4 => vec![
            ("host unreachable", [3, 1], 0),
            ("fragmentation needed", [3, 4], 1_280),
            ("time exceeded", [11, 0], 0),
            ("parameter problem", [12, 0], 9 << 24),
        ],
        _ => vec![
            ("unreachable", [1, 3], 0),
            ("packet too big", [2, 0], 1_280),
            ("hop limit exceeded", [3, 0], 0),
            ("parameter problem", [4, 1], 6),
        ],
    }
}

fn family_of(address: IpAddr) -> (&'static str, u8) {
    match address {
        IpAddr::V4(_) => ("IPv4", key::IPV4),
        IpAddr::V6(_) => ("IPv6", key::IPV6),
    }
}

/// The packet of a frame.
fn packet(frame: &[u8]) -> &[u8] {
    &frame[ip_offset(frame)..]
}

/// A packet from `from` to `to`, as a frame.
fn from_to(protocol: &str, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let (from, port, to, to_port) = (from.ip(), from.port(), to.ip(), to.port());
    match protocol {
        "TCP" => tcp_from(from, port, to, to_port, 100),
        _ => udp_from(from, port, to, to_port, 100),
    }
    .build()
}

/// Errors to a virtual address, about packets that it sent to a client.
fn followed() -> Vec<Case> {
    let mut cases = Vec::new();
    for service in [
        WEB,
        VIRTUAL,
        LOCAL,
        TUN4,
        TUN6,
        TUN4_VARIED,
        TUN6_VARIED,
        NAT4,
        NAT6,
        NAT4_PORT,
        NAT6_PORT,
    ] {
        let addresses = match service.manner.mode() {
            "nat" => vec![service.address()],
            _ => vec![service.v4(), service.v6()],
        };
        for virtual_address in addresses {
            let (name, family) = family_of(virtual_address);
            for protocol in ["TCP", "UDP"] {
                for (what, kind, word) in errors(family) {
                    for quoted in [8, 20, 60] {
                        let case = one(service, virtual_address, protocol, kind, word, quoted);
                        cases.push(Case {
                            name: format!(
                                "{what} for {:?} over {name}, about {protocol}, {quoted} bytes quoted",
                                service.name
                            ),
                            ..case
                        });
                    }
                }
            }
        }
    }
    cases
}

/// An error about a packet of which `quoted` bytes behind its IP header are quoted.
fn one(
    service: Named,
    virtual_address: IpAddr,
    protocol: &str,
    kind: [u8; 2],
    word: u32,
    quoted: usize,
) -> Case {
    let (_, family) = family_of(virtual_address);
    let header = if family == key::IPV4 { 20 } else { 40 };
    let client = SocketAddr::new(clients(family)[0], PORT);
    let service_end = SocketAddr::new(virtual_address, service.port);
    let answer = from_to(protocol, service_end, client);
    let quote = |frame: &[u8]| packet(frame)[..header + quoted].to_vec();
    let station = |frame: Frame| match service == VIRTUAL {
        true => frame.for_station(VIRTUAL_MAC),
        false => frame,
    };
    let sender = router(family);
    let frame = station(icmp_message(
        sender,
        virtual_address,
        kind,
        word,
        &quote(&answer),
    ))
    .build();
    let flow = flow_hash(packet(&from_to(protocol, client, service_end)));
    let mac = service.real_server_mac(0);
    let (case, from) = match service == NAT4_PORT || service == NAT6_PORT {
        true => (Case::redirected("", frame.clone(), service), OTHER_PORT),
        false if service == LOCAL => return Case::local("", frame, service),
        false => (Case::sent("", frame.clone(), service), DIRECTOR),
    };
    let output = match (service.manner.mode(), service.tunnel_source()) {
        (_, Some(source)) => tunnelled_as(
            &routed(&frame, mac, from),
            flow,
            source,
            service.real_server(0),
        ),
        ("nat", None) => {
            let real = SocketAddr::new(service.real_server(0), service.real_port());
            let answer = translated(&answer, End::Source, real);
            let to = icmp_message(sender, real.ip(), kind, word, &quote(&answer)).build();
            routed(&to, mac, from)
        }
        _ => routed(&frame, mac, from),
    };
    Case { output, ..case }
}

/// Errors about what a client sent, from a NAT real server or a router before it: they go to the client.
fn returned() -> Vec<Case> {
    let mut cases = Vec::new();
    for service in [NAT4, NAT6, NAT4_PORT, NAT6_PORT] {
        let virtual_address = service.address();
        let (name, family) = family_of(virtual_address);
        let header = if family == key::IPV4 { 20 } else { 40 };
        let client = SocketAddr::new(clients(family)[0], PORT);
        let real = SocketAddr::new(service.real_server(0), service.real_port());
        let service_end = SocketAddr::new(virtual_address, service.port);
        for (from, sender) in [("itself", real.ip()), ("a router", router(family))] {
            for protocol in ["TCP", "UDP"] {
                for (what, kind, word) in errors(family) {
                    for quoted in [8, 60] {
                        let quote = |to| {
                            let sent = from_to(protocol, client, to);
                            packet(&sent)[..header + quoted].to_vec()
                        };
                        let frame =
                            icmp_message(sender, client.ip(), kind, word, &quote(real)).build();
                        let back = icmp_message(
                            virtual_address,
                            client.ip(),
                            kind,
                            word,
                            &quote(service_end),
                        );
                        cases.push(Case {
                            name: format!(
                                "{what} of {:?} over {name} from {from}, about {protocol}, {quoted} bytes quoted",
                                service.name
                            ),
                            output: routed(&back.build(), CLIENT, DIRECTOR),
                            frame,
                            verdict: rig::TX,
                            reason: Reason::Replied,
                            service: Some(service),
                            real_server: None,
                        });
                    }
                }
            }
        }
    }
    cases
}

fn echo(family: u8) -> ([u8; 2], [u8; 2]) {
    match family {
        key::IPV4 => ([8, 0], [0, 0]),
        _ => ([128, 0], [129, 0]),
    }
}

/// An echo request, and its answer as the program is to make it.
fn ping(source: IpAddr, destination: IpAddr, data: usize) -> (Frame, Frame) {
    let (_, family) = family_of(destination);
    let (request, reply) = echo(family);
    let body: Vec<u8> = (0..data).map(|at| (at * 7) as u8).collect();
    let word = 0x1234_0001;
    (
        icmp_message(source, destination, request, word, &body),
        icmp_message(destination, source, reply, word, &body),
    )
}

fn answered() -> Vec<Case> {
    let mut cases = Vec::new();
    for family in [key::IPV4, key::IPV6] {
        let client = clients(family)[0];
        let of = |service: Named| match family {
            key::IPV4 => service.v4(),
            _ => service.v6(),
        };
        let back =
            |frame: &[u8], station: [u8; 6]| [&frame[6..12], &station, &frame[12..14]].concat();
        let case = |what: String, asked: (Frame, Frame), station| {
            let frame = asked.0.for_station(station).build();
            let output = [&back(&frame, station)[..], packet(&asked.1.build())].concat();
            Case {
                name: format!("{what}, family {family}"),
                output,
                verdict: rig::TX,
                reason: Reason::AnsweredEcho,
                service: None,
                real_server: None,
                frame,
            }
        };
        for data in [0, 1, 56, 1_400] {
            let asked = ping(client, of(WEB), data);
            cases.push(case(format!("echo, {data} bytes"), asked, DIRECTOR));
        }
        let (request, reply) = ping(client, of(WEB), 56);
        cases.push(case(
            "echo, last hop".to_owned(),
            (request.ttl(1), reply),
            DIRECTOR,
        ));
        cases.push(case(
            "echo to a virtual router".to_owned(),
            ping(client, of(VIRTUAL), 56),
            VIRTUAL_MAC,
        ));
        // Nobody serves, but somebody owns the address.
        cases.push(case(
            "echo to a service that is down".to_owned(),
            ping(client, of(EMPTY), 56),
            DIRECTOR,
        ));
        let (request, _) = ping(client, of(NOT_OWNED), 56);
        let name = |what: &str| format!("{what}, family {family}");
        cases.push(Case::passed(
            name("echo to an address of another router"),
            request.build(),
            Reason::NotOwner,
        ));
        let (request, _) = ping(client, of(STILL_LOCAL), 56);
        cases.push(Case::dropped(
            name("echo to an address of another router that is still here"),
            request.build(),
            Reason::NotOwnerStillLocal,
        ));
        let (request, _) = ping(client, of(WEB), 56);
        cases.push(Case::passed(
            name("echo to another station"),
            request.clone().for_station(CLIENT).build(),
            Reason::ForeignMac,
        ));
        cases.push(Case::passed(
            name("echo with options or extension headers"),
            match family {
                key::IPV4 => request.clone().options(1),
                _ => request.clone().extension(HOP_BY_HOP, extension(1)),
            }
            .build(),
            Reason::NotBalanced,
        ));
        cases.push(Case::passed(
            name("first fragment of an echo"),
            request
                .clone()
                .identification(9_999)
                .fragment(0, true)
                .build(),
            Reason::NotBalanced,
        ));
        let (request, _) = ping(of(WEB), of(WEB), 56);
        cases.push(Case::dropped(
            name("echo from the address itself"),
            request.build(),
            Reason::MartianSource,
        ));
        let (request, _) = ping(
            client,
            if family == key::IPV4 {
                v4(200)
            } else {
                v6(200)
            },
            56,
        );
        cases.push(Case::passed(
            name("echo to another address"),
            request.build(),
            Reason::NotAService,
        ));
        let (_, reply) = ping(of(WEB), client, 56);
        cases.push(Case::passed(
            name("echo reply to a virtual address"),
            reply.build(),
            Reason::NotBalanced,
        ));
    }
    cases
}

/// Errors that are about nothing of ours, or about what is not to be told.
fn left_alone() -> Vec<Case> {
    let mut cases = Vec::new();
    for family in [key::IPV4, key::IPV6] {
        let (client, sender) = (clients(family)[0], router(family));
        let of = |service: Named| match family {
            key::IPV4 => service.v4(),
            _ => service.v6(),
        };
        let kind = errors(family)[0].1;
        let about = |from: IpAddr, port, to: IpAddr| {
            packet(&tcp_from(from, port, to, PORT, 20).build()).to_vec()
        };
        let error = |to: IpAddr, quote: &[u8]| icmp_message(sender, to, kind, 0, quote);
        let name = |what: &str| format!("{what}, family {family}");
        let ours = |what: &str, quote: &[u8]| {
            Case::passed(
                name(what),
                error(of(WEB), quote).build(),
                Reason::NotAService,
            )
        };
        let header = if family == key::IPV4 { 20 } else { 40 };
        let good = about(of(WEB), 80, client);
        let mut other_version = good.clone();
        other_version[0] ^= 0xf0;
        let mut other_protocol = good.clone();
        other_protocol[if family == key::IPV4 { 9 } else { 6 }] = 132;
        cases.extend([
            ours("about another port", &about(of(WEB), 81, client)),
            ours("about another address", &about(of(EMPTY), 80, client)),
            ours(
                "about an address that is no service's",
                &about(client, 80, sender),
            ),
            ours("without ports", &good[..header + 3]),
            ours("without a packet", &[]),
            ours("about another version of IP", &other_version),
            ours("about another protocol", &other_protocol),
            Case::refused(
                name("about a service that is down"),
                error(of(EMPTY), &about(of(EMPTY), 80, client)).build(),
                Reason::NoRealServer,
                EMPTY,
            ),
            Case::refused(
                name("for another station"),
                error(of(WEB), &good).for_station(CLIENT).build(),
                Reason::ForeignMac,
                WEB,
            ),
            Case::refused(
                name("of a service that is another router's"),
                error(of(NOT_OWNED), &about(of(NOT_OWNED), 80, client)).build(),
                Reason::NotOwner,
                NOT_OWNED,
            ),
            Case::refused(
                name("whose last hop is here"),
                error(of(WEB), &good).ttl(1).build(),
                Reason::TtlExpired,
                WEB,
            ),
            Case::passed(
                name("shorter than an ICMP header"),
                {
                    let mut frame = error(of(WEB), &good).build();
                    let len = frame.len();
                    frame.truncate(len - good.len() - 1);
                    let ip = ip_offset(&frame);
                    if family == key::IPV4 {
                        frame[ip + 2..ip + 4].copy_from_slice(&27_u16.to_be_bytes());
                    } else {
                        frame[ip + 4..ip + 6].copy_from_slice(&7_u16.to_be_bytes());
                    }
                    frame
                },
                Reason::Truncated,
            ),
        ]);
        let nat = if family == key::IPV4 { NAT4 } else { NAT6 };
        let (real, host) = (
            nat.real_server(0),
            if family == key::IPV4 {
                v4(250)
            } else {
                v6(250)
            },
        );
        let sent = |from, to, port| packet(&tcp_from(from, PORT, to, port, 20).build()).to_vec();
        cases.extend([
            Case::passed(
                name("about what the host itself sent to a real server"),
                error(host, &sent(host, real, nat.real_port())).build(),
                Reason::NotAService,
            ),
            Case::passed(
                name("about what was sent to another port of a real server"),
                error(client, &sent(client, real, 9)).build(),
                Reason::NotAService,
            ),
            Case::passed(
                name("about what another sent than whom it is for"),
                error(client, &sent(sender, real, nat.real_port())).build(),
                Reason::NotAService,
            ),
        ]);
    }
    cases.push(Case::sent(
        "about a packet with an extension header",
        {
            let quote = tcp_from(WEB.v6(), 80, clients(key::IPV6)[0], PORT, 20)
                .extension(DESTINATION_OPTIONS, extension(1))
                .build();
            icmp_message(router(key::IPV6), WEB.v6(), [1, 3], 0, packet(&quote)).build()
        },
        WEB,
    ));
    cases.push(Case::sent(
        "about a packet with options",
        {
            let quote = tcp_from(WEB.v4(), 80, clients(key::IPV4)[0], PORT, 20)
                .options(3)
                .build();
            icmp_message(router(key::IPV4), WEB.v4(), [3, 1], 0, packet(&quote)).build()
        },
        WEB,
    ));
    cases
}

pub fn cases() -> Vec<Case> {
    [followed(), returned(), answered(), left_alone()].concat()
}

#[test]
fn errors_follow_the_flow_that_they_are_about() {
    check(&followed());
}

#[test]
fn errors_of_real_servers_go_to_the_client() {
    check(&returned());
}

#[test]
fn echo_to_a_virtual_address_is_answered() {
    check(&answered());
}

#[test]
fn errors_about_nothing_of_ours_are_left_alone() {
    check(&left_alone());
}
