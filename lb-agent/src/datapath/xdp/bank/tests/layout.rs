//! Where keys lie in the service table.

use super::*;

/// Sets of keys as networks really have them.
fn key_sets(count: u32) -> Vec<(&'static str, Vec<ServiceKey>)> {
    let v6 = |groups: [u32; 8]| {
        let mut bytes = [0; 16];
        for (pair, group) in bytes.chunks_mut(2).zip(groups) {
            pair.copy_from_slice(&(group as u16).to_be_bytes());
        }
        bytes
    };
    let each = |make: &dyn Fn(u32) -> ServiceKey| (1..=count).map(make).collect();
    vec![
        (
            "hosts of one IPv4 network",
            each(&|n| ServiceKey::v4((0x0a00_0000 | n).to_be_bytes(), 443, key::TCP)),
        ),
        (
            "one host of many IPv4 networks",
            each(&|n| ServiceKey::v4((0x0a00_0001 | n << 8).to_be_bytes(), 443, key::TCP)),
        ),
        (
            "IPv4 hosts numbered as their network",
            each(&|n| {
                ServiceKey::v4(
                    (0x0a00_0000 | (n & 0xff) << 16 | n).to_be_bytes(),
                    443,
                    key::TCP,
                )
            }),
        ),
        (
            "ports of one IPv4 address",
            each(&|n| ServiceKey::v4([10, 0, 0, 1], n as u16, key::TCP)),
        ),
        (
            "both protocols of IPv4 hosts",
            each(&|n| {
                ServiceKey::v4(
                    (0x0a00_0000 | (n / 2)).to_be_bytes(),
                    53,
                    [key::TCP, key::UDP][n as usize % 2],
                )
            }),
        ),
        (
            "hosts of one IPv6 network",
            each(&|n| ServiceKey::v6(v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]), 443, key::TCP)),
        ),
        (
            "one host of many IPv6 networks",
            each(&|n| ServiceKey::v6(v6([0x2001, 0xdb8, 0, n, 0, 0, 0, 1]), 443, key::TCP)),
        ),
        (
            "IPv6 hosts numbered as their network",
            each(&|n| ServiceKey::v6(v6([0x2001, 0xdb8, 0, n, 0, 0, 0, n]), 443, key::TCP)),
        ),
        (
            "ports of one IPv6 address",
            each(&|n| ServiceKey::v6(v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]), n as u16, key::UDP)),
        ),
    ]
}

#[test]
fn tables_of_every_usual_set_of_keys_are_laid_out_up_to_half_full() {
    for capacity in [16, 64, 256, 1_024, 8_192] {
        for (name, keys) in key_sets(capacity / 2) {
            let laid_out = lay_out(entries(&keys), capacity);
            let (table, seed) =
                laid_out.unwrap_or_else(|error| panic!("{name}, {} keys: {error}", keys.len()));
            assert!(
                keys.iter().all(|&key| look_up(&table, seed, key).is_some()),
                "{name}, {capacity} places"
            );
            assert_eq!(
                table.iter().filter(|entry| entry.tuple != 0).count(),
                keys.len(),
                "{name}"
            );
        }
    }
}
