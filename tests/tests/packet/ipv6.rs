//! IPv6: hop limit, headers that lie, and chains of extension headers.

use crate::{
    case::{Case, check},
    packets::{
        DESTINATION_OPTIONS, FRAGMENT, Frame, HOP_BY_HOP, MOBILITY, ROUTING, extension, ip_offset,
        tcp, to, udp,
    },
    world::{EVERY_PORT, LOCAL, WEB, v6},
};
use lb_common::Reason;

/// Extension headers that the program sees past.
const MAX_HEADERS: usize = 6;

/// A frame with bytes of its IP header replaced.
fn patched(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    let at = ip_offset(&frame) + at;
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// A fragment header that says "all of it" (RFC 6946), but for the next header.
fn atomic() -> Vec<u8> {
    vec![0, 0, 0, 0, 0, 0, 9]
}

/// As many of the shortest extension headers.
fn chain(frame: Frame, headers: usize) -> Frame {
    (0..headers).fold(frame, |frame, _| {
        frame.extension(DESTINATION_OPTIONS, extension(1))
    })
}

fn fixed_header() -> Vec<Case> {
    let web = WEB.v6();
    vec![
        Case::sent("TCP segment", tcp(web, 80, 100).build(), WEB),
        Case::sent("UDP datagram", udp(web, 80, 100).build(), WEB),
        Case::sent("UDP datagram without data", udp(web, 80, 0).build(), WEB),
        Case::sent(
            "TCP segment with bytes after the packet",
            tcp(web, 80, 0).padding(7).build(),
            WEB,
        ),
        Case::sent(
            "traffic class and flow label stay",
            patched(tcp(web, 80, 1).build(), 0, &[0x6b, 0xcd, 0xef, 0x12]),
            WEB,
        ),
        Case::sent("hop limit 2 becomes 1", tcp(web, 80, 9).ttl(2).build(), WEB),
        Case::sent(
            "hop limit 255 becomes 254",
            udp(web, 80, 9).ttl(255).build(),
            WEB,
        ),
        Case::expired(
            "hop limit 1 expires here",
            tcp(web, 80, 9).ttl(1).build(),
            WEB,
        ),
        Case::expired(
            "hop limit 1 expires here, UDP",
            udp(web, 80, 9).ttl(1).build(),
            WEB,
        ),
        Case::expired("hop limit 0", tcp(web, 80, 9).ttl(0).build(), WEB),
        Case::passed(
            "hop limit 1 to another address",
            tcp(v6(200), 80, 9).ttl(1).build(),
            Reason::NotAService,
        ),
        Case::local(
            "hop limit 1 is enough for the host itself",
            tcp(LOCAL.v6(), 80, 9).ttl(1).build(),
            LOCAL,
        ),
        Case::passed(
            "version 4 in an IPv6 frame",
            patched(tcp(web, 80, 9).build(), 0, &[0x45]),
            Reason::Truncated,
        ),
        Case::passed(
            "version 0 in an IPv6 frame",
            patched(tcp(web, 80, 9).build(), 0, &[0x00]),
            Reason::Truncated,
        ),
        Case::passed(
            "payload length beyond the frame",
            patched(tcp(web, 80, 9).build(), 4, &[0, 30]),
            Reason::Truncated,
        ),
        Case::passed(
            "payload length 65535",
            patched(tcp(web, 80, 9).build(), 4, &[0xff, 0xff]),
            Reason::Truncated,
        ),
        Case::passed(
            "payload length 0",
            patched(tcp(web, 80, 9).build(), 4, &[0, 0]),
            Reason::Truncated,
        ),
        Case::passed(
            "payload ends inside the TCP header",
            patched(tcp(web, 80, 9).build(), 4, &[0, 19]),
            Reason::Truncated,
        ),
        Case::passed(
            "payload ends inside the UDP header",
            patched(udp(web, 80, 9).build(), 4, &[0, 7]),
            Reason::Truncated,
        ),
        Case::passed(
            "payload length lies in a frame for nobody",
            patched(tcp(v6(200), 80, 9).build(), 4, &[9, 9]),
            Reason::NotAService,
        ),
        Case::sent(
            "payload length leaves some bytes out",
            patched(tcp(web, 80, 9).build(), 4, &[0, 25]),
            WEB,
        ),
    ]
}

fn extension_headers() -> Vec<Case> {
    let web = WEB.v6();
    let mut cases = Vec::new();
    let each = [
        ("hop-by-hop options", HOP_BY_HOP, extension(1)),
        ("hop-by-hop options of 24 bytes", HOP_BY_HOP, extension(3)),
        (
            "a routing header with no segment left",
            ROUTING,
            extension(1),
        ),
        ("a routing header of two addresses", ROUTING, extension(5)),
        ("destination options", DESTINATION_OPTIONS, extension(1)),
        (
            "destination options of 248 bytes",
            DESTINATION_OPTIONS,
            extension(31),
        ),
        ("a mobility header", MOBILITY, extension(2)),
        ("an atomic fragment header", FRAGMENT, atomic()),
        (
            "an atomic fragment header whose reserved bits are set",
            FRAGMENT,
            vec![0xff, 0, 0x06, 0, 0, 0, 9],
        ),
    ];
    for (name, number, body) in each {
        cases.push(Case::sent(
            format!("TCP behind {name}"),
            tcp(web, 80, 9).extension(number, body.clone()).build(),
            WEB,
        ));
        let exactly = udp(EVERY_PORT.v6(), 5_000, 0)
            .extension(number, body)
            .build();
        cases.push(Case::sent(
            format!("UDP behind {name}, exactly whole"),
            exactly,
            EVERY_PORT,
        ));
    }
    for headers in 2..=MAX_HEADERS {
        cases.push(Case::sent(
            format!("TCP behind {headers} extension headers"),
            chain(tcp(web, 80, 9), headers).build(),
            WEB,
        ));
        let name = format!("UDP behind {headers} extension headers");
        cases.push(Case::sent(
            name,
            chain(udp(web, 80, 9), headers).build(),
            WEB,
        ));
    }
    let recommended = tcp(web, 80, 9)
        .extension(HOP_BY_HOP, extension(1))
        .extension(DESTINATION_OPTIONS, extension(1))
        .extension(ROUTING, extension(3))
        .extension(FRAGMENT, atomic())
        .extension(DESTINATION_OPTIONS, extension(2))
        .extension(MOBILITY, extension(1));
    cases.push(Case::sent(
        "every kind in the order of RFC 8200",
        recommended.build(),
        WEB,
    ));
    cases.push(Case::sent(
        "the last header as long as it may be",
        tcp(web, 80, 9)
            .extension(DESTINATION_OPTIONS, long(255))
            .build(),
        WEB,
    ));
    let to_another = [
        (
            "too many extension headers to another address",
            chain(tcp(v6(200), 80, 9), MAX_HEADERS + 1),
        ),
        (
            "too long extension headers to another address",
            too_long(tcp(v6(200), 80, 9)),
        ),
    ];
    cases.extend(
        to_another.map(|(name, frame)| Case::passed(name, frame.build(), Reason::NotAService)),
    );
    let to_a_vip = [
        (
            "too many extension headers",
            chain(tcp(web, 80, 9), MAX_HEADERS + 1),
        ),
        (
            "many too many extension headers",
            chain(udp(web, 80, 9), 40),
        ),
        (
            "too many extension headers, to a port of no service",
            chain(tcp(web, 81, 9), MAX_HEADERS + 1),
        ),
        ("too long extension headers", too_long(tcp(web, 80, 9))),
    ];
    cases.extend(
        to_a_vip.map(|(name, frame)| Case::dropped(name, frame.build(), Reason::ExtensionHeaders)),
    );
    cases
}

fn other_chains() -> Vec<Case> {
    let web = WEB.v6();
    // The header says 16 bytes, and 8 are left of the packet; the frame goes on.
    let overrun = to(web, DESTINATION_OPTIONS, vec![6, 1, 1, 4, 0, 0, 0, 0])
        .padding(40)
        .build();
    let cut = to(web, DESTINATION_OPTIONS, vec![6, 0, 1, 4]).build();
    let no_room = to(web, DESTINATION_OPTIONS, vec![6, 0, 1, 4, 0, 0, 0, 0]).build();
    // Of the sixth header only half is in the packet, and what follows would be a seventh.
    let cut_sixth = patched(
        chain(tcp(web, 80, 9), MAX_HEADERS + 1).build(),
        4,
        &[0, MAX_HEADERS as u8 * 8 - 4],
    );
    vec![
        Case::passed(
            "too many extension headers, but for the packet's end",
            cut_sixth,
            Reason::Truncated,
        ),
        Case::passed(
            "an extension header that runs over the packet's end",
            overrun,
            Reason::Truncated,
        ),
        Case::passed("an extension header cut in half", cut, Reason::Truncated),
        Case::passed(
            "nothing behind the extension header",
            no_room,
            Reason::Truncated,
        ),
        Case::passed(
            "no next header (59)",
            to(web, 59, vec![0; 20]).build(),
            Reason::NotBalanced,
        ),
        Case::passed(
            "an authentication header is not looked behind",
            to(web, 51, vec![6; 60]).build(),
            Reason::NotBalanced,
        ),
        Case::passed(
            "ICMPv6 echo behind destination options",
            echo().extension(DESTINATION_OPTIONS, extension(1)).build(),
            Reason::NotBalanced,
        ),
        Case::passed(
            "a port of no service behind extension headers",
            chain(tcp(web, 81, 9), 3).build(),
            Reason::NotAService,
        ),
        Case::expired(
            "hop limit 1 behind extension headers",
            chain(tcp(web, 80, 9), 2).ttl(1).build(),
            WEB,
        ),
    ]
}

/// Destination options of `units` eight-byte units and eight bytes more, zero (Pad1) throughout.
fn long(units: u8) -> Vec<u8> {
    let mut body = vec![0; usize::from(units) * 8 + 7];
    body[0] = units;
    body
}

/// Extension headers of which the second begins beyond 511 bytes.
fn too_long(frame: Frame) -> Frame {
    frame
        .extension(DESTINATION_OPTIONS, long(60))
        .extension(DESTINATION_OPTIONS, extension(1))
}

fn echo() -> Frame {
    to(WEB.v6(), 58, vec![128, 0, 0, 0, 0, 1, 0, 1])
}

pub fn cases() -> Vec<Case> {
    [fixed_header(), extension_headers(), other_chains()].concat()
}

#[test]
fn ipv6_packets() {
    check(&cases());
}
