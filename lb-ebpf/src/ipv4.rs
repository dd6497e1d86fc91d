//! IPv4 (RFC 791).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |Version|  IHL  |Type of Service|          Total Length         |
//! |         Identification        |Flags|      Fragment Offset    |
//! |  Time to Live |    Protocol   |         Header Checksum       |
//! |                       Source Address                          |
//! |                    Destination Address                        |
//! |                    Options                                    |
//! ```

use crate::{
    frame::{Bytes, Frame},
    network::{FragmentPart, Network, Payload},
};
use lb_common::{Reason, Service, checksum, hash, key};

/// Length of the header without options, bytes.
const HEADER: usize = 20;
/// The flag "more fragments follow", as a little-endian load of the wire's bytes sees it.
const MORE_FRAGMENTS: u16 = 0x2000_u16.to_be();
/// The bits of the fragment's offset, likewise.
const FRAGMENT_OFFSET: u16 = 0x1fff_u16.to_be();

#[derive(Clone, Copy)]
pub struct Ipv4 {
    header: Bytes<HEADER>,
    offset: usize,
}

impl Network for Ipv4 {
    const FAMILY: u8 = key::IPV4;

    #[inline(always)]
    fn parse(frame: Frame, offset: usize) -> Option<Self> {
        Some(Self {
            header: frame.bytes::<HEADER>(offset)?,
            offset,
        })
    }

    #[inline(always)]
    fn folded_destination(&self) -> u32 {
        self.header.u32::<16>()
    }

    #[inline(always)]
    fn payload(&self, frame: Frame) -> Result<Payload, Reason> {
        let version_ihl = self.header.u8::<0>();
        let header_len = (version_ihl & 0x0f) as usize * 4;
        let total_len = u16::from_be(self.header.u16::<2>()) as usize;
        if version_ihl >> 4 != 4 || header_len < HEADER || total_len < header_len {
            return Err(Reason::Truncated);
        }
        if self.offset + total_len > frame.len() && self.offset + total_len > frame.whole_len() {
            return Err(Reason::Truncated);
        }
        let fragment = self.header.u16::<6>();
        Ok(Payload {
            protocol: self.header.u8::<9>(),
            offset: self.offset + header_len,
            len: total_len - header_len,
            fragment: if fragment & (MORE_FRAGMENTS | FRAGMENT_OFFSET) == 0 {
                FragmentPart::Whole
            } else if fragment & FRAGMENT_OFFSET == 0 {
                FragmentPart::First
            } else {
                FragmentPart::Later
            },
        })
    }

    #[inline(always)]
    fn is_for(&self, service: &Service) -> bool {
        service.address[0] == self.header.u32::<16>()
    }

    #[inline(always)]
    fn flow_hash(&self, ports: u32, protocol: u8) -> u32 {
        hash::flow4(
            self.header.u32::<12>(),
            self.header.u32::<16>(),
            ports,
            protocol,
        )
    }

    #[inline(always)]
    fn ttl(&self) -> u8 {
        self.header.u8::<8>()
    }

    #[inline(always)]
    fn decrement_ttl(&self) {
        self.header.set_u8::<8>(self.ttl() - 1);
        self.header
            .set_u16::<10>(checksum::ttl_decremented(self.header.u16::<10>()));
    }
}
