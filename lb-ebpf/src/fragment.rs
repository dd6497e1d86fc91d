//! Fragments: a datagram's first part names a service, the others do not, so none is forwarded.

use crate::{
    ethernet::Ethernet,
    frame::Frame,
    network::Network,
    transport::Ports,
    verdict::Verdict,
    vip::{self, ControlBlock},
};
use lb_common::{Reason, key};

/// What becomes of a datagram's first part. A function of its own that knows nothing but the frame: the verifier would else
/// follow the way of whole packets once more. Returns a verdict's word.
#[cold]
#[inline(never)]
pub fn first<N: Network>(frame: Frame) -> u64 {
    match refused::<N>(frame) {
        Ok(verdict) | Err(verdict) => verdict.word(),
    }
}

#[inline(always)]
fn refused<N: Network>(frame: Frame) -> Result<Verdict, Verdict> {
    let not_ours = Verdict::of(Reason::NotAService);
    let control = ControlBlock::get().ok_or(Verdict::of(Reason::Inconsistent))?;
    let ethernet = Ethernet::parse(frame).ok_or(not_ours)?;
    let header = N::parse(frame, ethernet.payload).ok_or(not_ours)?;
    let opaque = |reason| vip::opaque(control, &header, reason);
    let mut fault = Reason::Truncated;
    let payload = header
        .payload(frame, &mut fault)
        .ok_or_else(|| opaque(fault))?;
    let ports = Ports::parse(frame, &payload).map_err(opaque)?;
    let tuple = key::tuple(ports.destination_be(), payload.protocol, N::FAMILY);
    let service = vip::service(control, control.live(), &header, tuple).ok_or(not_ours)?;
    vip::ownership(control, &ethernet, frame.ingress_ifindex(), service)?;
    Err(Verdict::of_service(Reason::Fragment, service.id))
}
