//! The ports of TCP (RFC 9293) and UDP (RFC 768).

use crate::{
    frame::{Bytes, Frame},
    network::{FragmentPart, Payload},
};
use core::arch::asm;
use lb_common::{Reason, Segment, checksum, key};

/// Shortest TCP header, bytes.
const TCP_HEADER: usize = 20;
/// Where the flags of a TCP header are, bytes.
const TCP_FLAGS: usize = 13;
/// UDP header, bytes.
const UDP_HEADER: usize = 8;
/// No transport header begins beyond, in bytes from the frame's start: a VLAN header, and an IP header with all that may
/// follow it, is shorter. A mask.
pub const MAX_OFFSET: usize = 4095;

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

    /// Source port, network order.
    #[inline(always)]
    pub fn source_be(self) -> u16 {
        self.0 as u16
    }

    /// Destination port, network order.
    #[inline(always)]
    pub fn destination_be(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

/// Where the checksum lies in the header, bytes.
#[inline(always)]
pub const fn checksum_offset(protocol: u8) -> usize {
    if protocol == key::UDP { 6 } else { 16 }
}

/// A transport checksum after what it covers has changed by `difference`; `None`: there is none to correct.
#[inline(always)]
pub fn corrected(is_udp: bool, before: u16, difference: u64) -> Option<u16> {
    // RFC 768: zero is "none", and a sum of zero is sent as its other form.
    if is_udp && before == 0 {
        return None;
    }
    let after = checksum::replaced(before, difference);
    Some(if is_udp && after == 0 {
        u16::MAX
    } else {
        after
    })
}

/// What translation changes of a TCP or UDP header.
#[derive(Clone, Copy)]
pub struct Translated {
    ports: Bytes<4>,
    checksum: Bytes<2>,
    is_udp: bool,
}

impl Translated {
    /// `None` where the frame's readable part ends inside the header.
    #[inline(always)]
    pub fn parse(frame: Frame, payload: &Payload) -> Option<Self> {
        let start = offset(payload);
        Some(Self {
            ports: frame.bytes::<4>(start)?,
            checksum: frame.bytes::<2>(start + checksum_offset(payload.protocol))?,
            is_udp: payload.protocol == key::UDP,
        })
    }

    /// Writes another source port; `difference` is that of the addresses, see [`lb_common::checksum`].
    #[inline(always)]
    pub fn set_source(self, port_be: u16, difference: u64) {
        self.sum_up(self.ports.u16::<0>(), port_be, difference);
        self.ports.set_u16::<0>(port_be);
    }

    /// Writes another destination port, likewise.
    #[inline(always)]
    pub fn set_destination(self, port_be: u16, difference: u64) {
        self.sum_up(self.ports.u16::<2>(), port_be, difference);
        self.ports.set_u16::<2>(port_be);
    }

    #[inline(always)]
    fn sum_up(self, old: u16, new: u16, difference: u64) {
        let difference = difference + checksum::difference(old as u32, new as u32);
        if let Some(after) = corrected(self.is_udp, self.checksum.u16::<0>(), difference) {
            self.checksum.set_u16::<0>(after);
        }
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
/// and register with unbounded min value"); so it is kept from seeing that the mask changes nothing. An instruction, and not
/// none to hide behind: one that takes no room would have a line of the source to itself, and no kernel takes two lines for
/// one place ("Invalid line_info").
#[inline(always)]
pub fn offset(payload: &Payload) -> usize {
    let mut offset = payload.offset;
    // SAFETY: it changes the register that it is given, and nothing else.
    unsafe {
        asm!("{0} &= {1}", inout(reg) offset, const MAX_OFFSET, options(pure, nomem, nostack, preserves_flags));
    }
    offset
}
