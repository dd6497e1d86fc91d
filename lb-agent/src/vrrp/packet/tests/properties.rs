//! Any advert there and back; adverts spoiled; bytes of all sorts.

use proptest::prelude::*;

use super::*;

fn any_endpoints(family: Family) -> BoxedStrategy<Endpoints> {
    match family {
        Family::V4 => any::<([u8; 4], [u8; 4])>()
            .prop_map(|(source, destination)| v4(source, destination))
            .boxed(),
        Family::V6 => any::<([u8; 16], [u8; 16])>()
            .prop_map(|(source, destination)| Endpoints::V6 {
                source: source.into(),
                destination: destination.into(),
            })
            .boxed(),
    }
}

fn any_addresses(family: Family) -> BoxedStrategy<Addresses> {
    match family {
        Family::V4 => prop::collection::vec(any::<[u8; 4]>().prop_map(Ipv4Addr::from), 1..=255)
            .prop_map(Addresses::V4)
            .boxed(),
        Family::V6 => prop::collection::vec(any::<[u8; 16]>().prop_map(Ipv6Addr::from), 1..=255)
            .prop_map(Addresses::V6)
            .boxed(),
    }
}

fn any_format() -> impl Strategy<Value = (Format, Duration)> {
    let seconds = || (1..=255u64).prop_map(Duration::from_secs);
    prop_oneof![
        seconds().prop_map(|interval| (PLAIN, interval)),
        ("[ -~]{1,8}", seconds()).prop_map(|(text, interval)| {
            let password = Some(password(&text));
            (Format::V2 { password }, interval)
        }),
        (1..=4095u64).prop_map(|cs| (Format::V3, Duration::from_millis(cs * 10))),
    ]
}

fn any_advert() -> impl Strategy<Value = (Repr, Endpoints, Reading)> {
    let reading = prop_oneof![Just(Reading::Message), Just(Reading::PseudoHeader)];
    (any_format(), any::<bool>(), any::<(u8, u8)>(), reading).prop_flat_map(
        |((format, advert_interval), over_v6, (virtual_router_id, priority), reading)| {
            let family = match (format, over_v6) {
                (Format::V3, true) => Family::V6,
                (Format::V3, false) | (Format::V2 { .. }, _) => Family::V4,
            };
            let repr = any_addresses(family).prop_map(move |addresses| Repr {
                virtual_router_id,
                priority,
                advert_interval,
                format,
                addresses,
            });
            (repr, any_endpoints(family), Just(reading))
        },
    )
}

/// The sum of RFC 1071, written once more and in another way: 16-bit words added up in ones' complement as they come.
fn ones_complement(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    bytes.chunks(2).fold(0u16, |sum, word| {
        let (sum, carry) = sum.overflowing_add(u16::from(word[0]) << 8 | u16::from(word[1]));
        sum + u16::from(carry)
    })
}

/// Whether the checksum is right in a way that the version and family allow.
fn checksum_is_right(bytes: &[u8], endpoints: &Endpoints) -> bool {
    let length = u8::try_from(bytes.len() >> 8).expect("short");
    let tail = [0, 112, length, (bytes.len() & 0xff) as u8];
    let tail_v6 = [0, 0, length, (bytes.len() & 0xff) as u8, 0, 0, 0, 112];
    let alone = ones_complement(&[bytes]) == 0xffff;
    match *endpoints {
        Endpoints::V4 {
            source,
            destination,
        } => {
            let pseudo = [&source.octets()[..], &destination.octets(), &tail].concat();
            alone || bytes[0] >> 4 == 3 && ones_complement(&[&pseudo, bytes]) == 0xffff
        }
        Endpoints::V6 {
            source,
            destination,
        } => {
            let pseudo = [&source.octets()[..], &destination.octets(), &tail_v6].concat();
            ones_complement(&[&pseudo, bytes]) == 0xffff
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back((repr, endpoints, reading) in any_advert()) {
        let bytes = emit(&repr, &endpoints, reading);
        prop_assert_eq!(bytes.len(), repr.buffer_len());
        prop_assert!(checksum_is_right(&bytes, &endpoints));
        let parsed = parse(&bytes, &endpoints);
        prop_assert_eq!(parsed.map(|parsed| parsed.repr), Ok(repr));
    }

    // V22, V45
    #[test]
    fn a_spoiled_advert_is_never_taken_with_a_wrong_checksum(
        (repr, endpoints, reading) in any_advert(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = emit(&repr, &endpoints, reading);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let parsed = parse(&bytes, &endpoints);
        prop_assert!(parsed.is_err() || checksum_is_right(&bytes, &endpoints));
    }

    // V45
    #[test]
    fn any_bytes_at_all_are_read_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        first in prop_oneof![Just(None), Just(Some(0x21)), Just(Some(0x31))],
        over_v6: bool,
    ) {
        let mut bytes = bytes;
        if let (Some(byte), Some(first)) = (bytes.first_mut(), first) {
            *byte = first;
        }
        let endpoints = group(if over_v6 { Family::V6 } else { Family::V4 });
        let parsed = parse(&bytes, &endpoints);
        prop_assert!(parsed.is_err() || checksum_is_right(&bytes, &endpoints));
    }
}
