//! IP in IP (RFC 2003, RFC 2473, RFC 4213): the packet goes to the real server inside another one, of either family.

use crate::{
    Packet,
    ethernet::Envelope,
    ipv4::Ipv4,
    ipv6::Ipv6,
    network::{Network, Written},
    verdict::Verdict,
    way::Way,
};
use lb_common::{Address, Backend, Reason, key};

/// Flow labels have twenty bits (RFC 8200 §6).
const FLOW_LABEL: u32 = 0x000f_ffff;

/// How many bytes the outer header has.
#[inline(always)]
pub fn overhead(backend: &Backend) -> usize {
    if backend.family == key::IPV4 {
        Ipv4::HEADER
    } else {
        Ipv6::HEADER
    }
}

/// Puts the packet, of the flow with this hash, into another one and sends it on its way.
#[inline(always)]
pub fn forward<N: Network>(
    packet: &Packet<N>,
    backend: &Backend,
    flow: u32,
    way: Way,
) -> Result<Verdict, Verdict> {
    packet.header.decrement_ttl();
    let done = if backend.family == key::IPV4 {
        encapsulate::<N, Ipv4>(packet, backend, flow, way)
    } else {
        encapsulate::<N, Ipv6>(packet, backend, flow, way)
    };
    match done {
        Some(()) => Ok(Verdict::transmit(packet.ingress, way.ifindex)),
        // Drivers leave room for headers.
        None => Err(packet.refused(Reason::Inconsistent)),
    }
}

/// `None` where there is no room for the outer header, or where the frame ends before headers that were seen in it.
#[inline(always)]
fn encapsulate<Inner: Network, Outer: Network>(
    packet: &Packet<Inner>,
    backend: &Backend,
    flow: u32,
    way: Way,
) -> Option<()> {
    let header = &packet.header;
    let outer = Written {
        source: source::<Outer>(backend, flow),
        destination: backend.address,
        // RFC 6040 §4.1, normal mode: ECN is copied with the rest.
        traffic_class: header.traffic_class(),
        identity: header.identity(),
        // Routers that look no deeper spread flows by it (RFC 6438).
        flow_label: flow & FLOW_LABEL,
        protocol: Inner::INSIDE,
        payload_len: header.packet_len(),
    };
    let (frame, at) = (packet.frame, packet.ethernet.payload);
    let envelope = Envelope::of(frame, at)?.readdressed(way.destination, way.source);
    if !frame.grow_head(Outer::HEADER) {
        return None;
    }
    envelope.write(frame, Outer::ETHER_TYPE)?;
    Outer::write(frame, at, &outer)
}

/// The outer source: fixed, or varied by flow, so that the receiver spreads flows over its queues.
#[inline(always)]
fn source<Outer: Network>(backend: &Backend, flow: u32) -> Address {
    let varied = flow & backend.tunnel_vary;
    let mut source = backend.tunnel_source;
    if Outer::FAMILY == key::IPV4 {
        source[0] |= varied;
    } else {
        source[3] |= varied;
    }
    source
}
