//! The XDP program: the life of a packet that arrives at the director.
//!
//! Read [`forward`] from top to bottom; each line is a step, and each step is a file. A step that cannot go on answers
//! with a [`Verdict`], which names its reason. Nothing here waits or allocates, and only flows that cannot be computed are
//! remembered: what a packet meets was written into the maps by the agent, and on the hit path no helper is called.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![allow(
    internal_features,
    reason = "atomic words are to be had no other way for this target"
)]

mod aside;
mod atomic;
mod backends;
#[cfg(feature = "bench")]
mod bench;
mod direct;
mod ethernet;
mod flow;
mod fragment;
mod frame;
mod icmp;
mod ipv4;
mod ipv6;
mod limit;
mod load;
mod maps;
mod nat;
mod network;
mod parts;
mod refusal;
mod route;
mod schedule;
mod scratch;
mod select;
mod stats;
mod transport;
mod tunnel;
mod verdict;
mod vip;
mod way;

use aya_ebpf::{macros::xdp, programs::XdpContext};
use ethernet::Ethernet;
use frame::Frame;
use ipv4::Ipv4;
use ipv6::Ipv6;
use lb_common::{Address, Mode, Reason, Segment, key};
use maps::BACKEND_COUNTERS;
use network::{FragmentPart, Network, Payload};
use select::Selected;
use transport::Ports;
use verdict::Verdict;
use vip::ControlBlock;

/// Balances packets to virtual addresses; everything else is passed to the host.
#[xdp(frags)]
pub fn lb(ctx: XdpContext) -> u32 {
    balance(&ctx).conclude(Frame::new(&ctx))
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
    if !vip::may_be_ours(control, header.folded_destination()) {
        return nat::reply(control, frame, &header);
    }

    let mut fault = Reason::Truncated;
    let Some(payload) = header.payload(frame, &mut fault) else {
        return aside::look(control, frame, &header);
    };
    let Ok(ports) = Ports::parse(frame, &payload) else {
        return aside::look(control, frame, &header);
    };

    let flow = header.flow_hash(ports.0, payload.protocol);
    let live = control.live();
    let ingress = frame.ingress_ifindex();
    let tuple = key::tuple(ports.destination_be(), payload.protocol, N::FAMILY);
    let Some(service) = vip::service(control, live, &header, tuple) else {
        return nat::reply(control, frame, &header);
    };
    vip::ownership(control, &ethernet, ingress, service.owner, service.id)?;
    let packet = Packet {
        control,
        frame,
        ethernet,
        ingress,
        header,
        service: service.id,
    };
    if !refusal::is_somebody::<N>(&header.source()) {
        return Err(packet.refused(Reason::MartianSource));
    }

    let asked = Asked {
        frame,
        header,
        payload,
        ports,
    };
    let Selected { id, backend } = select::backend(control, live, service, flow, &asked)?;
    if payload.fragment == FragmentPart::First {
        fragment::teach_rest::<N>(frame, id, service, flow);
    }
    let counter = BACKEND_COUNTERS.get_ptr_mut(id);
    let len = payload.frame_len(frame);
    match Mode::try_from(backend.mode) {
        Ok(Mode::Dr) => {
            let way = way::to(&packet, backend, 0).map_err(|obstacle| obstacle.told(service.id))?;
            stats::count(counter, len);
            Ok(direct::forward(&packet, way))
        }
        Ok(Mode::Tun) => {
            let way = way::to(&packet, backend, tunnel::overhead(backend))
                .map_err(|obstacle| obstacle.told(service.id))?;
            stats::count(counter, len);
            tunnel::forward(&packet, backend, flow, way)
        }
        Ok(Mode::Nat) => nat::forward(&packet, &payload, ports, id, backend),
        // A real server that is this very host: its packets go up.
        Ok(Mode::Local) => {
            stats::count(counter, len);
            Ok(packet.refused(Reason::RealServerIsLocal))
        }
        Err(_) => Err(packet.refused(Reason::Inconsistent)),
    }
}

/// A packet for a service, as far as it is known when its real server is chosen.
struct Packet<N> {
    control: ControlBlock,
    frame: Frame,
    ethernet: Ethernet,
    /// The kernel's index of the interface it came from.
    ingress: u32,
    header: N,
    /// The service's number; 0: not known yet.
    service: u16,
}

impl<N> Packet<N> {
    /// The verdict that names `reason`.
    #[inline(always)]
    fn refused(&self, reason: Reason) -> Verdict {
        Verdict::of_service(reason, self.service)
    }
}

/// What the flow table may want to know of a packet.
struct Asked<N> {
    frame: Frame,
    header: N,
    payload: Payload,
    ports: Ports,
}

impl<N: Network> select::Asked for Asked<N> {
    #[inline(always)]
    fn keyed_hash(&self, key: u64) -> u32 {
        self.header
            .keyed_hash(self.ports.0, self.payload.protocol, key)
    }

    #[inline(always)]
    fn segment(&self) -> Result<Segment, Reason> {
        transport::segment(self.frame, &self.payload)
    }

    #[inline(always)]
    fn source(&self) -> Address {
        self.header.source()
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
