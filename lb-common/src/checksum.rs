//! Internet checksum arithmetic (RFC 1071, RFC 1624), on words as they lie in memory: byte order does not matter.

use crate::key::Address;

/// The checksum of an IPv4 header after its TTL went down by one (RFC 1141): TTL is the first octet of its word, so
/// the sum loses 0x0100 in network order, which is 1 where the word is loaded little-endian. As the kernel's
/// `ip_decrease_ttl` (`include/net/ip.h`).
#[inline(always)]
pub const fn ttl_decremented(check: u16) -> u16 {
    let sum = check as u32 + 1;
    (sum + (sum >= 0xffff) as u32) as u16
}

/// The checksum field of words whose plain sum is `sum`: of 16-bit words, or of wider ones, whose halves count alike.
#[inline(always)]
pub const fn of_sum(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

/// What a plain sum gains where `old` is replaced by `new`, for [`replaced`] (RFC 1624 §3: ~m + m').
#[inline(always)]
pub const fn difference(old: u32, new: u32) -> u64 {
    !old as u64 + new as u64
}

/// [`difference`] of a whole address.
#[inline(always)]
pub const fn address_difference(old: &Address, new: &Address) -> u64 {
    difference(old[0], new[0])
        + difference(old[1], new[1])
        + difference(old[2], new[2])
        + difference(old[3], new[3])
}

/// A checksum after what it covers has changed by `difference`, a sum of differences (RFC 1624 §3: ~(~HC + ~m + m')).
#[inline(always)]
pub const fn replaced(check: u16, difference: u64) -> u16 {
    of_sum(!check as u64 + difference)
}

/// The ones' complement sum of `words`, folded to 16 bits and inverted: the value of a checksum field.
pub fn of(words: impl IntoIterator<Item = u16>) -> u16 {
    let mut sum: u32 = words.into_iter().map(u32::from).sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The ten words of an IPv4 header, its checksum right; TTL and protocol are word 4, as the wire's bytes lie.
    fn header(mut words: [u16; 10]) -> [u16; 10] {
        words[5] = 0;
        words[5] = of(words);
        words
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let words = [0x0001, 0xf203, 0xf4f5, 0xf6f7].map(u16::to_be);
        assert_eq!(of(words), !0xddf2_u16.to_be());
    }

    #[test]
    fn byte_order_does_not_matter() {
        let words = [
            0x4500_u16, 0x0073, 0x0000, 0x4000, 0x4011, 0xc0a8, 0x0001, 0xc0a8, 0x00c7,
        ];
        assert_eq!(of(words), 0xb861);
        assert_eq!(of(words.map(u16::swap_bytes)), 0xb861_u16.swap_bytes());
    }

    #[test]
    fn a_header_with_its_checksum_sums_to_zero() {
        assert_eq!(
            of([
                0x4500_u16, 0x0073, 0x0000, 0x4000, 0x4011, 0xb861, 0xc0a8, 0x0001, 0xc0a8, 0x00c7
            ]),
            0
        );
    }

    /// For each checksum and each TTL, as exhaustive as two fields can be: what follows from a header whose other words
    /// make up for them.
    #[test]
    fn after_a_decremented_ttl_every_checksum_is_that_of_the_whole_header() {
        for identification in 0..=u16::MAX {
            for ttl in [1_u8, 2, 64, 255] {
                let word = u16::from_ne_bytes([ttl, 6]);
                let before = header([0x0045, 0x2800, identification, 0x0040, word, 0, 1, 2, 3, 4]);
                let mut after = before;
                after[4] = u16::from_ne_bytes([ttl - 1, 6]);
                assert_eq!(
                    ttl_decremented(before[5]),
                    header(after)[5],
                    "identification {identification}, TTL {ttl}"
                );
            }
        }
    }

    #[test]
    fn the_largest_sum_folds() {
        assert_eq!(of_sum(u64::MAX), 0);
        assert_eq!(of_sum(0), 0xffff);
        assert_eq!(of_sum(0xffff), 0);
    }

    #[test]
    fn both_zeros_of_ones_complement_lead_to_the_same() {
        assert_eq!(ttl_decremented(0xffff), ttl_decremented(0));
    }

    #[test]
    fn every_value_gets_one_more_in_ones_complement() {
        for check in 0..=u16::MAX {
            assert_eq!(
                u32::from(ttl_decremented(check)) % 0xffff,
                (u32::from(check) + 1) % 0xffff,
                "{check:#06x}"
            );
        }
    }

    proptest! {
        #[test]
        fn wide_words_sum_to_what_their_halves_do(words in proptest::collection::vec(any::<u32>(), 0..600)) {
            let sum = words.iter().copied().map(u64::from).sum();
            let halves = words.iter().flat_map(|&word| [word as u16, (word >> 16) as u16]);
            prop_assert_eq!(of_sum(sum), of(halves));
        }

        #[test]
        fn replaced_words_leave_a_checksum_right(words in proptest::collection::vec(any::<u32>(), 4..20), new in any::<[u32; 4]>(), port in any::<[u16; 2]>()) {
            let halves = |words: &[u32]| of(words.iter().flat_map(|&word| [word as u16, (word >> 16) as u16]));
            let old = [words[0], words[1], words[2], words[3]];
            let mut after = words.clone();
            after[..4].copy_from_slice(&new);
            let check = replaced(halves(&words), address_difference(&old, &new));
            prop_assert_eq!(u32::from(check) % 0xffff, u32::from(halves(&after)) % 0xffff);
            let check = replaced(of([port[0], 7]), difference(u32::from(port[0]), u32::from(port[1])));
            prop_assert_eq!(u32::from(check) % 0xffff, u32::from(of([port[1], 7])) % 0xffff);
        }

        #[test]
        fn any_sum_folds_to_what_its_quarters_do(sum in any::<u64>()) {
            prop_assert_eq!(of_sum(sum), of([0, 16, 32, 48].map(|shift| (sum >> shift) as u16)));
        }

        #[test]
        fn a_decremented_ttl_leaves_any_header_right(words in any::<[u16; 10]>(), ttl in 1_u8..) {
            let mut words = words;
            let [_, protocol] = words[4].to_ne_bytes();
            words[4] = u16::from_ne_bytes([ttl, protocol]);
            let before = header(words);
            let mut after = before;
            after[4] = u16::from_ne_bytes([ttl - 1, protocol]);
            after[5] = ttl_decremented(before[5]);
            // RFC 1624 §3: a receiver sums all words; both zeros are right.
            prop_assert_eq!(of(after), 0);
        }
    }
}
