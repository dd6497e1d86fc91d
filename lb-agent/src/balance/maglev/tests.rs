//! What users and the other director count on: shares, agreement, and how little a change moves.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::super::size::is_prime;
use super::*;

fn size(slots: u32) -> TableSize {
    TableSize::try_from(slots).expect("a prime in range")
}

/// Real servers of one pool: `pool` sets their addresses apart from those of other pools.
fn pool(pool: u8, weights: &[u16]) -> Vec<Member> {
    (0..)
        .zip(weights)
        .map(|(i, &weight)| Member {
            address: Ipv4Addr::from_bits(0x0a00_0000 | u32::from(pool) << 16 | (i + 1)).into(),
            port: 80,
            weight,
            backend: i,
        })
        .collect()
}

/// Slots of each backend, by id.
fn shares(table: &[u32], backends: usize) -> Vec<u32> {
    let mut shares = vec![0; backends];
    for &backend in table {
        shares[backend as usize] += 1;
    }
    shares
}

/// Slots that changed their owner although neither the old nor the new one is `changed`.
fn moved_needlessly(before: &[u32], after: &[u32], changed: u32) -> usize {
    before
        .iter()
        .zip(after)
        .filter(|&(&old, &new)| old != new && old != changed && new != changed)
        .count()
}

fn built(members: &[Member], slots: u32) -> Vec<u32> {
    table(members, size(slots)).expect("a member of weight above zero")
}

/// Median over the pools of the slots moved needlessly, in parts of a million slots.
fn median_moved_ppm(slots: u32, mut moved: impl FnMut(u8) -> usize) -> usize {
    let mut moved: Vec<usize> = (0..20).map(&mut moved).collect();
    moved.sort_unstable();
    moved[moved.len() / 2] * 1_000_000 / slots as usize
}

/// The paper's loop as it stands: one slot after the other, remainders by division.
fn by_the_papers_loop(members: &[Member], slots: u32) -> Vec<u32> {
    let members = in_canonical_order(members);
    let weights: Vec<u16> = members.iter().map(|m| m.weight).collect();
    let mut tried = vec![0_u64; members.len()];
    let mut table = vec![None; slots as usize];
    for turn in Turns::new(&weights).take(slots as usize) {
        let (first, second) = hash(members[turn].address, members[turn].port);
        let m = u64::from(slots);
        loop {
            let slot = (first % m + tried[turn] * (second % (m - 1) + 1)) % m;
            tried[turn] += 1;
            if table[slot as usize].is_none() {
                table[slot as usize] = Some(members[turn].backend);
                break;
            }
        }
    }
    table.into_iter().flatten().collect()
}

fn any_size() -> impl Strategy<Value = u32> {
    let primes: Vec<u32> = (251..=4_099).filter(|&n| is_prime(n)).collect();
    prop_oneof![
        4 => prop::sample::select(primes),
        1 => Just(65_537),
        1 => Just(131_071),
    ]
}

fn any_weight() -> impl Strategy<Value = u16> {
    prop_oneof![3 => 0..4_u16, 2 => 1..200_u16, 1 => Just(u16::MAX), 1 => any::<u16>()]
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
        any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits).into()),
    ]
}

/// Distinct real servers with backend ids 0, 1, ...
fn any_members(most: usize) -> impl Strategy<Value = Vec<Member>> {
    let identity = (any_address(), any::<u16>());
    (prop::collection::hash_set(identity, 1..=most)).prop_flat_map(|identities| {
        let weights = prop::collection::vec(any_weight(), identities.len());
        weights.prop_map(move |weights| {
            (0..)
                .zip(identities.iter().zip(weights))
                .map(|(backend, (&(address, port), weight))| Member {
                    address,
                    port,
                    weight,
                    backend,
                })
                .collect()
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_slot_has_an_owner_of_weight_above_zero(members in any_members(40), slots in any_size()) {
        let Some(table) = table(&members, size(slots)) else {
            prop_assert!(members.iter().all(|m| m.weight == 0));
            return Ok(());
        };
        prop_assert_eq!(table.len(), slots as usize);
        for backend in table {
            prop_assert!(members[backend as usize].weight > 0);
        }
    }

    #[test]
    fn shares_follow_the_weights_and_nobody_is_left_out(members in any_members(40), slots in any_size()) {
        let Some(table) = table(&members, size(slots)) else { return Ok(()) };
        let shares = shares(&table, members.len());
        // With enough slots that nobody has to be rounded up to the one slot everybody is promised, shares are within
        // one slot and what rounding all the others by half a slot each can do to the common divisor.
        let sum: f64 = members.iter().map(|m| f64::from(m.weight)).sum();
        let lifted = members.iter().filter(|m| f64::from(m.weight) / sum * f64::from(slots) < 1.0).count();
        for (member, share) in members.iter().zip(shares) {
            if member.weight == 0 {
                prop_assert_eq!(share, 0);
                continue;
            }
            let fraction = f64::from(member.weight) / sum;
            let due = fraction * f64::from(slots);
            let slack = 1.0 + fraction * (members.len() as f64 / 2.0 + lifted as f64);
            prop_assert!(share >= 1);
            prop_assert!((f64::from(share) - due).abs() <= slack, "share {} of {} due to weight {}", share, due, member.weight);
        }
    }

    #[test]
    fn the_order_of_the_list_and_the_ids_do_not_matter(
        (members, shuffled) in any_members(30).prop_flat_map(|m| (Just(m.clone()), Just(m).prop_shuffle())),
        slots in any_size(),
    ) {
        let Some(one) = table(&members, size(slots)) else { return Ok(()) };
        let renumbered: Vec<Member> = (1_000..).zip(&shuffled).map(|(backend, m)| Member { backend, ..*m }).collect();
        let other = built(&renumbered, slots);
        let same = one.iter().zip(&other).all(|(&a, &b)| {
            let (a, b) = (members[a as usize], renumbered[b as usize - 1_000]);
            (a.address, a.port) == (b.address, b.port)
        });
        prop_assert!(same);
    }

    #[test]
    fn the_table_is_the_papers_slot_for_slot(members in any_members(40), slots in any_size()) {
        let Some(table) = table(&members, size(slots)) else { return Ok(()) };
        prop_assert_eq!(table, by_the_papers_loop(&members, slots));
    }

    #[test]
    fn common_factors_of_the_weights_do_not_matter_to_the_shares(weights in prop::collection::vec(1..500_u16, 2..12), factor in 2..100_u16) {
        let scaled: Vec<u16> = weights.iter().map(|w| w * factor).collect();
        prop_assert_eq!(built(&pool(0, &weights), 1_021), built(&pool(0, &scaled), 1_021));
    }

    #[test]
    fn modular_arithmetic_is_right(slots in any_size(), a in any::<u32>(), b in any::<u32>()) {
        let (a, b) = (a % slots, b % slots);
        let modulus = Modulus::new(size(slots));
        let (wide, m) = (u64::from(slots), u64::from(slots));
        prop_assert_eq!(u64::from(modulus.multiply(a, b)), u64::from(a) * u64::from(b) % m);
        prop_assert_eq!(u64::from(modulus.subtract(a, b)), (wide + u64::from(a) - u64::from(b)) % m);
        prop_assert_eq!(u64::from(add(a, b, size(slots))), (u64::from(a) + u64::from(b)) % m);
        if a != 0 {
            prop_assert_eq!(modulus.multiply(a, modulus.inverse(a)), 1);
        }
    }
}

#[test]
fn every_allowed_size_can_be_filled() {
    let members = pool(0, &[3, 1, 65_535]);
    for slots in (251..=131_071)
        .filter(|&n| is_prime(n))
        .step_by(97)
        .chain([131_071])
    {
        let table = built(&members, slots);
        let seen: HashSet<u32> = table.iter().copied().collect();
        assert_eq!(
            (table.len(), seen.len()),
            (slots as usize, 3),
            "{slots} slots"
        );
    }
}

#[test]
fn nobody_of_weight_above_zero_means_no_table() {
    assert_eq!(table(&[], TableSize::DEFAULT), None);
    assert_eq!(table(&pool(0, &[0, 0]), TableSize::DEFAULT), None);
}

#[test]
fn equal_weights_differ_by_one_slot_at_most() {
    let shares = shares(&built(&pool(0, &[5; 100]), 65_537), 100);
    assert!(
        shares.iter().all(|share| [655, 656].contains(share)),
        "{shares:?}"
    );
}

#[test]
fn the_lightest_next_to_the_heaviest_has_one_slot() {
    let shares = shares(&built(&pool(0, &[1, 65_535, 1]), 251), 3);
    assert_eq!(shares, [1, 249, 1]);
}

#[test]
fn with_more_members_than_slots_the_heaviest_have_one_each() {
    let mut weights = [1; 300];
    weights[200..].fill(2);
    let shares = shares(&built(&pool(0, &weights), 251), 300);
    assert_eq!(shares.iter().sum::<u32>(), 251);
    assert!(shares[200..].iter().all(|&share| share == 1), "{shares:?}");
    assert!(shares.iter().all(|&share| share <= 1), "{shares:?}");
}

#[test]
fn an_identity_given_twice_counts_once_with_its_larger_weight() {
    let once = pool(0, &[2, 4]);
    let lighter = Member {
        weight: 1,
        backend: 9,
        ..once[1]
    };
    let same = Member {
        backend: 8,
        ..once[0]
    };
    assert_eq!(
        built(&[same, lighter, once[1], once[0]], 251),
        built(&once, 251)
    );
}

#[test]
fn two_ports_of_one_address_are_two_members() {
    let first = pool(0, &[1])[0];
    let second = Member {
        port: 81,
        backend: 1,
        ..first
    };
    assert_eq!(shares(&built(&[first, second], 251), 2), [126, 125]);
}

#[test]
fn one_of_a_hundred_leaving_moves_few_slots_of_the_others() {
    let moved = median_moved_ppm(65_537, |n| {
        let members = pool(n, &[1; 100]);
        let leaver = u32::from(n) * 4;
        let stay: Vec<Member> = members
            .iter()
            .filter(|m| m.backend != leaver)
            .copied()
            .collect();
        moved_needlessly(&built(&members, 65_537), &built(&stay, 65_537), leaver)
    });
    assert!(moved <= 6_000, "{moved} ppm of the slots moved needlessly");
}

#[test]
fn one_joining_a_hundred_moves_few_slots_of_the_others() {
    let moved = median_moved_ppm(65_537, |n| {
        let members = pool(n, &[1; 101]);
        let joiner = u32::from(n) * 4;
        let before: Vec<Member> = members
            .iter()
            .filter(|m| m.backend != joiner)
            .copied()
            .collect();
        moved_needlessly(&built(&before, 65_537), &built(&members, 65_537), joiner)
    });
    assert!(moved <= 6_000, "{moved} ppm of the slots moved needlessly");
}

#[test]
fn a_new_weight_for_one_of_a_hundred_moves_few_slots_of_the_others() {
    for (old, new) in [(10, 11), (10, 5), (10, 20), (10, 1)] {
        let moved = median_moved_ppm(65_537, |n| {
            let mut members = pool(n, &[10; 100]);
            let changed = u32::from(n) * 4;
            members[changed as usize].weight = old;
            let before = built(&members, 65_537);
            members[changed as usize].weight = new;
            moved_needlessly(&before, &built(&members, 65_537), changed)
        });
        assert!(
            moved <= 6_000,
            "{old} -> {new}: {moved} ppm of the slots moved needlessly"
        );
    }
}

#[test]
fn the_heaviest_leaving_a_weighted_pool_moves_few_slots_of_the_others() {
    let moved = median_moved_ppm(65_537, |n| {
        let weights: Vec<u16> = (1..=50).collect();
        let members = pool(n, &weights);
        moved_needlessly(&built(&members, 65_537), &built(&members[..49], 65_537), 49)
    });
    assert!(moved <= 6_000, "{moved} ppm of the slots moved needlessly");
}

/// Owners by letter: `a` for backend 0, and so on.
fn letters(table: &[u32]) -> String {
    table
        .iter()
        .map(|&backend| char::from(b'a' + backend as u8))
        .collect()
}

#[test]
fn tables_are_those_of_every_other_version() {
    let v6 = |text: &str| IpAddr::V6(text.parse().expect("an IPv6 address"));
    let v4 = |text: &str| IpAddr::V4(text.parse().expect("an IPv4 address"));
    let member = |address, port, weight, backend| Member {
        address,
        port,
        weight,
        backend,
    };
    let members = [
        member(v4("192.0.2.11"), 80, 1, 0),
        member(v4("192.0.2.12"), 80, 1, 1),
        member(v4("192.0.2.12"), 8080, 3, 2),
        member(v6("2001:db8::13"), 80, 2, 3),
        member(v6("::ffff:192.0.2.11"), 0, 300, 4),
    ];
    // If this fails, a director of the new version and one of the old disagree: connections break while a pair is
    // upgraded. Make the change only with a way for both to agree.
    assert_eq!(
        letters(&built(&members[..4], 251)),
        "adcbccddcccaddcddcdbcdaccbccadccccaddcccbddcccddddacddbcaccdcaaccdccbccdccabcdacdddd\
         accddcaccddcbccdacabcddcacbddcacccdccdccbccdacbbcdadabbaddbccbddccccbdccacdbcdacdcba\
         acdccbacdcccbdccacbbdcacddbaccddcbccddaabccdacbbcdacdcbdccddcbccddabbcdddabccadcbbc"
    );
    assert_eq!(
        letters(&built(&members, 251)),
        "eeeeeeeeeeeeedeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee\
         eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeaeeeeeeeeeeeeedeeeeeeeeeeeeee\
         eeeeeeeeeeeeeeceeeeeeeeeeeeeeeeeeeeeeeeeeeceeeeeeeeeeeeeeeeeeeeeeeeebeeeeeeeeeeeeee"
    );
}
