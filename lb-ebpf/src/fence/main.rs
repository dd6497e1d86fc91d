//! The fence: two TC programs that keep a host silent about virtual addresses while [`Fence::is_closed`].
//!
//! They run beside the host's own traffic alone: what the XDP program forwards never comes here. Going in, a question for
//! a fenced address is dropped, and adverts of other routers are witnessed; going out, whatever would claim a fenced
//! address is dropped. Everything else goes on to the next program of the interface.

#![no_std]
#![no_main]

mod advert;
mod claim;
mod extension;
mod maps;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::generated::bpf_ktime_get_boot_ns,
    macros::classifier,
    programs::TcContext,
};
use lb_common::fence::{ANSWERS, Address, FENCE_COUNTERS, Fence, QUESTIONS};

/// Types of frames, as the kernel keeps them: in network order.
const ARP: u32 = 0x0806_u16.to_be() as u32;
const IPV4: u32 = 0x0800_u16.to_be() as u32;
const IPV6: u32 = 0x86dd_u16.to_be() as u32;
/// Length of the Ethernet header, bytes. Tags are not in the frame here, but beside it.
const LINK_HEADER: usize = 14;

/// What comes in.
#[classifier]
pub fn fence_in(ctx: TcContext) -> i32 {
    if is_tagged(&ctx) {
        return TC_ACT_UNSPEC;
    }
    let asked = match ctx.skb.protocol() {
        ARP => claim::asked_by_arp(&ctx),
        IPV4 => advert::over_ipv4(&ctx),
        IPV6 => match extension::payload(&ctx) {
            Some((claim::ICMPV6, at)) => claim::asked_by_solicitation(&ctx, at),
            Some((advert::PROTOCOL, at)) => advert::over_ipv6(&ctx, at),
            _ => None,
        },
        _ => None,
    };
    hold_back(asked, QUESTIONS)
}

/// What goes out.
#[classifier]
pub fn fence_out(ctx: TcContext) -> i32 {
    if is_tagged(&ctx) {
        return TC_ACT_UNSPEC;
    }
    let claimed = match ctx.skb.protocol() {
        ARP => claim::claimed_by_arp(&ctx),
        IPV6 => match extension::payload(&ctx) {
            Some((claim::ICMPV6, at)) => claim::claimed_by_advertisement(&ctx, at),
            _ => None,
        },
        _ => None,
    };
    hold_back(claimed, ANSWERS)
}

/// A tagged frame is looked at on the VLAN's own device.
#[inline(always)]
fn is_tagged(ctx: &TcContext) -> bool {
    // SAFETY: the context is the kernel's, for as long as the program runs.
    unsafe { (*ctx.skb.skb).vlan_present != 0 }
}

/// The verdict on a packet about `address`, if it is about one.
#[inline(always)]
fn hold_back(address: Option<Address>, row: u32) -> i32 {
    let Some(address) = address else {
        return TC_ACT_UNSPEC;
    };
    let Some(number) = maps::fence_of_address(&address) else {
        return TC_ACT_UNSPEC;
    };
    let Some(fence) = maps::fence(number) else {
        return TC_ACT_UNSPEC;
    };
    if !fence.is_closed(now_ns()) {
        return TC_ACT_UNSPEC;
    }
    maps::count(number * FENCE_COUNTERS as u32 + row);
    TC_ACT_SHOT
}

/// CLOCK_BOOTTIME, which goes on while the host sleeps.
#[inline(always)]
fn now_ns() -> u64 {
    // SAFETY: a plain call without arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Something plain that lies in the packet at an offset, copied: packets here may lie in pieces. Whole words alone, each
/// by itself: what is copied lies on the stack, where the verifier allows aligned access only.
#[inline(always)]
fn read<T: Copy>(ctx: &TcContext, at: usize) -> Option<T> {
    ctx.load::<T>(at).ok()
}

/// Required of a program without the standard library. Nothing here can panic: the verifier would refuse it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lets only programs of a compatible licence use some helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

const _: () = assert!(size_of::<Fence>().is_multiple_of(8));
