//! Fragments: the first names a service but its rest does not, so neither is forwarded.

use crate::{
    case::{Case, check},
    packets::{DESTINATION_OPTIONS, FRAGMENT, extension, tcp, udp},
    world::{EMPTY, LOCAL, NOT_OWNED, WEB, v4, v6},
};
use lb_common::Reason;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (family, web, other, local) in [
        ("IPv4", WEB.v4(), v4(200), LOCAL.v4()),
        ("IPv6", WEB.v6(), v6(200), LOCAL.v6()),
    ] {
        let name = |what: &str| format!("{family}: {what}");
        let first = |name, frame| Case::refused(name, frame, Reason::Fragment, WEB);
        let later = |name, frame| Case::passed(name, frame, Reason::LaterFragment);
        cases.extend([
            first(
                name("first fragment, TCP"),
                tcp(web, 80, 100).fragment(0, true).build(),
            ),
            first(
                name("first fragment, UDP"),
                udp(web, 80, 100).fragment(0, true).build(),
            ),
            first(
                name("first fragment is refused before its TTL is"),
                udp(web, 80, 100).fragment(0, true).ttl(1).build(),
            ),
            later(
                name("second fragment, TCP"),
                tcp(web, 80, 100).fragment(1, true).build(),
            ),
            later(
                name("second fragment, UDP"),
                udp(web, 80, 100).fragment(1, true).build(),
            ),
            later(
                name("last fragment"),
                udp(web, 80, 100).fragment(185, false).build(),
            ),
            later(
                name("last fragment at the farthest offset"),
                udp(web, 80, 3).fragment(0x1fff, false).build(),
            ),
            later(
                name("later fragment whose bytes would be a port of no service"),
                tcp(web, 81, 9).fragment(2, true).build(),
            ),
            Case::passed(
                name("first fragment for another port"),
                tcp(web, 81, 100).fragment(0, true).build(),
                Reason::NotAService,
            ),
            Case::passed(
                name("first fragment for another address"),
                udp(other, 80, 100).fragment(0, true).build(),
                Reason::NotAService,
            ),
            Case::passed(
                name("later fragment for another address"),
                udp(other, 80, 100).fragment(9, false).build(),
                Reason::NotAService,
            ),
            Case::refused(
                name("first fragment for the host itself"),
                udp(local, 80, 100).fragment(0, true).build(),
                Reason::Fragment,
                LOCAL,
            ),
        ]);
    }
    let short = |at: usize| {
        udp(WEB.v6(), 80, 0)
            .extension(FRAGMENT, vec![0, 0, 8, 0, 0, 0, 9])
            .build()[..at]
            .to_vec()
    };
    cases.extend([
        Case::refused(
            "IPv4: first fragment, nobody to serve",
            tcp(EMPTY.v4(), 80, 9).fragment(0, true).build(),
            Reason::Fragment,
            EMPTY,
        ),
        Case::refused(
            "IPv6: first fragment, nobody to serve",
            tcp(EMPTY.v6(), 80, 9).fragment(0, true).build(),
            Reason::Fragment,
            EMPTY,
        ),
        Case::refused(
            "IPv4: first fragment, not owned",
            tcp(NOT_OWNED.v4(), 80, 9).fragment(0, true).build(),
            Reason::NotOwner,
            NOT_OWNED,
        ),
        Case::refused(
            "IPv6: first fragment, not owned",
            tcp(NOT_OWNED.v6(), 80, 9).fragment(0, true).build(),
            Reason::NotOwner,
            NOT_OWNED,
        ),
        Case::sent(
            "IPv4: may be fragmented, but is not",
            tcp(WEB.v4(), 80, 9).fragment(0, false).build(),
            WEB,
        ),
        Case::sent(
            "IPv6: atomic fragment",
            tcp(WEB.v6(), 80, 9).fragment(0, false).build(),
            WEB,
        ),
        Case::refused(
            "IPv6: first fragment behind destination options",
            udp(WEB.v6(), 80, 9)
                .extension(DESTINATION_OPTIONS, extension(1))
                .fragment(0, true)
                .build(),
            Reason::Fragment,
            WEB,
        ),
        Case::passed(
            "IPv6: later fragment behind destination options",
            udp(WEB.v6(), 80, 9)
                .extension(DESTINATION_OPTIONS, extension(1))
                .fragment(7, true)
                .build(),
            Reason::LaterFragment,
        ),
        Case::passed(
            "IPv6: cut inside the fragment header",
            short(58),
            Reason::Truncated,
        ),
        Case::passed(
            "IPv4: first fragment shorter than a UDP header",
            udp(WEB.v4(), 80, 0).fragment(0, true).build()[..40].to_vec(),
            Reason::Truncated,
        ),
    ]);
    cases
}

#[test]
fn fragmented_datagrams() {
    check(&cases());
}
