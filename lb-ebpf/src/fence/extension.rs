//! Past the IPv6 header and its extension headers (RFC 8200 §4), to what a packet is about.

use crate::{LINK_HEADER, read};
use aya_ebpf::programs::TcContext;

/// RFC 8200 §4.3, §4.4, §4.6: all of one shape.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION: u8 = 60;
/// As many are looked past.
const MAX_HEADERS: usize = 6;
/// Length of the IPv6 header, bytes.
const HEADER: usize = 40;

/// The protocol behind them, and where it begins. `None`: too many, or the packet ends before. What comes in fragments
/// the kernel does not take for neighbour discovery (RFC 6980).
#[inline(always)]
pub fn payload(ctx: &TcContext) -> Option<(u8, usize)> {
    let mut next = read::<u8>(ctx, LINK_HEADER + 6)?;
    let mut at = LINK_HEADER + HEADER;
    for _ in 0..MAX_HEADERS {
        if next != HOP_BY_HOP && next != ROUTING && next != DESTINATION {
            return Some((next, at));
        }
        let header = u16::from_be(read(ctx, at)?);
        next = (header >> 8) as u8;
        at += (header as usize & 0xff) * 8 + 8;
    }
    None
}
