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
