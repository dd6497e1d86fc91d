//! Adverts that concern an instance, and those that do not.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::vrrp::counters::{Counters, Reason};
use crate::vrrp::packet::{GROUP_V4, HOP_LIMIT};

const S: Duration = Duration::from_secs(1);
const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 5);
const THEIRS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
const SAME: Difference = Difference {
    addresses: false,
    interval: false,
};

fn list(hosts: &[u8]) -> Addresses {
    Addresses::V4(hosts.iter().map(|host| [192, 0, 2, *host].into()).collect())
}

fn password(text: &str) -> Password {
    Password::try_from(text).expect("1 to 8 bytes")
}

fn filter(version: Version) -> Filter {
    Filter {
        virtual_router_id: 51,
        version,
        source: OURS.into(),
        casting: Casting::Multicast,
        hop_limits: HOP_LIMIT..=HOP_LIMIT,
        password: (version == Version::V2).then(|| password("1111")),
        advert_interval: S,
        addresses: list(&[10, 11]),
        other_list: OtherList::AcceptOverlap,
    }
}

/// What such a filter accepts.
fn repr(version: Version) -> Repr {
    Repr {
        virtual_router_id: 51,
        priority: 150,
        advert_interval: S,
        format: match version {
            Version::V2 => Format::V2 {
                password: Some(password("1111")),
            },
            Version::V3 => Format::V3,
        },
        addresses: list(&[10, 11]),
    }
}

fn to_group() -> Endpoints {
    Endpoints::V4 {
        source: THEIRS,
        destination: GROUP_V4,
    }
}

fn bytes(repr: &Repr, endpoints: &Endpoints) -> Vec<u8> {
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(&mut bytes, endpoints, Reading::PseudoHeader)
        .expect("an advert that can be written");
    bytes
}

fn accept_from(filter: &Filter, repr: &Repr, endpoints: Endpoints) -> Result<Accepted, Rejection> {
    filter.accept(&Datagram {
        endpoints,
        hop_limit: HOP_LIMIT,
        payload: &bytes(repr, &endpoints),
    })
}

fn accept(filter: &Filter, repr: &Repr) -> Result<Accepted, Rejection> {
    accept_from(filter, repr, to_group())
}

const BOTH: [Version; 2] = [Version::V2, Version::V3];

#[test]
fn an_advert_as_ours_is_accepted() {
    for version in BOTH {
        let accepted = accept(&filter(version), &repr(version)).expect("a good advert");
        let advert = Advert {
            source: THEIRS.into(),
            priority: 150,
            interval: S,
        };
        assert_eq!(accepted.advert, advert);
        assert_eq!(accepted.difference, SAME);
    }
}

// V19, V41
#[test]
fn a_hop_limit_outside_of_what_is_believed_is_refused() {
    let endpoints = to_group();
    for (hop_limits, believed) in [(255..=255, 255..=255), (250..=253, 250..=253)] {
        let filter = Filter {
            hop_limits,
            ..filter(Version::V3)
        };
        for hop_limit in 0..=255 {
            let payload = &bytes(&repr(Version::V3), &endpoints);
            let accepted = filter.accept(&Datagram {
                endpoints,
                hop_limit,
                payload,
            });
            assert_eq!(accepted.is_ok(), believed.contains(&hop_limit));
            if let Err(error) = accepted {
                assert_eq!(error.reason(), Refused::HopLimit);
            }
        }
    }
}

// V20
#[test]
fn the_other_version_is_refused() {
    for (ours, theirs) in [(Version::V2, Version::V3), (Version::V3, Version::V2)] {
        let error = accept(&filter(ours), &repr(theirs));
        assert_eq!(error, Err(Rejection::OtherVersion { received: theirs }));
    }
}

// V27
#[test]
fn another_virtual_router_is_refused_whatever_its_password() {
    let virtual_router_id = 52;
    let mut other = repr(Version::V2);
    other.virtual_router_id = virtual_router_id;
    other.format = Format::V2 { password: None };
    let error = accept(&filter(Version::V2), &other);
    assert_eq!(error, Err(Rejection::OtherRouter { virtual_router_id }));
}

// V25, V26
#[test]
fn passwords_must_be_there_or_not_and_be_right() {
    let none = Filter {
        password: None,
        ..filter(Version::V2)
    };
    let with = |password| Repr {
        format: Format::V2 { password },
        ..repr(Version::V2)
    };
    let ours = filter(Version::V2);
    assert_eq!(accept(&ours, &with(None)), Err(Rejection::PasswordMissing));
    let right = with(Some(password("1111")));
    assert_eq!(accept(&none, &right), Err(Rejection::PasswordUnexpected));
    assert!(accept(&none, &with(None)).is_ok());
    for wrong in ["1112", "111", "11111", "0111"] {
        let error = accept(&ours, &with(Some(password(wrong))));
        assert_eq!(error, Err(Rejection::PasswordWrong));
    }
}

// V28, V29
#[test]
fn another_interval_is_refused_in_version_2_and_learned_in_version_3() {
    for version in BOTH {
        let advert_interval = 2 * S;
        let other = Repr {
            advert_interval,
            ..repr(version)
        };
        match (version, accept(&filter(version), &other)) {
            (Version::V2, Err(error)) => assert_eq!(error.reason(), Refused::OtherInterval),
            (Version::V3, Ok(accepted)) => {
                assert_eq!(accepted.advert.interval, 2 * S);
                assert!(accepted.difference.interval);
            }
            (_, other) => panic!("{version:?}: {other:?}"),
        }
    }
}

fn with_list(version: Version, priority: u8, hosts: &[u8]) -> Repr {
    Repr {
        priority,
        addresses: list(hosts),
        ..repr(version)
    }
}

// V33, V34, V98
#[test]
fn a_list_with_an_address_of_ours_is_accepted_and_reported_and_another_is_refused() {
    for version in BOTH {
        for hosts in [&[10, 11, 12][..], &[10], &[10, 12], &[10, 10]] {
            let accepted = accept(&filter(version), &with_list(version, 150, hosts));
            assert!(accepted.expect("a good advert").difference.addresses);
        }
        let error = accept(&filter(version), &with_list(version, 150, &[12, 13]));
        assert_eq!(
            error.map_err(|error| error.reason()),
            Err(Refused::OtherAddresses)
        );
    }
}

// V33, V34
#[test]
fn a_strict_filter_refuses_other_lists_but_those_of_an_owner_in_version_2() {
    for version in BOTH {
        let strict = Filter {
            other_list: OtherList::Refuse,
            ..filter(version)
        };
        for hosts in [&[10, 11, 12][..], &[10], &[10, 12], &[12, 13]] {
            let other = accept(&strict, &with_list(version, 150, hosts));
            assert_eq!(
                other.map_err(|error| error.reason()),
                Err(Refused::OtherAddresses)
            );
            let owner = accept(&strict, &with_list(version, 255, hosts));
            assert_eq!(owner.is_ok(), version == Version::V2);
        }
        assert!(accept(&strict, &repr(version)).is_ok());
    }
}

// V35
#[test]
fn the_order_of_addresses_does_not_count() {
    for version in BOTH {
        let other = accept(&filter(version), &with_list(version, 150, &[11, 10]));
        assert_eq!(other.expect("a good advert").difference, SAME);
    }
}

// V37
#[test]
fn our_own_adverts_are_refused() {
    let own = Endpoints::V4 {
        source: OURS,
        destination: GROUP_V4,
    };
    let error = accept_from(&filter(Version::V3), &repr(Version::V3), own);
    assert_eq!(error.map_err(|error| error.reason()), Err(Refused::Own));
}

// V38, V40
#[test]
fn multicast_and_unicast_are_kept_apart_and_strangers_out() {
    let to_us = |host: u8| Endpoints::V4 {
        source: [192, 0, 2, host].into(),
        destination: OURS,
    };
    let multicast = filter(Version::V3);
    let unicast = |from: Option<&[u8]>| Filter {
        casting: Casting::Unicast {
            from: from.map(|hosts| list(hosts).iter().collect()),
        },
        ..filter(Version::V3)
    };
    for (filter, endpoints, reason) in [
        (&multicast, to_group(), None),
        (&multicast, to_us(3), Some(Refused::Casting)),
        (&unicast(None), to_us(3), None),
        (&unicast(None), to_us(4), None),
        (&unicast(None), to_group(), Some(Refused::Casting)),
        (&unicast(Some(&[3])), to_us(3), None),
        (&unicast(Some(&[3])), to_us(4), Some(Refused::NoPeer)),
        (&unicast(Some(&[3])), to_group(), Some(Refused::Casting)),
    ] {
        let result = accept_from(filter, &repr(Version::V3), endpoints);
        assert_eq!(result.err().map(|error| error.reason()), reason);
    }
}

// V39
#[test]
fn a_source_outside_of_the_subnet_is_accepted() {
    let elsewhere = Endpoints::V4 {
        source: [198, 51, 100, 9].into(),
        destination: GROUP_V4,
    };
    assert!(accept_from(&filter(Version::V3), &repr(Version::V3), elsewhere).is_ok());
}

// V43, V44
#[test]
fn each_refusal_is_counted_exactly_and_by_itself() {
    let filter = filter(Version::V2);
    let endpoints = to_group();
    let good = bytes(&repr(Version::V2), &endpoints);
    let mut spoiled = good.clone();
    spoiled[6] ^= 0x80;
    let mut counters = Counters::new();
    for turn in 0..1_000 {
        let (payload, hop_limit) = match turn % 4 {
            0 => (&good[..], 64),
            1 => (&good[..19], HOP_LIMIT),
            2 => (&spoiled[..], HOP_LIMIT),
            _ => (&good[..], HOP_LIMIT),
        };
        let datagram = Datagram {
            endpoints,
            hop_limit,
            payload,
        };
        if let Err(error) = filter.accept(&datagram) {
            counters.add(error.reason());
        }
    }
    let counted: Vec<_> = counters.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(
        counted,
        [
            ("too_short", 250),
            ("bad_checksum", 250),
            ("hop_limit", 250)
        ]
    );
}

// V44
#[test]
fn reasons_have_names_of_their_own_and_those_of_the_wire_format() {
    let names: std::collections::BTreeSet<_> = Refused::ALL.iter().map(|r| r.name()).collect();
    assert_eq!(names.len(), Refused::ALL.len());
    for error in [
        packet::Error::TooShort {
            length: 0,
            needed: 8,
        },
        packet::Error::TooLong {
            length: 9,
            needed: 8,
        },
        packet::Error::UnknownVersion { version: 0 },
        packet::Error::Version2OverIpv6,
        packet::Error::UnknownType { kind: 0 },
        packet::Error::Checksum { received: 0 },
        packet::Error::NoAddress,
        packet::Error::AuthenticationHeader,
        packet::Error::UnknownAuthentication { auth_type: 3 },
        packet::Error::ZeroInterval,
    ] {
        assert_eq!(Rejection::from(error).reason().name(), error.name());
    }
}

proptest! {
    // V45
    #[test]
    fn a_spoiled_advert_is_refused_or_says_what_it_said(
        v2: bool,
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let version = if v2 { Version::V2 } else { Version::V3 };
        let endpoints = to_group();
        let mut payload = bytes(&repr(version), &endpoints);
        let at = at.index(payload.len());
        payload[at] ^= 1 << bit;
        let result = filter(version).accept(&Datagram {
            endpoints,
            hop_limit: HOP_LIMIT,
            payload: &payload,
        });
        prop_assert!(result.is_err(), "one bit is always found: {:?}", result);
    }
}
