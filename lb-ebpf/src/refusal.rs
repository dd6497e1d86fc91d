//! Errors that the sender is told: ICMP from the virtual address, in the place of the packet that cannot go on.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |     Type      |     Code      |          Checksum             |
//! |       MTU where it is too large (IPv4: the lower half)        |
//! |       the packet's beginning: IP header and some more         |
//! ```
//! RFC 792, RFC 1191 §4, RFC 4443 §3.2 and §3.3. The packet went no further: it is quoted as it came.

use crate::{
    ethernet::{self, Envelope, Ethernet},
    frame::Frame,
    ipv4::Ipv4,
    ipv6::Ipv6,
    limit::{self, Kind},
    network::{Network, UNDIVIDED, Written},
    parts,
    verdict::Verdict,
};
use lb_common::{Address, Reason, checksum, key};

/// Length of the ICMP header, bytes.
const ICMP: usize = 8;
/// How much of the packet is quoted, bytes, a multiple of four. Room for the transport header behind any IPv4 options, and
/// behind some IPv6 extension headers. RFC 1812 §4.3.2.3 would have more, but each byte is summed up.
const QUOTE: usize = 128;
/// RFC 1812 §4.3.2.5: precedence "internetwork control".
const TRAFFIC_CLASS: u8 = 0xc0;

/// What is in a packet's way.
pub enum Obstacle {
    Refused(Reason),
    /// TTL or hop limit would reach zero here.
    TtlExpired,
    /// The packet is longer than `mtu` bytes.
    TooLarge {
        mtu: u32,
    },
}

impl Obstacle {
    /// The sender is told where it can be helped.
    #[inline(always)]
    pub fn told(self, service: u16) -> Verdict {
        match self {
            Self::Refused(reason) => Verdict::of_service(reason, service),
            Self::TtlExpired => Verdict::telling(Reason::AnsweredTtlExpired, service, 0),
            Self::TooLarge { mtu } => Verdict::telling(Reason::AnsweredTooLarge, service, mtu),
        }
    }

    /// Nobody is told: of an error, and of any fragment but the first, no error may be sent (RFC 1122 §3.2.2, RFC 4443
    /// §2.4 (e)).
    #[inline(always)]
    pub fn reason(self) -> Reason {
        match self {
            Self::Refused(reason) => reason,
            Self::TtlExpired => Reason::TtlExpired,
            Self::TooLarge { .. } => Reason::TooLarge,
        }
    }
}

/// Tells the sender the reason with this number. Returns the word of the verdict that this makes it.
#[inline(always)]
pub fn tell(frame: Frame, reason: u32, mtu: u32) -> u64 {
    let told = parts::lb_tell(frame.context(), reason, mtu) != 0;
    let of = |answered, silent| Verdict::of(if told { answered } else { silent }).word();
    if reason == Reason::AnsweredTtlExpired as u32 {
        of(Reason::AnsweredTtlExpired, Reason::TtlExpired)
    } else {
        of(Reason::AnsweredTooLarge, Reason::TooLarge)
    }
}

/// Makes the frame the error with this number, whichever family it is of.
#[inline(always)]
pub fn error(frame: Frame, reason: u32, mtu: u32) -> Option<()> {
    let kind = if reason == Reason::AnsweredTtlExpired as u32 {
        Kind::TtlExpired
    } else {
        Kind::TooLarge
    };
    let ethernet = Ethernet::parse(frame)?;
    if ethernet.ether_type == ethernet::IPV4 {
        made::<Ipv4>(frame, ethernet.payload, kind, mtu)
    } else {
        made::<Ipv6>(frame, ethernet.payload, kind, mtu)
    }
}

/// Makes the frame the error. `None`: it was not to be, and if the frame was changed it is of no use to anybody any more.
#[inline(always)]
fn made<N: Network>(frame: Frame, at: usize, kind: Kind, mtu: u32) -> Option<()> {
    let header = N::parse(frame, at)?;
    let (client, service) = (header.source(), header.destination());
    if !is_somebody::<N>(&client) || !limit::take(kind) {
        return None;
    }
    let quote = header.packet_len().min(QUOTE) & !3;
    let envelope = Envelope::of(frame, at)?;
    if !frame.cut(at + quote) {
        return None;
    }
    let quoted = sum(frame, at);
    if !frame.grow_head(N::HEADER + ICMP) {
        return None;
    }
    envelope.returned().write(frame, N::ETHER_TYPE)?;
    let length = ICMP + quote;
    let written = Written {
        source: service,
        destination: client,
        traffic_class: TRAFFIC_CLASS,
        identity: UNDIVIDED,
        flow_label: 0,
        protocol: N::ICMP,
        payload_len: length,
    };
    N::write(frame, at, &written)?;
    let icmp = frame.bytes::<ICMP>(at + N::HEADER)?;
    let start = type_and_code::<N>(kind) as u32;
    let mtu = if N::FAMILY == key::IPV4 {
        mtu.min(u16::MAX as u32).to_be()
    } else {
        mtu.to_be()
    };
    let mut sum = quoted + start as u64 + mtu as u64;
    if N::FAMILY == key::IPV6 {
        // RFC 8200 §8.1: the pseudo-header.
        sum += (length as u32).to_be() as u64 + ((N::ICMP as u32).to_be()) as u64;
        sum += address_sum(&service) + address_sum(&client);
    }
    icmp.set_u32::<0>(start | (checksum::of_sum(sum) as u32) << 16);
    icmp.set_u32::<4>(mtu);
    Some(())
}

/// The first two bytes of the ICMP header, as a little-endian load sees them.
#[inline(always)]
const fn type_and_code<N: Network>(kind: Kind) -> u16 {
    u16::from_ne_bytes(match (N::FAMILY, kind) {
        (key::IPV4, Kind::TtlExpired) => [11, 0],
        (key::IPV4, Kind::TooLarge) => [3, 4],
        (_, Kind::TtlExpired) => [3, 0],
        (_, Kind::TooLarge) => [2, 0],
    })
}

/// RFC 1122 §3.2.2, RFC 4443 §2.4 (e): no error goes to an address that does not stand for one host.
#[inline(always)]
pub fn is_somebody<N: Network>(address: &Address) -> bool {
    let first = address[0].to_ne_bytes()[0];
    if N::FAMILY == key::IPV4 {
        first != 0 && first != 127 && first < 224
    } else {
        first != 0xff && (address[0] | address[1] | address[2]) != 0
    }
}

/// Plain sum of the frame's words from `at` on, up to [`QUOTE`] bytes.
#[inline(always)]
fn sum(frame: Frame, at: usize) -> u64 {
    let mut sum = 0;
    for word in 0..QUOTE / 4 {
        let Some(bytes) = frame.bytes::<4>(at + word * 4) else {
            break;
        };
        sum += bytes.u32::<0>() as u64;
    }
    sum
}

#[inline(always)]
fn address_sum(address: &Address) -> u64 {
    address[0] as u64 + address[1] as u64 + address[2] as u64 + address[3] as u64
}
