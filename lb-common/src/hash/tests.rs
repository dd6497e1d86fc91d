//! The hash: what it is, so that it cannot change unnoticed, and that it spreads what networks really send.

use super::*;
use crate::key::{TCP, UDP, words};
use proptest::prelude::*;
use std::{collections::HashSet, vec, vec::Vec};

fn v4(octets: [u8; 4]) -> u32 {
    u32::from_ne_bytes(octets)
}

fn ports(source: u16, destination: u16) -> u32 {
    u32::from(source.to_be()) | u32::from(destination.to_be()) << 16
}

fn v6(groups: [u16; 8]) -> Address {
    let mut bytes = [0; 16];
    for (pair, group) in bytes.chunks_mut(2).zip(groups) {
        pair.copy_from_slice(&group.to_be_bytes());
    }
    words(bytes)
}

/// Computed once by other means. Flows of these values live in peers and in pinned tables: a change needs a new layout version.
#[test]
fn the_values_of_layout_version_4() {
    assert_eq!(crate::LAYOUT_VERSION, 4);
    assert_eq!(
        flow4(
            v4([192, 0, 2, 1]),
            v4([10, 0, 0, 1]),
            ports(40_000, 80),
            TCP
        ),
        0xe51b_0d3f
    );
    let (source, destination) = (
        v6([0x2001, 0xdb8, 1, 2, 3, 4, 5, 6]),
        v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
    );
    assert_eq!(
        flow6(&source, &destination, ports(40_000, 80), TCP),
        0x2894_7799
    );
    assert_eq!(service(fold(&destination), 0x0606_5000, 3), 0xa89d_63c9);
}

/// How far the fullest of `buckets` is above the mean of what `hashes` puts into them, in standard deviations.
fn worst(hashes: impl Iterator<Item = u32>, buckets: u32) -> f64 {
    let mut counts = vec![0_u32; buckets as usize];
    let mut total = 0.0;
    for hash in hashes {
        counts[spread(hash, buckets) as usize] += 1;
        total += 1.0;
    }
    let mean = total / f64::from(buckets);
    counts
        .iter()
        .map(|&count| (f64::from(count) - mean).abs() / mean.sqrt())
        .fold(0.0, f64::max)
}

/// Of a thousand fair buckets, filled by many runs, none is this many standard deviations off; the flows are fixed.
const FAIR: f64 = 5.5;
const BUCKETS: u32 = 1_009;

#[test]
fn ports_of_one_client_are_spread() {
    let (client, vip) = (v4([192, 0, 2, 1]), v4([10, 0, 0, 1]));
    assert!(
        worst(
            (0..=u16::MAX).map(|port| flow4(client, vip, ports(port, 443), TCP)),
            BUCKETS
        ) < FAIR
    );
    let (client, vip) = (
        v6([0x2001, 0xdb8, 1, 2, 3, 4, 5, 6]),
        v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
    );
    assert!(
        worst(
            (0..=u16::MAX).map(|port| flow6(&client, &vip, ports(port, 443), UDP)),
            BUCKETS
        ) < FAIR
    );
}

#[test]
fn clients_of_one_network_are_spread() {
    let vip = v4([10, 0, 0, 1]);
    let clients =
        (0..1_u32 << 17).map(|host| u32::from_ne_bytes((0x0a80_0000 | host).to_be_bytes()));
    assert!(
        worst(
            clients.map(|client| flow4(client, vip, ports(1_024, 53), UDP)),
            BUCKETS
        ) < FAIR
    );
}

#[test]
fn clients_of_one_ipv6_network_are_spread() {
    let vip = v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
    for place in [3, 4, 5, 6, 7] {
        let clients = (0..=u16::MAX).map(|number| {
            let mut groups = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1];
            groups[place] = number;
            v6(groups)
        });
        let worst = worst(
            clients.map(|client| flow6(&client, &vip, ports(1_024, 53), UDP)),
            BUCKETS,
        );
        assert!(worst < FAIR, "group {place}: {worst}");
    }
}

#[test]
fn clients_that_repeat_their_network_in_the_host_part_are_spread() {
    let vip = v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
    for (a, b) in [(1, 3), (1, 5), (1, 7), (3, 5), (3, 7), (5, 7)] {
        let clients = (0..=u16::MAX).map(|number| {
            let mut groups = [0x2001, 0, 0, 0, 0, 0, 0, 0];
            (groups[a], groups[b]) = (number, number);
            v6(groups)
        });
        let worst = worst(
            clients.map(|client| flow6(&client, &vip, ports(1_024, 53), UDP)),
            BUCKETS,
        );
        assert!(worst < FAIR, "groups {a} and {b}: {worst}");
    }
}

#[test]
fn protocols_and_services_do_not_hash_alike() {
    let client = v4([192, 0, 2, 1]);
    let mut hashes = HashSet::new();
    for vip in 0..64 {
        for port in [80, 443] {
            for protocol in [TCP, UDP] {
                hashes.insert(flow4(
                    client,
                    v4([10, 0, 0, vip]),
                    ports(40_000, port),
                    protocol,
                ));
            }
        }
    }
    assert_eq!(hashes.len(), 256);
}

/// One changed bit of a flow changes each bit of its hash in about half of all flows.
#[test]
fn every_input_bit_reaches_every_output_bit() {
    let flows: Vec<[u32; 3]> = (1..=512_u32)
        .map(|n| {
            [
                n.wrapping_mul(0x9e37_79b1),
                n.wrapping_mul(0x85eb_ca6b),
                n.wrapping_mul(0xc2b2_ae35),
            ]
        })
        .collect();
    for word in 0..3 {
        for bit in 0..32 {
            let mut changed = [0_u32; 32];
            for flow in &flows {
                let mut other = *flow;
                other[word] ^= 1 << bit;
                let difference =
                    flow4(flow[0], flow[1], flow[2], 0) ^ flow4(other[0], other[1], other[2], 0);
                for (at, count) in changed.iter_mut().enumerate() {
                    *count += difference >> at & 1;
                }
            }
            assert!(
                changed.iter().all(|&count| (64..=448).contains(&count)),
                "word {word}, bit {bit}: {changed:?}"
            );
        }
    }
}

proptest! {
    #[test]
    fn a_spread_hash_is_in_the_table(hash in any::<u32>(), len in 1_u32..) {
        prop_assert!(spread(hash, len) < len);
    }

    #[test]
    fn a_larger_hash_is_not_spread_before_a_smaller_one(a in any::<u32>(), b in any::<u32>(), len in 1_u32..) {
        prop_assert!(spread(a.min(b), len) <= spread(a.max(b), len));
    }

    #[test]
    fn an_ipv4_address_folds_to_itself(address in any::<u32>()) {
        prop_assert_eq!(fold(&[address, 0, 0, 0]), address);
    }
}

#[test]
fn the_spread_reaches_both_ends() {
    for len in [1, 2, 251, 65_537, u32::MAX] {
        assert_eq!((spread(0, len), spread(u32::MAX, len)), (0, len - 1));
    }
    assert_eq!(spread(u32::MAX, 0), 0);
}

/// Virtual addresses as people number them: a network and a host with the same number.
#[test]
fn addresses_that_repeat_their_network_in_the_host_part_do_not_fold_alike() {
    for (a, b) in [(1, 3), (1, 5), (1, 7), (3, 5), (3, 7), (5, 7)] {
        let folded: HashSet<u32> = (0..1_000)
            .map(|number| {
                let mut groups = [0x2001, 0, 0, 0, 0, 0, 0, 0];
                (groups[a], groups[b]) = (number, number);
                fold(&v6(groups))
            })
            .collect();
        assert!(
            folded.len() > 990,
            "groups {a} and {b}: {} of 1000",
            folded.len()
        );
    }
}

const KEYS: [u64; 3] = [0, 0x0123_4567_89ab_cdef, u64::MAX];

#[test]
fn ports_of_one_client_are_spread_over_buckets_under_any_key() {
    let (client, vip) = (v4([192, 0, 2, 1]), v4([10, 0, 0, 1]));
    for key in KEYS {
        for second in [false, true] {
            let bucket = |port| {
                let keyed = keyed4(client, vip, ports(port, 80), TCP, key);
                crate::Tag::new(0, keyed).buckets()[usize::from(second)] << 24
            };
            let worst = worst((0..=u16::MAX).map(bucket), 256);
            assert!(worst < 6.0, "key {key:#x}, second {second}: {worst}");
        }
    }
}

#[test]
fn ipv6_clients_are_spread_over_buckets_under_any_key() {
    let vip = v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
    for key in KEYS {
        let hosts = (0..=u16::MAX).map(|host| {
            let client = v6([0x2001, 0xdb8, 5, host, 0, 0, 0, host]);
            keyed6(&client, &vip, ports(40_000, 443), TCP, key) << 24
        });
        let worst = worst(hosts, 256);
        assert!(worst < 6.0, "key {key:#x}: {worst}");
    }
}

proptest! {
    #[test]
    fn flows_that_collide_in_their_slots_hash_do_not_collide_under_a_key(a in any::<u64>(), steady in any::<u32>(), other in any::<u32>(), key in 1..u64::MAX) {
        prop_assume!(steady != other);
        // The same word enters `flow4`'s mixing for both.
        let b = a ^ u64::from(steady).wrapping_mul(GOLDEN) ^ u64::from(other).wrapping_mul(GOLDEN);
        let hashes = |x: u64, steady: u32| (flow4(x as u32, steady, (x >> 32) as u32, 0), keyed4(x as u32, steady, (x >> 32) as u32, 0, key));
        let (one, two) = (hashes(a, steady), hashes(b, other));
        prop_assert_eq!(one.0, two.0);
        prop_assert_ne!(one.1, two.1);
    }
}
