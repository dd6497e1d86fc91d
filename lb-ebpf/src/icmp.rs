//! ICMP to and about virtual addresses: echo is answered, and an error goes where the flow goes that it speaks of.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |     Type      |     Code      |          Checksum             |
//! |              depends on the type                              |
//! |   an error: the packet it is about: IP header and some more   |
//! ```
//! RFC 792, RFC 4443. An error quotes a packet as it was met on the way: of one that a virtual address sent, the source is
//! the virtual address, and the flow that it answers is found by turning it round.

use crate::{
    Packet,
    aside::{self, Sent},
    ethernet::Ethernet,
    frame::{Bytes, Frame},
    maps::REASON_COUNTERS,
    network::{FragmentPart, Network, OWN_TTL, Payload},
    refusal, route,
    select::{self, Selected},
    stats, transport,
    verdict::Verdict,
    vip::{self, ControlBlock},
};
use lb_common::{Address, Reason, Segment, checksum, key, reason::REASONS};

/// Length of the ICMP header, bytes.
const HEADER: usize = 8;

/// Type of an echo request, and of its reply.
#[inline(always)]
const fn echo<N: Network>() -> (u8, u8) {
    match N::FAMILY {
        key::IPV4 => (8, 0),
        _ => (128, 129),
    }
}

/// Errors about packets: unreachable, too big, time exceeded, parameter problem.
#[inline(always)]
pub const fn is_error<N: Network>(kind: u8) -> bool {
    match N::FAMILY {
        key::IPV4 => matches!(kind, 3 | 11 | 12),
        _ => kind >= 1 && kind <= 4,
    }
}

/// What becomes of an error to a virtual address, from its beginning.
#[inline(always)]
pub fn error<N: Network>(frame: Frame) -> Verdict {
    match followed::<N>(frame) {
        Ok(verdict) | Err(verdict) => verdict,
    }
}

#[inline(always)]
fn followed<N: Network>(frame: Frame) -> Result<Verdict, Verdict> {
    let not_ours = Verdict::of(Reason::NotAService);
    let (mut packet, payload) = packet::<N>(frame).ok_or(not_ours)?;
    let message = message(frame, &payload).ok_or(not_ours)?;
    let live = packet.control.live();
    let quote = Quote::<N>::parse(frame, &payload).ok_or(not_ours)?;
    // RFC 5927 §4: an error is about a packet of ours only if the packet came from where the error goes.
    if quote.header.source() != packet.header.destination() {
        return Err(not_ours);
    }
    let tuple = key::tuple(quote.source_port(), quote.payload.protocol, N::FAMILY);
    let service =
        vip::answering_service(packet.control, live, &quote.header, tuple).ok_or(not_ours)?;
    packet.service = service.id;
    vip::ownership(
        packet.control,
        &packet.ethernet,
        packet.ingress,
        service.owner,
        service.id,
    )?;
    let flow = quote
        .header
        .answered_flow_hash(quote.answered_ports(), quote.payload.protocol);
    let Selected { id, backend } = select::backend(packet.control, live, service, flow, &quote)?;
    let bytes = payload.frame_len(frame);
    let way = match aside::send(&packet, id, backend, flow, bytes)? {
        Sent::Done(verdict) => return Ok(verdict),
        Sent::Translated(way) => way,
    };
    let asked_be = quote.source_port();
    let ends = Ends {
        source: quote.header.destination(),
        source_port_be: quote.destination_port(),
        destination: backend.address,
        destination_port_be: if backend.port_be == 0 {
            asked_be
        } else {
            backend.port_be
        },
    };
    let sender = packet.header.source();
    quote.translate(&packet, &payload, message, &ends, &sender);
    packet.ethernet.readdress(way.destination, way.source);
    Ok(Verdict::transmit(packet.ingress, way.ifindex))
}

/// What becomes of an error about a packet to a NAT real server, from itself or from a router before it: it goes to the
/// client, about the packet that the client sent.
#[inline(always)]
pub fn returned<N: Network>(frame: Frame) -> Verdict {
    match brought_back::<N>(frame) {
        Ok(verdict) | Err(verdict) => verdict,
    }
}

#[inline(always)]
fn brought_back<N: Network>(frame: Frame) -> Result<Verdict, Verdict> {
    let not_ours = Verdict::of(Reason::NotAService);
    let (mut packet, payload) = packet::<N>(frame).ok_or(not_ours)?;
    let message = message(frame, &payload).ok_or(not_ours)?;
    if !is_error::<N>(message.u8::<0>()) {
        return Err(not_ours);
    }
    let live = packet.control.live();
    let quote = Quote::<N>::parse(frame, &payload).ok_or(not_ours)?;
    let client = packet.header.destination();
    if quote.header.source() != client {
        return Err(not_ours);
    }
    let tuple = key::reply(quote.destination_port(), quote.payload.protocol, N::FAMILY);
    let mapping = vip::asked_mapping(packet.control, live, &quote.header, tuple).ok_or(not_ours)?;
    if vip::is_local(packet.control, live, &packet.header) {
        return Err(not_ours);
    }
    packet.service = mapping.id;
    vip::ownership(
        packet.control,
        &packet.ethernet,
        packet.ingress,
        mapping.owner,
        mapping.id,
    )?;
    let way = route::to(&packet, &mapping.reply_address, &client)
        .map_err(|obstacle| packet.refused(obstacle.reason()))?;
    stats::count_one(
        REASON_COUNTERS.get_ptr_mut(mapping.id as u32 * REASONS + Reason::Replied as u32),
    );
    let ends = Ends {
        source: mapping.reply_address,
        source_port_be: mapping.reply_port_be,
        destination: client,
        destination_port_be: quote.source_port(),
    };
    // From the virtual address, whoever met the packet behind it.
    quote.translate(&packet, &payload, message, &ends, &ends.source);
    packet.ethernet.readdress(way.destination, way.source);
    Ok(Verdict::transmit(packet.ingress, way.ifindex))
}

/// The packet, from its beginning, and what its IP header carries.
#[inline(always)]
fn packet<N: Network>(frame: Frame) -> Option<(Packet<N>, Payload)> {
    let control = ControlBlock::get()?;
    let ethernet = Ethernet::parse(frame)?;
    let header = N::parse(frame, ethernet.payload)?;
    let mut fault = Reason::NotAService;
    let payload = header.payload(frame, &mut fault)?;
    let packet = Packet {
        control,
        frame,
        ethernet,
        ingress: frame.ingress_ifindex(),
        header,
        service: 0,
    };
    Some((packet, payload))
}

/// The message's header.
#[inline(always)]
pub fn message(frame: Frame, payload: &Payload) -> Option<Bytes<HEADER>> {
    if payload.len < HEADER {
        return None;
    }
    frame.bytes::<HEADER>(transport::offset(payload))
}

/// Makes an echo request to an address that the ownership word number `owner` governs the reply to it. What is none, or has
/// options or extension headers, is left to the host.
#[inline(always)]
pub fn answered<N: Network>(
    packet: &Packet<N>,
    owner: u16,
    payload: &Payload,
    message: Bytes<HEADER>,
) -> Result<Verdict, Verdict> {
    if message.u8::<0>() != echo::<N>().0 {
        return Err(Verdict::of(Reason::NotBalanced));
    }
    vip::ownership(packet.control, &packet.ethernet, packet.ingress, owner, 0)?;
    if payload.offset != packet.ethernet.payload + N::HEADER {
        return Err(Verdict::of(Reason::NotBalanced));
    }
    let header = &packet.header;
    let (asking, asked) = (header.source(), header.destination());
    if !refusal::is_somebody::<N>(&asking) || asking == asked {
        return Err(packet.refused(Reason::MartianSource));
    }
    let before = message.u16::<0>();
    message.set_u8::<0>(echo::<N>().1);
    let difference = checksum::difference(before as u32, message.u16::<0>() as u32);
    message.set_u16::<2>(checksum::replaced(message.u16::<2>(), difference));
    header.set_ttl(OWN_TTL);
    header.set_source(&asked);
    header.set_destination(&asking);
    let ethernet = &packet.ethernet;
    ethernet.readdress(ethernet.source(), ethernet.destination());
    Ok(packet.refused(Reason::AnsweredEcho))
}

/// Addresses and ports of a packet; ports in network order.
pub struct Ends {
    pub source: Address,
    pub source_port_be: u16,
    pub destination: Address,
    pub destination_port_be: u16,
}

/// The packet that an error is about, as far as it is quoted: at least its ports.
pub struct Quote<N> {
    pub frame: Frame,
    pub header: N,
    pub payload: Payload,
    ports: Bytes<4>,
}

impl<N: Network> Quote<N> {
    /// `None`: it is of no flow.
    #[inline(always)]
    fn parse(frame: Frame, message: &Payload) -> Option<Self> {
        let at = (transport::offset(message) + HEADER) & transport::MAX_OFFSET;
        let header = N::parse(frame, at)?;
        let payload = header.quoted(frame)?;
        if payload.fragment == FragmentPart::Later
            || (payload.protocol != key::TCP && payload.protocol != key::UDP)
        {
            return None;
        }
        let ports = frame.bytes::<4>(transport::offset(&payload))?;
        Some(Self {
            frame,
            header,
            payload,
            ports,
        })
    }

    #[inline(always)]
    fn source_port(&self) -> u16 {
        self.ports.u16::<0>()
    }

    #[inline(always)]
    fn destination_port(&self) -> u16 {
        self.ports.u16::<2>()
    }

    /// The ports as the flow has them that the quoted packet answers.
    #[inline(always)]
    fn answered_ports(&self) -> u32 {
        self.ports.u32::<0>().rotate_left(16)
    }

    /// Sends the error from `sender` to the destination of `ends`, and makes the quoted packet what that one sent to their
    /// source. Every checksum that is there is corrected by the difference.
    #[inline(always)]
    fn translate(
        &self,
        packet: &Packet<N>,
        message: &Payload,
        icmp: Bytes<HEADER>,
        ends: &Ends,
        sender: &Address,
    ) {
        let (inner, outer) = (&self.header, &packet.header);
        let addresses = checksum::address_difference(&inner.source(), &ends.destination)
            + checksum::address_difference(&inner.destination(), &ends.source);
        let (before, after) = (
            self.ports.u32::<0>(),
            ends.destination_port_be as u32 | (ends.source_port_be as u32) << 16,
        );
        let ports = checksum::difference(before, after);
        let mut changed = ports + self.correct(message, addresses + ports);
        if N::FAMILY == key::IPV6 {
            // Of IPv4 the quoted header's own checksum takes the addresses up. Here they count, and so does the pseudo-header
            // (RFC 8200 §8.1).
            changed += addresses
                + checksum::address_difference(&outer.source(), sender)
                + checksum::address_difference(&outer.destination(), &ends.destination);
        }
        self.ports.set_u32::<0>(after);
        inner.set_source(&ends.destination);
        inner.set_destination(&ends.source);
        icmp.set_u16::<2>(checksum::replaced(icmp.u16::<2>(), changed));
        outer.decrement_ttl();
        outer.set_source(sender);
        outer.set_destination(&ends.destination);
    }

    /// Corrects the quoted packet's transport checksum, where it is quoted and is one. Returns by how much that changes a
    /// sum over it.
    #[inline(always)]
    fn correct(&self, message: &Payload, difference: u64) -> u64 {
        let is_udp = self.payload.protocol == key::UDP;
        let at = transport::checksum_offset(self.payload.protocol);
        if self.payload.offset + at + 2 > message.offset + message.len {
            return 0;
        }
        let Some(field) = self.frame.bytes::<2>(transport::offset(&self.payload) + at) else {
            return 0;
        };
        let before = field.u16::<0>();
        let Some(after) = transport::corrected(is_udp, before, difference) else {
            return 0;
        };
        field.set_u16::<0>(after);
        checksum::difference(before as u32, after as u32)
    }
}

impl<N: Network> select::Asked for Quote<N> {
    #[inline(always)]
    fn keyed_hash(&self, key: u64) -> u32 {
        self.header
            .answered_keyed_hash(self.answered_ports(), self.payload.protocol, key)
    }

    #[inline(always)]
    fn segment(&self) -> Result<Segment, Reason> {
        Ok(Segment::Related)
    }

    /// The client's: where the quoted packet was sent to, or the quoted answer came from.
    #[inline(always)]
    fn source(&self) -> Address {
        self.header.destination()
    }
}
