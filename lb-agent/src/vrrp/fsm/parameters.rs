//! What an operator chose for one virtual router, as far as the election goes.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use crate::vrrp::packet::Version;
use crate::vrrp::timers;

/// The priority of the router that owns the addresses. RFC 9568 §6.1.
pub const OWNER: NonZeroU8 = NonZeroU8::MAX;

/// What an operator chose for one virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// The protocol's version: it decides the skew, and whether intervals are learned.
    pub version: Version,
    /// Where our adverts come from. Decides between equal priorities.
    pub source: IpAddr,
    /// 1..=254 with all weights counted; [`OWNER`]: owns the addresses.
    pub priority: NonZeroU8,
    /// Between our adverts as master.
    pub advert_interval: Duration,
    /// Adverts a backup misses before it takes over.
    pub down_adverts: NonZeroU8,
    /// What a backup does about a master of lower priority.
    pub preempt: Preempt,
    /// Until the second burst of announcements; zero: none.
    pub announce_delay: Duration,
    /// Between refreshing announcements; zero: none.
    pub announce_refresh: Duration,
    /// Whether it takes over by itself.
    pub promotion: Promotion,
}

/// Whether a router takes over by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promotion {
    /// As soon as it may.
    AtOnce,
    /// It moves together with others: once it may, it is [ready](super::Machine::is_ready) and waits to be told.
    Together,
}

/// What a backup does about a master of lower priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preempt {
    /// Follow it.
    Never,
    /// Take over, so much later than it could.
    After(Duration),
}

impl Parameters {
    /// Whether this router owns the addresses.
    pub fn is_owner(&self) -> bool {
        self.priority == OWNER
    }

    /// How long a backup that hears adverts every `interval` waits for one.
    pub fn master_down(&self, interval: Duration) -> Duration {
        let (priority, down_adverts) = (self.priority.get(), self.down_adverts.get());
        timers::master_down(self.version, priority, interval, down_adverts)
    }

    /// How long a backup that hears adverts every `interval` waits once the master has resigned.
    pub fn skew(&self, interval: Duration) -> Duration {
        timers::skew(self.version, self.priority.get(), interval)
    }
}
