//! The advert, the one message of VRRP, on the wire and in memory.
//!
//! [`Packet`] looks at bytes, [`Repr`] is what they mean. Both know versions [2](v2) and [3](v3). Once
//! [`Packet::new_checked`] has taken a buffer, no accessor reads beyond it; none panics on any buffer at all.
//! Whether an advert is *for us*, with our password, interval and addresses, is not decided here.

mod checksum;
mod error;
mod repr;
pub mod v2;
pub mod v3;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

pub use checksum::Reading;
pub use error::{EmitError, Error};
pub use repr::{Addresses, Format, Parsed, Repr};
pub use v2::Password;

/// The number of VRRP among IP's protocols. RFC 9568 §5.1.1.4.
pub const PROTOCOL: u8 = 112;

/// TTL and hop limit of every advert: none that a router forwarded is believed. RFC 9568 §5.1.1.3.
pub const HOP_LIMIT: u8 = 255;

/// Where adverts go over IPv4. RFC 9568 §5.1.1.2.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// Where adverts go over IPv6. RFC 9568 §5.1.2.2.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// The only type of message: ADVERTISEMENT. RFC 9568 §5.2.2.
const ADVERTISEMENT: u8 = 1;

/// Where the fields are, in bytes. First comes a byte of version and type; 4 and 5 differ: see [`v2`] and [`v3`].
mod field {
    use std::ops::Range;

    pub const VIRTUAL_ROUTER_ID: usize = 1;
    pub const PRIORITY: usize = 2;
    pub const ADDRESS_COUNT: usize = 3;
    pub const CHECKSUM: Range<usize> = 6..8;
    /// Addresses follow the fixed part.
    pub const FIXED_BYTES: usize = 8;
}

/// The protocol's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 3768, over IPv4 only.
    V2,
    /// RFC 5798 and RFC 9568.
    V3,
}

/// The family of an advert, and so of the addresses in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The size of an address in bytes.
    const fn address_bytes(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }
}

/// Source and destination of the IP packet that carries an advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// Over IPv4.
    V4 {
        /// The sender's own address.
        source: Ipv4Addr,
        /// [`GROUP_V4`], or a peer.
        destination: Ipv4Addr,
    },
    /// Over IPv6.
    V6 {
        /// The sender's link-local address, unless the advert is unicast.
        source: Ipv6Addr,
        /// [`GROUP_V6`], or a peer.
        destination: Ipv6Addr,
    },
}

impl Endpoints {
    /// Both addresses, if they are of one family.
    pub fn new(source: IpAddr, destination: IpAddr) -> Option<Self> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::V4 {
                source,
                destination,
            }),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::V6 {
                source,
                destination,
            }),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }

    /// Their family.
    pub fn family(&self) -> Family {
        match self {
            Self::V4 { .. } => Family::V4,
            Self::V6 { .. } => Family::V6,
        }
    }

    /// Who sent it.
    pub fn source(&self) -> IpAddr {
        match *self {
            Self::V4 { source, .. } => source.into(),
            Self::V6 { source, .. } => source.into(),
        }
    }

    /// Where it was sent.
    pub fn destination(&self) -> IpAddr {
        match *self {
            Self::V4 { destination, .. } => destination.into(),
            Self::V6 { destination, .. } => destination.into(),
        }
    }

    /// Whether it was sent to the group of all VRRP routers.
    pub fn is_multicast(&self) -> bool {
        match *self {
            Self::V4 { destination, .. } => destination == GROUP_V4,
            Self::V6 { destination, .. } => destination == GROUP_V6,
        }
    }
}

/// An advert's bytes: what follows the IP header, whole.
///
/// Its fields read as they are; only the version, the type and the length were checked.
#[derive(Clone, Copy, Debug)]
pub struct Packet<T: AsRef<[u8]>> {
    buffer: T,
    version: Version,
    family: Family,
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Takes `buffer` if it has the version, the type and exactly the length of an advert over `family`.
    ///
    /// A buffer with bytes left over is refused, as keepalived does: the checksum is over the whole message, and what
    /// the rest would mean is not defined.
    pub fn new_checked(buffer: T, family: Family) -> Result<Self, Error> {
        let bytes = buffer.as_ref();
        let length = bytes.len();
        let Some(&[version_type, .., count, _, _, _, _]) =
            bytes.first_chunk::<{ field::FIXED_BYTES }>()
        else {
            let needed = field::FIXED_BYTES;
            return Err(Error::TooShort { length, needed });
        };
        let version = match (version_type >> 4, family) {
            (2, Family::V4) => Version::V2,
            (2, Family::V6) => return Err(Error::Version2OverIpv6),
            (3, Family::V4 | Family::V6) => Version::V3,
            (version, Family::V4 | Family::V6) => return Err(Error::UnknownVersion { version }),
        };
        match version_type & 0x0f {
            ADVERTISEMENT => {}
            kind => return Err(Error::UnknownType { kind }),
        }
        let needed = message_bytes(version, family, usize::from(count));
        if length < needed {
            return Err(Error::TooShort { length, needed });
        }
        if length > needed {
            return Err(Error::TooLong { length, needed });
        }
        Ok(Self {
            buffer,
            version,
            family,
        })
    }

    /// The protocol's version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The family of its addresses.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Which virtual router it speaks of.
    pub fn virtual_router_id(&self) -> u8 {
        self.byte(field::VIRTUAL_ROUTER_ID)
    }

    /// The sender's priority; 0: it gives the addresses up.
    pub fn priority(&self) -> u8 {
        self.byte(field::PRIORITY)
    }

    /// How many addresses it says it has.
    pub fn address_count(&self) -> u8 {
        self.byte(field::ADDRESS_COUNT)
    }

    /// How often the sender says it sends.
    pub fn advert_interval(&self) -> Duration {
        match self.version {
            Version::V2 => v2::advert_interval(self.byte(v2::ADVERT_S)),
            Version::V3 => v3::advert_interval([self.byte(4), self.byte(5)]),
        }
    }

    /// The checksum, as it was sent.
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.byte(6), self.byte(7)])
    }

    /// How the checksum was made; `None`: it is wrong in every way there is.
    pub fn checksum_reading(&self, endpoints: &Endpoints) -> Option<Reading> {
        checksum::reading(self.buffer.as_ref(), self.version, endpoints)
    }

    /// The type of authentication, version 2 only.
    pub fn auth_type(&self) -> Option<u8> {
        match self.version {
            Version::V2 => Some(self.byte(v2::AUTH_TYPE)),
            Version::V3 => None,
        }
    }

    /// The authentication data, version 2 only. It is there whatever the type is.
    pub fn auth_data(&self) -> Option<[u8; v2::AUTH_BYTES]> {
        match self.version {
            Version::V2 => self.buffer.as_ref().last_chunk().copied(),
            Version::V3 => None,
        }
    }

    /// The virtual addresses, in the order they were sent.
    pub fn addresses(&self) -> Addresses {
        let size = self.family.address_bytes();
        let end = field::FIXED_BYTES + size * usize::from(self.address_count());
        let bytes = self.buffer.as_ref().get(field::FIXED_BYTES..end);
        let bytes = bytes.unwrap_or_default();
        match self.family {
            Family::V4 => Addresses::V4(
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&a: &[u8; 4]| a.into())
                    .collect(),
            ),
            Family::V6 => Addresses::V6(
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&a: &[u8; 16]| a.into())
                    .collect(),
            ),
        }
    }

    fn byte(&self, at: usize) -> u8 {
        self.buffer.as_ref().get(at).copied().unwrap_or_default()
    }
}

/// The length of a whole advert in bytes.
const fn message_bytes(version: Version, family: Family, addresses: usize) -> usize {
    let auth = match version {
        Version::V2 => v2::AUTH_BYTES,
        Version::V3 => 0,
    };
    field::FIXED_BYTES + family.address_bytes() * addresses + auth
}

#[cfg(test)]
mod tests;
