//! VLAN tags: seen past, kept, and compared with those of the interface towards the real server.

use crate::{
    case::{Case, check},
    packets::{CUSTOMER_TAG, Frame, SERVICE_TAG, ethernet, tcp, udp},
    world::{
        DIRECTOR, DOUBLE_TAGGED, EMPTY, INNER_VLAN, LOCAL, Named, REDIRECTED, REDIRECTED_TAGGED,
        TAGGED, VLAN, WEB, v4, v6,
    },
};
use lb_common::Reason;
use std::net::IpAddr;

/// Both protocols, both families.
fn packets(service: Named) -> [(&'static str, Frame); 4] {
    [
        ("TCP over IPv4", tcp(service.v4(), 80, 9)),
        ("UDP over IPv4", udp(service.v4(), 80, 9)),
        ("TCP over IPv6", tcp(service.v6(), 80, 9)),
        ("UDP over IPv6", udp(service.v6(), 80, 9)),
    ]
}

/// The priority bits and the drop-eligible bit, which are no part of the VLAN's number.
const PRIORITY: u16 = 0xf000;

fn matching() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, frame) in packets(TAGGED) {
        cases.push(Case::sent(
            format!("{name} in its VLAN"),
            frame.clone().tag(CUSTOMER_TAG, VLAN).build(),
            TAGGED,
        ));
        let frame = frame.tag(SERVICE_TAG, PRIORITY | VLAN).build();
        cases.push(Case::sent(
            format!("{name} in its VLAN, by a service tag with priority"),
            frame,
            TAGGED,
        ));
    }
    for (name, frame) in packets(DOUBLE_TAGGED) {
        let both = frame
            .clone()
            .tag(SERVICE_TAG, VLAN)
            .tag(CUSTOMER_TAG, INNER_VLAN)
            .build();
        cases.push(Case::sent(
            format!("{name} in its inner and outer VLAN"),
            both,
            DOUBLE_TAGGED,
        ));
        let customer = frame
            .tag(CUSTOMER_TAG, VLAN)
            .tag(CUSTOMER_TAG, INNER_VLAN | PRIORITY)
            .build();
        cases.push(Case::sent(
            format!("{name} in two customer tags"),
            customer,
            DOUBLE_TAGGED,
        ));
    }
    for (name, frame) in packets(REDIRECTED_TAGGED) {
        let frame = frame.tag(CUSTOMER_TAG, VLAN).build();
        cases.push(Case::redirected(
            format!("{name} in the same VLAN of another interface"),
            frame,
            REDIRECTED_TAGGED,
        ));
    }
    for (name, frame) in packets(WEB) {
        let frame = frame.tag(CUSTOMER_TAG, PRIORITY).build();
        cases.push(Case::sent(
            format!("{name} with a priority tag, which is no VLAN (IEEE 802.1Q)"),
            frame,
            WEB,
        ));
    }
    for (name, frame) in packets(LOCAL) {
        let frame = frame.tag(CUSTOMER_TAG, 7).build();
        cases.push(Case::local(
            format!("{name} in any VLAN, to the host itself"),
            frame,
            LOCAL,
        ));
    }
    cases
}

fn mismatching() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut mismatch = |name: String, frame: Frame, service| {
        cases.push(Case::refused(
            name,
            frame.build(),
            Reason::VlanMismatch,
            service,
        ));
    };
    for (name, frame) in packets(WEB) {
        mismatch(
            format!("{name} tagged, its real server untagged"),
            frame.clone().tag(CUSTOMER_TAG, VLAN),
            WEB,
        );
        let frame = frame.tag(SERVICE_TAG, VLAN).tag(CUSTOMER_TAG, INNER_VLAN);
        mismatch(
            format!("{name} in two tags, its real server untagged"),
            frame,
            WEB,
        );
    }
    for (name, frame) in packets(TAGGED) {
        mismatch(
            format!("{name} untagged, its real server in a VLAN"),
            frame.clone(),
            TAGGED,
        );
        mismatch(
            format!("{name} in the VLAN next to its real server's"),
            frame.clone().tag(CUSTOMER_TAG, VLAN + 1),
            TAGGED,
        );
        let frame = frame.tag(SERVICE_TAG, VLAN).tag(CUSTOMER_TAG, INNER_VLAN);
        mismatch(format!("{name} with a tag too many"), frame, TAGGED);
    }
    for (name, frame) in packets(DOUBLE_TAGGED) {
        mismatch(
            format!("{name} with a tag missing"),
            frame.clone().tag(CUSTOMER_TAG, VLAN),
            DOUBLE_TAGGED,
        );
        let frame = frame.tag(CUSTOMER_TAG, INNER_VLAN).tag(CUSTOMER_TAG, VLAN);
        mismatch(
            format!("{name} with inner and outer exchanged"),
            frame,
            DOUBLE_TAGGED,
        );
    }
    for (name, frame) in packets(REDIRECTED) {
        mismatch(
            format!("{name} tagged, the other interface untagged"),
            frame.tag(CUSTOMER_TAG, VLAN),
            REDIRECTED,
        );
    }
    cases
}

fn others() -> Vec<Case> {
    let tagged = |frame: Frame| frame.tag(CUSTOMER_TAG, VLAN);
    let nobody = |address: IpAddr| tagged(tcp(address, 80, 9)).build();
    vec![
        Case::passed(
            "tagged IPv4 to another address",
            nobody(v4(200)),
            Reason::NotAService,
        ),
        Case::passed(
            "tagged IPv6 to another address",
            nobody(v6(200)),
            Reason::NotAService,
        ),
        Case::refused(
            "tagged IPv4, nobody to serve",
            tagged(tcp(EMPTY.v4(), 80, 9)).build(),
            Reason::NoRealServer,
            EMPTY,
        ),
        Case::refused(
            "tagged IPv6, nobody to serve",
            tagged(tcp(EMPTY.v6(), 80, 9)).build(),
            Reason::NoRealServer,
            EMPTY,
        ),
        Case::expired(
            "tagged IPv4, TTL 1",
            tagged(tcp(TAGGED.v4(), 80, 9)).ttl(1).build(),
            TAGGED,
        ),
        Case::expired(
            "tagged IPv6, hop limit 1",
            tagged(tcp(TAGGED.v6(), 80, 9)).ttl(1).build(),
            TAGGED,
        ),
        Case::passed(
            "three tags are one more than is looked past",
            tagged(tagged(tagged(tcp(WEB.v4(), 80, 9)))).build(),
            Reason::NotBalanced,
        ),
        Case::passed(
            "tagged ARP",
            ethernet(
                DIRECTOR,
                CUSTOMER_TAG,
                &[&[0, 100, 8, 6][..], &[1; 28]].concat(),
            ),
            Reason::NotBalanced,
        ),
        Case::passed(
            "a tag and nothing behind",
            ethernet(DIRECTOR, CUSTOMER_TAG, &[0, 100, 8, 0]),
            Reason::NotBalanced,
        ),
        Case::passed(
            "a tag cut in half",
            ethernet(DIRECTOR, CUSTOMER_TAG, &[0, 100]),
            Reason::NotBalanced,
        ),
        Case::passed(
            "a second tag cut in half",
            ethernet(DIRECTOR, SERVICE_TAG, &[0, 100, 0x81, 0, 0, 200, 8]),
            Reason::NotBalanced,
        ),
    ]
}

pub fn cases() -> Vec<Case> {
    [matching(), mismatching(), others()].concat()
}

#[test]
fn tagged_frames() {
    check(&cases());
}
