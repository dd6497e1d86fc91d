//! The ports of TCP (RFC 9293) and UDP (RFC 768).

use crate::{
    frame::Frame,
    network::{FragmentPart, Payload},
};
use lb_common::{Reason, Segment, key};

/// Shortest TCP header, bytes.
const TCP_HEADER: usize = 20;
/// Where the flags of a TCP header are, bytes.
const TCP_FLAGS: usize = 13;
/// UDP header, bytes.
const UDP_HEADER: usize = 8;
/// No transport header begins beyond, in bytes from the frame's start. A bound that holds anyway, for the verifiers of old
/// kernels: they lose it where the compiler passes an offset on in pieces.
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
        if payload.offset > MAX_OFFSET {
            return Err(Reason::Truncated);
        }
        match frame.bytes::<UDP_HEADER>(payload.offset) {
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
    if payload.offset > MAX_OFFSET {
        return Err(Reason::Truncated);
    }
    match frame.bytes::<{ TCP_FLAGS + 1 }>(payload.offset) {
        Some(header) => Ok(Segment::tcp(header.u8::<TCP_FLAGS>())),
        None => Err(Reason::Truncated),
    }
}
