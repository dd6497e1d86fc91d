//! NAT: the packet goes to the real server's address and port, and its replies come from the virtual ones again.
//!
//! Nothing is remembered: a reply is known by its source, which is one real server's port of one service.

use crate::{
    Packet,
    ethernet::Ethernet,
    frame::Frame,
    maps::{BACKEND_COUNTERS, REASON_COUNTERS},
    network::{FragmentPart, Network, Payload},
    route, stats,
    transport::{Ports, Translated},
    verdict::Verdict,
    vip::{self, ControlBlock},
    way,
};
use lb_common::{Backend, Reason, checksum, key, reason::REASONS};

/// Sends the packet to the real server. Until every question is answered nothing is written.
#[inline(always)]
pub fn forward<N: Network>(
    packet: &Packet<N>,
    payload: &Payload,
    ports: Ports,
    id: u32,
    backend: &Backend,
) -> Result<Verdict, Verdict> {
    if backend.family != N::FAMILY {
        return Err(packet.refused(Reason::Inconsistent));
    }
    let transport =
        Translated::parse(packet.frame, payload).ok_or(packet.refused(Reason::Truncated))?;
    let way = way::to(packet, backend, 0)?;
    stats::count(
        BACKEND_COUNTERS.get_ptr_mut(id),
        payload.frame_len(packet.frame),
    );
    let port = if backend.port_be == 0 {
        ports.destination_be()
    } else {
        backend.port_be
    };
    let header = &packet.header;
    let difference = checksum::address_difference(&header.destination(), &backend.address);
    header.decrement_ttl();
    header.set_destination(&backend.address);
    transport.set_destination(port, difference);
    packet.ethernet.readdress(way.destination, way.source);
    Ok(Verdict::transmit(packet.ingress, way.ifindex))
}

/// What becomes of a packet that is for no service: a real server's reply goes to its client, from the virtual address;
/// everything else is the host's.
#[inline(always)]
pub fn reply<N: Network>(
    control: ControlBlock,
    frame: Frame,
    header: &N,
) -> Result<Verdict, Verdict> {
    if vip::may_be_ours(control, header.folded_source()) {
        Ok(Verdict::of_word(replied::<N>(frame)))
    } else {
        Err(Verdict::of(Reason::NotAService))
    }
}

/// The way of a packet that may be a reply, from its beginning. A function of its own that knows nothing but the frame: the
/// verifier follows it a few times, and not once for each way that leads here. Returns a verdict's word.
#[inline(never)]
fn replied<N: Network>(frame: Frame) -> u64 {
    match translated::<N>(frame) {
        Ok(verdict) | Err(verdict) => verdict.word(),
    }
}

#[inline(always)]
fn translated<N: Network>(frame: Frame) -> Result<Verdict, Verdict> {
    let not_ours = Verdict::of(Reason::NotAService);
    let control = ControlBlock::get().ok_or(Verdict::of(Reason::Inconsistent))?;
    let ethernet = Ethernet::parse(frame).ok_or(not_ours)?;
    let header = N::parse(frame, ethernet.payload).ok_or(not_ours)?;
    let mut fault = Reason::NotAService;
    let payload = header.payload(frame, &mut fault).ok_or(not_ours)?;
    if payload.fragment != FragmentPart::Whole {
        return Err(not_ours);
    }
    let ports = Ports::parse(frame, &payload).map_err(|_| not_ours)?;
    let live = control.live();
    let tuple = key::reply(ports.source_be(), payload.protocol, N::FAMILY);
    let mapping = vip::mapping(control, live, &header, tuple).ok_or(not_ours)?;
    if vip::is_local(control, live, &header) {
        return Err(not_ours);
    }
    let ingress = frame.ingress_ifindex();
    vip::ownership(control, &ethernet, ingress, mapping)?;
    let packet = Packet {
        control,
        frame,
        ethernet,
        ingress,
        header,
        service: mapping,
    };
    let transport = Translated::parse(frame, &payload).ok_or(packet.refused(Reason::Truncated))?;
    let way = route::to(&packet)?;
    stats::count_one(
        REASON_COUNTERS.get_ptr_mut(mapping.id as u32 * REASONS + Reason::Replied as u32),
    );
    let difference = checksum::address_difference(&header.source(), &mapping.reply_address);
    header.decrement_ttl();
    header.set_source(&mapping.reply_address);
    transport.set_source(mapping.reply_port_be, difference);
    ethernet.readdress(way.destination, way.source);
    Ok(Verdict::transmit(ingress, way.ifindex))
}
