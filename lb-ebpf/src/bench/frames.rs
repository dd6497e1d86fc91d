//! Programs of `cargo xtask bench frames`: real frames on a cable between two virtual interfaces.
//!
//! One makes them, one turns them round without a thought, one counts what came back.

use crate::frame::{Bytes, Frame};
use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::Array,
    macros::{btf_map, xdp},
    programs::XdpContext,
};

/// Bytes of every frame: the smallest that Ethernet has, without its checksum.
const LEN: usize = 60;
/// How many flows are made: source ports 1024 to 2047.
const FLOWS: u32 = 1024;

/// The frame that is made. Key: 0. Written by the benchmark.
#[btf_map]
static TEMPLATE: Array<[u32; LEN / 4], 1> = Array::new();

/// Key 0: frames made; 1: frames that came back. One CPU makes and counts them all.
#[btf_map]
static FRAMES: Array<u64, 2> = Array::new();

/// Makes a UDP packet over IPv4 of the next flow, and sends it to the other end of the cable. The kernel hands the
/// pages of earlier frames out again as they are, so every byte of the headers is written each time.
#[xdp(frags)]
pub fn generate(ctx: XdpContext) -> u32 {
    let (Some(frame), Some(template)) = (Frame::new(&ctx).bytes::<LEN>(0), TEMPLATE.get(0)) else {
        return xdp_action::XDP_ABORTED;
    };
    write(frame, template);
    let number = count(0) as u32 % FLOWS;
    frame.set_u16::<34>((1024 + number as u16).to_be());
    xdp_action::XDP_TX
}

/// Sends a frame back where it came from: the least that a forwarder does.
#[xdp(frags)]
pub fn macswap(ctx: XdpContext) -> u32 {
    let Some(frame) = Frame::new(&ctx).bytes::<12>(0) else {
        return xdp_action::XDP_DROP;
    };
    let destination = (frame.u32::<0>(), frame.u16::<4>());
    let source = (frame.u16::<6>(), frame.u32::<8>());
    frame.set_u16::<0>(source.0);
    frame.set_u32::<2>(source.1);
    frame.set_u32::<6>(destination.0);
    frame.set_u16::<10>(destination.1);
    xdp_action::XDP_TX
}

/// Counts what came back, and drops it.
#[xdp(frags)]
pub fn sink(_ctx: XdpContext) -> u32 {
    count(1);
    xdp_action::XDP_DROP
}

#[inline(always)]
fn write(frame: Bytes<LEN>, template: &[u32; LEN / 4]) {
    macro_rules! words {
        ($($at:literal)*) => { $( frame.set_u32::<{ $at * 4 }>(template[$at]); )* };
    }
    words!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// Adds one, and says how many there were before.
#[inline(always)]
fn count(key: u32) -> u64 {
    FRAMES.get_ptr_mut(key).map_or(0, |counter| {
        // SAFETY: a map value that is written on one CPU alone.
        unsafe {
            let before = *counter;
            *counter = before.wrapping_add(1);
            before
        }
    })
}
