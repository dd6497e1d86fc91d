//! Addresses that share a bit of the address filter with a virtual one: the service table tells them apart.

use crate::{
    case::{Case, check, check_on},
    packets::{DESTINATION_OPTIONS, Frame, extension, tcp, to, udp},
    rig,
    world::{SERVICES, WEB},
};
use lb_common::{Address, Control, Live, Reason, filter, hash, key};
use std::{
    mem::offset_of,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

fn position(address: IpAddr) -> (usize, u32) {
    filter::position(match address {
        IpAddr::V4(address) => u32::from_ne_bytes(address.octets()),
        IpAddr::V6(address) => hash::fold(&key::words(address.octets())),
    })
}

/// The first of `addresses` that is not virtual and has the same bit as `virtual_address`.
fn twin(virtual_address: IpAddr, mut addresses: impl Iterator<Item = IpAddr>) -> IpAddr {
    addresses
        .find(|&address| {
            position(address) == position(virtual_address)
                && SERVICES
                    .iter()
                    .all(|service| address != service.v4() && address != service.v6())
        })
        .expect("one of so many addresses has the same of 65,536 bits")
}

/// Addresses of hosts nearby, and of the same /64.
fn hosts4() -> impl Iterator<Item = IpAddr> {
    (0..1 << 24).map(|host: u32| Ipv4Addr::from(0x0b00_0000 | host).into())
}

fn hosts6() -> impl Iterator<Item = IpAddr> {
    (0..1 << 24).map(|host: u128| Ipv6Addr::from(0x2001_0db8 << 96 | 0xffff << 32 | host).into())
}

pub fn cases() -> Vec<Case> {
    let twins = [
        ("IPv4, as an IPv4 service", twin(WEB.v4(), hosts4())),
        ("IPv4, as an IPv6 service", twin(WEB.v6(), hosts4())),
        ("IPv6, as an IPv6 service", twin(WEB.v6(), hosts6())),
        ("IPv6, as an IPv4 service", twin(WEB.v4(), hosts6())),
    ];
    let mut cases = Vec::new();
    for (name, address) in twins {
        let mut untouched = |what: &str, frame: Frame| {
            cases.push(Case::passed(
                format!("{name}: {what}"),
                frame.build(),
                Reason::NotAService,
            ));
        };
        untouched("TCP", tcp(address, 80, 9));
        untouched("UDP", udp(address, 80, 9));
        untouched("TTL 1", tcp(address, 80, 9).ttl(1));
        untouched("first fragment", udp(address, 80, 9).fragment(0, true));
        untouched("later fragment", udp(address, 80, 9).fragment(4, false));
        untouched("ICMP", to(address, 1, vec![8; 8]));
        untouched("cut short", to(address, 6, vec![0; 19]));
        if address.is_ipv6() {
            let many = (0..7).fold(tcp(address, 80, 9), |frame, _| {
                frame.extension(DESTINATION_OPTIONS, extension(1))
            });
            untouched("too many extension headers", many);
        }
    }
    cases
}

#[test]
fn addresses_that_the_filter_takes_for_virtual_ones() {
    check(&cases());
}

/// An IPv4 address whose four bytes are the first of an IPv6 service's, and the other way round.
#[test]
fn addresses_of_the_other_family_with_the_same_words() {
    let alike4 = Ipv4Addr::new(0x20, 1, 0xd, 0xb8).into();
    let alike6 = |octets: [u8; 4]| {
        let mut address = [0; 16];
        address[..4].copy_from_slice(&octets);
        IpAddr::from(address)
    };
    check(&[
        Case::passed(
            "the IPv6 service's first four bytes",
            tcp(alike4, 80, 9).build(),
            Reason::NotAService,
        ),
        Case::passed(
            "the IPv4 service's four bytes and zeros",
            tcp(alike6([10, 0, 0, WEB.host]), 80, 9).build(),
            Reason::NotAService,
        ),
    ]);
}

/// Addresses that differ from a service's in one word only, and yet have its bit of the filter and its home in the service
/// table: nothing but the comparison of that word tells them apart.
#[test]
fn addresses_that_one_word_tells_from_a_service() {
    let mut rig = rig::world();
    let maps = rig.datapath.maps();
    let bank = Live(maps.control.load_word(0, offset_of!(Control, live))).bank();
    let seeds = maps.control.load_word(0, offset_of!(Control, service_seed));
    let seed = (seeds >> (32 * bank)) as u32;
    let mask = maps.capacity().services - 1;
    let twin = |service: Address, family, word: usize| {
        let place = |address: &Address| {
            let folded = hash::fold(address);
            let tuple = key::tuple(80_u16.to_be(), key::TCP, family);
            (
                filter::position(folded),
                hash::service(folded, tuple, seed) & mask,
            )
        };
        let wanted = place(&service);
        (1..=u32::MAX)
            .map(|change| {
                let mut other = service;
                other[word] ^= change;
                other
            })
            .find(|other| place(other) == wanted)
            .expect("one of so many words has the same of some 16 million places")
    };
    let mut cases = Vec::new();
    let (IpAddr::V4(v4), IpAddr::V6(v6)) = (WEB.v4(), WEB.v6()) else {
        panic!("the service has an address of each family")
    };
    let v4 = twin([u32::from_ne_bytes(v4.octets()), 0, 0, 0], key::IPV4, 0);
    let address = Ipv4Addr::from(v4[0].to_ne_bytes()).into();
    cases.push(Case::passed(
        "IPv4",
        tcp(address, 80, 9).build(),
        Reason::NotAService,
    ));
    for word in 0..4 {
        let other = twin(key::words(v6.octets()), key::IPV6, word);
        let bytes: Vec<u8> = other.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let bytes: [u8; 16] = bytes.try_into().expect("four words are sixteen bytes");
        let frame = tcp(Ipv6Addr::from(bytes).into(), 80, 9).build();
        cases.push(Case::passed(
            format!("IPv6, word {word}"),
            frame,
            Reason::NotAService,
        ));
    }
    check_on(&mut rig, &cases);
}
