//! Frames that end too early: at every byte of every combination of headers. Whatever is missing, the host gets the
//! frame as it came.

use crate::{
    case::hex_difference,
    packets::{
        CUSTOMER_TAG, DESTINATION_OPTIONS, FRAGMENT, Frame, HOP_BY_HOP, ROUTING, SERVICE_TAG,
        extension, ip_offset, set_ipv4_checksum, tcp, udp,
    },
    rig::{self, PASS},
    world::{TAGGED, VLAN, WEB},
};
use lb_common::Reason;

/// The shortest frame that `BPF_PROG_TEST_RUN` takes: an Ethernet header (`ETH_HLEN`).
const SHORTEST: usize = 14;

/// Every combination of headers, without a byte of data: the last byte of each frame is one of its headers'.
fn frames() -> Vec<(&'static str, Frame)> {
    let (web4, web6) = (WEB.v4(), WEB.v6());
    let atomic = vec![0, 0, 0, 0, 0, 0, 9];
    let chain = |frame: Frame| {
        frame
            .extension(HOP_BY_HOP, extension(1))
            .extension(ROUTING, extension(3))
            .extension(DESTINATION_OPTIONS, extension(2))
    };
    vec![
        ("IPv4, TCP", tcp(web4, 80, 0)),
        ("IPv4, UDP", udp(web4, 80, 0)),
        ("IPv4, options, TCP", tcp(web4, 80, 0).options(10)),
        ("IPv4, options, UDP", udp(web4, 80, 0).options(1)),
        ("IPv4, fragment, UDP", udp(web4, 80, 0).fragment(0, true)),
        (
            "tag, IPv4, TCP",
            tcp(TAGGED.v4(), 80, 0).tag(CUSTOMER_TAG, VLAN),
        ),
        (
            "two tags, IPv4, options, UDP",
            udp(web4, 80, 0)
                .tag(SERVICE_TAG, VLAN)
                .tag(CUSTOMER_TAG, 2)
                .options(3),
        ),
        ("IPv6, TCP", tcp(web6, 80, 0)),
        ("IPv6, UDP", udp(web6, 80, 0)),
        ("IPv6, extension headers, TCP", chain(tcp(web6, 80, 0))),
        ("IPv6, extension headers, UDP", chain(udp(web6, 80, 0))),
        (
            "IPv6, atomic fragment, UDP",
            udp(web6, 80, 0).extension(FRAGMENT, atomic),
        ),
        (
            "IPv6, first fragment, TCP",
            chain(tcp(web6, 80, 0)).fragment(0, true),
        ),
        (
            "tag, IPv6, UDP",
            udp(TAGGED.v6(), 80, 0).tag(CUSTOMER_TAG, VLAN),
        ),
        (
            "two tags, IPv6, extension headers, TCP",
            chain(tcp(web6, 80, 0))
                .tag(SERVICE_TAG, 1)
                .tag(CUSTOMER_TAG, 2),
        ),
    ]
}

/// Makes the IP header agree with the frame's length, as far as it is there: the packet is short, not cut.
fn agree(frame: &mut [u8]) {
    let ip = ip_offset(frame);
    let len = (frame.len() - ip) as u16;
    match frame[ip] >> 4 {
        4 if len >= 20 => {
            frame[ip + 2..ip + 4].copy_from_slice(&len.to_be_bytes());
            if usize::from(frame[ip] & 0x0f) * 4 <= usize::from(len) {
                set_ipv4_checksum(&mut frame[ip..]);
            }
        }
        6 if len >= 40 => frame[ip + 4..ip + 6].copy_from_slice(&(len - 40).to_be_bytes()),
        _ => {}
    }
}

/// Runs what `shorten` makes of every frame and every length short of its own, and fails with all that were not passed
/// as they were.
fn check_shortened(shorten: impl Fn(&[u8], usize) -> Vec<u8>) {
    let mut rig = rig::world();
    let before = rig.counters();
    let mut failures = String::new();
    for (name, frame) in frames() {
        let whole = frame.build();
        for len in SHORTEST..whole.len() {
            let short = shorten(&whole, len);
            let outcome = rig.run(&short);
            if outcome.verdict != PASS || outcome.frame != short {
                failures.push_str(&format!(
                    "{name}, {len} of {} bytes: verdict {}\n",
                    whole.len(),
                    outcome.verdict
                ));
                failures.push_str(&hex_difference(&outcome.frame, &short));
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    let moved = rig.counters().since(&before);
    assert!(
        moved.backends.is_empty(),
        "a backend was counted: {moved:?}"
    );
    assert!(
        moved
            .reasons
            .keys()
            .all(|(_, reason)| *reason == Reason::Truncated),
        "counted otherwise: {moved:?}"
    );
}

/// The first `len` bytes, whose IP header says that this is all.
fn shorter(whole: &[u8], len: usize) -> Vec<u8> {
    let mut short = whole[..len].to_vec();
    if len > ip_offset(whole) {
        agree(&mut short);
    }
    short
}

#[test]
fn frames_cut_at_any_byte_are_passed_as_they_are() {
    check_shortened(|whole, len| whole[..len].to_vec());
}

#[test]
fn packets_too_short_for_their_headers_are_passed_as_they_are() {
    check_shortened(shorter);
}

#[test]
fn packets_too_short_for_their_headers_in_padded_frames_are_passed_as_they_are() {
    check_shortened(|whole, len| {
        let mut short = shorter(whole, len);
        short.resize(len + 60, 0);
        short
    });
}

/// Headers that go on behind the packet's end are none.
#[test]
fn packets_that_end_inside_their_headers_are_passed_as_they_are() {
    check_shortened(|whole, len| {
        // A length that the IP header cannot say changes nothing: then the frame is cut.
        let short = shorter(whole, len);
        if short == whole[..len] {
            short
        } else {
            [&short, &whole[len..]].concat()
        }
    });
}
