//! The hashes both sides compute. A change here moves every flow: it needs a new [`crate::LAYOUT_VERSION`].

use crate::key::Address;

/// Odd multipliers with evenly spread bits: the golden ratio's fraction, and the two of MurmurHash3's 64-bit finaliser
/// (Austin Appleby, 2011, public domain).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const MURMUR: [u64; 2] = [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53];

/// Mixes two words into 32 bits, of which [`spread`] uses the upper ones. A multiplication takes three cycles and BPF has
/// no rotation: three multiplications are ready long before a chain of shifts would be. The four highest bits of a word
/// are mixed least; the destination port lies there, which is the same for all flows of a service.
#[inline(always)]
const fn mix(varying: u64, steady: u64) -> u32 {
    let x = (varying ^ steady.wrapping_mul(GOLDEN)).wrapping_mul(MURMUR[0]);
    ((x ^ x >> 32).wrapping_mul(MURMUR[1]) >> 32) as u32
}

/// Hash of an IPv4 flow. `ports` is the first word of the transport header: source and destination port, wire order.
#[inline(always)]
pub const fn flow4(source: u32, destination: u32, ports: u32, protocol: u8) -> u32 {
    mix((ports as u64) << 32 | source as u64, destination as u64 | (protocol as u64) << 32)
}

/// Hash of an IPv6 flow.
#[inline(always)]
pub const fn flow6(source: &Address, destination: &Address, ports: u32, protocol: u8) -> u32 {
    let prefix = source[0] as u64 | (source[1] as u64) << 32;
    let host = source[2] as u64 | (source[3] as u64) << 32;
    let service = fold(destination) as u64 | (protocol as u64) << 32;
    mix(host ^ prefix.wrapping_mul(MURMUR[1]), service ^ (ports as u64) << 32)
}

/// Spreads a 32-bit hash over `0..len` without a division.
#[inline(always)]
pub const fn spread(hash: u32, len: u32) -> u32 {
    ((hash as u64 * len as u64) >> 32) as u32
}

/// Folds an address into one word. Its keys come from the configuration, not from packets: cheap is enough.
#[inline(always)]
pub const fn fold(address: &Address) -> u32 {
    address[0] ^ address[1] ^ address[2] ^ address[3]
}

/// Home position of a service's key before masking; `folded` is [`fold`] of its address.
#[inline(always)]
pub const fn service(folded: u32, tuple: u32, seed: u32) -> u32 {
    let x = folded ^ tuple.wrapping_mul(0x9e37_79b1) ^ seed;
    ((x as u64).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32) as u32
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    /// Any flow: the tests below turn single bits of it.
    const FLOW4: [u32; 3] = [0x0200_000a, 0x0100_000a, 0x5000_3930];
    const FLOW6: [u32; 9] = [0xb80d_0120, 0, 0, 0x0200_0000, 0xb80d_0120, 0, 0, 0x0100_0000, 0x5000_3930];

    fn hash4(flow: [u32; 3]) -> u32 {
        flow4(flow[0], flow[1], flow[2], 6)
    }

    fn hash6(flow: [u32; 9]) -> u32 {
        let [a, b, c, d, e, f, g, h, ports] = flow;
        flow6(&[a, b, c, d], &[e, f, g, h], ports, 6)
    }

    /// Turns each bit of many flows: nearly all must get another slot.
    fn assert_every_bit_counts<const N: usize>(flow: [u32; N], hash: impl Fn([u32; N]) -> u32) {
        const FLOWS: u32 = 2048;
        const SLOTS: u32 = 65_537;
        for bit in 0..N * 32 {
            let mut moved = 0;
            for number in 0..FLOWS {
                let mut before = flow;
                for (word, place) in before.iter_mut().zip(1_u32..) {
                    *word ^= number.wrapping_mul(0x85eb_ca6b).wrapping_mul(place * 2 + 1);
                }
                let mut after = before;
                after[bit / 32] ^= 1 << (bit % 32);
                moved += u32::from(spread(hash(before), SLOTS) != spread(hash(after), SLOTS));
            }
            assert!(moved * 100 >= FLOWS * 99, "bit {bit} moves {moved} of {FLOWS} flows");
        }
    }

    #[test]
    fn every_bit_of_a_flow_counts() {
        assert_every_bit_counts(FLOW4, hash4);
        assert_every_bit_counts(FLOW6, hash6);
    }

    /// Chi-square over the slots of 65,536 flows, in units of what chance would give.
    fn unevenness(hashes: impl Iterator<Item = u32>, slots: u32) -> f64 {
        let mut counts = std::vec![0_u32; slots as usize];
        let mut flows = 0_u32;
        for hash in hashes {
            counts[spread(hash, slots) as usize] += 1;
            flows += 1;
        }
        let expected = f64::from(flows) / f64::from(slots);
        counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum::<f64>() / f64::from(slots)
    }

    #[test]
    fn flows_that_differ_little_spread_as_chance_would() {
        let port = |number: u32| [FLOW4[0], FLOW4[1], 0x5000_0000 | u32::from((number as u16).to_be())];
        let host = |number: u32| [u32::from_ne_bytes([10, 0, (number >> 8) as u8, number as u8]), FLOW4[1], FLOW4[2]];
        let network = |number: u32| [u32::from_ne_bytes([(number >> 8) as u8, number as u8, 0, 1]), FLOW4[1], FLOW4[2]];
        for slots in [251, 1009, 16_381] {
            for (name, flow) in [("ports", &port as &dyn Fn(u32) -> [u32; 3]), ("hosts", &host), ("networks", &network)] {
                let found = unevenness((0..65_536).map(|number| hash4(flow(number))), slots);
                assert!(found < 1.4, "{name} over {slots} slots: {found:.2}");
            }
            for (name, word) in [("/64 networks", 1), ("/48 networks", 0), ("hosts", 3), ("interface ids", 2)] {
                let flow = |number: u32| {
                    let mut flow = FLOW6;
                    flow[word] ^= number.swap_bytes();
                    flow
                };
                let found = unevenness((0..65_536).map(|number| hash6(flow(number))), slots);
                assert!(found < 1.4, "{name} over {slots} slots: {found:.2}");
            }
        }
    }
}
