//! The checksum of an advert, in each way that routers make it.

use lb_common::checksum;

use super::{Endpoints, PROTOCOL, Version};

/// What a checksum is over.
///
/// Version 2 is [`Message`](Self::Message) and IPv6 is [`PseudoHeader`](Self::PseudoHeader), always. Version 3 over
/// IPv4 is either: RFC 5798 §5.2.8 reads as if there were a pseudo-header, and keepalived up to 2.2.7 has one; RFC 9568
/// §5.2.8 says that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reading {
    /// The message alone.
    Message,
    /// The message, after source, destination, length and protocol.
    PseudoHeader,
}

/// The value of the checksum field of `message`, whose own field counts as zero if it is zero.
pub(super) fn compute(message: &[u8], reading: Reading, endpoints: &Endpoints) -> u16 {
    let pseudo = match reading {
        Reading::Message => Vec::new(),
        Reading::PseudoHeader => pseudo_header(message.len(), endpoints),
    };
    checksum::of(words(&pseudo).chain(words(message)))
}

/// What the checksum of `message` is over: the sum with it must come out as zero.
pub(super) fn reading(message: &[u8], version: Version, endpoints: &Endpoints) -> Option<Reading> {
    let allowed: &[Reading] = match (version, endpoints) {
        (Version::V2, _) => &[Reading::Message],
        (Version::V3, Endpoints::V4 { .. }) => &[Reading::PseudoHeader, Reading::Message],
        (Version::V3, Endpoints::V6 { .. }) => &[Reading::PseudoHeader],
    };
    let holds = |reading: &&Reading| compute(message, **reading, endpoints) == 0;
    allowed.iter().find(holds).copied()
}

/// RFC 9293 §3.1 for IPv4, RFC 8200 §8.1 for IPv6.
fn pseudo_header(length: usize, endpoints: &Endpoints) -> Vec<u8> {
    // At most 255 addresses of 16 bytes.
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let [_, _, high, low] = length;
    match endpoints {
        Endpoints::V4 {
            source,
            destination,
        } => [
            &source.octets()[..],
            &destination.octets(),
            &[0, PROTOCOL, high, low],
        ]
        .concat(),
        Endpoints::V6 {
            source,
            destination,
        } => [
            &source.octets()[..],
            &destination.octets(),
            &length,
            &[0, 0, 0, PROTOCOL],
        ]
        .concat(),
    }
}

/// In network order, the last byte padded. RFC 1071.
fn words(bytes: &[u8]) -> impl Iterator<Item = u16> {
    let (pairs, rest) = bytes.as_chunks();
    let last = rest.first().map(|&byte| u16::from_be_bytes([byte, 0]));
    let pairs = pairs.iter().map(|&pair| u16::from_be_bytes(pair));
    pairs.chain(last)
}
