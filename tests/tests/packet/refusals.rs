//! Errors that senders are told: the right one, quoting the right bytes, to nobody who should not have it, and not too often.

use crate::{
    case::{Case, check},
    packets::{
        CUSTOMER_TAG, DESTINATION_OPTIONS, Frame, SERVICE_TAG, Told, extension, tcp, tcp_from,
        told, udp,
    },
    rig::{self, Answers, DROP, TX},
    world::{NARROW, NARROW_MTU, Named, OTHER_VIRTUAL_MAC, VIRTUAL, VIRTUAL_MAC, WEB},
};
use lb_common::Reason;
use std::net::IpAddr;

/// Payloads around the end of the quote, and where a packet is shorter than it.
const PAYLOADS: [usize; 12] = [0, 1, 2, 3, 4, 5, 87, 88, 89, 90, 100, 1_000];

fn expired() -> Vec<Case> {
    let mut cases = Vec::new();
    for len in PAYLOADS {
        for (what, frame) in [
            ("TCP over IPv4", tcp(WEB.v4(), 80, len)),
            ("UDP over IPv4", udp(WEB.v4(), 80, len)),
            ("TCP over IPv6", tcp(WEB.v6(), 80, len)),
            ("UDP over IPv6", udp(WEB.v6(), 80, len)),
        ] {
            for ttl in [0, 1] {
                let name = format!("{what}, {len} bytes of data, TTL {ttl}");
                cases.push(Case::expired(name, frame.clone().ttl(ttl).build(), WEB));
            }
        }
    }
    let last = |frame: Frame| frame.ttl(1);
    cases.extend([
        Case::expired(
            "IPv4 with options",
            last(tcp(WEB.v4(), 80, 200)).options(10).build(),
            WEB,
        ),
        Case::expired(
            "IPv4, padded",
            last(udp(WEB.v4(), 80, 1)).padding(17).build(),
            WEB,
        ),
        Case::expired(
            "IPv6, padded",
            last(udp(WEB.v6(), 80, 1)).padding(300).build(),
            WEB,
        ),
        Case::expired(
            "IPv6 with an extension header",
            last(tcp(WEB.v6(), 80, 200))
                .extension(DESTINATION_OPTIONS, extension(3))
                .build(),
            WEB,
        ),
        Case::expired(
            "IPv4 in two VLANs",
            last(tcp(WEB.v4(), 80, 200))
                .tag(SERVICE_TAG, 0xf001)
                .tag(CUSTOMER_TAG, 2)
                .build(),
            WEB,
        ),
        Case::expired(
            "IPv6 in a VLAN",
            last(tcp(WEB.v6(), 80, 200)).tag(CUSTOMER_TAG, 7).build(),
            WEB,
        ),
        Case::expired(
            "a virtual router's answer comes from its own MAC address",
            last(tcp(VIRTUAL.v4(), 80, 200))
                .for_station(VIRTUAL_MAC)
                .build(),
            VIRTUAL,
        ),
        Case::refused(
            "what is for another virtual router is nobody's here",
            last(tcp(VIRTUAL.v4(), 80, 200))
                .for_station(OTHER_VIRTUAL_MAC)
                .build(),
            Reason::ForeignMac,
            VIRTUAL,
        ),
    ]);
    for (what, frame) in [
        ("IPv4", last(tcp(WEB.v4(), 80, 9)).build()),
        ("IPv6", last(tcp(WEB.v6(), 80, 9)).build()),
    ] {
        cases.push(Case::refused(
            format!("{what}, enough were told"),
            frame,
            Reason::TtlExpired,
            WEB,
        ));
    }
    cases
}

/// Sources that stand for no one host: they get nothing, and are told nothing.
fn nobody() -> Vec<Case> {
    let sources: [(&str, Named); 10] = [
        ("0.0.0.0", WEB),
        ("0.1.2.3", WEB),
        ("127.0.0.1", WEB),
        ("224.0.0.1", WEB),
        ("240.0.0.1", WEB),
        ("255.255.255.255", WEB),
        ("::", WEB),
        ("::1", WEB),
        ("ff02::1", WEB),
        ("ff0e::1", WEB),
    ];
    sources
        .into_iter()
        .map(|(source, service)| {
            let source: IpAddr = source.parse().expect("an address");
            let destination = if source.is_ipv4() {
                service.v4()
            } else {
                service.v6()
            };
            let frame = tcp_from(source, 9, destination, 80, 9).ttl(1).build();
            Case::refused(
                format!("from {source}"),
                frame,
                Reason::MartianSource,
                service,
            )
        })
        .collect()
}

fn large() -> Vec<Case> {
    let room = NARROW_MTU as usize;
    let mut cases = Vec::new();
    for (what, fits, larger) in [
        (
            "TCP over IPv4",
            tcp(NARROW.v4(), 80, room - 40),
            tcp(NARROW.v4(), 80, room - 39),
        ),
        (
            "UDP over IPv6",
            udp(NARROW.v6(), 80, room - 48),
            udp(NARROW.v6(), 80, room - 47),
        ),
        (
            "TCP over IPv4 that may be fragmented",
            tcp(NARROW.v4(), 80, room - 40).fragment(0, false),
            tcp(NARROW.v4(), 80, room).fragment(0, false),
        ),
        (
            "TCP over IPv4, a jumbo frame",
            tcp(NARROW.v4(), 80, 1),
            tcp(NARROW.v4(), 80, 8_000),
        ),
        (
            "UDP over IPv6, a jumbo frame",
            udp(NARROW.v6(), 80, 1),
            udp(NARROW.v6(), 80, 8_000),
        ),
    ] {
        let larger = larger.build();
        cases.push(Case::sent(format!("{what}, it fits"), fits.build(), NARROW));
        cases.push(Case::too_large(
            format!("{what}, too large"),
            larger.clone(),
            NARROW_MTU,
            NARROW,
        ));
        cases.push(Case::refused(
            format!("{what}, too large, and enough were told"),
            larger,
            Reason::TooLarge,
            NARROW,
        ));
    }
    cases.push(Case::sent(
        "padding does not make a packet too large",
        udp(NARROW.v4(), 80, room - 28).padding(40).build(),
        NARROW,
    ));
    cases
}

pub fn cases() -> Vec<Case> {
    [expired(), nobody(), large()].concat()
}

#[test]
fn the_last_hop_is_told() {
    check(&expired());
}

#[test]
fn addresses_that_stand_for_no_host_are_told_nothing() {
    check(&nobody());
}

#[test]
fn what_is_too_large_is_told_with_the_size_that_is_not() {
    check(&large());
}

/// 50 at once, then 1,000 a second on each CPU.
#[test]
fn answers_are_limited_and_come_again() {
    let mut rig = rig::world();
    rig.set_answers(Answers::Due);
    let frame = tcp(WEB.v4(), 80, 9).ttl(1).build();
    let start = std::time::Instant::now();
    let answered = (0..2_000).filter(|_| rig.run(&frame).verdict == TX).count() as u128;
    // Whichever CPUs they ran on, each may have begun with a burst.
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u128);
    let bound = cpus * (51 + start.elapsed().as_millis());
    assert!(
        (50..=bound).contains(&answered),
        "{answered} of 2000, at most {bound}"
    );
    rig.set_answers(Answers::Exhausted);
    assert_eq!(rig.run(&frame).verdict, DROP);
    let large = tcp(NARROW.v4(), 80, 2_000).build();
    assert_eq!(rig.run(&large).verdict, DROP);
    rig.set_answers(Answers::Due);
    let outcome = rig.run(&large);
    assert_eq!(outcome.verdict, TX);
    assert!(outcome.frame == told(&large, Told::TooLarge { mtu: NARROW_MTU }));
}
