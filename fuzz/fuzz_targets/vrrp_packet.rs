//! Any bytes as an advert: none may panic, and what is accepted says the same when it is written again.
//!
//! The first byte chooses how the advert came: its lowest bit the family, the next one whether from one to one.

#![no_main]

use lb_agent::vrrp::packet::{Endpoints, GROUP_V4, GROUP_V6, Packet, Reading, Repr};
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;

fuzz_target!(|data: &[u8]| {
    let Some((choice, advert)) = data.split_first() else {
        return;
    };
    let (source, peer, group): (IpAddr, IpAddr, IpAddr) = match choice & 1 {
        0 => ([192, 0, 2, 1].into(), [192, 0, 2, 2].into(), GROUP_V4.into()),
        _ => (
            "fe80::1".parse().expect("an address"),
            "fe80::2".parse().expect("an address"),
            GROUP_V6.into(),
        ),
    };
    let destination = if choice & 2 == 0 { group } else { peer };
    let endpoints = Endpoints::new(source, destination).expect("of one family");
    let Ok(packet) = Packet::new_checked(advert, endpoints.family()) else {
        return;
    };
    let Ok(read) = Repr::parse(&packet, &endpoints) else {
        return;
    };
    let mut written = vec![0; read.repr.buffer_len()];
    if read.repr.emit(&mut written, &endpoints, Reading::PseudoHeader).is_err() {
        return;
    }
    let again = Packet::new_checked(&written[..], endpoints.family()).expect("what was written is whole");
    let again = Repr::parse(&again, &endpoints).expect("what was written is accepted");
    assert_eq!(again.repr, read.repr);
});
