//! NAT: the packet goes to the real server's address and port, and its replies come from the virtual ones again.
//!
//! Nothing is remembered: a reply is known by its source, which is one real server's port of one service.

use crate::{
    Packet,
    ethernet::Ethernet,
    fragment,
    frame::Frame,
    maps::{BACKEND_COUNTERS, REASON_COUNTERS},
    network::{FragmentPart, Network, Payload},
    parts, route, stats,
    transport::{Ports, Translated},
    verdict::Verdict,
    vip::{self, ControlBlock},
    way,
};
use lb_common::{Backend, Reason, checksum, fragment::Taught, key, reason::REASONS};

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
    let way = way::to(packet, backend, 0).map_err(|obstacle| obstacle.told(packet.service))?;
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
/// everything else is the host's. ICMP errors about packets to a real server may come from any router.
#[inline(always)]
pub fn reply<N: Network>(
    control: ControlBlock,
    frame: Frame,
    header: &N,
) -> Result<Verdict, Verdict> {
    if may_be_reply(control, header) {
        Ok(from_real_server::<N>(frame))
    } else {
        Err(Verdict::of(Reason::NotAService))
    }
}

/// Whether a packet that is for no service is to be looked at by [`from_real_server`].
#[inline(always)]
pub fn may_be_reply<N: Network>(control: ControlBlock, header: &N) -> bool {
    vip::may_be_ours(control, header.folded_source()) || header.protocol() == N::ICMP
}

/// What becomes of a packet that may be a real server's.
#[inline(always)]
pub fn from_real_server<N: Network>(frame: Frame) -> Verdict {
    let is_4 = N::FAMILY == key::IPV4;
    let frame = frame.context();
    let mut word = if is_4 {
        parts::lb_reply4(frame)
    } else {
        parts::lb_reply6(frame)
    };
    if word == IS_ICMP {
        word = if is_4 {
            parts::lb_returned4(frame)
        } else {
            parts::lb_returned6(frame)
        };
    }
    Verdict::of_word(word)
}

/// In the place of a verdict's word: the packet is an ICMP message.
const IS_ICMP: u64 = u64::MAX;

/// The way of a packet that may be a reply, from its beginning.
#[inline(always)]
pub fn replied<N: Network>(frame: Frame) -> Verdict {
    match translated::<N>(frame) {
        Ok(verdict) | Err(verdict) => verdict,
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
    let live = control.live();
    let ingress = frame.ingress_ifindex();
    let mut packet = Packet {
        control,
        frame,
        ethernet,
        ingress,
        header,
        service: 0,
    };
    if payload.fragment == FragmentPart::Later {
        // One that nothing is known of is no less the host's than any packet.
        return fragment::follow(packet, live, &payload, Reason::NotAService);
    }
    if payload.protocol == N::ICMP && payload.fragment == FragmentPart::Whole {
        return Err(Verdict::of_word(IS_ICMP));
    }
    let ports = Ports::parse(frame, &payload).map_err(|_| not_ours)?;
    let tuple = key::reply(ports.source_be(), payload.protocol, N::FAMILY);
    let mapping = vip::mapping(control, live, &header, tuple).ok_or(not_ours)?;
    if vip::is_local(control, live, &header) {
        return Err(not_ours);
    }
    vip::ownership(control, &ethernet, ingress, mapping.owner, mapping.id)?;
    packet.service = mapping.id;
    let transport = Translated::parse(frame, &payload).ok_or(packet.refused(Reason::Truncated))?;
    let client = header.destination();
    let way = route::to(&packet, &mapping.reply_address, &client)
        .map_err(|obstacle| obstacle.told(mapping.id))?;
    stats::count_one(
        REASON_COUNTERS.get_ptr_mut(mapping.id as u32 * REASONS + Reason::Replied as u32),
    );
    if payload.fragment == FragmentPart::First {
        let taught = Taught {
            service: mapping.id,
            owner: mapping.owner,
            translates: 1,
            source: key::wide(&mapping.reply_address),
            destination: key::wide(&client),
            ..Taught::default()
        };
        fragment::keep_or_count(frame, &header, payload.protocol, taught);
    }
    let difference = checksum::address_difference(&header.source(), &mapping.reply_address);
    header.decrement_ttl();
    header.set_source(&mapping.reply_address);
    transport.set_source(mapping.reply_port_be, difference);
    ethernet.readdress(way.destination, way.source);
    Ok(Verdict::transmit(ingress, way.ifindex))
}
