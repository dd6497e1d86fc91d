//! Internet checksum arithmetic (RFC 1071, RFC 1624), on words as they lie in memory: byte order does not matter.

/// The checksum of an IPv4 header after its TTL went down by one (RFC 1141): TTL is the first octet of its word, so
/// the sum loses 0x0100 in network order, which is 1 where the word is loaded little-endian. As the kernel's
/// `ip_decrease_ttl` (`include/net/ip.h`).
#[inline(always)]
pub const fn ttl_decremented(check: u16) -> u16 {
    let sum = check as u32 + 1;
    (sum + (sum >= 0xffff) as u32) as u16
}

/// The ones' complement sum of `words`, folded to 16 bits and inverted: the value of a checksum field.
pub fn of(words: impl IntoIterator<Item = u16>) -> u16 {
    let mut sum: u32 = words.into_iter().map(u32::from).fold(0, |sum, word| sum + word);
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
