//! A check's packet inside another one: RFC 2003, RFC 2473.

use crate::header::{Header, LINK, read};
use aya_ebpf::{
    bindings::{
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6,
        bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    },
    programs::TcContext,
};
use lb_common::{checksum, probe::Detour};

const IPIP: u8 = 4;
const IPV6_IN: u8 = 41;
const TTL: u8 = 64;
/// Do not fragment, RFC 791 §3.1.
const DONT_FRAGMENT: u16 = 0x4000;

/// Puts an outer header of the same family around the packet.
#[inline(always)]
pub fn wrap(ctx: &TcContext, header: &Header, detour: &Detour) -> Option<()> {
    match header.is_ipv6 {
        false => wrap_ipv4(ctx, detour),
        true => wrap_ipv6(ctx, detour),
    }
}

#[inline(always)]
fn wrap_ipv4(ctx: &TcContext, detour: &Detour) -> Option<()> {
    let inner = u16::from_be(read(ctx, LINK + 2)?);
    let room = BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 as u64;
    ctx.skb.adjust_room(20, BPF_ADJ_ROOM_MAC, room).ok()?;
    let (source, destination) = (detour.outer_source[3], detour.outer_destination[3]);
    // In wire order, as it lies in memory.
    let mut words = [
        0x4500_u16.to_be(),
        inner.wrapping_add(20).to_be(),
        0,
        DONT_FRAGMENT.to_be(),
        u16::from_be_bytes([TTL, IPIP]).to_be(),
        0,
        source as u16,
        (source >> 16) as u16,
        destination as u16,
        (destination >> 16) as u16,
    ];
    let mut sum = 0_u64;
    for word in words {
        sum += u64::from(word);
    }
    words[5] = checksum::of_sum(sum);
    ctx.store(LINK, &words, 0).ok()
}

#[inline(always)]
fn wrap_ipv6(ctx: &TcContext, detour: &Detour) -> Option<()> {
    let inner = u16::from_be(read(ctx, LINK + 4)?);
    let room = BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 as u64;
    ctx.skb.adjust_room(40, BPF_ADJ_ROOM_MAC, room).ok()?;
    let [length_high, length_low] = inner.wrapping_add(40).to_be_bytes();
    let first = [
        0x6000_0000_u32.to_be(),
        u32::from_ne_bytes([length_high, length_low, IPV6_IN, TTL]),
    ];
    ctx.store(LINK, &first, 0).ok()?;
    ctx.store(LINK + 8, &detour.outer_source, 0).ok()?;
    ctx.store(LINK + 24, &detour.outer_destination, 0).ok()
}
