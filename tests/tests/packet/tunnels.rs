//! Tunnels: the packet inside another one, of either family.

use crate::{
    case::{Case, check},
    packets::{
        CUSTOMER_TAG, DESTINATION_OPTIONS, Frame, HOP_BY_HOP, SERVICE_TAG, extension, tcp, udp,
    },
    world::{
        INNER_VLAN, Named, TUN_DOUBLE_TAGGED, TUN_NARROW_MTU, TUN_NO_EGRESS, TUN_REDIRECTED,
        TUN_TAGGED, TUN_UNRESOLVED, TUN4, TUN4_NARROW, TUN4_VARIED, TUN6, TUN6_NARROW, TUN6_VARIED,
        VLAN,
    },
};
use lb_common::Reason;

/// Both protocols, both families.
fn packets(service: Named) -> [(&'static str, Frame); 4] {
    [
        ("TCP over IPv4", tcp(service.v4(), 80, 9)),
        ("UDP over IPv4", udp(service.v4(), 80, 9)),
        ("TCP over IPv6", tcp(service.v6(), 80, 9)),
        ("UDP over IPv6", udp(service.v6(), 80, 9)),
    ]
}

fn encapsulated() -> Vec<Case> {
    let mut cases = Vec::new();
    for service in [TUN4, TUN6, TUN4_VARIED, TUN6_VARIED] {
        let name = |what: &str| format!("{what} by {}", service.name);
        for (what, frame) in packets(service) {
            for (how, frame) in [
                ("", frame.clone()),
                (
                    ", every bit of the traffic class",
                    frame.clone().traffic_class(0xff),
                ),
                (
                    ", congestion experienced",
                    frame.clone().traffic_class(0x03),
                ),
                (", identification", frame.clone().identification(0xbeef)),
                (", TTL 2", frame.clone().ttl(2)),
                (", TTL 255", frame.clone().ttl(255)),
                (", may be fragmented", frame.clone().fragment(0, false)),
                (", padding behind the packet", frame.clone().padding(6)),
            ] {
                // A fragment header takes the transport header out of the hash's sight in the test's model.
                if how != ", may be fragmented" || what.ends_with("IPv4") {
                    cases.push(Case::sent(
                        name(&format!("{what}{how}")),
                        frame.build(),
                        service,
                    ));
                }
            }
        }
        cases.extend([
            Case::sent(
                name("IPv4 with options"),
                tcp(service.v4(), 80, 9).options(10).build(),
                service,
            ),
            Case::sent(
                name("empty UDP over IPv4"),
                udp(service.v4(), 80, 0).build(),
                service,
            ),
            Case::sent(
                name("a jumbo frame"),
                tcp(service.v4(), 80, 8_000).build(),
                service,
            ),
            Case::sent(
                name("a jumbo frame over IPv6"),
                udp(service.v6(), 80, 8_000).build(),
                service,
            ),
        ]);
    }
    cases.push(Case::sent(
        "IPv6 with extension headers by tun4",
        tcp(TUN4.v6(), 80, 9)
            .extension(HOP_BY_HOP, extension(1))
            .extension(DESTINATION_OPTIONS, extension(2))
            .build(),
        TUN4,
    ));
    for (what, frame) in packets(TUN_REDIRECTED) {
        cases.push(Case::redirected(
            format!("{what} out of another interface"),
            frame.build(),
            TUN_REDIRECTED,
        ));
    }
    for (what, frame) in packets(TUN_TAGGED) {
        cases.push(Case::sent(
            format!("{what} in a VLAN"),
            frame.tag(CUSTOMER_TAG, VLAN | 0xe000).build(),
            TUN_TAGGED,
        ));
    }
    for (what, frame) in packets(TUN_DOUBLE_TAGGED) {
        let frame = frame.tag(SERVICE_TAG, VLAN).tag(CUSTOMER_TAG, INNER_VLAN);
        cases.push(Case::sent(
            format!("{what} in two VLANs"),
            frame.build(),
            TUN_DOUBLE_TAGGED,
        ));
    }
    cases
}

fn refused() -> Vec<Case> {
    let mut cases = Vec::new();
    for (service, reason) in [
        (TUN_UNRESOLVED, Reason::NextHopUnresolved),
        (TUN_NO_EGRESS, Reason::EgressUnusable),
        (TUN_TAGGED, Reason::VlanMismatch),
    ] {
        for (what, frame) in packets(service) {
            cases.push(Case::refused(
                format!("{what} to service {:?}", service.name),
                frame.build(),
                reason,
                service,
            ));
        }
    }
    for service in [TUN4, TUN6] {
        for (what, frame) in packets(service) {
            let frame = frame.ttl(1).build();
            let name = format!("{what} by {}: its last hop", service.name);
            cases.push(Case::expired(&name, frame.clone(), service));
            cases.push(Case::refused(
                format!("{name}, and enough were told"),
                frame,
                Reason::TtlExpired,
                service,
            ));
        }
    }
    cases
}

/// Around the largest packet that fits with its outer header.
fn large() -> Vec<Case> {
    let mut cases = Vec::new();
    for (service, overhead) in [(TUN4_NARROW, 20), (TUN6_NARROW, 40)] {
        let mtu = TUN_NARROW_MTU - overhead;
        let room = mtu as usize;
        for (what, fits, larger) in [
            (
                "TCP over IPv4",
                tcp(service.v4(), 80, room - 40),
                tcp(service.v4(), 80, room - 39),
            ),
            (
                "UDP over IPv4",
                udp(service.v4(), 80, room - 28),
                udp(service.v4(), 80, room - 27),
            ),
            (
                "TCP over IPv6",
                tcp(service.v6(), 80, room - 60),
                tcp(service.v6(), 80, room - 59),
            ),
            (
                "UDP over IPv6",
                udp(service.v6(), 80, room - 48),
                udp(service.v6(), 80, room - 47),
            ),
        ] {
            let name = |size: &str| format!("{what} by {}, {size}", service.name);
            let larger = larger.build();
            cases.push(Case::sent(name("as large as fits"), fits.build(), service));
            cases.push(Case::too_large(
                name("a byte more than fits"),
                larger.clone(),
                mtu,
                service,
            ));
            cases.push(Case::refused(
                name("a byte more than fits, and enough were told"),
                larger,
                Reason::TooLarge,
                service,
            ));
        }
    }
    cases
}

pub fn cases() -> Vec<Case> {
    [encapsulated(), refused(), large()].concat()
}

#[test]
fn packets_inside_packets() {
    check(&encapsulated());
}

#[test]
fn packets_that_no_tunnel_takes() {
    check(&refused());
}

#[test]
fn packets_too_large_for_a_tunnel() {
    check(&large());
}
