//! The ports of TCP (RFC 9293) and UDP (RFC 768).

use crate::{
    frame::{Bytes, Frame},
    network::{FragmentPart, Payload},
};
use lb_common::{Reason, checksum, key};

/// Shortest TCP header, bytes.
const TCP_HEADER: usize = 20;
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
const TCP_CHECKSUM: usize = 16;
const UDP_CHECKSUM: usize = 6;

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
        let is_udp = payload.protocol == key::UDP;
        let checksum = if is_udp { UDP_CHECKSUM } else { TCP_CHECKSUM };
        if payload.offset > MAX_OFFSET {
            return None;
        }
        Some(Self {
            ports: frame.bytes::<4>(payload.offset)?,
            checksum: frame.bytes::<2>(payload.offset + checksum)?,
            is_udp,
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
        let before = self.checksum.u16::<0>();
        // RFC 768: zero is "none", and a sum of zero is sent as its other form.
        if self.is_udp && before == 0 {
            return;
        }
        let difference = difference + checksum::difference(old as u32, new as u32);
        let after = checksum::replaced(before, difference);
        self.checksum.set_u16::<0>(if self.is_udp && after == 0 {
            u16::MAX
        } else {
            after
        });
    }
}
