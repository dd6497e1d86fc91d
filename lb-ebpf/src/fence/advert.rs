//! Adverts of other routers: what makes one a witness. RFC 3768 §7.1, RFC 9568 §7.1.
//!
//! All that the agent asks of an advert is asked here but for its checksum and its list of addresses.

use crate::{LINK_HEADER, maps, now_ns, read};
use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use lb_common::fence::{Address, Fence, Herald, Router, mapped};

/// The protocol's number.
pub const PROTOCOL: u8 = 112;
/// TTL or hop limit of what was not routed.
const UNROUTED: u8 = 255;
/// 224.0.0.18.
const GROUP_V4: u32 = 0xe000_0012_u32.to_be();
/// ff02::12.
const GROUP_V6: Address = [0xff02_0000_u32.to_be(), 0, 0, 0x12_u32.to_be()];
/// The type of adverts, the only one.
const ADVERTISEMENT: u8 = 1;
/// The bits of a fragment, RFC 791 §3.1.
const MORE_OR_OFFSET: u16 = 0x3fff;
/// Length of an advert without addresses, bytes.
const FIXED: usize = 8;

/// Reads an IPv4 packet. Never an address that is asked for.
#[inline(always)]
pub fn over_ipv4(ctx: &TcContext) -> Option<Address> {
    if read::<u8>(ctx, LINK_HEADER + 9)? != PROTOCOL {
        return None;
    }
    let fragment = u16::from_be(read(ctx, LINK_HEADER + 6)?) & MORE_OR_OFFSET;
    if fragment != 0 {
        return None;
    }
    let from = From {
        source: mapped(read(ctx, LINK_HEADER + 12)?),
        is_multicast: read::<u32>(ctx, LINK_HEADER + 16)? == GROUP_V4,
        hop_limit: read(ctx, LINK_HEADER + 8)?,
        family: 4,
    };
    let words = read::<u8>(ctx, LINK_HEADER)? & 0x0f;
    hear(ctx, LINK_HEADER + words as usize * 4, &from);
    None
}

/// Reads an IPv6 packet whose advert begins at an offset. Never an address that is asked for.
#[inline(always)]
pub fn over_ipv6(ctx: &TcContext, at: usize) -> Option<Address> {
    let from = From {
        source: read(ctx, LINK_HEADER + 8)?,
        is_multicast: read::<Address>(ctx, LINK_HEADER + 24)? == GROUP_V6,
        hop_limit: read(ctx, LINK_HEADER + 7)?,
        family: 6,
    };
    hear(ctx, at, &from);
    None
}

/// How an advert came.
struct From {
    source: Address,
    is_multicast: bool,
    hop_limit: u8,
    family: u8,
}

#[inline(always)]
fn hear(ctx: &TcContext, at: usize, from: &From) {
    if let Some((number, priority)) = accepted(ctx, at, from) {
        // One that resigns serves no longer: no witness.
        maps::witness(number, if priority == 0 { 0 } else { now_ns() });
    }
}

/// The fence that an advert concerns, and its priority. `None`: it concerns none, or is not as it must be.
#[inline(always)]
fn accepted(ctx: &TcContext, at: usize, from: &From) -> Option<(u32, u8)> {
    let advert = u32::from_be(read(ctx, at)?);
    let [kind, id, priority, count] = advert.to_be_bytes();
    let skb: *mut __sk_buff = ctx.skb.skb;
    let herald = Herald {
        router: Router {
            // SAFETY: the context is the kernel's, for as long as the program runs.
            ifindex: unsafe { (*skb).ifindex },
            id,
            family: from.family,
            pad: [0; 2],
        },
        peer: if from.is_multicast {
            [0; 4]
        } else {
            from.source
        },
    };
    let number = maps::fence_of_herald(&herald)?;
    let fence = maps::fence(number)?;
    let is_near = !from.is_multicast || from.hop_limit == UNROUTED;
    let ours = (fence.version as u8) << 4 | ADVERTISEMENT;
    if !is_near || kind != ours || from.source == fence.source {
        return None;
    }
    if fence.flags & Fence::FLAG_PASSWORD != 0 {
        let password: u64 = read(ctx, at + FIXED + count as usize * 4)?;
        if password != fence.password {
            return None;
        }
    }
    Some((number, priority))
}
