//! Weighted Maglev tables (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI'16,
//! section 3.4).
//!
//! Every member has its own permutation of the slots, drawn from a hash of its address and port. Members take turns
//! ([`turns`](super::turns) says in which order) and each takes the first slot of its permutation that is still free.
//! A change of members moves the slots of those that changed and few others.
//!
//! **A table depends only on the set of (address, port, weight)**: not on the order of the list, on earlier tables, or
//! on the backends' ids. The directors of a pair compute the same table and forward a flow to the same real server. The
//! hash, its keys, the encoding of a member and the order of turns are therefore part of the product's interface:
//! changing one splits a pair while it is being upgraded, and the golden tables in the tests are there to object.
//!
//! # How it is fast
//!
//! Probing a permutation is an addition and a conditional subtraction, several steps at once, and asks a bitmap that
//! stays in the first-level cache (16 KiB at most). As the table fills, free slots become rare and are searched for longest: about half of all
//! probes would look for the last √M slots. For those the question is turned round: the place of a free slot in a
//! member's permutation is `(slot - offset) · skip⁻¹ mod M`, so the lowest place among the few slots left is what
//! probing would have found. The result is the paper's, slot for slot (a test holds it against the paper's own
//! loop).

use std::net::IpAddr;

use siphasher::sip128::SipHasher24;

use super::size::TableSize;
use super::turns::Turns;

/// One real server as the table sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The real server's address. With `port`, who it is: the same on every director.
    pub address: IpAddr,
    /// The real server's port, in host byte order; 0 where it serves the port the client asked for.
    pub port: u16,
    /// Its share relative to the others; 0: no slot.
    pub weight: u16,
    /// What is written into its slots. Never influences which slots these are.
    pub backend: u32,
}

/// The backend of every slot; `None` if no member has a weight above zero.
///
/// Shares follow the weights to within about one slot. A member of weight above zero has at least one, however light
/// it is next to the others; where there are more such members than slots, the heaviest have one each.
///
/// The same address and port given twice count once, with the larger weight (of equal weights, the lower backend id).
/// A configuration that does so is refused long before; this keeps the answer well defined.
///
/// Takes at most `size` probes for each member in all, whatever the weights: measured 0.8 ms for 65,537 slots and 100
/// members of equal weight, 3.2 ms where all 100 weights differ (AMD EPYC, `cargo bench --bench maglev`).
pub fn table(members: &[Member], size: TableSize) -> Option<Vec<u32>> {
    let members = in_canonical_order(members);
    if members.is_empty() {
        return None;
    }
    let modulus = Modulus::new(size);
    let mut walks: Vec<Walk> = members.iter().map(|m| Walk::new(m, size)).collect();
    let weights: Vec<u16> = members.iter().map(|m| m.weight).collect();
    let mut turns = Turns::new(&weights);

    let mut slots = vec![0; size.slots() as usize];
    let mut taken = Taken::default();
    let (plenty, rare) = (size.slots() / 4, size.slots().isqrt());
    for member in turns.by_ref().take(plenty as usize) {
        let walk = &mut walks[member];
        slots[walk.take_next::<1>(&mut taken, size) as usize] = walk.backend;
    }
    for member in turns.by_ref().take((size.slots() - plenty - rare) as usize) {
        let walk = &mut walks[member];
        slots[walk.take_next::<STRIDE>(&mut taken, size) as usize] = walk.backend;
    }
    let mut free: Vec<u32> = (0..size.slots())
        .filter(|&slot| !taken.contains(slot))
        .collect();
    for member in turns.take(free.len()) {
        let walk = &walks[member];
        slots[walk.take_nearest(&mut free, modulus) as usize] = walk.backend;
    }
    Some(slots)
}

/// Keys of the hash that draws the permutations. Public on purpose: who can choose the addresses of real servers
/// owns the load balancer anyway.
const HASH_KEYS: (u64, u64) = (
    u64::from_be_bytes(*b"lb magle"),
    u64::from_be_bytes(*b"v tables"),
);

/// SipHash-2-4 with 128 bits of output over the canonical encoding of an identity: the family (4 or 6), the address in
/// network byte order (4 or 16 bytes), the port in network byte order.
fn hash(address: IpAddr, port: u16) -> (u64, u64) {
    let hasher = SipHasher24::new_with_keys(HASH_KEYS.0, HASH_KEYS.1);
    let mut encoded = Vec::with_capacity(19);
    match address {
        IpAddr::V4(v4) => {
            encoded.push(4);
            encoded.extend(v4.octets());
        }
        IpAddr::V6(v6) => {
            encoded.push(6);
            encoded.extend(v6.octets());
        }
    }
    encoded.extend(port.to_be_bytes());
    hasher.hash(&encoded).as_u64()
}

/// Members of weight above zero, each identity once: heaviest first, then IPv4 before IPv6, then by address and port.
fn in_canonical_order(members: &[Member]) -> Vec<Member> {
    let identity = |m: &Member| (m.address.is_ipv6(), m.address, m.port);
    let mut members: Vec<Member> = members.iter().filter(|m| m.weight > 0).copied().collect();
    members.sort_unstable_by_key(|m| (identity(m), u16::MAX - m.weight, m.backend));
    members.dedup_by_key(|m| identity(m));
    members.sort_by_key(|m| u16::MAX - m.weight);
    members
}

/// Slots of a permutation that are tried at once, as soon as not every first try is a hit. One by one, each waits for
/// the sum before it, and where the search ends is mispredicted for nearly every slot. Measured for 100 members (AMD
/// EPYC): 1: 960 us, 2: 940, 4: 790, 8: 950; 4 after a first quarter one by one: 720.
const STRIDE: usize = 4;

/// One member on its way through its permutation: `offset, offset + skip, offset + 2·skip, ...` modulo the size.
struct Walk {
    offset: u32,
    skip: u32,
    /// `0, skip, 2·skip, ...` modulo the size, as far as the step to the next stride.
    steps: [u32; STRIDE + 1],
    /// The slot to be tried next; all before it are taken.
    next: u32,
    backend: u32,
}

impl Walk {
    fn new(member: &Member, size: TableSize) -> Self {
        let (first, second) = hash(member.address, member.port);
        let slots = u64::from(size.slots());
        // Both remainders are below 2^17.
        let offset = (first % slots) as u32;
        let skip = (second % (slots - 1)) as u32 + 1;
        let mut next = 0;
        let steps = std::array::from_fn(|_| {
            let step = next;
            next = add(step, skip, size);
            step
        });
        Self {
            offset,
            skip,
            steps,
            next: offset,
            backend: member.backend,
        }
    }

    /// Takes the first free slot of the permutation, trying so many at once. There must be one.
    #[inline]
    fn take_next<const TRIES: usize>(&mut self, taken: &mut Taken, size: TableSize) -> u32 {
        let mut start = self.next;
        let slot = loop {
            let mut free = 0_u32;
            for (i, step) in self.steps[..TRIES].iter().enumerate() {
                free |= u32::from(!taken.contains(add(start, *step, size))) << i;
            }
            if free != 0 {
                let first = free.trailing_zeros() as usize % TRIES;
                break add(start, self.steps[first], size);
            }
            start = add(start, self.steps[TRIES], size);
        };
        taken.insert(slot);
        self.next = add(slot, self.skip, size);
        slot
    }

    /// Takes out of `free` the slot that comes first in the permutation: what `take_next` would find.
    fn take_nearest(&self, free: &mut Vec<u32>, modulus: Modulus) -> u32 {
        let inverse = modulus.inverse(self.skip);
        let place = |slot: u32| modulus.multiply(modulus.subtract(slot, self.offset), inverse);
        let nearest = (0..free.len()).min_by_key(|&i| place(free[i]));
        free.swap_remove(nearest.expect("one turn is given for each free slot"))
    }
}

/// `a + b` modulo the size, for `a` and `b` below it.
#[inline]
fn add(a: u32, b: u32, size: TableSize) -> u32 {
    let sum = a + b;
    // One subtraction is enough. It wraps exactly when it must not be done, to a number above any slot: the smaller
    // of the two is the remainder, without a branch to mispredict.
    sum.min(sum.wrapping_sub(size.slots()))
}

/// Slots that have an owner, one bit each.
struct Taken([u64; Taken::WORDS]);

impl Taken {
    /// A power of two that covers the largest table, so that the mask in `word` costs less than a bounds check.
    const WORDS: usize = (TableSize::MAX.slots() as usize + 1) / 64;

    fn contains(&self, slot: u32) -> bool {
        self.0[Self::word(slot)] >> (slot % 64) & 1 == 1
    }

    fn insert(&mut self, slot: u32) {
        self.0[Self::word(slot)] |= 1 << (slot % 64);
    }

    const fn word(slot: u32) -> usize {
        (slot as usize / 64) & (Self::WORDS - 1)
    }
}

const _: () = assert!(Taken::WORDS.is_power_of_two());

impl Default for Taken {
    fn default() -> Self {
        Self([0; Self::WORDS])
    }
}

/// Arithmetic modulo a table's size, without division (Barrett reduction).
#[derive(Clone, Copy)]
struct Modulus {
    slots: u32,
    /// `floor(2^64 / slots)`; a prime divides 2^64 never, so this is exact.
    reciprocal: u64,
}

impl Modulus {
    fn new(size: TableSize) -> Self {
        Self {
            slots: size.slots(),
            reciprocal: u64::MAX / u64::from(size.slots()),
        }
    }

    fn subtract(self, a: u32, b: u32) -> u32 {
        // As in `add`: only the one that did not wrap is below the modulus.
        let difference = a.wrapping_sub(b);
        difference.min(difference.wrapping_add(self.slots))
    }

    fn multiply(self, a: u32, b: u32) -> u32 {
        // The quotient is right or one too small for products below 2^64, and these are below 2^34.
        let product = u64::from(a) * u64::from(b);
        let quotient = ((u128::from(product) * u128::from(self.reciprocal)) >> 64) as u64;
        let rest = (product - quotient * u64::from(self.slots)) as u32;
        rest.min(rest.wrapping_sub(self.slots))
    }

    /// By Fermat: `a^(slots - 2)`, for the modulus is a prime and `a` is not 0.
    fn inverse(self, a: u32) -> u32 {
        let (mut power, mut square, mut exponent) = (1, a, self.slots - 2);
        while exponent > 0 {
            if exponent & 1 == 1 {
                power = self.multiply(power, square);
            }
            square = self.multiply(square, square);
            exponent >>= 1;
        }
        power
    }
}

#[cfg(test)]
mod tests;
