//! Adverts of keepalived 2.2.7 (Debian 12) as it sent them, captured on a veth pair, read and written byte by byte.

use super::*;

/// Bytes written as hexadecimal digits; blanks do not count.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16);
    let bytes = digits.chunks(2).map(byte).collect::<Result<_, _>>();
    bytes.expect("hexadecimal digits")
}

/// Both ways.
fn reads_and_writes(text: &str, endpoints: Endpoints, checksum: Reading, repr: Repr) {
    let bytes = hex(text);
    assert_eq!(emit(&repr, &endpoints, checksum), bytes);
    assert_eq!(parse(&bytes, &endpoints), Ok(Parsed { repr, checksum }));
}

/// What all of keepalived's adverts have in common.
fn keepalived(format: Format, millis: u64, addresses: &[&str]) -> Repr {
    let addresses = addresses.iter().map(|address| address.parse());
    let list: Vec<IpAddr> = addresses.collect::<Result<_, _>>().expect("addresses");
    let v4 = list.iter().filter_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    let v6 = list.iter().filter_map(|address| match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(*address),
    });
    Repr {
        virtual_router_id: 51,
        priority: 255,
        advert_interval: Duration::from_millis(millis),
        format,
        addresses: match list.first() {
            Some(IpAddr::V6(_)) => Addresses::V6(v6.collect()),
            Some(IpAddr::V4(_)) | None => Addresses::V4(v4.collect()),
        },
    }
}

// V01, V02, V04
#[test]
fn version_2_with_a_password() {
    let repr = keepalived(pass(), 1_000, &["192.0.2.10"]);
    let bytes = "2133ff01 0101ba5c c000020a 31313131 00000000";
    reads_and_writes(bytes, group(Family::V4), Reading::Message, repr);
}

// V01, V02: the sum by hand: 2133 + 6401 + 0101 + c000 + 020a + 3131 + 3131 = 1aaa1, carried aaa2, inverted 555d.
#[test]
fn version_2_with_a_password_summed_by_hand() {
    let mut repr = keepalived(pass(), 1_000, &["192.0.2.10"]);
    repr.priority = 100;
    let bytes = "21336401 0101555d c000020a 31313131 00000000";
    reads_and_writes(bytes, group(Family::V4), Reading::Message, repr);
}

// V03
#[test]
fn version_2_without_authentication() {
    let repr = keepalived(PLAIN, 3_000, &["192.0.2.10", "192.0.2.11"]);
    let bytes = "2133ff02 00035bb0 c000020a c000020b 00000000 00000000";
    reads_and_writes(bytes, group(Family::V4), Reading::Message, repr);
}

// V05: what is inside the authentication header.
#[test]
fn version_2_with_an_authentication_header_is_refused_by_name() {
    let bytes = hex("2133ff01 02011bbf c000020a 00000000 00000000");
    let error = parse(&bytes, &group(Family::V4));
    assert_eq!(error, Err(Error::AuthenticationHeader));
}

// V06, V07
#[test]
fn version_3_over_ipv4() {
    let repr = keepalived(Format::V3, 100, &["192.0.2.10", "192.0.2.11"]);
    let bytes = "3133ff02 000aa912 c000020a c000020b";
    reads_and_writes(bytes, group(Family::V4), Reading::PseudoHeader, repr);
}

// V09
#[test]
fn version_3_over_ipv4_to_a_peer() {
    let repr = keepalived(Format::V3, 1_000, &["192.0.2.10"]);
    let endpoints = v4([192, 0, 2, 3], [192, 0, 2, 4]);
    let bytes = "3133ff01 006488d7 c000020a";
    reads_and_writes(bytes, endpoints, Reading::PseudoHeader, repr);
}

// V08, V10, V11
#[test]
fn version_3_over_ipv6() {
    let repr = keepalived(Format::V3, 1_000, &["fe80::10", "2001:db8::10"]);
    let bytes =
        "3133ff02 0064a4da fe800000000000000000000000000010 20010db8000000000000000000000010";
    reads_and_writes(bytes, group(Family::V6), Reading::PseudoHeader, repr);
}
