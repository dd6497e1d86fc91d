//! Packets that ask for the owner of an address, and packets that claim to be it: ARP (RFC 826) and neighbour discovery
//! (RFC 4861).

use crate::{LINK_HEADER, read};
use aya_ebpf::programs::TcContext;
use lb_common::fence::{Address, mapped};

/// The protocol of neighbour discovery.
pub const ICMPV6: u8 = 58;
/// RFC 4861 §4.3, §4.4.
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// ARP over Ethernet for IPv4: kind of hardware, protocol and the lengths of their addresses, in the host's order. RFC 826.
const ARP_KIND: u32 = 0x0001_0800;
const ARP_LENGTHS: u16 = 0x0604;
const ARP_REQUEST: u16 = 1;
/// Where such a packet has its fields, bytes.
const LENGTHS: usize = LINK_HEADER + 4;
const OPERATION: usize = LINK_HEADER + 6;
const SENDER: usize = LINK_HEADER + 14;
const TARGET: usize = LINK_HEADER + 24;

/// The address that an ARP request asks for. One who asks for itself announces: the kernel is to learn of it.
#[inline(always)]
pub fn asked_by_arp(ctx: &TcContext) -> Option<Address> {
    let (sender, target) = (sender(ctx)?, read::<u32>(ctx, TARGET)?);
    let is_request = u16::from_be(read(ctx, OPERATION)?) == ARP_REQUEST;
    (is_request && sender != target).then_some(mapped(target))
}

/// The address that an ARP packet says to be its sender's.
#[inline(always)]
pub fn claimed_by_arp(ctx: &TcContext) -> Option<Address> {
    sender(ctx).map(mapped)
}

#[inline(always)]
fn sender(ctx: &TcContext) -> Option<u32> {
    let kind = u32::from_be(read(ctx, LINK_HEADER)?);
    let lengths = u16::from_be(read(ctx, LENGTHS)?);
    if kind != ARP_KIND || lengths != ARP_LENGTHS {
        return None;
    }
    read(ctx, SENDER)
}

/// The address that a neighbour solicitation at an offset asks for.
#[inline(always)]
pub fn asked_by_solicitation(ctx: &TcContext, at: usize) -> Option<Address> {
    target(ctx, at, SOLICITATION)
}

/// The address that a neighbour advertisement at an offset is about.
#[inline(always)]
pub fn claimed_by_advertisement(ctx: &TcContext, at: usize) -> Option<Address> {
    target(ctx, at, ADVERTISEMENT)
}

#[inline(always)]
fn target(ctx: &TcContext, at: usize, kind: u8) -> Option<Address> {
    if read::<u8>(ctx, at)? != kind {
        return None;
    }
    read(ctx, at + 8)
}
