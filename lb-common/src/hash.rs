//! The hashes both sides compute. A change here moves every flow: it needs a new [`crate::LAYOUT_VERSION`].

use crate::key::Address;

/// Mixes three words into one, every input bit reaching every output bit
/// (the final mix of Bob Jenkins' lookup3, 2006, public domain; as in the kernel's `include/linux/jhash.h`).
#[inline(always)]
const fn mix(mut a: u32, mut b: u32, mut c: u32) -> u32 {
    c ^= b;
    c = c.wrapping_sub(b.rotate_left(14));
    a ^= c;
    a = a.wrapping_sub(c.rotate_left(11));
    b ^= a;
    b = b.wrapping_sub(a.rotate_left(25));
    c ^= b;
    c = c.wrapping_sub(b.rotate_left(16));
    a ^= c;
    a = a.wrapping_sub(c.rotate_left(4));
    b ^= a;
    b = b.wrapping_sub(a.rotate_left(14));
    c ^= b;
    c.wrapping_sub(b.rotate_left(24))
}

/// Hash of an IPv4 flow. `ports` is the first word of the transport header: source and destination port, wire order.
#[inline(always)]
pub const fn flow4(source: u32, destination: u32, ports: u32, protocol: u8) -> u32 {
    mix(source, destination.wrapping_add(protocol as u32), ports)
}

/// Hash of an IPv6 flow. The two halves of an address are folded with a rotation, so that neither a whole /64
/// nor a host's habit of equal low words collapses.
#[inline(always)]
pub const fn flow6(source: &Address, destination: &Address, ports: u32, protocol: u8) -> u32 {
    mix(
        source[0] ^ source[2].rotate_left(16),
        (source[1] ^ source[3].rotate_left(9)).wrapping_add(fold(destination)),
        ports.wrapping_add(protocol as u32),
    )
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
