//! What an advert means.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::checksum::{self, Reading};
use super::{
    ADVERTISEMENT, EmitError, Endpoints, Error, Family, Packet, Password, Version, field,
    message_bytes, v2, v3,
};

/// An advert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Which virtual router it speaks of.
    pub virtual_router_id: u8,
    /// The sender's priority: 255 owns the addresses, 0 gives them up.
    pub priority: u8,
    /// How often the sender sends.
    pub advert_interval: Duration,
    /// What depends on the version.
    pub format: Format,
    /// The virtual addresses, in order.
    pub addresses: Addresses,
}

/// The version, and what only it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Version 2.
    V2 {
        /// The password; `None`: no authentication.
        password: Option<Password>,
    },
    /// Version 3.
    V3,
}

/// Virtual addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// IPv4.
    V4(Vec<Ipv4Addr>),
    /// IPv6. RFC 9568 §5.2.9: a link-local one comes first.
    V6(Vec<Ipv6Addr>),
}

/// An advert, and how it was protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The advert.
    pub repr: Repr,
    /// What its checksum is over.
    pub checksum: Reading,
}

impl Addresses {
    /// Their family.
    pub fn family(&self) -> Family {
        match self {
            Self::V4(_) => Family::V4,
            Self::V6(_) => Family::V6,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::V4(list) => list.len(),
            Self::V6(list) => list.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4(list), IpAddr::V4(address)) => list.contains(&address),
            (Self::V6(list), IpAddr::V6(address)) => list.contains(&address),
            (Self::V4(_), IpAddr::V6(_)) | (Self::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        let (v4, v6): (&[_], &[_]) = match self {
            Self::V4(list) => (list, &[]),
            Self::V6(list) => (&[], list),
        };
        let v4 = v4.iter().copied().map(IpAddr::V4);
        v4.chain(v6.iter().copied().map(IpAddr::V6))
    }
}

impl Format {
    /// The version.
    pub fn version(&self) -> Version {
        match self {
            Self::V2 { .. } => Version::V2,
            Self::V3 => Version::V3,
        }
    }
}

impl Repr {
    /// Reads an advert that came from and to `endpoints`.
    pub fn parse<T: AsRef<[u8]>>(
        packet: &Packet<T>,
        endpoints: &Endpoints,
    ) -> Result<Parsed, Error> {
        let received = packet.checksum();
        let checksum = packet.checksum_reading(endpoints);
        let checksum = checksum.ok_or(Error::Checksum { received })?;
        if packet.address_count() == 0 {
            return Err(Error::NoAddress);
        }
        let format = match (packet.version(), packet.auth_type(), packet.auth_data()) {
            (Version::V3, _, _) => Format::V3,
            (Version::V2, Some(v2::AUTH_PASS), Some(data)) => Format::V2 {
                password: Some(Password::from_wire(data)),
            },
            // RFC 3768 §5.3.10: the data of type 0 is not looked at.
            (Version::V2, Some(v2::AUTH_NONE) | None, _) => Format::V2 { password: None },
            (Version::V2, Some(v2::AUTH_HEADER), _) => return Err(Error::AuthenticationHeader),
            (Version::V2, Some(auth_type), _) => {
                return Err(Error::UnknownAuthentication { auth_type });
            }
        };
        let advert_interval = packet.advert_interval();
        if advert_interval.is_zero() {
            return Err(Error::ZeroInterval);
        }
        let repr = Self {
            virtual_router_id: packet.virtual_router_id(),
            priority: packet.priority(),
            advert_interval,
            format,
            addresses: packet.addresses(),
        };
        Ok(Parsed { repr, checksum })
    }

    /// How many bytes [`emit`](Self::emit) writes.
    pub fn buffer_len(&self) -> usize {
        let version = self.format.version();
        message_bytes(version, self.addresses.family(), self.addresses.len())
    }

    /// Writes the advert, to be sent from and to `endpoints`, into `buffer`, which is [`buffer_len`](Self::buffer_len)
    /// bytes long.
    ///
    /// `reading` matters with version 3 over IPv4 alone: elsewhere there is no choice. Over IPv6 the kernel may be asked
    /// to fill in the checksum once more, which changes nothing.
    pub fn emit(
        &self,
        buffer: &mut [u8],
        endpoints: &Endpoints,
        reading: Reading,
    ) -> Result<(), EmitError> {
        let (length, needed) = (buffer.len(), self.buffer_len());
        if length != needed {
            return Err(EmitError::BufferLength { length, needed });
        }
        let message = self.message(endpoints)?;
        let reading = match (self.format, endpoints) {
            (Format::V2 { .. }, _) => Reading::Message,
            (Format::V3, Endpoints::V4 { .. }) => reading,
            (Format::V3, Endpoints::V6 { .. }) => Reading::PseudoHeader,
        };
        let checksum = checksum::compute(&message, reading, endpoints);
        buffer.copy_from_slice(&message);
        if let Some(place) = buffer.get_mut(field::CHECKSUM) {
            place.copy_from_slice(&checksum.to_be_bytes());
        }
        Ok(())
    }

    /// All of it, the checksum being zero.
    fn message(&self, endpoints: &Endpoints) -> Result<Vec<u8>, EmitError> {
        let count = self.addresses.len();
        let count = match u8::try_from(count) {
            Ok(count) if count > 0 => count,
            Ok(_) | Err(_) => return Err(EmitError::AddressCount { count }),
        };
        let (version, middle, trailer) = match self.format {
            Format::V2 { password } => {
                if self.addresses.family() == Family::V6 {
                    return Err(EmitError::Version2OverIpv6);
                }
                let advert_s = v2::advert_s(self.advert_interval);
                let advert_s = advert_s.ok_or(self.interval_error("whole seconds, 1 to 255"))?;
                match password {
                    None => (2, [v2::AUTH_NONE, advert_s], Some([0; v2::AUTH_BYTES])),
                    Some(password) => (2, [v2::AUTH_PASS, advert_s], Some(password.bytes())),
                }
            }
            Format::V3 => {
                let advert_cs = v3::advert_cs(self.advert_interval);
                let allowed = "10ms to 40.95s in steps of 10ms";
                let advert_cs = advert_cs.ok_or(self.interval_error(allowed))?;
                (3, advert_cs.to_be_bytes(), None)
            }
        };
        if self.addresses.family() != endpoints.family() {
            return Err(EmitError::Family);
        }
        let mut message = Vec::with_capacity(self.buffer_len());
        message.extend([
            version << 4 | ADVERTISEMENT,
            self.virtual_router_id,
            self.priority,
            count,
        ]);
        message.extend(middle);
        message.extend([0; 2]);
        match &self.addresses {
            Addresses::V4(list) => message.extend(list.iter().flat_map(Ipv4Addr::octets)),
            Addresses::V6(list) => message.extend(list.iter().flat_map(Ipv6Addr::octets)),
        }
        message.extend(trailer.iter().flatten());
        Ok(message)
    }

    fn interval_error(&self, allowed: &'static str) -> EmitError {
        let interval = self.advert_interval;
        EmitError::Interval { interval, allowed }
    }
}
