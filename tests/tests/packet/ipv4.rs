//! IPv4: options, TTL, checksum, and headers that lie.

use crate::{
    case::{Case, check},
    packets::{self, ip_offset, tcp, udp},
    world::{EVERY_PORT, LOCAL, WEB, v4},
};
use lb_common::Reason;

/// A frame with bytes of its IP header replaced, its checksum left as it was.
fn patched(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    let at = ip_offset(&frame) + at;
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// An identification with which the header of a segment to `WEB` has the checksum `wanted`.
fn with_checksum(wanted: u16) -> Vec<u8> {
    (0..=u16::MAX)
        .map(|identification| tcp(WEB.v4(), 80, 4).identification(identification).build())
        .find(|frame| frame[24..26] == wanted.to_be_bytes())
        .unwrap_or_else(|| panic!("no header has the checksum {wanted:#06x}"))
}

pub fn cases() -> Vec<Case> {
    let web = WEB.v4();
    let mut cases = vec![
        Case::sent("TCP segment", tcp(web, 80, 100).build(), WEB),
        Case::sent("UDP datagram", udp(web, 80, 100).build(), WEB),
        Case::sent(
            "TCP segment without data, padded to 60 bytes",
            tcp(web, 80, 0).padding(6).build(),
            WEB,
        ),
        Case::sent(
            "UDP datagram without data, padded to 60 bytes",
            udp(web, 80, 0).padding(18).build(),
            WEB,
        ),
        Case::sent(
            "UDP datagram without data, not padded",
            udp(web, 80, 0).build(),
            WEB,
        ),
        Case::sent(
            "type of service and ECN stay",
            patched_with_checksum(tcp(web, 80, 1).build(), 1, &[0xbb]),
            WEB,
        ),
        Case::sent(
            "the reserved fragment bit means nothing",
            patched_with_checksum(tcp(web, 80, 1).build(), 6, &[0xc0]),
            WEB,
        ),
        Case::sent("TTL 2 becomes 1", tcp(web, 80, 9).ttl(2).build(), WEB),
        Case::sent("TTL 255 becomes 254", udp(web, 80, 9).ttl(255).build(), WEB),
        Case::expired("TTL 1 expires here", tcp(web, 80, 9).ttl(1).build(), WEB),
        Case::expired(
            "TTL 1 expires here, UDP",
            udp(web, 80, 9).ttl(1).build(),
            WEB,
        ),
        Case::expired(
            "TTL 0 should not be on the wire",
            tcp(web, 80, 9).ttl(0).build(),
            WEB,
        ),
        Case::passed(
            "TTL 1 to another address is the host's business",
            tcp(v4(200), 80, 9).ttl(1).build(),
            Reason::NotAService,
        ),
        Case::local(
            "TTL 1 is enough for a real server that is this host",
            tcp(LOCAL.v4(), 80, 9).ttl(1).build(),
            LOCAL,
        ),
        Case::passed(
            "IHL 4",
            patched(tcp(web, 80, 9).build(), 0, &[0x44]),
            Reason::Truncated,
        ),
        Case::passed(
            "IHL 0",
            patched(tcp(web, 80, 9).build(), 0, &[0x40]),
            Reason::Truncated,
        ),
        Case::passed(
            "IHL beyond the total length",
            patched(udp(web, 80, 0).build(), 0, &[0x4f]),
            Reason::Truncated,
        ),
        Case::passed(
            "version 6 in an IPv4 frame",
            patched(tcp(web, 80, 9).build(), 0, &[0x65]),
            Reason::Truncated,
        ),
        Case::passed(
            "version 0 in an IPv4 frame",
            patched(tcp(web, 80, 9).build(), 0, &[0x05]),
            Reason::Truncated,
        ),
        Case::passed(
            "total length beyond the frame",
            patched(tcp(web, 80, 9).build(), 2, &[0, 50]),
            Reason::Truncated,
        ),
        Case::passed(
            "total length 65535",
            patched(tcp(web, 80, 9).build(), 2, &[0xff, 0xff]),
            Reason::Truncated,
        ),
        Case::passed(
            "total length below the header",
            patched(tcp(web, 80, 9).build(), 2, &[0, 19]),
            Reason::Truncated,
        ),
        Case::passed(
            "total length 0",
            patched(tcp(web, 80, 9).build(), 2, &[0, 0]),
            Reason::Truncated,
        ),
        Case::passed(
            "total length ends inside the TCP header",
            patched(tcp(web, 80, 9).build(), 2, &[0, 39]),
            Reason::Truncated,
        ),
        Case::passed(
            "total length ends inside the UDP header",
            patched(udp(web, 80, 9).build(), 2, &[0, 27]),
            Reason::Truncated,
        ),
        Case::passed(
            "total length lies in a frame for nobody",
            patched(tcp(v4(200), 80, 9).build(), 2, &[0xff, 0xff]),
            Reason::NotAService,
        ),
        Case::sent(
            "total length leaves some bytes of data out",
            patched_with_checksum(tcp(web, 80, 9).build(), 2, &[0, 45]),
            WEB,
        ),
    ];
    for words in 1..=10 {
        cases.push(Case::sent(
            format!("TCP behind {words} words of options"),
            tcp(web, 80, 5).options(words).build(),
            WEB,
        ));
        let name = format!("UDP behind {words} words of options, exactly whole");
        cases.push(Case::sent(
            name,
            udp(EVERY_PORT.v4(), 5_000, 0).options(words).build(),
            EVERY_PORT,
        ));
    }
    // The checksum's arithmetic: around the carry, in either byte, and around both zeros of ones' complement.
    for checksum in [
        0x0000, 0x0001, 0x00ff, 0x0100, 0x01ff, 0xfdff, 0xfeff, 0xfefe, 0xff00, 0xfffe, 0xff01,
        0x8000, 0x7fff,
    ] {
        cases.push(Case::sent(
            format!("checksum {checksum:#06x}"),
            with_checksum(checksum),
            WEB,
        ));
    }
    // The other zero is as right on the wire (RFC 1624 §3), and the sum that a receiver makes must be right again.
    let zero = with_checksum(0x0000);
    let mut other_zero = zero.clone();
    other_zero[24..26].copy_from_slice(&[0xff, 0xff]);
    let output = packets::routed(&zero, WEB.real_server_mac(0), crate::world::DIRECTOR);
    cases.push(Case {
        output,
        ..Case::sent("checksum 0xffff for 0x0000", other_zero, WEB)
    });
    // 0x1234 + 0x0100: whoever receives it must still see that it is wrong.
    let wrong = patched(tcp(web, 80, 9).build(), 10, &[0x12, 0x34]);
    let mut output = packets::routed(&wrong, WEB.real_server_mac(0), crate::world::DIRECTOR);
    output[24..26].copy_from_slice(&[0x13, 0x34]);
    cases.push(Case {
        output,
        ..Case::sent("a wrong checksum stays wrong", wrong, WEB)
    });
    cases
}

/// As [`patched`], with the right checksum.
fn patched_with_checksum(frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = patched(frame, at, bytes);
    let at = ip_offset(&frame);
    packets::set_ipv4_checksum(&mut frame[at..]);
    frame
}

#[test]
fn ipv4_packets() {
    check(&cases());
}
