//! The XDP program: the life of a packet that arrives at the director.
//!
//! Read [`forward`] from top to bottom; each line is a step, and each step is a file. A step that cannot go on answers
//! with a [`Verdict`], which names its reason. Nothing here waits, allocates, or remembers: what a packet meets was
//! written into the maps by the agent, and on the hit path no helper is called.

#![no_std]
#![no_main]

#[cfg(feature = "bench")]
mod bench;
mod direct;
mod ethernet;
mod frame;
mod ipv4;
mod ipv6;
mod local;
mod maps;
mod network;
mod select;
mod stats;
mod transport;
mod verdict;
mod vip;

use aya_ebpf::{macros::xdp, programs::XdpContext};
use ethernet::Ethernet;
use frame::Frame;
use ipv4::Ipv4;
use ipv6::Ipv6;
use lb_common::{Mode, Reason, key};
use network::{FragmentPart, Network};
use transport::Ports;
use verdict::Verdict;
use vip::ControlBlock;

/// Balances packets to virtual addresses; everything else is passed to the host.
#[xdp(frags)]
pub fn lb(ctx: XdpContext) -> u32 {
    balance(&ctx).conclude()
}

/// Finds out what the packet is, and sends it on its way.
#[inline(always)]
fn balance(ctx: &XdpContext) -> Verdict {
    let frame = Frame::new(ctx);
    let verdict = match Ethernet::parse(frame) {
        Some(ethernet) if ethernet.ether_type == ethernet::IPV4 => forward::<Ipv4>(frame, ethernet),
        Some(ethernet) if ethernet.ether_type == ethernet::IPV6 => forward::<Ipv6>(frame, ethernet),
        _ => Err(Verdict::of(Reason::NotBalanced)),
    };
    match verdict {
        Ok(verdict) | Err(verdict) => verdict,
    }
}

/// The way of an IP packet.
#[inline(always)]
fn forward<N: Network>(frame: Frame, ethernet: Ethernet) -> Result<Verdict, Verdict> {
    let control = ControlBlock::get().ok_or(Verdict::of(Reason::Inconsistent))?;
    let header = N::parse(frame, ethernet.payload).ok_or(Verdict::of(Reason::NotBalanced))?;
    vip::filter(control, &header)?;

    let payload = header
        .payload(frame)
        .map_err(|reason| vip::opaque(control, &header, reason))?;
    let ports =
        Ports::parse(frame, &payload).map_err(|reason| vip::opaque(control, &header, reason))?;

    let flow = header.flow_hash(ports.0, payload.protocol);
    let live = control.live();
    let tuple = key::tuple(ports.destination_be(), payload.protocol, N::FAMILY);
    let service = vip::service(control, live, &header, tuple)?;
    let ingress = frame.ingress_ifindex();
    vip::ownership(control, &ethernet, ingress, service)?;
    if payload.fragment == FragmentPart::First {
        return Err(Verdict::of_service(Reason::Fragment, service.id));
    }

    let selected = select::backend(live, service, flow)?;
    let len = payload.frame_len(frame);
    match Mode::try_from(selected.backend.mode) {
        Ok(Mode::Dr) => {
            direct::forward(control, len, &ethernet, ingress, &header, service, selected)
        }
        Ok(Mode::Local) => local::deliver(len, service, selected),
        Err(_) => Err(Verdict::of_service(Reason::Inconsistent, service.id)),
    }
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
