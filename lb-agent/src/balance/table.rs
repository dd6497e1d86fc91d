//! What a service's slots hold, by its scheduler: a Maglev table, a sequence of turns, or those who take new flows.

use super::{Member, TableSize, maglev, turns::Turns};
use lb_common::{Method, scheduling::CANDIDATES};

/// Turns of the longest sequence. Weights that would take a longer one are approximated.
pub const LONGEST: u64 = 131_071;

/// The table of a service: who owns each slot, whose turn is when, or all members; empty where there are none.
/// `is_limited`: some may have so many connections only.
pub fn table(method: Method, members: &[Member], size: TableSize, is_limited: bool) -> Vec<u32> {
    match method {
        Method::BySlot | Method::BySource | Method::ByDestination => {
            maglev::table(members, size).unwrap_or_default()
        }
        // Where one is full the next turns are tried, so that all must be among so many.
        Method::InTurn if is_limited => sequence(members, CANDIDATES.into()),
        Method::InTurn => sequence(members, LONGEST),
        Method::Least | Method::LeastByWeight | Method::ShortestDelay | Method::NeverQueue => {
            let takes = members.iter().filter(|member| member.weight > 0);
            takes.map(|member| member.backend).collect()
        }
    }
}

/// Turns by weight, spread evenly: over the whole sequence each has as many as its weight says, divided by what all
/// weights have in common.
fn sequence(members: &[Member], longest: u64) -> Vec<u32> {
    let mut members: Vec<&Member> = members.iter().filter(|member| member.weight > 0).collect();
    members.sort_by_key(|member| std::cmp::Reverse(member.weight));
    let common = members
        .iter()
        .fold(0, |common, member| gcd(common, member.weight));
    let total: u64 = members
        .iter()
        .map(|member| u64::from(member.weight / common))
        .sum();
    let turns = |member: &&Member| {
        let weight = u64::from(member.weight / common);
        let scaled = match total > longest {
            true => (weight * longest + total / 2) / total,
            false => weight,
        };
        // No more than the weight, which is 16 bits long.
        u16::try_from(scaled.max(1)).unwrap_or(u16::MAX)
    };
    let weights: Vec<u16> = members.iter().map(turns).collect();
    let length = weights.iter().map(|&weight| usize::from(weight)).sum();
    Turns::new(&weights)
        .take(length)
        .filter_map(|place| members.get(place).map(|member| member.backend))
        .collect()
}

fn gcd(a: u16, b: u16) -> u16 {
    match b {
        0 => a,
        _ => gcd(b, a % b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn members(weights: &[u16]) -> Vec<Member> {
        (0..)
            .zip(weights)
            .map(|(backend, &weight)| Member {
                address: Ipv4Addr::from(0x0a00_0000 + backend).into(),
                port: 0,
                weight,
                backend,
            })
            .collect()
    }

    fn in_turn(weights: &[u16], is_limited: bool) -> Vec<u32> {
        table(
            Method::InTurn,
            &members(weights),
            TableSize::MIN,
            is_limited,
        )
    }

    #[test]
    fn equal_weights_take_turns_one_after_the_other() {
        assert_eq!(in_turn(&[7, 7, 7], false), [0, 1, 2]);
    }

    #[test]
    fn one_without_weight_has_no_turn() {
        assert_eq!(in_turn(&[1, 0, 1], false), [0, 2]);
        assert_eq!(in_turn(&[0], false), [0_u32; 0]);
        let all = table(Method::Least, &members(&[1, 0, 9]), TableSize::MIN, false);
        assert_eq!(all, [0, 2]);
    }

    proptest! {
        #[test]
        fn over_a_sequence_each_has_as_many_turns_as_its_weight_says(weights in proptest::collection::vec(0..200_u16, 1..20)) {
            let sequence = in_turn(&weights, false);
            let common = weights.iter().fold(0, |common, &weight| gcd(common, weight)).max(1);
            for (member, weight) in (0..).zip(&weights) {
                let turns = sequence.iter().filter(|&&other| other == member).count();
                prop_assert_eq!(turns, usize::from(weight / common));
            }
        }

        #[test]
        fn in_any_part_of_a_sequence_nobody_waits_longer_than_his_weight_says(weights in proptest::collection::vec(1..20_u16, 2..8)) {
            let sequence = in_turn(&weights, false);
            let total: usize = weights.iter().map(|&weight| usize::from(weight)).sum();
            for (member, &weight) in (0..).zip(&weights) {
                let twice: Vec<u32> = sequence.iter().chain(&sequence).copied().collect();
                let longest = twice.split(|&other| other == member).map(<[u32]>::len).max().unwrap_or(0);
                prop_assert!(longest <= 2 * total / usize::from(weight) + 2, "{longest} turns of others");
            }
        }

        #[test]
        fn a_sequence_that_is_cut_short_has_everybody_in_it(weights in proptest::collection::vec(1..=u16::MAX, 1..100)) {
            for (longest, sequence) in [(CANDIDATES.into(), in_turn(&weights, true)), (LONGEST, in_turn(&weights, false))] {
                prop_assert!(sequence.len() as u64 <= longest + weights.len() as u64);
                prop_assert!((0..weights.len() as u32).all(|member| sequence.contains(&member)));
            }
        }
    }

    #[test]
    fn the_largest_weights_have_shares_that_are_right_to_a_thousandth() {
        let weights = [65_535, 65_534, 32_768, 1, 4_096];
        let sequence = in_turn(&weights, false);
        let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        for (member, &weight) in (0..).zip(&weights) {
            let turns = sequence.iter().filter(|&&other| other == member).count();
            let share = turns as f64 / sequence.len() as f64;
            assert!((share - f64::from(weight) / total).abs() < 0.001);
        }
    }
}
