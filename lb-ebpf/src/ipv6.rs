//! IPv6 (RFC 8200), with its extension headers.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |Version| Traffic Class |           Flow Label                  |
//! |         Payload Length        |  Next Header  |   Hop Limit   |
//! |                     Source Address (16 bytes)                 |
//! |                  Destination Address (16 bytes)               |
//! ```

use crate::{
    ethernet,
    frame::{Bytes, Frame},
    network::{FragmentPart, Network, OWN_TTL, Payload, UNDIVIDED, Written},
    parts, scratch,
};
use lb_common::{Address, Reason, Service, hash, key};

/// Length of the fixed header, bytes.
const HEADER: usize = 40;

/// Next-header numbers that are walked past (RFC 8200 §4; 135: RFC 6275 §6.1.1).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;

/// Extension headers looked past. RFC 8504 §5.3 lets a node stop somewhere; hosts in the field send none or one.
const MAX_HEADERS: usize = 6;
/// Where the last extension header may begin, bytes from the frame's start. Bounds the verifier's offsets.
const MAX_OFFSET: usize = 511;

#[derive(Clone, Copy)]
pub struct Ipv6 {
    header: Bytes<HEADER>,
    offset: usize,
}

impl Network for Ipv6 {
    const FAMILY: u8 = key::IPV6;
    const ETHER_TYPE: u16 = ethernet::IPV6;
    const INSIDE: u8 = 41;
    const HEADER: usize = HEADER;
    const ICMP: u8 = 58;

    #[inline(always)]
    fn parse(frame: Frame, offset: usize) -> Option<Self> {
        Some(Self {
            header: frame.bytes::<HEADER>(offset)?,
            offset,
        })
    }

    #[inline(always)]
    fn folded_destination(&self) -> u32 {
        hash::fold(&self.destination())
    }

    #[inline(always)]
    fn folded_source(&self) -> u32 {
        hash::fold(&self.source())
    }

    #[inline(always)]
    fn payload(&self, frame: Frame, fault: &mut Reason) -> Option<Payload> {
        *fault = Reason::Truncated;
        let end = self.offset + HEADER + u16::from_be(self.header.u16::<4>()) as usize;
        if self.header.u8::<0>() >> 4 != 6 || (end > frame.len() && end > frame.whole_len()) {
            return None;
        }
        let offset = self.offset + HEADER;
        let plain = Payload {
            protocol: self.header.u8::<6>(),
            offset,
            len: end - offset,
            fragment: FragmentPart::Whole,
        };
        if !is_extension(plain.protocol) {
            return Some(plain);
        }
        match walked(frame, plain) {
            Ok((payload, _)) => Some(payload),
            Err(reason) => {
                *fault = reason;
                None
            }
        }
    }

    #[inline(always)]
    fn is_for(&self, service: &Service) -> bool {
        are_equal(&service.address, &self.destination())
    }

    #[inline(always)]
    fn is_from(&self, service: &Service) -> bool {
        are_equal(&service.address, &self.source())
    }

    #[inline(always)]
    fn set_source(&self, address: &Address) {
        self.header.set_u32::<8>(address[0]);
        self.header.set_u32::<12>(address[1]);
        self.header.set_u32::<16>(address[2]);
        self.header.set_u32::<20>(address[3]);
    }

    #[inline(always)]
    fn set_destination(&self, address: &Address) {
        self.header.set_u32::<24>(address[0]);
        self.header.set_u32::<28>(address[1]);
        self.header.set_u32::<32>(address[2]);
        self.header.set_u32::<36>(address[3]);
    }

    #[inline(always)]
    fn flow_hash(&self, ports: u32, protocol: u8) -> u32 {
        hash::flow6(&self.source(), &self.destination(), ports, protocol)
    }

    #[inline(always)]
    fn answered_flow_hash(&self, ports: u32, protocol: u8) -> u32 {
        hash::flow6(&self.destination(), &self.source(), ports, protocol)
    }

    #[inline(always)]
    fn answered_keyed_hash(&self, ports: u32, protocol: u8, key: u64) -> u32 {
        hash::keyed6(&self.destination(), &self.source(), ports, protocol, key)
    }

    #[inline(always)]
    fn protocol(&self) -> u8 {
        self.header.u8::<6>()
    }

    #[inline(always)]
    fn quoted(&self, frame: Frame) -> Option<Payload> {
        let plain = Payload {
            protocol: self.protocol(),
            offset: self.offset + HEADER,
            // More than any header: where the quote ends it ends.
            len: MAX_OFFSET * 2,
            fragment: FragmentPart::Whole,
        };
        if self.header.u8::<0>() >> 4 != 6 {
            return None;
        }
        if !is_extension(plain.protocol) {
            return Some(plain);
        }
        walked(frame, plain).ok().map(|(payload, _)| payload)
    }

    #[inline(always)]
    fn identification(&self, frame: Frame) -> Option<u32> {
        let end = self.offset + HEADER + u16::from_be(self.header.u16::<4>()) as usize;
        let offset = self.offset + HEADER;
        let plain = Payload {
            protocol: self.protocol(),
            offset,
            len: end - offset,
            fragment: FragmentPart::Whole,
        };
        walked(frame, plain)
            .ok()
            .map(|(_, identification)| identification)
    }

    #[inline(always)]
    fn set_ttl(&self, ttl: u8) {
        self.header.set_u8::<7>(ttl);
    }

    #[inline(always)]
    fn source(&self) -> Address {
        key::narrow(&[self.header.u64::<8>(), self.header.u64::<16>()])
    }

    #[inline(always)]
    fn destination(&self) -> Address {
        key::narrow(&[self.header.u64::<24>(), self.header.u64::<32>()])
    }

    #[inline(always)]
    fn traffic_class(&self) -> u8 {
        (u16::from_be(self.header.u16::<0>()) >> 4) as u8
    }

    #[inline(always)]
    fn identity(&self) -> u32 {
        UNDIVIDED
    }

    #[inline(always)]
    fn packet_len(&self) -> usize {
        HEADER + u16::from_be(self.header.u16::<4>()) as usize
    }

    #[inline(always)]
    fn write(frame: Frame, offset: usize, written: &Written) -> Option<()> {
        let header = frame.bytes::<HEADER>(offset)?;
        let start = 6 << 28 | (written.traffic_class as u32) << 20 | written.flow_label;
        header.set_u32::<0>(start.to_be());
        header.set_u16::<4>((written.payload_len as u16).to_be());
        header.set_u8::<6>(written.protocol);
        header.set_u8::<7>(OWN_TTL);
        header.set_u32::<8>(written.source[0]);
        header.set_u32::<12>(written.source[1]);
        header.set_u32::<16>(written.source[2]);
        header.set_u32::<20>(written.source[3]);
        header.set_u32::<24>(written.destination[0]);
        header.set_u32::<28>(written.destination[1]);
        header.set_u32::<32>(written.destination[2]);
        header.set_u32::<36>(written.destination[3]);
        Some(())
    }

    #[inline(always)]
    fn keyed_hash(&self, ports: u32, protocol: u8, key: u64) -> u32 {
        hash::keyed6(&self.source(), &self.destination(), ports, protocol, key)
    }

    #[inline(always)]
    fn ttl(&self) -> u8 {
        self.header.u8::<7>()
    }

    #[inline(always)]
    fn decrement_ttl(&self) {
        self.header.set_u8::<7>(self.ttl() - 1);
    }
}

/// The last words first: addresses of one network differ there.
#[inline(always)]
fn are_equal(one: &Address, other: &Address) -> bool {
    one[3] == other[3] && one[2] == other[2] && one[1] == other[1] && one[0] == other[0]
}

#[inline(always)]
fn is_extension(next: u8) -> bool {
    matches!(
        next,
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS | MOBILITY
    )
}

/// What a walk past extension headers found.
#[repr(C)]
pub struct Walked {
    pub payload: Payload,
    /// That of the datagram that this is a fragment of, as it lies on the wire.
    pub identification: u32,
}

/// What lies behind the extension headers that `plain` begins with, and the datagram's identification.
#[inline(always)]
fn walked(frame: Frame, plain: Payload) -> Result<(Payload, u32), Reason> {
    const DONE: u32 = Reason::Forwarded as u32;
    const TRUNCATED: u32 = Reason::Truncated as u32;
    let room = scratch::get().ok_or(Reason::Truncated)?;
    // SAFETY: this CPU's own; what it says of the part of a datagram is what was written there.
    unsafe {
        let walked = &raw mut (*room).walked;
        (*walked).payload = plain;
        (*walked).identification = 0;
        match parts::lb_walk(frame.context(), walked) {
            DONE => Ok(((*walked).payload, (*walked).identification)),
            TRUNCATED => Err(Reason::Truncated),
            _ => Err(Reason::ExtensionHeaders),
        }
    }
}

/// Walks the chain of extension headers that `walked` begins with, and makes it what lies behind them.
#[inline(always)]
pub fn walk(frame: Frame, walked: &mut Walked) -> Result<(), Reason> {
    let payload = &mut walked.payload;
    for _ in 0..MAX_HEADERS {
        // What follows the packet in the frame is padding, and no header.
        if payload.len < 8 {
            return Err(Reason::Truncated);
        }
        if payload.offset > MAX_OFFSET {
            return Err(Reason::ExtensionHeaders);
        }
        let Some(header) = frame.bytes::<8>(payload.offset) else {
            return Err(Reason::Truncated);
        };
        let len = if payload.protocol == FRAGMENT {
            // Offset in 8-byte units in the upper 13 bits, "more" in the lowest (RFC 8200 §4.5).
            let place = u16::from_be(header.u16::<2>());
            walked.identification = header.u32::<4>();
            payload.fragment = match (place >> 3, place & 1) {
                (0, 0) => payload.fragment,
                (0, _) => FragmentPart::First,
                (_, _) => FragmentPart::Later,
            };
            8
        } else {
            (header.u8::<1>() as usize + 1) * 8
        };
        if len > payload.len {
            return Err(Reason::Truncated);
        }
        payload.protocol = header.u8::<0>();
        payload.offset += len;
        payload.len -= len;
        if payload.fragment == FragmentPart::Later || !is_extension(payload.protocol) {
            return Ok(());
        }
    }
    Err(Reason::ExtensionHeaders)
}
