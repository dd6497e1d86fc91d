//! The address filter: the first question asked of a packet, so that the host's own traffic costs almost nothing.
//!
//! A bitmap over a 16-bit hash of the destination. A clear bit is a certain "not ours"; a set one is a "perhaps",
//! settled by the service table.

/// Words of the bitmap.
pub const WORDS: usize = 1024;

/// The word and the bit of a folded address (see [`crate::hash::fold`]). The word is below [`WORDS`].
#[inline(always)]
pub const fn position(folded: u32) -> (usize, u32) {
    let h = folded.wrapping_mul(0x9e37_79b1) >> 16;
    ((h >> 6) as usize, h & 63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn every_position_is_in_the_bitmap(folded in any::<u32>()) {
            let (word, bit) = position(folded);
            prop_assert!(word < WORDS && bit < 64);
        }
    }

    #[test]
    fn the_extremes_are_in_the_bitmap() {
        for folded in [0, 1, u32::MAX, 1 << 31, 0x9e37_79b1] {
            let (word, bit) = position(folded);
            assert!(word < WORDS && bit < 64, "{folded:#x}");
        }
    }

    #[test]
    fn hosts_of_one_network_hardly_share_a_bit() {
        let positions: HashSet<_> = (0..=u16::MAX)
            .step_by(256)
            .map(|host| position(u32::from_ne_bytes([10, 0, (host >> 8) as u8, host as u8])))
            .collect();
        assert_eq!(positions.len(), 256);
    }

    #[test]
    fn every_bit_is_used() {
        let mut used = std::vec![0_u64; WORDS];
        for host in 0..1 << 20 {
            let (word, bit) = position(host);
            used[word] |= 1 << bit;
        }
        assert!(used.iter().all(|&word| word == u64::MAX));
    }
}
