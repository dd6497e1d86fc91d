//! Frames longer than a page: only their beginning is directly readable, and all of them is sent and counted.

use crate::{
    case::{Case, check},
    packets::{CUSTOMER_TAG, ip_offset, tcp, udp},
    world::{LOCAL, REDIRECTED, TAGGED, VLAN, WEB, v4, v6},
};
use lb_common::Reason;

/// Payloads around what fits beside head- and tailroom into a page of 4096 bytes, and what an MTU of 9000 allows.
const PAYLOADS: [usize; 9] = [
    3_400, 3_440, 3_460, 3_480, 3_520, 4_096, 8_000, 8_900, 8_940,
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for len in PAYLOADS {
        cases.push(Case::sent(
            format!("TCP over IPv4, {len} bytes of data"),
            tcp(WEB.v4(), 80, len).build(),
            WEB,
        ));
        cases.push(Case::sent(
            format!("UDP over IPv4, {len} bytes of data"),
            udp(WEB.v4(), 80, len).build(),
            WEB,
        ));
        cases.push(Case::sent(
            format!("TCP over IPv6, {len} bytes of data"),
            tcp(WEB.v6(), 80, len).build(),
            WEB,
        ));
        cases.push(Case::sent(
            format!("UDP over IPv6, {len} bytes of data"),
            udp(WEB.v6(), 80, len).build(),
            WEB,
        ));
    }
    // One byte less than the IP header says, in the part that is not directly readable.
    let cut = |mut frame: Vec<u8>| {
        frame.pop();
        frame
    };
    let mut short = tcp(WEB.v4(), 80, 8_900).build();
    let ip = ip_offset(&short);
    short[ip + 2..ip + 4].copy_from_slice(&9_100_u16.to_be_bytes());
    cases.extend([
        Case::sent(
            "jumbo frame in a VLAN",
            tcp(TAGGED.v4(), 80, 8_000).tag(CUSTOMER_TAG, VLAN).build(),
            TAGGED,
        ),
        Case::sent(
            "jumbo frame with options",
            tcp(WEB.v4(), 80, 8_000).options(10).build(),
            WEB,
        ),
        Case::redirected(
            "jumbo frame out of another interface",
            tcp(REDIRECTED.v4(), 80, 8_000).build(),
            REDIRECTED,
        ),
        Case::local(
            "jumbo frame for the host itself, IPv4",
            tcp(LOCAL.v4(), 80, 8_000).build(),
            LOCAL,
        ),
        Case::local(
            "jumbo frame for the host itself, IPv6",
            tcp(LOCAL.v6(), 80, 8_000).build(),
            LOCAL,
        ),
        Case::passed(
            "jumbo frame for another address, IPv4",
            tcp(v4(200), 80, 8_000).build(),
            Reason::NotAService,
        ),
        Case::passed(
            "jumbo frame for another address, IPv6",
            tcp(v6(200), 80, 8_000).build(),
            Reason::NotAService,
        ),
        Case::passed(
            "jumbo frame cut by a byte, IPv4",
            cut(tcp(WEB.v4(), 80, 8_000).build()),
            Reason::Truncated,
        ),
        Case::passed(
            "jumbo frame cut by a byte, IPv6",
            cut(udp(WEB.v6(), 80, 8_000).build()),
            Reason::Truncated,
        ),
        Case::passed(
            "jumbo frame whose total length lies",
            short,
            Reason::Truncated,
        ),
        Case::expired(
            "jumbo frame with TTL 1",
            tcp(WEB.v4(), 80, 8_000).ttl(1).build(),
            WEB,
        ),
    ]);
    cases
}

#[test]
fn jumbo_frames() {
    check(&cases());
}
