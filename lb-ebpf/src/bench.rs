//! Programs that `cargo xtask bench` runs, never part of the agent's object.
//!
//! `BPF_PROG_TEST_RUN` does not restore the packet between repeats, so each wrapper runs the whole life of a packet and
//! then puts back what that changed; its twin does only the putting back. Their difference is the price.

mod frames;
mod tunnel_end;

use crate::{balance, ethernet, frame::Frame};
use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::Array,
    helpers::generated::bpf_xdp_adjust_head,
    macros::{btf_map, xdp},
    programs::XdpContext,
};

/// Number of the current repeat, from which many flows are made.
#[btf_map]
static ROUND: Array<u32, 1> = Array::new();

/// Nothing: what the test run itself costs.
#[xdp(frags)]
pub fn bare(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// A forwarded packet.
#[xdp(frags)]
pub fn forward(ctx: XdpContext) -> u32 {
    let verdict = balance(&ctx).conclude(Frame::new(&ctx));
    restore(&ctx);
    verdict
}

/// The twin of [`forward`].
#[xdp(frags)]
pub fn forward_twin(ctx: XdpContext) -> u32 {
    restore(&ctx);
    xdp_action::XDP_TX
}

/// A forwarded IPv4 packet whose source address is another one each time, of 2^20.
#[xdp(frags)]
pub fn flows(ctx: XdpContext) -> u32 {
    next_flow(&ctx);
    let verdict = balance(&ctx).conclude(Frame::new(&ctx));
    restore(&ctx);
    verdict
}

/// The twin of [`flows`].
#[xdp(frags)]
pub fn flows_twin(ctx: XdpContext) -> u32 {
    next_flow(&ctx);
    restore(&ctx);
    xdp_action::XDP_TX
}

/// A packet that is put into another one.
#[xdp(frags)]
pub fn tunnel(ctx: XdpContext) -> u32 {
    let len = Frame::new(&ctx).whole_len();
    let verdict = balance(&ctx).conclude(Frame::new(&ctx));
    uncover(&ctx, len);
    restore(&ctx);
    verdict
}

/// The twin of [`tunnel`].
#[xdp(frags)]
pub fn tunnel_twin(ctx: XdpContext) -> u32 {
    let len = Frame::new(&ctx).whole_len();
    uncover(&ctx, len);
    restore(&ctx);
    xdp_action::XDP_TX
}

/// A packet whose addresses and ports are translated.
#[xdp(frags)]
pub fn translate(ctx: XdpContext) -> u32 {
    save_ends(&ctx);
    let verdict = balance(&ctx).conclude(Frame::new(&ctx));
    restore(&ctx);
    restore_ends(&ctx);
    verdict
}

/// The twin of [`translate`].
#[xdp(frags)]
pub fn translate_twin(ctx: XdpContext) -> u32 {
    save_ends(&ctx);
    restore(&ctx);
    restore_ends(&ctx);
    xdp_action::XDP_TX
}

/// Addresses, ports and checksum of the packet at hand: a TCP segment without options or extension headers. Not on the stack,
/// which the program itself needs.
#[btf_map]
static ENDS: Array<[u32; 10], 1> = Array::new();

#[inline(always)]
fn save_ends(ctx: &XdpContext) {
    let (Some(ends), Some(header)) = (ENDS.get_ptr_mut(0), Frame::new(ctx).bytes::<54>(0)) else {
        return;
    };
    // SAFETY: a map value of which only this program knows.
    let ends = unsafe { &mut *ends };
    if header.u8::<12>() == 0x08 {
        ends[0] = header.u32::<26>();
        ends[1] = header.u32::<30>();
        ends[8] = header.u32::<34>();
        ends[9] = header.u16::<50>() as u32;
    } else if let Some(header) = Frame::new(ctx).bytes::<74>(0) {
        ends[0] = header.u32::<22>();
        ends[1] = header.u32::<26>();
        ends[2] = header.u32::<30>();
        ends[3] = header.u32::<34>();
        ends[4] = header.u32::<38>();
        ends[5] = header.u32::<42>();
        ends[6] = header.u32::<46>();
        ends[7] = header.u32::<50>();
        ends[8] = header.u32::<54>();
        ends[9] = header.u16::<70>() as u32;
    }
}

#[inline(always)]
fn restore_ends(ctx: &XdpContext) {
    let (Some(ends), Some(header)) = (ENDS.get_ptr_mut(0), Frame::new(ctx).bytes::<54>(0)) else {
        return;
    };
    // SAFETY: as in `save_ends`.
    let ends = unsafe { &*ends };
    if header.u8::<12>() == 0x08 {
        header.set_u32::<26>(ends[0]);
        header.set_u32::<30>(ends[1]);
        header.set_u32::<34>(ends[8]);
        header.set_u16::<50>(ends[9] as u16);
    } else if let Some(header) = Frame::new(ctx).bytes::<74>(0) {
        header.set_u32::<22>(ends[0]);
        header.set_u32::<26>(ends[1]);
        header.set_u32::<30>(ends[2]);
        header.set_u32::<34>(ends[3]);
        header.set_u32::<38>(ends[4]);
        header.set_u32::<42>(ends[5]);
        header.set_u32::<46>(ends[6]);
        header.set_u32::<50>(ends[7]);
        header.set_u32::<54>(ends[8]);
        header.set_u16::<70>(ends[9] as u16);
    }
}

/// Takes off what is more than `len` bytes of the frame's front, and puts the EtherType of what it carries into what is
/// then the header.
#[inline(always)]
fn uncover(ctx: &XdpContext, len: usize) {
    let excess = Frame::new(ctx).whole_len() as i32 - len as i32;
    // SAFETY: the context is the one the kernel gave this program.
    unsafe { bpf_xdp_adjust_head(ctx.ctx, excess) };
    if let Some(header) = Frame::new(ctx).bytes::<15>(0) {
        header.set_u16::<12>(if header.u8::<14>() == 0x45 {
            ethernet::IPV4
        } else {
            ethernet::IPV6
        });
    }
}

#[inline(always)]
fn next_flow(ctx: &XdpContext) {
    if let (Some(round), Some(source)) = (ROUND.get_ptr_mut(0), Frame::new(ctx).bytes::<4>(26)) {
        // SAFETY: a map value of which only this program knows.
        let number = unsafe {
            *round = (*round).wrapping_add(1);
            *round
        };
        source.set_u32::<0>(0x0a ^ (number.wrapping_mul(0x9e37_79b1) >> 12) << 8);
    }
}

/// The addresses, TTL and checksum that the bench's packets have: see its packets.
#[inline(always)]
fn restore(ctx: &XdpContext) {
    if let Some(header) = Frame::new(ctx).bytes::<26>(0) {
        header.set_u32::<0>(0x0000_0002);
        header.set_u32::<4>(0x0002_0100);
        header.set_u32::<8>(0x0200_0000);
        if header.u8::<12>() == 0x08 {
            header.set_u8::<22>(64);
            header.set_u16::<24>(0x1234);
        } else {
            header.set_u8::<21>(64);
        }
    }
}
