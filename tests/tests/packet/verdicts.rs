//! Services and what becomes of their packets: ownership, MAC addresses, next hops, ports, and the host's own traffic.

use crate::{
    case::{Case, check},
    packets::{Frame, ethernet, tcp, to, udp},
    world::{
        CLIENT, DIRECTOR, EMPTY, EVERY_PORT, LOCAL, Mac, NO_EGRESS, NOT_OWNED, Named, ONE_PORT,
        OTHER_PORT, OTHER_VIRTUAL_MAC, REDIRECTED, STILL_LOCAL, UNRESOLVED, VIRTUAL,
        VIRTUAL_ELSEWHERE, VIRTUAL_MAC, VIRTUAL_STILL_LOCAL, WEB, v4, v6,
    },
};
use lb_common::Reason;

const BROADCAST: Mac = [0xff; 6];
/// Where IPv4 and IPv6 multicast goes.
const MULTICAST: Mac = [1, 0, 0x5e, 0, 0, 1];
const SOLICITED_NODE: Mac = [0x33, 0x33, 0xff, 0, 0, 1];

/// Both protocols, both families.
fn packets(service: Named) -> [(&'static str, Frame); 4] {
    [
        ("TCP over IPv4", tcp(service.v4(), 80, 9)),
        ("UDP over IPv4", udp(service.v4(), 80, 9)),
        ("TCP over IPv6", tcp(service.v6(), 80, 9)),
        ("UDP over IPv6", udp(service.v6(), 80, 9)),
    ]
}

fn services() -> Vec<Case> {
    let mut cases = Vec::new();
    let refusals = [
        (EMPTY, Reason::NoRealServer),
        (UNRESOLVED, Reason::NextHopUnresolved),
        (NO_EGRESS, Reason::EgressUnusable),
        (NOT_OWNED, Reason::NotOwner),
        (STILL_LOCAL, Reason::NotOwnerStillLocal),
    ];
    for (service, reason) in refusals {
        for (name, frame) in packets(service) {
            cases.push(Case::refused(
                format!("{name} to service {:?}", service.name),
                frame.build(),
                reason,
                service,
            ));
        }
    }
    for (name, frame) in packets(LOCAL) {
        cases.push(Case::local(
            format!("{name} to the host itself"),
            frame.build(),
            LOCAL,
        ));
    }
    for (name, frame) in packets(REDIRECTED) {
        cases.push(Case::redirected(
            format!("{name} out of another interface"),
            frame.build(),
            REDIRECTED,
        ));
    }
    for (name, frame) in packets(UNRESOLVED) {
        let frame = frame.ttl(1).build();
        cases.push(Case::expired(
            format!("{name}: TTL 1 counts before the next hop"),
            frame,
            UNRESOLVED,
        ));
    }
    cases
}

fn ports_and_protocols() -> Vec<Case> {
    let mut cases = Vec::new();
    for (family, web, every, other) in [
        ("IPv4", WEB.v4(), EVERY_PORT.v4(), v4(200)),
        ("IPv6", WEB.v6(), EVERY_PORT.v6(), v6(200)),
    ] {
        let name = |what: &str| format!("{family}: {what}");
        let nobody =
            |what: &str, frame: Frame| Case::passed(name(what), frame.build(), Reason::NotAService);
        let strange =
            |what: &str, frame: Frame| Case::passed(name(what), frame.build(), Reason::NotBalanced);
        let echo = if family == "IPv4" { 1 } else { 58 };
        cases.extend([
            nobody("another port", tcp(web, 81, 9)),
            nobody("another port, UDP", udp(web, 8080, 9)),
            nobody("port 0 of a service that has a port", tcp(web, 0, 9)),
            nobody("port 80 with its bytes exchanged", tcp(web, 80 << 8, 9)),
            nobody("another address", tcp(other, 80, 9)),
            nobody("another address, UDP", udp(other, 80, 9)),
            nobody("ssh to another address", tcp(other, 22, 200)),
            strange(
                "an ICMP timestamp request to a virtual address",
                to(web, echo, vec![13, 0, 0, 0, 0, 1, 0, 1]),
            ),
            strange("SCTP to a virtual address", to(web, 132, tcp_bytes())),
            strange("ESP to a virtual address", to(web, 50, tcp_bytes())),
            strange("UDP-Lite to a virtual address", to(web, 136, tcp_bytes())),
            strange("a tunnel to a virtual address", to(web, 4, tcp_bytes())),
            strange(
                "protocol 255 to a virtual address",
                to(web, 255, tcp_bytes()),
            ),
            strange(
                "SCTP to an address with a service on every port",
                to(every, 132, tcp_bytes()),
            ),
            Case::passed(
                name("ICMP echo to another address"),
                to(other, echo, vec![8, 0, 0, 0, 0, 1, 0, 1]).build(),
                Reason::NotAService,
            ),
            Case::sent(
                name("some port of a service on every port"),
                tcp(every, 9_999, 9).build(),
                EVERY_PORT,
            ),
            Case::sent(
                name("port 0 of a service on every port"),
                udp(every, 0, 9).build(),
                EVERY_PORT,
            ),
            Case::sent(
                name("port 65535 of a service on every port"),
                udp(every, 65_535, 9).build(),
                EVERY_PORT,
            ),
            Case::sent(
                name("a port that has a service of its own"),
                tcp(every, 443, 9).build(),
                ONE_PORT,
            ),
            Case::sent(
                name("a port that has a service of its own, UDP"),
                udp(every, 443, 9).build(),
                ONE_PORT,
            ),
            Case::sent(
                name("the port next to one with a service of its own"),
                tcp(every, 444, 9).build(),
                EVERY_PORT,
            ),
        ]);
    }
    cases
}

/// Bytes that would be a segment to port 80, were the protocol TCP.
fn tcp_bytes() -> Vec<u8> {
    let mut bytes = vec![0x9c, 0x40, 0, 80];
    bytes.resize(40, 0);
    bytes
}

fn stations() -> Vec<Case> {
    let mut cases = Vec::new();
    let foreign = [
        ("another host", [2, 0, 0, 0, 0, 0x77]),
        ("the director but for the last bit", [2, 0, 0, 0, 0, 0]),
        ("the director but for the first bit", [0x82, 0, 0, 0, 0, 1]),
        ("the director's other interface", OTHER_PORT),
        ("the client itself", CLIENT),
        ("everybody", BROADCAST),
        ("a group", MULTICAST),
        ("a solicited node", SOLICITED_NODE),
        ("station zero", [0; 6]),
        (
            "a virtual router that has nothing to do with it",
            VIRTUAL_MAC,
        ),
    ];
    for (whom, mac) in foreign {
        for (name, frame) in packets(WEB) {
            let frame = frame.for_station(mac).build();
            cases.push(Case::refused(
                format!("{name} in a frame for {whom}"),
                frame,
                Reason::ForeignMac,
                WEB,
            ));
        }
    }
    let virtual_router = [
        (VIRTUAL_ELSEWHERE, VIRTUAL_MAC, Reason::ForeignMac),
        (VIRTUAL_STILL_LOCAL, VIRTUAL_MAC, Reason::ForeignMac),
        (VIRTUAL_ELSEWHERE, DIRECTOR, Reason::NotOwner),
        (VIRTUAL_STILL_LOCAL, DIRECTOR, Reason::NotOwnerStillLocal),
        (VIRTUAL, OTHER_VIRTUAL_MAC, Reason::ForeignMac),
        (NOT_OWNED, VIRTUAL_MAC, Reason::ForeignMac),
        (STILL_LOCAL, BROADCAST, Reason::ForeignMac),
    ];
    for (service, mac, reason) in virtual_router {
        for (name, frame) in packets(service) {
            let name = format!(
                "{name} to service {:?} in a frame for {mac:02x?}",
                service.name
            );
            cases.push(Case::refused(
                name,
                frame.for_station(mac).build(),
                reason,
                service,
            ));
        }
    }
    for (name, frame) in packets(VIRTUAL) {
        cases.push(Case::sent(
            format!("{name} in a frame for the virtual router"),
            frame.clone().for_station(VIRTUAL_MAC).build(),
            VIRTUAL,
        ));
        cases.push(Case::sent(
            format!("{name} of a virtual router, in a frame for the director"),
            frame.build(),
            VIRTUAL,
        ));
    }
    let flooded = |frame: Frame| frame.for_station([2, 0, 0, 0, 0, 0x77]).build();
    cases.extend([
        Case::passed(
            "IPv4: a flooded frame for nobody",
            flooded(tcp(v4(200), 80, 9)),
            Reason::NotAService,
        ),
        Case::passed(
            "IPv6: a flooded frame for nobody",
            flooded(tcp(v6(200), 80, 9)),
            Reason::NotAService,
        ),
        Case::refused(
            "IPv4: a flooded frame with TTL 1",
            flooded(tcp(WEB.v4(), 80, 9).ttl(1)),
            Reason::ForeignMac,
            WEB,
        ),
        Case::refused(
            "IPv6: a flooded frame with hop limit 1",
            flooded(tcp(WEB.v6(), 80, 9).ttl(1)),
            Reason::ForeignMac,
            WEB,
        ),
        Case::refused(
            "IPv4: a flooded frame, nobody to serve",
            flooded(tcp(EMPTY.v4(), 80, 9)),
            Reason::ForeignMac,
            EMPTY,
        ),
        Case::refused(
            "IPv6: a flooded frame, nobody to serve",
            flooded(tcp(EMPTY.v6(), 80, 9)),
            Reason::ForeignMac,
            EMPTY,
        ),
    ]);
    cases
}

fn hosts_own() -> Vec<Case> {
    let arp = [
        &[0, 1, 8, 0, 6, 4, 0, 1][..],
        &CLIENT,
        &[10, 9, 8, 7],
        &[0; 6],
        &[10, 0, 0, WEB.host],
    ]
    .concat();
    let mut solicitation = vec![135, 0, 0, 0, 0, 0, 0, 0];
    let mut target = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    target[15] = WEB.host;
    solicitation.extend(target);
    let pass = |name: &str, frame: Vec<u8>| Case::passed(name, frame, Reason::NotBalanced);
    vec![
        pass(
            "ARP request for a virtual address",
            ethernet(BROADCAST, 0x0806, &arp),
        ),
        pass(
            "ARP, padded",
            ethernet(DIRECTOR, 0x0806, &[&arp[..], &[0; 18]].concat()),
        ),
        pass(
            "neighbour solicitation for a virtual address, to it",
            to(WEB.v6(), 58, solicitation.clone())
                .for_station(SOLICITED_NODE)
                .ttl(255)
                .build(),
        ),
        Case::passed(
            "neighbour solicitation to the solicited node's group",
            to(group(), 58, solicitation)
                .for_station(SOLICITED_NODE)
                .ttl(255)
                .build(),
            Reason::NotAService,
        ),
        pass(
            "LLDP",
            ethernet(
                [1, 0x80, 0xc2, 0, 0, 0xe],
                0x88cc,
                &[2, 7, 4, 2, 0, 0, 0, 0, 1, 0, 0],
            ),
        ),
        pass(
            "spanning tree, which has a length for a type",
            ethernet([1, 0x80, 0xc2, 0, 0, 0], 38, &[0x42; 38]),
        ),
        pass("LACP", ethernet([1, 0x80, 0xc2, 0, 0, 2], 0x8809, &[1; 50])),
        pass(
            "PPPoE with an IPv4 packet inside",
            ethernet(DIRECTOR, 0x8864, &[0x11, 0, 0, 1, 0, 40, 0, 0x21, 0x45]),
        ),
        pass("MPLS", ethernet(DIRECTOR, 0x8847, &[0; 46])),
        pass("EtherType 0", ethernet(DIRECTOR, 0, &[0; 46])),
        pass(
            "EtherType of IPv4 with its bytes exchanged",
            ethernet(DIRECTOR, 0x0008, &tcp(WEB.v4(), 80, 9).build()[14..]),
        ),
        pass(
            "a bare Ethernet header that promises IPv4",
            ethernet(DIRECTOR, 0x0800, &[]),
        ),
        pass(
            "a bare Ethernet header that promises IPv6",
            ethernet(DIRECTOR, 0x86dd, &[]),
        ),
        pass(
            "a bare Ethernet header that promises a tag",
            ethernet(DIRECTOR, 0x8100, &[]),
        ),
        Case::passed(
            "IPv4 broadcast",
            udp([255; 4].into(), 67, 240).for_station(BROADCAST).build(),
            Reason::NotAService,
        ),
        Case::passed(
            "VRRP advertisement",
            to([224, 0, 0, 18].into(), 112, vec![0x31; 12])
                .for_station([1, 0, 0x5e, 0, 0, 18])
                .ttl(255)
                .build(),
            Reason::NotAService,
        ),
    ]
}

/// The solicited-node group of the web service's address (RFC 4291 §2.7.1).
fn group() -> std::net::IpAddr {
    std::net::Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, u16::from(WEB.host)).into()
}

pub fn cases() -> Vec<Case> {
    [services(), ports_and_protocols(), stations(), hosts_own()].concat()
}

#[test]
fn services_and_their_verdicts() {
    check(&services());
}

#[test]
fn ports_and_other_protocols() {
    check(&ports_and_protocols());
}

#[test]
fn frames_for_this_station_and_for_others() {
    check(&stations());
}

#[test]
fn the_hosts_own_traffic() {
    check(&hosts_own());
}
