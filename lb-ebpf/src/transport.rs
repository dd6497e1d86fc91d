//! The ports of TCP (RFC 9293) and UDP (RFC 768).

use crate::{
    frame::Frame,
    network::{FragmentPart, Payload},
};
use core::arch::asm;
use lb_common::{Reason, Segment, key};

/// Shortest TCP header, bytes.
const TCP_HEADER: usize = 20;
/// Where the flags of a TCP header are, bytes.
const TCP_FLAGS: usize = 13;
/// UDP header, bytes.
const UDP_HEADER: usize = 8;
/// No transport header begins beyond, in bytes from the frame's start: a VLAN header, and an IP header with all that may
/// follow it, is shorter. A mask.
const MAX_OFFSET: usize = 4095;

/// Source and destination port in one word, as they lie on the wire: source in the low half.
#[derive(Clone, Copy)]
pub struct Ports(pub u32);

impl Ports {
    /// Reads the ports of a TCP or UDP packet.
    #[inline(always)]
    pub fn parse(frame: Frame, payload: &Payload) -> Result<Self, Reason> {
        let shortest = match payload.protocol {
            key::TCP => TCP_HEADER,
            key::UDP => UDP_HEADER,
            _ => return Err(Reason::NotBalanced),
        };
        if payload.fragment == FragmentPart::Later {
            return Err(Reason::LaterFragment);
        }
        match frame.bytes::<UDP_HEADER>(offset(payload)) {
            Some(header) if payload.len >= shortest => Ok(Self(header.u32::<0>())),
            _ => Err(Reason::Truncated),
        }
    }

    /// Destination port, network order.
    #[inline(always)]
    pub fn destination_be(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

/// What the packet is to its flow.
#[inline(always)]
pub fn segment(frame: Frame, payload: &Payload) -> Result<Segment, Reason> {
    if payload.protocol == key::UDP {
        return Ok(Segment::Datagram);
    }
    match frame.bytes::<{ TCP_FLAGS + 1 }>(offset(payload)) {
        Some(header) => Ok(Segment::tcp(header.u8::<TCP_FLAGS>())),
        None => Err(Reason::Truncated),
    }
}

/// Where the transport header begins, for the verifiers of old kernels with a bound that they see. The compiler may pass
/// the offset on in pieces, and puts it together by an "or" that they know nothing of (Linux 6.1: "math between pkt pointer
/// and register with unbounded min value"); so it is kept from seeing that the mask changes nothing.
#[inline(always)]
fn offset(payload: &Payload) -> usize {
    let mut offset = payload.offset;
    // SAFETY: no instruction.
    unsafe { asm!("/* {0} */", inout(reg) offset, options(pure, nomem, nostack, preserves_flags)) };
    offset & MAX_OFFSET
}
