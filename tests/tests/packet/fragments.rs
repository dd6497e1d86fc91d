//! Fragments: the first goes where its ports say, and teaches where the others go; what comes before it is left alone.

use crate::{
    case::{Case, check},
    packets::{
        DESTINATION_OPTIONS, FRAGMENT, Frame, extension, flow_hash, fragmented, ip_offset, tcp,
        udp, udp_from,
    },
    world::{
        EMPTY, LOCAL, NAT4, NAT4_NARROW, NAT4_UNRESOLVED, NAT6, NAT6_NARROW, NAT6_UNRESOLVED,
        NO_EGRESS, NOT_OWNED, Named, REDIRECTED, TUN4, TUN4_VARIED, TUN6, TUN6_VARIED, UNRESOLVED,
        WEB, clients, v4, v6,
    },
};
use lb_common::{Reason, key};
use std::net::IpAddr;

/// Bytes of a datagram's data in each fragment.
const ROOM: usize = 1_480;

/// Identifications that no other case has.
struct Numbers(u16);

impl Numbers {
    fn next(&mut self) -> u16 {
        self.0 += 1;
        self.0
    }
}

/// The addresses of a service, of each family that it serves.
fn addresses(service: Named) -> Vec<IpAddr> {
    match service.manner.mode() {
        "nat" => vec![service.address()],
        _ => vec![service.v4(), service.v6()],
    }
}

/// What becomes of the fragments of a datagram that goes to the first real server of `service`.
fn forwarded(name: &str, service: Named, datagram: Frame, numbers: &mut Numbers) -> Vec<Case> {
    let whole = datagram.build();
    let number = numbers.next();
    let came = fragmented(&whole, number, ROOM);
    let flow = flow_hash(&whole[ip_offset(&whole)..]);
    let went = service.sent_in_pieces(&whole, flow, |sent| fragmented(sent, number, ROOM));
    let names = ["first", "second", "third", "fourth"];
    let mut cases: Vec<Case> = came
        .into_iter()
        .zip(went)
        .zip(names)
        .map(|((frame, output), which)| Case {
            name: format!("{name}: {which} fragment"),
            output,
            ..match service == REDIRECTED {
                true => Case::redirected("", frame, service),
                false => Case::sent("", frame, service),
            }
        })
        .collect();
    // They may come in any order once the first has been there.
    cases[1..].reverse();
    cases
}

fn taught(numbers: &mut Numbers) -> Vec<Case> {
    let mut cases = Vec::new();
    for service in [
        WEB,
        REDIRECTED,
        TUN4,
        TUN6,
        TUN4_VARIED,
        TUN6_VARIED,
        NAT4,
        NAT6,
    ] {
        for address in addresses(service) {
            let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            for (protocol, datagram) in [
                ("UDP", udp(address, 80, 4_000)),
                ("TCP", tcp(address, 80, 4_000)),
            ] {
                let name = format!("{protocol} over {family} to {:?}", service.name);
                cases.extend(forwarded(&name, service, datagram, numbers));
            }
        }
    }
    cases
}

/// Replies of NAT real servers in pieces.
fn replied(numbers: &mut Numbers) -> Vec<Case> {
    let mut cases = Vec::new();
    for (service, family) in [(NAT4, key::IPV4), (NAT6, key::IPV6)] {
        let (server, port) = (service.real_server(0), service.real_port());
        let client = clients(family)[0];
        let whole = udp_from(server, port, client, 40_000, 4_000).build();
        let number = numbers.next();
        let sent = Case::replied("", whole.clone(), service).output;
        let pieces = fragmented(&whole, number, ROOM)
            .into_iter()
            .zip(fragmented(&sent, number, ROOM));
        for ((frame, output), which) in pieces.zip(["first", "second", "third"]) {
            cases.push(Case {
                name: format!("{which} fragment of a reply of {:?}", service.name),
                output,
                verdict: crate::rig::TX,
                reason: Reason::Replied,
                service: Some(service),
                real_server: None,
                frame,
            });
        }
        let stray = fragmented(&whole, numbers.next(), ROOM).swap_remove(1);
        cases.push(Case::passed(
            format!("stray fragment from a real server of {:?}", service.name),
            stray,
            Reason::NotAService,
        ));
    }
    cases
}

/// What a later fragment meets beside the way of the first.
fn refused(numbers: &mut Numbers) -> Vec<Case> {
    let mut cases = Vec::new();
    for service in [UNRESOLVED, NO_EGRESS, NAT4_UNRESOLVED, NAT6_UNRESOLVED] {
        let reason = match service == NO_EGRESS {
            true => Reason::EgressUnusable,
            false => Reason::NextHopUnresolved,
        };
        for address in addresses(service) {
            let number = numbers.next();
            let pieces = fragmented(&udp(address, 80, 2_000).build(), number, ROOM);
            for (frame, which) in pieces.into_iter().zip(["first", "second"]) {
                let name = format!("{which} fragment to {address}, of {:?}", service.name);
                cases.push(Case::refused(name, frame, reason, service));
            }
        }
    }
    // Of the first fragment the sender is told, of no other.
    for service in [WEB, NAT4, NAT6, TUN4] {
        for address in addresses(service) {
            let number = numbers.next();
            let last = udp(address, 80, 2_000).ttl(1).build();
            let pieces = fragmented(&last, number, ROOM);
            let name = |which| format!("{which} fragment to {address}, TTL 1");
            cases.push(Case::expired(name("first"), pieces[0].clone(), service));
            cases.push(Case::refused(
                name("second"),
                pieces[1].clone(),
                Reason::TtlExpired,
                service,
            ));
        }
    }
    for service in [NAT4_NARROW, NAT6_NARROW] {
        let address = service.address();
        let number = numbers.next();
        let whole = udp(address, 80, 4_000).build();
        cases.push(Case {
            output: service
                .sent_in_pieces(&whole, 0, |sent| fragmented(sent, number, 64))
                .swap_remove(0),
            ..Case::sent(
                format!("small first fragment to {address}"),
                fragmented(&whole, number, 64).swap_remove(0),
                service,
            )
        });
        cases.push(Case::refused(
            format!("later fragment to {address}, too large"),
            fragmented(&whole, number, ROOM).swap_remove(1),
            Reason::TooLarge,
            service,
        ));
    }
    cases
}

pub fn cases() -> Vec<Case> {
    let mut numbers = Numbers(100);
    [
        taught(&mut numbers),
        replied(&mut numbers),
        refused(&mut numbers),
        alone(&mut numbers),
    ]
    .concat()
}

/// Fragments whose first one was not there.
fn alone(numbers: &mut Numbers) -> Vec<Case> {
    let mut cases = Vec::new();
    for (family, web, other, local) in [
        ("IPv4", WEB.v4(), v4(200), LOCAL.v4()),
        ("IPv6", WEB.v6(), v6(200), LOCAL.v6()),
    ] {
        let name = |what: &str| format!("{family}: {what}");
        let number = numbers.next();
        let later = |name, frame: Frame| {
            let frame = frame.identification(number).build();
            Case::passed(name, frame, Reason::LaterFragment)
        };
        cases.extend([
            later(
                name("second fragment, TCP"),
                tcp(web, 80, 100).fragment(1, true),
            ),
            later(
                name("second fragment, UDP"),
                udp(web, 80, 100).fragment(1, true),
            ),
            later(
                name("last fragment"),
                udp(web, 80, 100).fragment(185, false),
            ),
            later(
                name("last fragment at the farthest offset"),
                udp(web, 80, 3).fragment(0x1fff, false),
            ),
            later(
                name("later fragment whose bytes would be a port of no service"),
                tcp(web, 81, 9).fragment(2, true),
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
            Case::local(
                name("first fragment for a real server that is the host itself"),
                udp(local, 80, 100)
                    .identification(number)
                    .fragment(0, true)
                    .build(),
                LOCAL,
            ),
            Case::local(
                name("later fragment for a real server that is the host itself"),
                udp(local, 80, 100)
                    .identification(number)
                    .fragment(9, false)
                    .build(),
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
    let number = numbers.next();
    let behind_options = |number| {
        udp(WEB.v6(), 80, 9)
            .extension(DESTINATION_OPTIONS, extension(1))
            .identification(number)
    };
    cases.extend([
        Case::refused(
            "IPv4: first fragment, nobody to serve",
            tcp(EMPTY.v4(), 80, 9).fragment(0, true).build(),
            Reason::NoRealServer,
            EMPTY,
        ),
        Case::refused(
            "IPv6: first fragment, nobody to serve",
            tcp(EMPTY.v6(), 80, 9).fragment(0, true).build(),
            Reason::NoRealServer,
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
        Case::passed(
            "IPv6: later fragment behind destination options, before the first",
            behind_options(number).fragment(7, true).build(),
            Reason::LaterFragment,
        ),
        Case::sent(
            "IPv6: first fragment behind destination options",
            behind_options(number).fragment(0, true).build(),
            WEB,
        ),
        Case::sent(
            "IPv6: later fragment behind destination options",
            behind_options(number).fragment(7, true).build(),
            WEB,
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
