//! The hashes both sides compute. A change here moves every flow: it needs a new [`crate::LAYOUT_VERSION`].

use crate::{flow::Tag, key::Address};

/// Odd multipliers with evenly spread bits: the golden ratio's fraction, and the two of MurmurHash3's 64-bit finaliser
/// (Austin Appleby, 2011, public domain).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const MURMUR: [u64; 2] = [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53];

/// Mixes two words into 32 bits, every input bit reaching every output bit. A multiplication takes three cycles and BPF
/// has no rotation: three multiplications are ready long before a chain of shifts would be.
#[inline(always)]
const fn mix(varying: u64, steady: u64) -> u32 {
    let x = varying ^ steady.wrapping_mul(GOLDEN);
    let x = (x ^ x >> 32).wrapping_mul(MURMUR[0]);
    ((x ^ x >> 32).wrapping_mul(MURMUR[1]) >> 32) as u32
}

/// Hash of an IPv4 flow. `ports` is the first word of the transport header: source and destination port, wire order.
#[inline(always)]
pub const fn flow4(source: u32, destination: u32, ports: u32, protocol: u8) -> u32 {
    mix(
        (ports as u64) << 32 | source as u64,
        destination as u64 | (protocol as u64) << 32,
    )
}

/// Hash of an IPv6 flow. The halves of the source are weighed apart, so that neither a whole /64 nor a host part that
/// repeats its network collapses.
#[inline(always)]
pub const fn flow6(source: &Address, destination: &Address, ports: u32, protocol: u8) -> u32 {
    let prefix = (source[0] as u64 | (source[1] as u64) << 32).wrapping_mul(MURMUR[1]);
    let host = source[2] as u64 | (source[3] as u64) << 32;
    let service = fold(destination) as u64 | (protocol as u64) << 32;
    mix(host ^ prefix ^ prefix >> 32, service ^ (ports as u64) << 32)
}

/// Hash of an IPv4 flow under a secret key, see [`crate::flow::Tag`]. The key goes in before the multiplications: which
/// flows collide depends on it.
#[inline(always)]
pub const fn keyed4(source: u32, destination: u32, ports: u32, protocol: u8, key: u64) -> u32 {
    mix_keyed(
        (ports as u64) << 32 | source as u64,
        destination as u64 | (protocol as u64) << 32,
        key,
    )
}

/// Hash of an IPv6 flow under a secret key.
#[inline(always)]
pub const fn keyed6(
    source: &Address,
    destination: &Address,
    ports: u32,
    protocol: u8,
    key: u64,
) -> u32 {
    let prefix = source[0] as u64 | (source[1] as u64) << 32;
    let host = source[2] as u64 | (source[3] as u64) << 32;
    let service = fold(destination) as u64 | (protocol as u64) << 32;
    let prefix = (prefix ^ key).wrapping_mul(MURMUR[1]);
    mix_keyed(
        host ^ prefix ^ prefix >> 32,
        service ^ (ports as u64) << 32,
        key,
    )
}

#[inline(always)]
const fn mix_keyed(varying: u64, steady: u64, key: u64) -> u32 {
    let x = (varying ^ key).wrapping_mul(MURMUR[0]);
    let y = (steady ^ key.rotate_left(32)).wrapping_mul(GOLDEN);
    let z = (x ^ x >> 32).wrapping_add(y ^ y >> 32);
    (z.wrapping_mul(MURMUR[1]) >> 32) as u32
}

/// Hash of an address alone, for schedulers that choose by it; an IPv4 address is the first word.
#[inline(always)]
pub const fn address(address: &Address) -> u32 {
    flow6(address, &[0; 4], 0, 0)
}

/// What a client of a persistent service is known by in the flow table; `client` is the part of its address that counts,
/// see [`crate::key::masked`]. No flow has its protocol.
#[inline(always)]
pub const fn client(client: &Address, service: u16, key: u64) -> Tag {
    let of = [service as u32, 0, 0, 0];
    Tag::new(flow6(client, &of, 0, 0), keyed6(client, &of, 0, 0, key))
}

/// Spreads a 32-bit hash over `0..len` without a division.
#[inline(always)]
pub const fn spread(hash: u32, len: u32) -> u32 {
    ((hash as u64 * len as u64) >> 32) as u32
}

/// Folds an address into one word; an IPv4 address is its own. Its keys come from the configuration, not from packets:
/// cheap is enough, but people number hosts as their networks (`2001:db8:0:7::7`), so equal words must not cancel out.
#[inline(always)]
pub const fn fold(address: &Address) -> u32 {
    address[0] ^ address[1].rotate_left(7) ^ address[2].rotate_left(13) ^ address[3].rotate_left(19)
}

/// Home position of a service's key before masking; `folded` is [`fold`] of its address.
#[inline(always)]
pub const fn service(folded: u32, tuple: u32, seed: u32) -> u32 {
    let x = folded ^ tuple.wrapping_mul(0x9e37_79b1) ^ seed;
    ((x as u64).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32) as u32
}

#[cfg(test)]
mod tests;
