//! Why bytes are no advert, and why an advert cannot be written.

use std::time::Duration;

use thiserror::Error;

/// Why bytes from the network are not taken for an advert. Each has a counter of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// Bytes are missing.
    #[error("{length} bytes, too short for an advert of {needed}")]
    TooShort {
        /// Bytes received.
        length: usize,
        /// Bytes an advert with that many addresses has.
        needed: usize,
    },
    /// Bytes are left over.
    #[error("{length} bytes, too long for an advert of {needed}")]
    TooLong {
        /// Bytes received.
        length: usize,
        /// Bytes an advert with that many addresses has.
        needed: usize,
    },
    /// Neither version 2 nor 3.
    #[error("version {version} of VRRP is not known; 2 and 3 are")]
    UnknownVersion {
        /// As received, 0..=15.
        version: u8,
    },
    /// Version 2 knows IPv4 only.
    #[error("version 2 of VRRP over IPv6, which it does not know")]
    Version2OverIpv6,
    /// Not an ADVERTISEMENT.
    #[error("type {kind} of message is not known; 1, an advert, is")]
    UnknownType {
        /// As received, 0..=15.
        kind: u8,
    },
    /// Neither way of making the checksum leads to the one received.
    #[error("checksum {received:#06x} is wrong")]
    Checksum {
        /// As received.
        received: u16,
    },
    /// RFC 9568 erratum 8299: at least one.
    #[error("an advert without any address")]
    NoAddress,
    /// RFC 2338's authentication type 2, an IP authentication header.
    #[error("authentication by AH is not spoken here; set auth_type PASS, or none, on the sender")]
    AuthenticationHeader,
    /// A type of authentication that no RFC has.
    #[error("authentication type {auth_type} is not known")]
    UnknownAuthentication {
        /// As received.
        auth_type: u8,
    },
    /// RFC 9568 erratum 8301. Taken as it stands it would end every backup's patience at once.
    #[error("an advert interval of zero")]
    ZeroInterval,
}

impl Error {
    /// The name of its counter. Names are kept from version to version.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TooShort { .. } => "too_short",
            Self::TooLong { .. } => "too_long",
            Self::UnknownVersion { .. } => "unknown_version",
            Self::Version2OverIpv6 => "version_2_over_ipv6",
            Self::UnknownType { .. } => "unknown_type",
            Self::Checksum { .. } => "bad_checksum",
            Self::NoAddress => "no_address",
            Self::AuthenticationHeader => "authentication_header",
            Self::UnknownAuthentication { .. } => "unknown_authentication",
            Self::ZeroInterval => "zero_interval",
        }
    }
}

/// Why an advert cannot be written as it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EmitError {
    /// The buffer is not [`Repr::buffer_len`](super::Repr::buffer_len) bytes long.
    #[error("write an advert of {needed} bytes into {length}")]
    BufferLength {
        /// What was given, in bytes.
        length: usize,
        /// What it takes, in bytes.
        needed: usize,
    },
    /// The message counts its addresses in one byte.
    #[error("write {count} addresses into one advert; 1 to 255 fit")]
    AddressCount {
        /// How many there are.
        count: usize,
    },
    /// The version cannot say this interval.
    #[error("write an advert interval of {interval:?}; {allowed} can be said")]
    Interval {
        /// The interval wanted.
        interval: Duration,
        /// What could be written.
        allowed: &'static str,
    },
    /// Version 2 knows IPv4 only.
    #[error("write IPv6 addresses into an advert of version 2; use version 3")]
    Version2OverIpv6,
    /// The addresses inside are of another family than those of the IP header.
    #[error("write addresses of another family than the advert is sent over")]
    Family,
}
