//! Translation, both ways: every checksum as if computed anew, and nothing translated that is not a reply.

use crate::{
    case::{Case, check},
    packets::{
        CUSTOMER_TAG, DESTINATION_OPTIONS, Frame, SERVICE_TAG, extension, ip_offset, tcp, tcp_from,
        to, udp, udp_from,
    },
    world::{
        HOST, NARROW_MTU, NAT_PORT, NAT4, NAT4_NARROW, NAT4_NO_EGRESS, NAT4_NOT_OWNED, NAT4_PORT,
        NAT4_TAGGED, NAT4_UNRESOLVED, NAT6, NAT6_NARROW, NAT6_NO_EGRESS, NAT6_PORT,
        NAT6_STILL_LOCAL, NAT6_TAGGED, NAT6_UNRESOLVED, Named, VLAN, WEB, clients, v4, v6,
    },
};
use lb_common::{Reason, key};
use std::net::IpAddr;

/// A client's port.
const PORT: u16 = 40_000;

fn family(service: Named) -> (&'static str, u8) {
    match service.address() {
        IpAddr::V4(_) => ("IPv4", key::IPV4),
        IpAddr::V6(_) => ("IPv6", key::IPV6),
    }
}

/// Requests of both protocols.
fn requests(service: Named, payload: usize) -> [(String, Frame); 2] {
    let (family, _) = family(service);
    let address = service.address();
    [
        (format!("TCP over {family}"), tcp(address, 80, payload)),
        (format!("UDP over {family}"), udp(address, 80, payload)),
    ]
}

/// Replies of both protocols to a client.
fn replies(service: Named, client: IpAddr, payload: usize) -> [(String, Frame); 2] {
    let (family, _) = family(service);
    let (server, port) = (service.real_server(0), service.real_port());
    [
        (
            format!("TCP over {family}"),
            tcp_from(server, port, client, PORT, payload),
        ),
        (
            format!("UDP over {family}"),
            udp_from(server, port, client, PORT, payload),
        ),
    ]
}

/// The same frame with no checksum in its UDP header.
fn without_checksum(frame: Frame) -> Vec<u8> {
    let mut frame = frame.build();
    let udp = ip_offset(&frame) + 20;
    frame[udp + 6..udp + 8].fill(0);
    frame
}

fn forward() -> Vec<Case> {
    let mut cases = Vec::new();
    for service in [NAT4, NAT6] {
        for payload in [0, 1, 2, 9, 100, 1_001, 8_000] {
            for (what, frame) in requests(service, payload) {
                let name = format!("{what}, {payload} bytes of data");
                cases.push(Case::sent(name, frame.build(), service));
            }
        }
        for (what, frame) in requests(service, 9) {
            for (how, frame) in [
                ("TTL 2", frame.clone().ttl(2)),
                ("TTL 255", frame.clone().ttl(255)),
                ("padding", frame.clone().padding(7)),
                ("a traffic class", frame.clone().traffic_class(0xb9)),
            ] {
                cases.push(Case::sent(format!("{what}, {how}"), frame.build(), service));
            }
            let last = frame.ttl(1).build();
            cases.push(Case::expired(
                format!("{what}, TTL 1"),
                last.clone(),
                service,
            ));
            cases.push(Case::refused(
                format!("{what}, TTL 1, and enough were told"),
                last,
                Reason::TtlExpired,
                service,
            ));
        }
    }
    for service in [NAT4_PORT, NAT6_PORT] {
        for (what, frame) in requests(service, 9) {
            let name = format!("{what}, to the same port, out of another interface");
            cases.push(Case::redirected(name, frame.build(), service));
        }
    }
    for service in [NAT4_TAGGED, NAT6_TAGGED] {
        for (what, frame) in requests(service, 9) {
            let frame = frame.tag(CUSTOMER_TAG, VLAN);
            cases.push(Case::sent(
                format!("{what}, tagged"),
                frame.build(),
                service,
            ));
        }
    }
    cases.extend([
        Case::sent(
            "UDP over IPv4 without a checksum",
            without_checksum(udp(NAT4.v4(), 80, 9)),
            NAT4,
        ),
        Case::sent(
            "IPv4 with options",
            tcp(NAT4.v4(), 80, 9).options(10).build(),
            NAT4,
        ),
        Case::sent(
            "IPv6 with an extension header",
            udp(NAT6.v6(), 80, 9)
                .extension(DESTINATION_OPTIONS, extension(2))
                .build(),
            NAT6,
        ),
    ]);
    cases
}

fn refused() -> Vec<Case> {
    let mut cases = Vec::new();
    for (service, reason) in [
        (NAT4_UNRESOLVED, Reason::NextHopUnresolved),
        (NAT6_UNRESOLVED, Reason::NextHopUnresolved),
        (NAT4_NO_EGRESS, Reason::EgressUnusable),
        (NAT6_NO_EGRESS, Reason::EgressUnusable),
        (NAT4_TAGGED, Reason::VlanMismatch),
        (NAT6_TAGGED, Reason::VlanMismatch),
        (NAT4_NOT_OWNED, Reason::NotOwner),
        (NAT6_STILL_LOCAL, Reason::NotOwnerStillLocal),
    ] {
        for (what, frame) in requests(service, 9) {
            let name = format!("{what} to service {:?}", service.name);
            cases.push(Case::refused(name, frame.build(), reason, service));
        }
    }
    for (service, headers) in [(NAT4_NARROW, 40), (NAT6_NARROW, 60)] {
        let (family, _) = family(service);
        let room = NARROW_MTU as usize - headers;
        let fits = tcp(service.address(), 80, room).build();
        let larger = tcp(service.address(), 80, room + 1).build();
        cases.extend([
            Case::sent(format!("{family}, as large as fits"), fits, service),
            Case::too_large(
                format!("{family}, a byte more"),
                larger.clone(),
                NARROW_MTU,
                service,
            ),
            Case::refused(
                format!("{family}, a byte more, and enough were told"),
                larger,
                Reason::TooLarge,
                service,
            ),
        ]);
    }
    cases
}

fn back() -> Vec<Case> {
    let mut cases = Vec::new();
    for service in [NAT4, NAT6, NAT4_PORT, NAT6_PORT] {
        let (_, family) = family(service);
        let [client, elsewhere, tagged, narrow] = clients(family);
        for payload in [0, 1, 2, 9, 100, 1_001, 8_000] {
            for (what, frame) in replies(service, client, payload) {
                let name = format!("{what} by {}, {payload} bytes of data", service.name);
                cases.push(Case::replied(name, frame.build(), service));
            }
        }
        for (what, frame) in replies(service, client, 9) {
            let name = |how: &str| format!("{what} by {}, {how}", service.name);
            let last = frame.clone().ttl(1).build();
            cases.extend([
                Case::replied(name("TTL 2"), frame.clone().ttl(2).build(), service),
                Case::replied(name("TTL 255"), frame.clone().ttl(255).build(), service),
                Case::replied(name("padding"), frame.clone().padding(7).build(), service),
                Case::expired(name("TTL 1"), last.clone(), service),
                Case::refused(
                    name("TTL 1, and enough were told"),
                    last,
                    Reason::TtlExpired,
                    service,
                ),
                Case::refused(
                    name("tagged, where the client is not"),
                    frame.clone().tag(CUSTOMER_TAG, VLAN).build(),
                    Reason::VlanMismatch,
                    service,
                ),
                Case::refused(
                    name("in a frame for another station"),
                    frame.for_station([2, 0, 0, 0, 0, 0x77]).build(),
                    Reason::ForeignMac,
                    service,
                ),
            ]);
        }
        for (what, frame) in replies(service, elsewhere, 9) {
            let name = format!("{what} by {}, out of another interface", service.name);
            cases.push(Case::replied_elsewhere(name, frame.build(), service));
        }
        for (what, frame) in replies(service, tagged, 9) {
            let name = |how: &str| format!("{what} by {} to a VLAN, {how}", service.name);
            let right = frame.clone().tag(CUSTOMER_TAG, VLAN);
            cases.push(Case::replied(name("tagged"), right.build(), service));
            let twice = frame.clone().tag(SERVICE_TAG, VLAN).tag(CUSTOMER_TAG, 2);
            for (how, frame) in [("untagged", frame), ("tagged twice", twice)] {
                let reason = Reason::VlanMismatch;
                cases.push(Case::refused(name(how), frame.build(), reason, service));
            }
        }
        for (what, frame) in replies(service, narrow, 1_300) {
            let name = |how: &str| format!("{what} by {}, too large{how}", service.name);
            let frame = frame.build();
            cases.push(Case::too_large(
                name(""),
                frame.clone(),
                NARROW_MTU,
                service,
            ));
            cases.push(Case::refused(
                name(", and enough were told"),
                frame,
                Reason::TooLarge,
                service,
            ));
        }
    }
    for (service, reason) in [
        (NAT4_NOT_OWNED, Reason::NotOwner),
        (NAT6_STILL_LOCAL, Reason::NotOwnerStillLocal),
    ] {
        let (_, family) = family(service);
        for (what, frame) in replies(service, clients(family)[0], 9) {
            let name = format!("{what} by service {:?}", service.name);
            cases.push(Case::refused(name, frame.build(), reason, service));
        }
    }
    let client = clients(key::IPV4)[0];
    let frame = udp_from(NAT4.real_server(0), NAT_PORT, client, PORT, 9);
    cases.push(Case::replied(
        "UDP over IPv4 by nat4, without a checksum",
        without_checksum(frame),
        NAT4,
    ));
    cases
}

/// What real servers say that is no reply to a client of the service.
fn others() -> Vec<Case> {
    let mut cases = Vec::new();
    for (service, host, nobody) in [(NAT4, v4(HOST), v4(200)), (NAT6, v6(HOST), v6(200))] {
        let (family_name, family) = family(service);
        let server = service.real_server(0);
        let client = clients(family)[0];
        let (icmp, web) = match family {
            key::IPV4 => (1, WEB.v4()),
            _ => (58, WEB.v6()),
        };
        let name = |what: &str| format!("{family_name}: {what}");
        let own =
            |what: &str, frame: Frame| Case::passed(name(what), frame.build(), Reason::NotAService);
        cases.extend([
            own(
                "an answer to a check of the director's",
                tcp_from(server, NAT_PORT, host, PORT, 9),
            ),
            own(
                "a connection from another port, TCP",
                tcp_from(server, 22, client, PORT, 9),
            ),
            own(
                "a connection from the virtual port",
                tcp_from(server, 80, client, PORT, 9),
            ),
            own(
                "a connection from another port, UDP",
                udp_from(server, 53, client, 53, 9),
            ),
            own(
                "a reply of another host",
                tcp_from(nobody, NAT_PORT, client, PORT, 9),
            ),
            Case::sent(
                name("a real server as a client of another service"),
                tcp_from(server, NAT_PORT, web, 80, 9).build(),
                WEB,
            ),
            own(
                "a first fragment from another port",
                udp_from(server, 53, client, PORT, 100)
                    .identification(7_777)
                    .fragment(0, true),
            ),
            own(
                "a later fragment",
                udp_from(server, NAT_PORT, client, PORT, 100)
                    .identification(7_777)
                    .fragment(8, false),
            ),
            own(
                "an echo",
                to(client, icmp, vec![8, 0, 0, 0, 0, 1, 0, 1]).from(server),
            ),
        ]);
    }
    cases
}

pub fn cases() -> Vec<Case> {
    [forward(), refused(), back(), others()].concat()
}

#[test]
fn requests_are_translated() {
    check(&forward());
}

#[test]
fn requests_that_are_not_translated() {
    check(&refused());
}

#[test]
fn replies_are_translated_back() {
    check(&back());
}

#[test]
fn what_is_no_reply_is_left_alone() {
    check(&others());
}
