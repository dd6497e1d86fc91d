//! A real server's end of IPv4 tunnels, for `cargo xtask bench lab`.

use crate::frame::Frame;
use aya_ebpf::{
    bindings::xdp_action, helpers::generated::bpf_xdp_adjust_head, macros::xdp,
    programs::XdpContext,
};

/// Bytes of an IPv4 header without options.
const OUTER: usize = 20;
/// IPv4 in IPv4 (RFC 2003).
const IPIP: u8 = 4;

/// Takes the outer header off a packet that has one.
#[xdp(frags)]
pub fn decapsulate(ctx: XdpContext) -> u32 {
    let Some(frame) = Frame::new(&ctx).bytes::<{ 14 + OUTER }>(0) else {
        return xdp_action::XDP_PASS;
    };
    if frame.u16::<12>() == 0x0800_u16.to_be() && frame.u8::<23>() == IPIP {
        // The Ethernet header moves up to the inner packet.
        let (first, second, third) = (frame.u32::<0>(), frame.u32::<4>(), frame.u32::<8>());
        frame.set_u32::<20>(first);
        frame.set_u32::<24>(second);
        frame.set_u32::<28>(third);
        frame.set_u16::<32>(0x0800_u16.to_be());
        // SAFETY: the context is the one the kernel gave this program.
        unsafe { bpf_xdp_adjust_head(ctx.ctx, OUTER as i32) };
    }
    xdp_action::XDP_PASS
}
