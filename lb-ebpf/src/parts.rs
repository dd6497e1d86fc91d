//! The parts of the program that the verifier looks at by themselves.
//!
//! A function that BTF calls global is followed once, whatever its arguments, where any other is followed anew for each way
//! that leads to it (Linux 5.6 and newer, kernel/bpf/verifier.c: `do_check_subprogs`). What lies beside the common way is
//! here for that: the price of each is added to the program's, and not multiplied with it. For the same reason such a
//! function takes nothing but the context, numbers, and memory of a known size, which it may be told is nowhere; it returns
//! a number.

use crate::{
    aside, fragment,
    frame::Frame,
    icmp,
    ipv4::Ipv4,
    ipv6::{self, Ipv6, Walked},
    nat, refusal, schedule,
    select::{self, Question},
    vip::{self, Sought},
};
use aya_ebpf::bindings::xdp_md;
use lb_common::Reason;

/// The verdict's word on an IPv4 packet that has no ports, see [`aside`].
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_aside4(context: *mut xdp_md) -> u64 {
    aside::verdict::<Ipv4>(Frame::of(context)).word()
}

/// The same for IPv6.
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_aside6(context: *mut xdp_md) -> u64 {
    aside::verdict::<Ipv6>(Frame::of(context)).word()
}

/// The verdict's word on an ICMP error to an IPv4 virtual address, see [`icmp`].
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_error4(context: *mut xdp_md) -> u64 {
    icmp::error::<Ipv4>(Frame::of(context)).word()
}

/// The same for IPv6.
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_error6(context: *mut xdp_md) -> u64 {
    icmp::error::<Ipv6>(Frame::of(context)).word()
}

/// The verdict's word on an ICMP error that may be about a packet to a NAT real server, see [`icmp`].
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_returned4(context: *mut xdp_md) -> u64 {
    icmp::returned::<Ipv4>(Frame::of(context)).word()
}

/// The same for IPv6.
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_returned6(context: *mut xdp_md) -> u64 {
    icmp::returned::<Ipv6>(Frame::of(context)).word()
}

/// The verdict's word on an IPv4 packet that may be a NAT real server's reply, see [`nat`].
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_reply4(context: *mut xdp_md) -> u64 {
    nat::replied::<Ipv4>(Frame::of(context)).word()
}

/// The same for IPv6.
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_reply6(context: *mut xdp_md) -> u64 {
    nat::replied::<Ipv6>(Frame::of(context)).word()
}

/// Keeps in mind where the rest of an IPv4 datagram is to go, see [`fragment::teach`]. 0: it could not be kept.
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_teach4(context: *mut xdp_md, backend: u32, owner: u32, flow: u32) -> u32 {
    fragment::teach::<Ipv4>(Frame::of(context), backend, owner as u16, flow).is_some() as u32
}

/// The same for IPv6.
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_teach6(context: *mut xdp_md, backend: u32, owner: u32, flow: u32) -> u32 {
    fragment::teach::<Ipv6>(Frame::of(context), backend, owner as u16, flow).is_some() as u32
}

/// Makes the frame the error that its sender is told, see [`refusal`]. 0: it was not to be, and if the frame was changed it
/// is of no use to anybody any more.
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_tell(context: *mut xdp_md, reason: u32, mtu: u32) -> u32 {
    refusal::error(Frame::of(context), reason, mtu).is_some() as u32
}

/// What the flow table makes of a packet, see [`select`].
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_decide(question: *const Question) -> u32 {
    // SAFETY: a question, or nothing.
    match unsafe { question.as_ref() } {
        Some(question) => select::decide(question, question.slot, question.tag),
        None => 0,
    }
}

/// Walks past IPv6 extension headers, see [`ipv6::walk`]. The number of a [`Reason`]; that of [`Reason::Forwarded`]: done.
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_walk(context: *mut xdp_md, walked: *mut Walked) -> u32 {
    // SAFETY: a place to write to, or none.
    match unsafe { walked.as_mut() } {
        Some(walked) => match ipv6::walk(Frame::of(context), walked) {
            Ok(()) => Reason::Forwarded as u32,
            Err(reason) => reason as u32,
        },
        None => Reason::Inconsistent as u32,
    }
}

/// Looks for an entry of the service table far from its home, see [`vip`]. Where it is; [`vip::NOWHERE`]: there is none.
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_probe_far(sought: *const Sought) -> u32 {
    // SAFETY: what is sought, or nothing.
    match unsafe { sought.as_ref() } {
        Some(sought) => vip::probe_far(sought),
        None => vip::NOWHERE,
    }
}

/// Who gets a packet of a service that remembers every flow, see [`schedule`].
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_schedule(question: *const Question) -> u32 {
    // SAFETY: a question, or nothing.
    match unsafe { question.as_ref() } {
        Some(question) => schedule::decide(question),
        None => 0,
    }
}

/// What the flow table says of such a packet, see [`schedule::known`].
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_known(question: *const Question) -> u64 {
    // SAFETY: a question, or nothing.
    match unsafe { question.as_ref() } {
        Some(question) => schedule::known(question),
        None => 0,
    }
}

/// Remembers where a new flow goes, see [`schedule::remember`].
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_remember(question: *const Question, id: u32) -> u32 {
    // SAFETY: a question, or nothing.
    match unsafe { question.as_ref() } {
        Some(question) => schedule::remember(question, id),
        None => 0,
    }
}

/// The backend of a flow's client, see [`schedule::client`].
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_client(question: *const Question) -> u32 {
    // SAFETY: a question, or nothing.
    match unsafe { question.as_ref() } {
        Some(question) => schedule::client(question),
        None => 0,
    }
}

/// Remembers a flow's client, see [`schedule::keep_client`].
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_keep_client(question: *const Question, id: u32, state: u32) -> u32 {
    // SAFETY: a question, or nothing.
    match unsafe { question.as_ref() } {
        Some(question) => schedule::keep_client(question, id, state),
        None => 0,
    }
}

/// Who the scheduler chooses, see [`schedule::choose`].
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_choose(question: *const Question) -> u32 {
    // SAFETY: a question, or nothing.
    match unsafe { question.as_ref() } {
        Some(question) => schedule::choose(question),
        None => 0,
    }
}

/// Who gets a packet that speaks of a flow, see [`schedule::related`].
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_related(question: *const Question) -> u32 {
    // SAFETY: a question, or nothing.
    match unsafe { question.as_ref() } {
        Some(question) => schedule::related(question),
        None => 0,
    }
}

/// Who gets a packet of a service whose slots are picked by an address, see [`schedule::by_address`].
#[unsafe(no_mangle)]
#[cold]
#[inline(never)]
pub fn lb_by_address(question: *const Question) -> u32 {
    // SAFETY: a question, or nothing.
    match unsafe { question.as_ref() } {
        Some(question) => schedule::by_address(question),
        None => 0,
    }
}
