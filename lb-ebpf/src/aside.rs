//! Packets to virtual addresses that have no ports by which to find a service: ICMP, later fragments, everything else.

use crate::{
    Packet, direct,
    ethernet::Ethernet,
    fragment,
    frame::Frame,
    icmp,
    maps::BACKEND_COUNTERS,
    nat,
    network::{FragmentPart, Network},
    parts, stats,
    transport::Ports,
    tunnel,
    verdict::Verdict,
    vip::{self, ControlBlock},
    way::{self, Way},
};
use lb_common::{Backend, Mode, Reason, key};

/// What becomes of a packet that may be such a one.
#[inline(always)]
pub fn look<N: Network>(
    control: ControlBlock,
    frame: Frame,
    header: &N,
) -> Result<Verdict, Verdict> {
    // Behind the call nothing is known of the frame any more.
    let may_be_reply = nat::may_be_reply(control, header);
    let word = if N::FAMILY == key::IPV4 {
        parts::lb_aside4(frame.context())
    } else {
        parts::lb_aside6(frame.context())
    };
    if word == IS_ICMP_ERROR {
        Ok(Verdict::of_word(if N::FAMILY == key::IPV4 {
            parts::lb_error4(frame.context())
        } else {
            parts::lb_error6(frame.context())
        }))
    } else if word != NOT_VIRTUAL {
        Ok(Verdict::of_word(word))
    } else if may_be_reply {
        Ok(nat::from_real_server::<N>(frame))
    } else {
        Err(Verdict::of(Reason::NotAService))
    }
}

/// In the place of a verdict's word: the packet is for no virtual address.
const NOT_VIRTUAL: u64 = u64::MAX;
/// Likewise: it is an ICMP error.
const IS_ICMP_ERROR: u64 = u64::MAX - 1;

/// What becomes of such a packet, from its beginning.
#[inline(always)]
pub fn verdict<N: Network>(frame: Frame) -> Verdict {
    match decided::<N>(frame) {
        Ok(verdict) | Err(verdict) => verdict,
    }
}

#[inline(always)]
fn decided<N: Network>(frame: Frame) -> Result<Verdict, Verdict> {
    let not_balanced = Verdict::of(Reason::NotBalanced);
    let control = ControlBlock::get().ok_or(Verdict::of(Reason::Inconsistent))?;
    let ethernet = Ethernet::parse(frame).ok_or(not_balanced)?;
    let header = N::parse(frame, ethernet.payload).ok_or(not_balanced)?;
    let live = control.live();
    // A reason to drop holds only for an address that is ours for certain, which the filter alone cannot tell.
    let Some(address) = vip::address(control, live, &header) else {
        return Err(Verdict::of_word(NOT_VIRTUAL));
    };
    let mut fault = Reason::Truncated;
    let Some(payload) = header.payload(frame, &mut fault) else {
        return Err(Verdict::of(fault));
    };
    let packet = Packet {
        control,
        frame,
        ethernet,
        ingress: frame.ingress_ifindex(),
        header,
        service: 0,
    };
    match payload.fragment {
        FragmentPart::Later => fragment::follow(packet, live, &payload, Reason::LaterFragment),
        FragmentPart::Whole if payload.protocol == N::ICMP => {
            match icmp::message(frame, &payload) {
                Some(message) if icmp::is_error::<N>(message.u8::<0>()) => {
                    Err(Verdict::of_word(IS_ICMP_ERROR))
                }
                Some(message) => icmp::answered(&packet, address.owner, &payload, message),
                None => Err(Verdict::of(Reason::Truncated)),
            }
        }
        FragmentPart::Whole | FragmentPart::First => match Ports::parse(frame, &payload) {
            Err(reason) => Err(Verdict::of(reason)),
            Ok(_) => Err(not_balanced),
        },
    }
}

/// How far [`send`] gets.
pub enum Sent {
    Done(Verdict),
    /// What the addresses are to be is the caller's to say.
    Translated(Way),
}

/// Sends a packet that belongs to a flow of this backend where the flow goes; nobody is told what is in its way.
#[inline(always)]
pub fn send<N: Network>(
    packet: &Packet<N>,
    id: u32,
    backend: &Backend,
    flow: u32,
    bytes: usize,
) -> Result<Sent, Verdict> {
    let counter = BACKEND_COUNTERS.get_ptr_mut(id);
    let to = |overhead| {
        way::to(packet, backend, overhead).map_err(|obstacle| packet.refused(obstacle.reason()))
    };
    match Mode::try_from(backend.mode) {
        Ok(Mode::Dr) => {
            let way = to(0)?;
            stats::count(counter, bytes);
            Ok(Sent::Done(direct::forward(packet, way)))
        }
        Ok(Mode::Tun) => {
            let way = to(tunnel::overhead(backend))?;
            stats::count(counter, bytes);
            tunnel::forward(packet, backend, flow, way).map(Sent::Done)
        }
        Ok(Mode::Nat) if backend.family == N::FAMILY => {
            let way = to(0)?;
            stats::count(counter, bytes);
            Ok(Sent::Translated(way))
        }
        Ok(Mode::Local) => {
            stats::count(counter, bytes);
            Ok(Sent::Done(packet.refused(Reason::RealServerIsLocal)))
        }
        Ok(Mode::Nat) | Err(_) => Err(packet.refused(Reason::Inconsistent)),
    }
}
