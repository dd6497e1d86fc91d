//! Health checks by way of the virtual address: two TC programs that have a check's packets look, on the wire, like those
//! of a client whose flow belongs to that real server.
//!
//! The agent's socket speaks with the real server's own address, so that the kernel finds the way there. Going out, the
//! destination becomes the virtual address, and for a tunnel the packet goes inside another one, addressed to the real
//! server. Coming in, the source becomes the real server's address again, before the kernel wonders about a packet from an
//! address that is its own. Only conversations that the agent has announced are touched; see [`lb_common::probe`].

#![no_std]
#![no_main]

mod header;
mod tunnel;

use aya_ebpf::{
    bindings::TC_ACT_UNSPEC,
    helpers::generated::bpf_ktime_get_boot_ns,
    macros::{classifier, map},
    maps::LruHashMap,
    programs::TcContext,
};
use header::Header;
use lb_common::probe::{CONVERSATIONS, Conversation, Detour};

/// Announced by the agent; looked at for what goes out.
#[map]
static PROBES_OUT: LruHashMap<Conversation, Detour> =
    LruHashMap::with_max_entries(CONVERSATIONS, 0);
/// The same for what comes in.
#[map]
static PROBES_IN: LruHashMap<Conversation, Detour> = LruHashMap::with_max_entries(CONVERSATIONS, 0);

/// What goes out.
#[classifier]
pub fn probe_out(ctx: TcContext) -> i32 {
    if let Some(header) = Header::parse(&ctx)
        && let Some(detour) = announced(&PROBES_OUT, &header.conversation)
    {
        let done = header.set_destination(&ctx, &detour.address);
        if done.is_some() && detour.outer_destination != [0; 4] {
            let _ = tunnel::wrap(&ctx, &header, &detour);
        }
    }
    TC_ACT_UNSPEC
}

/// What comes in.
#[classifier]
pub fn probe_in(ctx: TcContext) -> i32 {
    if let Some(header) = Header::parse(&ctx)
        && let Some(detour) = announced(&PROBES_IN, &header.conversation)
    {
        let _ = header.set_source(&ctx, &detour.address);
    }
    TC_ACT_UNSPEC
}

/// What is to be done to packets of this conversation, if anything.
#[inline(always)]
fn announced(map: &LruHashMap<Conversation, Detour>, of: &Conversation) -> Option<Detour> {
    // SAFETY: copied before anything else is called; an entry that changes meanwhile is one that the agent writes anew
    // for another conversation of the same ports, whose packets these then are.
    let detour = unsafe { map.get(of) }.copied()?;
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_boot_ns() };
    (now_ns < detour.until_ns).then_some(detour)
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers used are for programs under the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
