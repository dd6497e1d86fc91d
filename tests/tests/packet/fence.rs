//! The fence's programs: which frames they hold back, and which adverts they take for a witness.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use lb_agent::datapath::fence::{Fenced, Fences};
use lb_agent::vrrp::packet::{
    Addresses, Endpoints, Format, GROUP_V4, GROUP_V6, Password, Reading, Repr,
};
use lb_common::fence::{
    Router,
    program::{EGRESS, INGRESS},
};

/// `TC_ACT_UNSPEC`, `TC_ACT_SHOT` (include/uapi/linux/pkt_cls.h).
const GOES_ON: u32 = u32::MAX;
const HELD_BACK: u32 = 2;

const VIP4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 100);
const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x100);
const OTHER4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 101);
const OTHER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x101);
/// Where this host's adverts come from, and a peer's.
const OWN4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 11);
const OWN6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11);
const PEER4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 12);
const PEER6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x12);
/// The interface that test runs happen on: loopback.
const INTERFACE: u32 = 1;

fn fenced(number: u16, family: u8) -> Fenced {
    Fenced {
        number,
        router: Router {
            ifindex: INTERFACE,
            id: 51,
            family,
            pad: [0; 2],
        },
        version: 3,
        source: if family == 4 {
            OWN4.into()
        } else {
            OWN6.into()
        },
        peers: Vec::new(),
        password: None,
        addresses: vec![if family == 4 {
            VIP4.into()
        } else {
            VIP6.into()
        }],
        // This host's adverts are always too old.
        patience: Duration::from_nanos(1),
        is_strict: false,
    }
}

/// What a program says to a frame.
fn run(fences: &mut Fences, name: &str, frame: &[u8]) -> u32 {
    let program: &mut SchedClassifier = fences
        .object()
        .program_mut(name)
        .and_then(|program| program.try_into().ok())
        .expect("the object has the program");
    let mut out = vec![0; frame.len() + 64];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ..TestRunOptions::default()
    };
    program
        .test_run(options)
        .expect("run a program")
        .return_value
}

fn frame(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame.resize(frame.len().max(60), 0);
    frame
}

fn arp(operation: u8, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, operation, 2, 0, 0, 0, 0, 2];
    arp.extend(sender.octets());
    arp.extend([0; 6]);
    arp.extend(target.octets());
    frame(0x0806, &arp)
}

/// A message of neighbour discovery behind as many extension headers.
fn discovery(kind: u8, target: Ipv6Addr, extensions: usize) -> Vec<u8> {
    let mut payload = Vec::new();
    for left in (0..extensions).rev() {
        payload.extend([if left > 0 { 60 } else { 58 }, 0, 1, 4, 0, 0, 0, 0]);
    }
    payload.extend([kind, 0, 0, 0, 0, 0, 0, 0]);
    payload.extend(target.octets());
    ipv6(
        if extensions > 0 { 60 } else { 58 },
        255,
        PEER6,
        target,
        &payload,
    )
}

fn ipv6(next: u8, hop_limit: u8, source: Ipv6Addr, to: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    let mut packet = vec![0x60, 0, 0, 0, 0, length, next, hop_limit];
    packet.extend(source.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    frame(0x86dd, &packet)
}

/// An advert, and how it is sent.
#[derive(Clone, Copy)]
struct Sent {
    from: IpAddr,
    to: IpAddr,
    ttl: u8,
    id: u8,
    priority: u8,
    format: Format,
    fragment: [u8; 2],
}

const SENT: Sent = Sent {
    from: IpAddr::V4(PEER4),
    to: IpAddr::V4(GROUP_V4),
    ttl: 255,
    id: 51,
    priority: 100,
    format: Format::V3,
    fragment: [0, 0],
};

impl Sent {
    fn frame(self) -> Vec<u8> {
        let endpoints = Endpoints::new(self.from, self.to).expect("of one family");
        let addresses = match self.from {
            IpAddr::V4(_) => Addresses::V4(vec![VIP4, OTHER4]),
            IpAddr::V6(_) => Addresses::V6(vec![VIP6]),
        };
        let repr = Repr {
            virtual_router_id: self.id,
            priority: self.priority,
            advert_interval: Duration::from_secs(1),
            format: self.format,
            addresses,
        };
        let mut advert = vec![0; repr.buffer_len()];
        repr.emit(&mut advert, &endpoints, Reading::PseudoHeader)
            .expect("an advert");
        match (self.from, self.to) {
            (IpAddr::V6(from), IpAddr::V6(to)) => ipv6(112, self.ttl, from, to, &advert),
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let length = u8::try_from(20 + advert.len()).expect("short");
                let [high, low] = self.fragment;
                let mut packet = vec![0x45, 0, 0, length, 0, 1, high, low, self.ttl, 112, 0, 0];
                packet.extend(from.octets());
                packet.extend(to.octets());
                packet.extend(advert);
                frame(0x0800, &packet)
            }
            _ => unreachable!("of one family"),
        }
    }
}

/// Whether a fence closes for an advert.
fn is_witness(fenced: &Fenced, sent: Sent) -> bool {
    let mut fences = Fences::unpinned().expect("load the fence");
    fences.fence(std::slice::from_ref(fenced)).expect("fence");
    assert_eq!(run(&mut fences, INGRESS, &sent.frame()), GOES_ON);
    fences.state(fenced.number).expect("it is fenced").is_closed
}

#[test]
fn questions_are_not_let_in_and_claims_not_out_while_a_fence_is_closed() {
    let (ask4, ask6) = (arp(1, OTHER4, VIP4), discovery(135, VIP6, 0));
    let mut ingress = vec![
        ("ARP request", ask4, HELD_BACK),
        ("solicitation", ask6, HELD_BACK),
        ("request for another", arp(1, OTHER4, OTHER4), GOES_ON),
        ("gratuitous ARP", arp(1, VIP4, VIP4), GOES_ON),
        ("ARP reply", arp(2, VIP4, OTHER4), GOES_ON),
        (
            "solicitation of another",
            discovery(135, OTHER6, 0),
            GOES_ON,
        ),
        ("advertisement", discovery(136, VIP6, 0), GOES_ON),
        (
            "beyond what is looked past",
            discovery(135, VIP6, 7),
            GOES_ON,
        ),
        ("cut short", discovery(135, VIP6, 0)[..60].to_vec(), GOES_ON),
        ("of no IP", frame(0x88cc, &[0; 46]), GOES_ON),
    ];
    ingress.extend((1..6).map(|n| ("behind extensions", discovery(135, VIP6, n), HELD_BACK)));
    let egress = [
        ("ARP reply", arp(2, VIP4, OTHER4), HELD_BACK),
        (
            "ARP request as the address",
            arp(1, VIP4, OTHER4),
            HELD_BACK,
        ),
        ("gratuitous ARP", arp(1, VIP4, VIP4), HELD_BACK),
        ("advertisement", discovery(136, VIP6, 0), HELD_BACK),
        ("behind extensions", discovery(136, VIP6, 3), HELD_BACK),
        ("request for the address", arp(1, OTHER4, VIP4), GOES_ON),
        ("solicitation", discovery(135, VIP6, 0), GOES_ON),
        (
            "advertisement of another",
            discovery(136, OTHER6, 0),
            GOES_ON,
        ),
    ];
    let mut fences = Fences::unpinned().expect("load the fence");
    for is_closed in [true, false] {
        let instance = |number, family| Fenced {
            is_strict: is_closed,
            ..fenced(number, family)
        };
        fences
            .fence(&[instance(1, 4), instance(2, 6)])
            .expect("fence");
        let ways = [(INGRESS, &ingress[..]), (EGRESS, &egress[..])];
        for (way, frames) in ways {
            for (what, frame, verdict) in frames {
                let verdict = if is_closed { *verdict } else { GOES_ON };
                assert_eq!(
                    run(&mut fences, way, frame),
                    verdict,
                    "{way} {what} {is_closed}"
                );
            }
        }
    }
    let counted = |number| {
        fences
            .state(number)
            .map(|state| (state.questions, state.answers))
    };
    assert_eq!((counted(1), counted(2)), (Some((1, 3)), Some((6, 2))));
}

#[test]
fn an_advert_of_another_router_of_this_virtual_router_is_a_witness() {
    let v6 = Sent {
        from: PEER6.into(),
        to: GROUP_V6.into(),
        ..SENT
    };
    assert!(is_witness(&fenced(1, 4), SENT));
    assert!(is_witness(&fenced(1, 6), v6));
    let own = Sent {
        from: OWN4.into(),
        ..SENT
    };
    let v2 = Format::V2 { password: None };
    for (what, sent) in [
        ("routed", Sent { ttl: 254, ..SENT }),
        ("another virtual router's", Sent { id: 52, ..SENT }),
        ("our own", own),
        ("of another version", Sent { format: v2, ..SENT }),
        (
            "a resignation",
            Sent {
                priority: 0,
                ..SENT
            },
        ),
        (
            "a fragment",
            Sent {
                fragment: [0x20, 0],
                ..SENT
            },
        ),
        (
            "from one to one",
            Sent {
                to: OWN4.into(),
                ..SENT
            },
        ),
        ("of the other family", v6),
    ] {
        assert!(!is_witness(&fenced(1, 4), sent), "{what}");
    }
}

#[test]
fn a_witness_must_know_the_password() {
    let with = |text: &str| Format::V2 {
        password: Some(Password::try_from(text).expect("short")),
    };
    let instance = Fenced {
        version: 2,
        password: Some(*b"1111\0\0\0\0"),
        ..fenced(1, 4)
    };
    for (format, is_one) in [
        (with("1111"), true),
        (with("1112"), false),
        (Format::V2 { password: None }, false),
    ] {
        assert_eq!(is_witness(&instance, Sent { format, ..SENT }), is_one);
    }
}

#[test]
fn of_unicast_routers_peers_alone_are_witnesses() {
    let instance = Fenced {
        peers: vec![PEER4.into()],
        ..fenced(1, 4)
    };
    let unicast = Sent {
        to: OWN4.into(),
        ttl: 64,
        ..SENT
    };
    let stranger = Sent {
        from: OTHER4.into(),
        ..unicast
    };
    assert!(is_witness(&instance, unicast));
    assert!(!is_witness(&instance, stranger));
    assert!(!is_witness(&instance, SENT), "multicast");
}

#[test]
fn a_witness_that_resigns_opens_the_fence_and_one_that_is_renewed_too() {
    let mut fences = Fences::unpinned().expect("load the fence");
    let instance = fenced(7, 4);
    fences
        .fence(std::slice::from_ref(&instance))
        .expect("fence");
    let is_closed = |fences: &Fences| fences.state(7).expect("it is fenced").is_closed;
    run(&mut fences, INGRESS, &SENT.frame());
    assert!(is_closed(&fences));
    // What is fenced again goes on as it stood, under another number as well.
    let moved = Fenced {
        number: 8,
        ..instance.clone()
    };
    fences.fence(&[moved]).expect("fence");
    assert!(fences.state(7).is_none());
    assert!(fences.state(8).expect("it is fenced").is_closed);
    fences.fence(&[instance]).expect("fence");
    assert!(is_closed(&fences));
    let resigned = Sent {
        priority: 0,
        ..SENT
    };
    run(&mut fences, INGRESS, &resigned.frame());
    assert!(!is_closed(&fences));
    run(&mut fences, INGRESS, &SENT.frame());
    assert!(is_closed(&fences));
    fences.renewal().renew(7);
    assert!(!is_closed(&fences), "heard before, not since");
    fences.open_all().expect("open");
    assert!(fences.state(7).is_none());
}
