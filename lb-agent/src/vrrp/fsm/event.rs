//! What a virtual router is told, and what it counts.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use super::Parameters;
use crate::vrrp::counters::reasons;

/// An advert of another router, as far as the election goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advert {
    /// The other router's own address.
    pub source: IpAddr,
    /// Its priority; 0: it gives the addresses up.
    pub priority: u8,
    /// How often it says it sends. Not zero.
    pub interval: Duration,
}

/// Something that happened on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// The instance is to take part.
    Start,
    /// The same, and an earlier life of the agent left the addresses here when it was cut off: go on as master, having
    /// listened for another one first.
    Adopt,
    /// The instance is to give up its addresses and take part no more.
    Stop,
    /// Something it depends on is down: an interface, a script, a service, another member of its group. In words, such
    /// as "interface eth0"; the same words come with [`Up`](Self::Up).
    Down(String),
    /// It is up again.
    Up(String),
    /// The priority with all weights counted.
    Priority(NonZeroU8),
    /// A reload changed what the operator chose. Of the addresses, see [`AddressesChanged`](Self::AddressesChanged).
    Parameters(Parameters),
    /// The list of addresses to advertise or to set was changed.
    AddressesChanged,
    /// By hand: give the addresses up, and do not preempt whoever takes them. If nobody does, they come back.
    Release,
    /// By hand: take the addresses, also without preemption and without delay.
    Claim,
    /// All that move together are ready: take over. Does nothing to one that is not ready.
    Promote,
    /// One of those that move together has lost its addresses: give them up too.
    Yield {
        /// Its name.
        member: String,
    },
}

/// Any of the three.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Advert(Advert),
    Timer,
    Local(Local),
}

reasons! {
    /// What a virtual router counts.
    Count {
        /// Adverts sent, other than resignations.
        AdvertSent = "advert_sent",
        /// Adverts of priority 0 sent.
        ResignationSent = "resignation_sent",
        /// Adverts that a backup followed, or that made one of a master.
        AdvertFollowed = "advert_followed",
        /// Adverts of priority 0 heard.
        ResignationHeard = "resignation_heard",
        /// Adverts of a weaker router that a master answered at once.
        WeakerAnswered = "weaker_answered",
        /// Adverts of a weaker router of which no notice was taken.
        WeakerDiscarded = "weaker_discarded",
        /// Adverts of another owner that an owner discarded.
        OtherOwnerDiscarded = "other_owner_discarded",
        /// Adverts heard before the start or after the end.
        IgnoredInInit = "ignored_in_init",
        /// Adverts heard while something was down.
        IgnoredInFault = "ignored_in_fault",
        /// Times it became master.
        BecameMaster = "became_master",
        /// Times it found out that it had done nothing for too long.
        TimeLost = "time_lost",
    }
}
