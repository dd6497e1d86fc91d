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
    ethernet,
    frame::{Bytes, Frame},
    network::{FragmentPart, Network, OWN_TTL, Payload, UNDIVIDED, Written},
};
use lb_common::{Address, Reason, Service, checksum, hash, key};

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

impl Ipv4 {
    #[inline(always)]
    fn readdressed(&self, old: u32, new: u32) {
        let difference = checksum::difference(old, new);
        self.header
            .set_u16::<10>(checksum::replaced(self.header.u16::<10>(), difference));
    }
}

impl Network for Ipv4 {
    const FAMILY: u8 = key::IPV4;
    const ETHER_TYPE: u16 = ethernet::IPV4;
    const INSIDE: u8 = 4;
    const HEADER: usize = HEADER;
    const ICMP: u8 = 1;

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
    fn folded_source(&self) -> u32 {
        self.header.u32::<12>()
    }

    #[inline(always)]
    fn payload(&self, frame: Frame, fault: &mut Reason) -> Option<Payload> {
        *fault = Reason::Truncated;
        let version_ihl = self.header.u8::<0>();
        let header_len = (version_ihl & 0x0f) as usize * 4;
        let total_len = u16::from_be(self.header.u16::<2>()) as usize;
        if version_ihl >> 4 != 4 || header_len < HEADER || total_len < header_len {
            return None;
        }
        if self.offset + total_len > frame.len() && self.offset + total_len > frame.whole_len() {
            return None;
        }
        let fragment = self.header.u16::<6>();
        Some(Payload {
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
    fn is_from(&self, service: &Service) -> bool {
        service.address[0] == self.header.u32::<12>()
    }

    #[inline(always)]
    fn set_source(&self, address: &Address) {
        self.readdressed(self.header.u32::<12>(), address[0]);
        self.header.set_u32::<12>(address[0]);
    }

    #[inline(always)]
    fn set_destination(&self, address: &Address) {
        self.readdressed(self.header.u32::<16>(), address[0]);
        self.header.set_u32::<16>(address[0]);
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
    fn answered_flow_hash(&self, ports: u32, protocol: u8) -> u32 {
        hash::flow4(
            self.header.u32::<16>(),
            self.header.u32::<12>(),
            ports,
            protocol,
        )
    }

    #[inline(always)]
    fn answered_keyed_hash(&self, ports: u32, protocol: u8, key: u64) -> u32 {
        hash::keyed4(
            self.header.u32::<16>(),
            self.header.u32::<12>(),
            ports,
            protocol,
            key,
        )
    }

    #[inline(always)]
    fn protocol(&self) -> u8 {
        self.header.u8::<9>()
    }

    #[inline(always)]
    fn quoted(&self, _: Frame) -> Option<Payload> {
        let version_ihl = self.header.u8::<0>();
        let header_len = (version_ihl & 0x0f) as usize * 4;
        if version_ihl >> 4 != 4 || header_len < HEADER {
            return None;
        }
        Some(Payload {
            protocol: self.protocol(),
            offset: self.offset + header_len,
            len: 0,
            fragment: if self.header.u16::<6>() & FRAGMENT_OFFSET == 0 {
                FragmentPart::Whole
            } else {
                FragmentPart::Later
            },
        })
    }

    #[inline(always)]
    fn identification(&self, _: Frame) -> Option<u32> {
        Some(self.header.u16::<4>() as u32)
    }

    #[inline(always)]
    fn set_ttl(&self, ttl: u8) {
        let old = self.header.u16::<8>();
        self.header.set_u8::<8>(ttl);
        let difference = checksum::difference(old as u32, self.header.u16::<8>() as u32);
        let check = self.header.u16::<10>();
        self.header
            .set_u16::<10>(checksum::replaced(check, difference));
    }

    #[inline(always)]
    fn source(&self) -> Address {
        [self.header.u32::<12>(), 0, 0, 0]
    }

    #[inline(always)]
    fn destination(&self) -> Address {
        [self.header.u32::<16>(), 0, 0, 0]
    }

    #[inline(always)]
    fn traffic_class(&self) -> u8 {
        self.header.u8::<1>()
    }

    #[inline(always)]
    fn identity(&self) -> u32 {
        self.header.u32::<4>() & (UNDIVIDED | 0xffff)
    }

    #[inline(always)]
    fn packet_len(&self) -> usize {
        u16::from_be(self.header.u16::<2>()) as usize
    }

    #[inline(always)]
    fn write(frame: Frame, offset: usize, written: &Written) -> Option<()> {
        let header = frame.bytes::<HEADER>(offset)?;
        let start = u32::from_ne_bytes([0x45, written.traffic_class, 0, 0])
            | (((HEADER + written.payload_len) as u16).to_be() as u32) << 16;
        let hops = u32::from_ne_bytes([OWN_TTL, written.protocol, 0, 0]);
        let sum = start as u64
            + written.identity as u64
            + hops as u64
            + written.source[0] as u64
            + written.destination[0] as u64;
        header.set_u32::<0>(start);
        header.set_u32::<4>(written.identity);
        header.set_u32::<8>(hops | (checksum::of_sum(sum) as u32) << 16);
        header.set_u32::<12>(written.source[0]);
        header.set_u32::<16>(written.destination[0]);
        Some(())
    }

    #[inline(always)]
    fn keyed_hash(&self, ports: u32, protocol: u8, key: u64) -> u32 {
        hash::keyed4(
            self.header.u32::<12>(),
            self.header.u32::<16>(),
            ports,
            protocol,
            key,
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
