//! Which adverts concern an instance: those of its virtual router, protected as ours are, from where they may come.
//!
//! What [`Filter::accept`] refuses must have no effect but to be counted, each [`Rejection`] under its own
//! [`Refused`]. RFC 9568 §7.1, RFC 3768 §7.1.
//!
//! # Lists of addresses that differ
//!
//! RFC 3768 discards an advert whose list is not ours, and so does keepalived in both versions. During a rolling change
//! of the list that makes two masters, each deaf to the other. So by default a list that has an address in common with
//! ours is accepted, counted and reported. One that has none is of another virtual router that was given the same
//! number: to follow it would leave our addresses to nobody.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use thiserror::Error;

use super::counters::reasons;
use super::fsm::Advert;
use super::packet::{self, Addresses, Endpoints, Format, Packet, Password, Reading, Repr, Version};

/// What arrived: one IP packet of VRRP's protocol, its header taken off.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// From and to.
    pub endpoints: Endpoints,
    /// TTL or hop limit, as received.
    pub hop_limit: u8,
    /// What follows the IP header, whole.
    pub payload: &'a [u8],
}

/// What an instance expects of adverts.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Which virtual router it is part of.
    pub virtual_router_id: u8,
    /// The version it speaks.
    pub version: Version,
    /// Its own address: what comes from there is its own.
    pub source: IpAddr,
    /// Where adverts go to and come from.
    pub casting: Casting,
    /// TTLs and hop limits that are believed; all but [`HOP_LIMIT`](packet::HOP_LIMIT) alone are for unicast over routers.
    pub hop_limits: RangeInclusive<u8>,
    /// Version 2: the password; `None`: no authentication.
    pub password: Option<Password>,
    /// Version 2: must be the same everywhere. Version 3 learns it.
    pub advert_interval: Duration,
    /// The addresses it advertises.
    pub addresses: Addresses,
    /// What it does about another list.
    pub other_list: OtherList,
}

/// Where adverts go to and come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Casting {
    /// The group of all VRRP routers.
    Multicast,
    /// One router at a time.
    Unicast {
        /// Those that are believed; `None`: all.
        from: Option<Vec<IpAddr>>,
    },
}

/// What to do about a list of addresses that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherList {
    /// Accept one that has an address in common with ours.
    AcceptOverlap,
    /// Refuse it, but for an owner's in version 2: RFC 3768 §7.1. As keepalived does.
    Refuse,
}

/// An advert that concerns the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What matters to the election.
    pub advert: Advert,
    /// What its checksum is over.
    pub checksum: Reading,
    /// What about its list of addresses and its interval is not as ours.
    pub difference: Difference,
}

/// What about an accepted advert is not as ours; both are worth a warning that is not repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// The list of addresses: two routers are configured differently, or a change is under way.
    pub addresses: bool,
    /// The interval, version 3.
    pub interval: bool,
}

/// Why an advert is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// It is no advert.
    #[error(transparent)]
    Packet(#[from] packet::Error),
    /// A router has forwarded it, or its sender did not mean it to stay on the link.
    #[error("hop limit {hop_limit} of an advert; {least} to {greatest} are believed")]
    HopLimit {
        /// As received.
        hop_limit: u8,
        /// The least that is believed.
        least: u8,
        /// The greatest.
        greatest: u8,
    },
    /// It speaks of another virtual router.
    #[error("virtual router {virtual_router_id} is another")]
    OtherRouter {
        /// As received.
        virtual_router_id: u8,
    },
    /// The other version.
    #[error("{received:?} of VRRP; this instance speaks the other version")]
    OtherVersion {
        /// As received.
        received: Version,
    },
    /// It is our own.
    #[error("an advert from our own address {source_address}")]
    Own {
        /// Where it came from.
        source_address: IpAddr,
    },
    /// A multicast instance was sent a unicast advert, or the other way round.
    #[error("an advert sent to {destination}, where this instance does not listen")]
    Casting {
        /// Where it was sent.
        destination: IpAddr,
    },
    /// Not one of the peers.
    #[error("an advert from {source_address}, which is no peer; add it to unicast_peers")]
    NoPeer {
        /// Where it came from.
        source_address: IpAddr,
    },
    /// There should be a password.
    #[error("an advert without a password; this instance has one")]
    PasswordMissing,
    /// There should be none.
    #[error("an advert with a password; this instance has none")]
    PasswordUnexpected,
    /// It is another one.
    #[error("the wrong password")]
    PasswordWrong,
    /// Version 2: not our interval.
    #[error(
        "an advert interval of {received:?}, ours is {ours:?}; in version 2 they must be the same"
    )]
    OtherInterval {
        /// As received.
        received: Duration,
        /// Ours.
        ours: Duration,
    },
    /// Not our addresses.
    #[error(
        "addresses of {source_address}, none or not all of them ours; compare `addresses` on both"
    )]
    OtherAddresses {
        /// Where it came from.
        source_address: IpAddr,
    },
}

reasons! {
    /// What refused adverts are counted by.
    Refused {
        /// [`packet::Error::TooShort`]
        TooShort = "too_short",
        /// [`packet::Error::TooLong`]
        TooLong = "too_long",
        /// [`packet::Error::UnknownVersion`]
        UnknownVersion = "unknown_version",
        /// [`packet::Error::Version2OverIpv6`]
        Version2OverIpv6 = "version_2_over_ipv6",
        /// [`packet::Error::UnknownType`]
        UnknownType = "unknown_type",
        /// [`packet::Error::Checksum`]
        Checksum = "bad_checksum",
        /// [`packet::Error::NoAddress`]
        NoAddress = "no_address",
        /// [`packet::Error::AuthenticationHeader`]
        AuthenticationHeader = "authentication_header",
        /// [`packet::Error::UnknownAuthentication`]
        UnknownAuthentication = "unknown_authentication",
        /// [`packet::Error::ZeroInterval`]
        ZeroInterval = "zero_interval",
        /// [`Rejection::HopLimit`]
        HopLimit = "hop_limit",
        /// [`Rejection::OtherRouter`]
        OtherRouter = "other_virtual_router",
        /// [`Rejection::OtherVersion`]
        OtherVersion = "other_version",
        /// [`Rejection::Own`]
        Own = "own_advert",
        /// [`Rejection::Casting`]
        Casting = "casting",
        /// [`Rejection::NoPeer`]
        NoPeer = "no_peer",
        /// [`Rejection::PasswordMissing`]
        PasswordMissing = "password_missing",
        /// [`Rejection::PasswordUnexpected`]
        PasswordUnexpected = "password_unexpected",
        /// [`Rejection::PasswordWrong`]
        PasswordWrong = "password_wrong",
        /// [`Rejection::OtherInterval`]
        OtherInterval = "other_interval",
        /// [`Rejection::OtherAddresses`]
        OtherAddresses = "other_addresses",
    }
}

impl Rejection {
    /// What it is counted by.
    pub fn reason(&self) -> Refused {
        match self {
            Self::Packet(error) => match error {
                packet::Error::TooShort { .. } => Refused::TooShort,
                packet::Error::TooLong { .. } => Refused::TooLong,
                packet::Error::UnknownVersion { .. } => Refused::UnknownVersion,
                packet::Error::Version2OverIpv6 => Refused::Version2OverIpv6,
                packet::Error::UnknownType { .. } => Refused::UnknownType,
                packet::Error::Checksum { .. } => Refused::Checksum,
                packet::Error::NoAddress => Refused::NoAddress,
                packet::Error::AuthenticationHeader => Refused::AuthenticationHeader,
                packet::Error::UnknownAuthentication { .. } => Refused::UnknownAuthentication,
                packet::Error::ZeroInterval => Refused::ZeroInterval,
            },
            Self::HopLimit { .. } => Refused::HopLimit,
            Self::OtherRouter { .. } => Refused::OtherRouter,
            Self::OtherVersion { .. } => Refused::OtherVersion,
            Self::Own { .. } => Refused::Own,
            Self::Casting { .. } => Refused::Casting,
            Self::NoPeer { .. } => Refused::NoPeer,
            Self::PasswordMissing => Refused::PasswordMissing,
            Self::PasswordUnexpected => Refused::PasswordUnexpected,
            Self::PasswordWrong => Refused::PasswordWrong,
            Self::OtherInterval { .. } => Refused::OtherInterval,
            Self::OtherAddresses { .. } => Refused::OtherAddresses,
        }
    }
}

impl Filter {
    /// Reads a datagram that arrived where the instance listens.
    pub fn accept(&self, datagram: &Datagram<'_>) -> Result<Accepted, Rejection> {
        let endpoints = &datagram.endpoints;
        self.hop_limit(datagram.hop_limit)?;
        let packet = Packet::new_checked(datagram.payload, endpoints.family())?;
        let virtual_router_id = packet.virtual_router_id();
        if virtual_router_id != self.virtual_router_id {
            return Err(Rejection::OtherRouter { virtual_router_id });
        }
        let received = packet.version();
        if received != self.version {
            return Err(Rejection::OtherVersion { received });
        }
        self.endpoints(endpoints)?;
        let parsed = Repr::parse(&packet, endpoints)?;
        let repr = &parsed.repr;
        self.password(repr.format)?;
        let difference = Difference {
            interval: self.interval(repr.advert_interval)?,
            addresses: self.addresses(repr, endpoints.source())?,
        };
        let advert = Advert {
            source: endpoints.source(),
            priority: repr.priority,
            interval: repr.advert_interval,
        };
        Ok(Accepted {
            advert,
            checksum: parsed.checksum,
            difference,
        })
    }

    fn hop_limit(&self, hop_limit: u8) -> Result<(), Rejection> {
        if self.hop_limits.contains(&hop_limit) {
            return Ok(());
        }
        Err(Rejection::HopLimit {
            hop_limit,
            least: *self.hop_limits.start(),
            greatest: *self.hop_limits.end(),
        })
    }

    fn endpoints(&self, endpoints: &Endpoints) -> Result<(), Rejection> {
        let (source_address, destination) = (endpoints.source(), endpoints.destination());
        if source_address == self.source {
            return Err(Rejection::Own { source_address });
        }
        match (&self.casting, endpoints.is_multicast()) {
            (Casting::Multicast, true) | (Casting::Unicast { from: None }, false) => Ok(()),
            (Casting::Unicast { from: Some(peers) }, false) if peers.contains(&source_address) => {
                Ok(())
            }
            (Casting::Unicast { from: Some(_) }, false) => {
                Err(Rejection::NoPeer { source_address })
            }
            (Casting::Multicast, false) | (Casting::Unicast { .. }, true) => {
                Err(Rejection::Casting { destination })
            }
        }
    }

    fn password(&self, format: Format) -> Result<(), Rejection> {
        match (format, self.password) {
            (Format::V3, _) | (Format::V2 { password: None }, None) => Ok(()),
            (Format::V2 { password: None }, Some(_)) => Err(Rejection::PasswordMissing),
            (Format::V2 { password: Some(_) }, None) => Err(Rejection::PasswordUnexpected),
            (
                Format::V2 {
                    password: Some(received),
                },
                Some(ours),
            ) => match received == ours {
                true => Ok(()),
                false => Err(Rejection::PasswordWrong),
            },
        }
    }

    /// Whether it differs. RFC 3768 §7.1: it must not.
    fn interval(&self, received: Duration) -> Result<bool, Rejection> {
        let ours = self.advert_interval;
        match (self.version, received == ours) {
            (_, true) => Ok(false),
            (Version::V2, false) => Err(Rejection::OtherInterval { received, ours }),
            (Version::V3, false) => Ok(true),
        }
    }

    /// Whether they differ. Their order does not count.
    fn addresses(&self, repr: &Repr, source_address: IpAddr) -> Result<bool, Rejection> {
        let theirs = &repr.addresses;
        let all = theirs
            .iter()
            .all(|address| self.addresses.contains(address))
            && self
                .addresses
                .iter()
                .all(|address| theirs.contains(address));
        if all && theirs.len() == self.addresses.len() {
            return Ok(false);
        }
        let accepted = match self.other_list {
            OtherList::AcceptOverlap => theirs
                .iter()
                .any(|address| self.addresses.contains(address)),
            OtherList::Refuse => self.version == Version::V2 && repr.priority == u8::MAX,
        };
        match accepted {
            true => Ok(true),
            false => Err(Rejection::OtherAddresses { source_address }),
        }
    }
}

#[cfg(test)]
mod tests;
