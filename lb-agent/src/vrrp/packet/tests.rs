//! Adverts byte by byte, there and back, cut short, made longer and spoiled.

use super::*;

mod golden;
mod properties;

pub(super) fn v4(source: [u8; 4], destination: [u8; 4]) -> Endpoints {
    Endpoints::V4 {
        source: source.into(),
        destination: destination.into(),
    }
}

/// To the group of all VRRP routers.
pub(super) fn group(family: Family) -> Endpoints {
    match family {
        Family::V4 => v4([192, 0, 2, 3], GROUP_V4.octets()),
        Family::V6 => Endpoints::V6 {
            source: "fe80::3".parse().expect("an address"),
            destination: GROUP_V6,
        },
    }
}

pub(super) fn parse(bytes: &[u8], endpoints: &Endpoints) -> Result<Parsed, Error> {
    Repr::parse(&Packet::new_checked(bytes, endpoints.family())?, endpoints)
}

pub(super) fn emit(repr: &Repr, endpoints: &Endpoints, reading: Reading) -> Vec<u8> {
    let mut bytes = vec![0xa5; repr.buffer_len()];
    repr.emit(&mut bytes, endpoints, reading)
        .expect("an advert that can be written");
    bytes
}

pub(super) fn password(text: &str) -> Password {
    Password::try_from(text).expect("1 to 8 bytes")
}

fn sample(format: Format, family: Family) -> Repr {
    Repr {
        virtual_router_id: 51,
        priority: 100,
        advert_interval: Duration::from_secs(1),
        format,
        addresses: match family {
            Family::V4 => Addresses::V4(vec![[192, 0, 2, 10].into(), [192, 0, 2, 11].into()]),
            Family::V6 => Addresses::V6(vec!["fe80::10".parse().expect("an address")]),
        },
    }
}

const PLAIN: Format = Format::V2 { password: None };

fn pass() -> Format {
    Format::V2 {
        password: Some(password("1111")),
    }
}

/// One of each kind, on the wire.
fn samples() -> Vec<(Vec<u8>, Endpoints)> {
    [
        (PLAIN, Family::V4, Reading::Message),
        (pass(), Family::V4, Reading::Message),
        (Format::V3, Family::V4, Reading::Message),
        (Format::V3, Family::V4, Reading::PseudoHeader),
        (Format::V3, Family::V6, Reading::PseudoHeader),
    ]
    .map(|(format, family, reading)| {
        let endpoints = group(family);
        (
            emit(&sample(format, family), &endpoints, reading),
            endpoints,
        )
    })
    .to_vec()
}

/// `bytes` with one changed and the checksum made right again.
fn forged(
    at: usize,
    value: u8,
    (mut bytes, endpoints): (Vec<u8>, Endpoints),
) -> (Vec<u8>, Endpoints) {
    bytes[at] = value;
    let reading = match bytes[0] >> 4 {
        2 => Reading::Message,
        _ => Reading::PseudoHeader,
    };
    bytes[field::CHECKSUM].fill(0);
    let checksum = checksum::compute(&bytes, reading, &endpoints);
    bytes[field::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    (bytes, endpoints)
}

fn v2_sample() -> (Vec<u8>, Endpoints) {
    samples().swap_remove(1)
}

fn v3_sample() -> (Vec<u8>, Endpoints) {
    samples().swap_remove(3)
}

fn refusal((bytes, endpoints): (Vec<u8>, Endpoints)) -> Error {
    parse(&bytes, &endpoints).expect_err("an advert to be refused")
}

// V23
#[test]
fn an_advert_cut_short_anywhere_is_too_short() {
    for (bytes, endpoints) in samples() {
        for length in 0..bytes.len() {
            let needed = match length {
                0..8 => 8,
                _ => bytes.len(),
            };
            let error = parse(&bytes[..length], &endpoints).expect_err("a part of an advert");
            assert_eq!(error, Error::TooShort { length, needed });
        }
    }
}

// V24
#[test]
fn bytes_left_over_are_refused() {
    for (mut bytes, endpoints) in samples() {
        let needed = bytes.len();
        for extra in 1..40 {
            bytes.push(0);
            let length = needed + extra;
            let error = parse(&bytes, &endpoints).expect_err("more than an advert");
            assert_eq!(error, Error::TooLong { length, needed });
        }
    }
}

// V20
#[test]
fn unknown_versions_are_refused_and_version_2_over_ipv6_too() {
    for version in (0..16).filter(|version| ![2, 3].contains(version)) {
        let forged = forged(0, version << 4 | ADVERTISEMENT, v2_sample());
        assert_eq!(refusal(forged), Error::UnknownVersion { version });
    }
    let (bytes, _) = v2_sample();
    let error = parse(&bytes, &group(Family::V6)).expect_err("no such thing");
    assert_eq!(error, Error::Version2OverIpv6);
}

// V21
#[test]
fn a_type_other_than_advert_is_refused() {
    for kind in (0..16).filter(|kind| *kind != ADVERTISEMENT) {
        let v2 = forged(0, 0x20 | kind, v2_sample());
        let v3 = forged(0, 0x30 | kind, v3_sample());
        assert_eq!(refusal(v2), Error::UnknownType { kind });
        assert_eq!(refusal(v3), Error::UnknownType { kind });
    }
}

// V22
#[test]
fn a_checksum_off_by_any_bit_is_refused() {
    for (bytes, endpoints) in samples() {
        for bit in 0..16 {
            let mut bytes = bytes.clone();
            bytes[6 + bit / 8] ^= 1 << (bit % 8);
            let received = u16::from_be_bytes([bytes[6], bytes[7]]);
            let error = parse(&bytes, &endpoints).expect_err("a wrong checksum");
            assert_eq!(error, Error::Checksum { received });
        }
    }
}

// V02
#[test]
fn version_2_has_no_pseudo_header() {
    let (bytes, _) = v2_sample();
    for source in [[192, 0, 2, 3], [198, 51, 100, 7]] {
        let parsed = parse(&bytes, &v4(source, [203, 0, 113, 9])).expect("a good advert");
        assert_eq!(parsed.checksum, Reading::Message);
    }
}

// V07
#[test]
fn both_checksums_of_version_3_over_ipv4_are_accepted_and_told_apart() {
    for reading in [Reading::PseudoHeader, Reading::Message] {
        let (repr, endpoints) = (sample(Format::V3, Family::V4), group(Family::V4));
        let bytes = emit(&repr, &endpoints, reading);
        let checksum = reading;
        assert_eq!(parse(&bytes, &endpoints), Ok(Parsed { repr, checksum }));
    }
}

// V09
#[test]
fn the_pseudo_header_of_a_unicast_advert_has_the_real_destination() {
    let repr = sample(Format::V3, Family::V4);
    let unicast = v4([192, 0, 2, 3], [192, 0, 2, 4]);
    let bytes = emit(&repr, &unicast, Reading::PseudoHeader);
    assert!(parse(&bytes, &unicast).is_ok());
    assert!(matches!(
        parse(&bytes, &group(Family::V4)),
        Err(Error::Checksum { .. })
    ));
}

// V08
#[test]
fn over_ipv6_the_message_alone_is_no_checksum() {
    let (repr, endpoints) = (sample(Format::V3, Family::V6), group(Family::V6));
    let mut bytes = emit(&repr, &endpoints, Reading::Message);
    assert!(parse(&bytes, &endpoints).is_ok(), "there is no choice");
    bytes[field::CHECKSUM].fill(0);
    let checksum = checksum::compute(&bytes, Reading::Message, &endpoints);
    bytes[field::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    assert!(matches!(
        parse(&bytes, &endpoints),
        Err(Error::Checksum { .. })
    ));
}

// V05
#[test]
fn an_authentication_header_is_refused_by_name() {
    let error = refusal(forged(v2::AUTH_TYPE, v2::AUTH_HEADER, v2_sample()));
    assert_eq!(error, Error::AuthenticationHeader);
    assert!(error.to_string().contains("AH"), "{error}");
}

#[test]
fn an_unknown_type_of_authentication_is_refused() {
    for auth_type in 3..=255 {
        let error = refusal(forged(v2::AUTH_TYPE, auth_type, v2_sample()));
        assert_eq!(error, Error::UnknownAuthentication { auth_type });
    }
}

// V03
#[test]
fn without_authentication_the_data_is_sent_as_zeros_and_not_looked_at() {
    let sent = samples().swap_remove(0);
    assert_eq!(sent.0.len(), 16 + 4 * 2);
    assert_eq!(sent.0[16..], [0; 8]);
    let (bytes, endpoints) = forged(20, 0x31, sent);
    let parsed = parse(&bytes, &endpoints).expect("a good advert");
    assert_eq!(parsed.repr.format, PLAIN);
}

// V30
#[test]
fn an_interval_of_zero_is_refused() {
    let v2 = forged(v2::ADVERT_S, 0, v2_sample());
    assert_eq!(refusal(v2), Error::ZeroInterval);
    let (mut bytes, endpoints) = v3_sample();
    // With every reserved bit set, too.
    for reserved in [0x00, 0xf0] {
        bytes[5] = 0;
        let v3 = forged(4, reserved, (bytes.clone(), endpoints));
        assert_eq!(refusal(v3), Error::ZeroInterval);
    }
}

// V31
#[test]
fn reserved_bits_are_not_looked_at() {
    for reserved in 1..16 {
        let (bytes, endpoints) = forged(4, reserved << 4, v3_sample());
        let parsed = parse(&bytes, &endpoints).expect("a good advert");
        assert_eq!(parsed.repr, sample(Format::V3, Family::V4));
    }
}

// V32
#[test]
fn an_advert_without_addresses_is_refused() {
    let v3 = (vec![0x31, 51, 100, 0, 0, 100, 0, 0], group(Family::V4));
    assert_eq!(refusal(forged(3, 0, v3)), Error::NoAddress);
    let v3 = (vec![0x31, 51, 100, 0, 0, 100, 0, 0], group(Family::V6));
    assert_eq!(refusal(forged(3, 0, v3)), Error::NoAddress);
    let mut bytes = vec![0x21, 51, 100, 0, 0, 1, 0, 0];
    bytes.extend([0; 8]);
    assert_eq!(
        refusal(forged(3, 0, (bytes, group(Family::V4)))),
        Error::NoAddress
    );
}

#[test]
fn an_address_count_that_the_length_belies_is_refused() {
    for (bytes, endpoints) in samples() {
        for count in 0..=255 {
            let (bytes, endpoints) = forged(3, count, (bytes.clone(), endpoints));
            let right = parse(&bytes, &endpoints).is_ok();
            assert_eq!(right, count == parse_count(&samples(), &bytes));
        }
    }
}

/// The count of the sample that `bytes` was made of.
fn parse_count(samples: &[(Vec<u8>, Endpoints)], bytes: &[u8]) -> u8 {
    let same =
        |(sample, _): &&(Vec<u8>, Endpoints)| sample.len() == bytes.len() && sample[0] == bytes[0];
    samples.iter().find(same).expect("one of them").0[3]
}

// V04
#[test]
fn a_password_of_other_than_1_to_8_bytes_is_an_error() {
    for (text, length) in [("", 0), ("123456789", 9), ("pässword", 9)] {
        assert_eq!(Password::try_from(text), Err(v2::PasswordLength { length }));
    }
    assert_eq!(password("1111").bytes(), *b"1111\0\0\0\0");
    assert_eq!(password("12345678").bytes(), *b"12345678");
}

#[test]
fn passwords_differ_at_every_byte_and_are_not_shown() {
    let right = password("abcdefgh");
    for at in 0..8 {
        let mut bytes = right.bytes();
        bytes[at] ^= 1;
        assert_ne!(Password::from_wire(bytes), right);
    }
    assert_eq!(Password::from_wire(right.bytes()), right);
    assert_eq!(format!("{right:?}"), "Password(..)");
}

#[test]
fn what_cannot_be_said_is_not_written() {
    let endpoints = group(Family::V4);
    let fails = |repr: &Repr, endpoints: &Endpoints| {
        let mut bytes = vec![0xa5; repr.buffer_len()];
        let error = repr.emit(&mut bytes, endpoints, Reading::Message);
        assert!(
            bytes.iter().all(|byte| *byte == 0xa5),
            "nothing was written"
        );
        error.expect_err("an advert that cannot be written")
    };
    // V14, V15
    for (format, millis) in [
        (PLAIN, [0, 999, 1_500, 256_000]),
        (Format::V3, [0, 5, 15, 40_960]),
    ] {
        for millis in millis {
            let mut repr = sample(format, Family::V4);
            repr.advert_interval = Duration::from_millis(millis);
            assert!(matches!(
                fails(&repr, &endpoints),
                EmitError::Interval { .. }
            ));
        }
    }
    let version_2 = sample(PLAIN, Family::V6);
    let error = fails(&version_2, &group(Family::V6));
    assert_eq!(error, EmitError::Version2OverIpv6);
    let version_3 = sample(Format::V3, Family::V6);
    assert_eq!(fails(&version_3, &endpoints), EmitError::Family);
    for count in [0, 256] {
        let mut repr = sample(Format::V3, Family::V4);
        repr.addresses = Addresses::V4(vec![[192, 0, 2, 10].into(); count]);
        assert_eq!(fails(&repr, &endpoints), EmitError::AddressCount { count });
    }
    let repr = sample(Format::V3, Family::V4);
    let needed = repr.buffer_len();
    for length in [0, needed - 1, needed + 1] {
        let error = repr.emit(&mut vec![0; length], &endpoints, Reading::Message);
        assert_eq!(error, Err(EmitError::BufferLength { length, needed }));
    }
}

#[test]
fn shortest_and_longest_intervals_come_back() {
    for (format, intervals) in [(PLAIN, [1_000, 255_000]), (Format::V3, [10, 40_950])] {
        for millis in intervals {
            let mut repr = sample(format, Family::V4);
            repr.advert_interval = Duration::from_millis(millis);
            let bytes = emit(&repr, &group(Family::V4), Reading::Message);
            let parsed = parse(&bytes, &group(Family::V4)).expect("a good advert");
            assert_eq!(parsed.repr, repr);
        }
    }
}

#[test]
fn each_error_has_a_counter_of_its_own() {
    let errors = [
        Error::TooShort {
            length: 0,
            needed: 8,
        },
        Error::TooLong {
            length: 9,
            needed: 8,
        },
        Error::UnknownVersion { version: 0 },
        Error::Version2OverIpv6,
        Error::UnknownType { kind: 0 },
        Error::Checksum { received: 0 },
        Error::NoAddress,
        Error::AuthenticationHeader,
        Error::UnknownAuthentication { auth_type: 3 },
        Error::ZeroInterval,
    ];
    let names: std::collections::BTreeSet<_> = errors.iter().map(Error::name).collect();
    assert_eq!(names.len(), errors.len());
}
