//! Fragments: the first of a datagram has ports and goes where they say, and the others go after it.
//!
//! One that comes before the first cannot be told from what is none of ours. It is left to the host, which keeps it for a
//! while and forgets it.

use crate::{
    Packet,
    aside::{self, Sent},
    backends,
    ethernet::Ethernet,
    frame::Frame,
    maps::{FRAGMENTS, REASON_COUNTERS},
    network::{Network, Payload},
    parts, route,
    scratch::{self, Scratch},
    stats,
    verdict::Verdict,
    vip::{self, ControlBlock},
};
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use lb_common::{
    Live, Mode, Reason, Service,
    fragment::{LIFETIME_NS, Taught},
    key,
    reason::REASONS,
};

/// Where to put what the fragments of a datagram have in common, and what became of the first: filled as far as the first
/// goes. In IPv6 the protocol is not among it: the first fragment may have further extension headers, of which the others
/// know only the first.
#[inline(always)]
fn room<N: Network>(frame: Frame, header: &N, protocol: u8) -> Option<*mut Scratch> {
    let identification = header.identification(frame)?;
    let room = scratch::get()?;
    // SAFETY: this CPU's own.
    unsafe {
        let key = &raw mut (*room).fragment;
        (*key).source = key::wide(&header.source());
        (*key).destination = key::wide(&header.destination());
        (*key).identification = identification;
        (*key).protocol = if N::FAMILY == key::IPV4 { protocol } else { 0 };
        (*key).family = N::FAMILY;
        (*key).pad = 0;
    }
    Some(room)
}

/// Keeps in mind what became of the first fragment, for [`follow`]. `None`: it could not be kept.
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a value would be copied to the stack first"
)]
#[inline(always)]
pub fn keep<N: Network>(frame: Frame, header: &N, protocol: u8, taught: Taught) -> Option<()> {
    let room = room(frame, header, protocol)?;
    // SAFETY: a helper without arguments; this CPU's own.
    unsafe {
        let place = &raw mut (*room).taught;
        (*place).until_ns = bpf_ktime_get_ns() + LIFETIME_NS;
        (*place).backend = taught.backend;
        (*place).flow = taught.flow;
        (*place).generation = taught.generation;
        (*place).service = taught.service;
        (*place).owner = taught.owner;
        (*place).translates = taught.translates;
        (*place).source = taught.source;
        (*place).destination = taught.destination;
        FRAGMENTS.insert(&(*room).fragment, &*place, 0).ok()
    }
}

/// [`keep`], counted for the service where it cannot be.
#[inline(always)]
pub fn keep_or_count<N: Network>(frame: Frame, header: &N, protocol: u8, taught: Taught) {
    let service = taught.service;
    if keep(frame, header, protocol, taught).is_none() {
        count_lost(service);
    }
}

/// Counts a datagram whose rest will not be known.
#[inline(always)]
pub fn count_lost(service: u16) {
    stats::count_one(
        REASON_COUNTERS.get_ptr_mut(service as u32 * REASONS + Reason::NotRemembered as u32),
    );
}

/// [`keep`] for a datagram whose first fragment goes to this backend of a service that this ownership word governs.
#[inline(always)]
pub fn teach<N: Network>(frame: Frame, backend: u32, owner: u16, flow: u32) -> Option<()> {
    let control = ControlBlock::get()?;
    let header = N::parse(frame, Ethernet::parse(frame)?.payload)?;
    let found = backends::entry(control.live(), backend)?;
    let taught = Taught {
        until_ns: 0,
        backend,
        flow,
        generation: found.generation,
        service: found.service,
        owner,
        translates: (found.mode == Mode::Nat as u8) as u16,
        source: key::wide(&header.source()),
        destination: key::wide(&found.address),
    };
    keep(frame, &header, header.protocol(), taught)
}

/// [`teach`], from the way of all packets.
#[inline(always)]
pub fn teach_rest<N: Network>(frame: Frame, backend: u32, service: &Service, flow: u32) {
    let (frame, owner) = (frame.context(), service.owner as u32);
    let kept = if N::FAMILY == key::IPV4 {
        parts::lb_teach4(frame, backend, owner, flow)
    } else {
        parts::lb_teach6(frame, backend, owner, flow)
    };
    if kept == 0 {
        count_lost(service.id);
    }
}

/// What becomes of a later fragment; `unknown`: of one whose first did not come before it.
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a value would be copied to the stack first"
)]
#[inline(always)]
pub fn follow<N: Network>(
    mut packet: Packet<N>,
    live: Live,
    payload: &Payload,
    unknown: Reason,
) -> Result<Verdict, Verdict> {
    let unknown = Verdict::of(unknown);
    let room = room(packet.frame, &packet.header, payload.protocol).ok_or(unknown)?;
    // SAFETY: this CPU's own; an element that another CPU writes to meanwhile is of a datagram with the same key.
    let taught = unsafe { FRAGMENTS.get(&(*room).fragment) }.ok_or(unknown)?;
    // SAFETY: a helper without arguments.
    if taught.until_ns < unsafe { bpf_ktime_get_ns() } {
        return Err(unknown);
    }
    packet.service = taught.service;
    vip::ownership(
        packet.control,
        &packet.ethernet,
        packet.ingress,
        taught.owner,
        taught.service,
    )?;
    let (source, destination) = (
        key::narrow(&taught.source),
        key::narrow(&taught.destination),
    );
    let way = if taught.backend == 0 {
        let way = route::to(&packet, &source, &destination)
            .map_err(|obstacle| packet.refused(obstacle.reason()))?;
        stats::count_one(
            REASON_COUNTERS.get_ptr_mut(taught.service as u32 * REASONS + Reason::Replied as u32),
        );
        way
    } else {
        let backend = backends::entry(live, taught.backend).ok_or(unknown)?;
        if backend.generation != taught.generation {
            return Err(unknown);
        }
        let bytes = payload.frame_len(packet.frame);
        match aside::send(&packet, taught.backend, backend, taught.flow, bytes)? {
            Sent::Done(verdict) => return Ok(verdict),
            Sent::Translated(way) => way,
        }
    };
    let header = &packet.header;
    header.decrement_ttl();
    if taught.translates != 0 {
        header.set_source(&source);
        header.set_destination(&destination);
    }
    packet.ethernet.readdress(way.destination, way.source);
    Ok(Verdict::transmit(packet.ingress, way.ifindex))
}
