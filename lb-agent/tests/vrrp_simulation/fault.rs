//! Faults planted into the machine from outside, to see that the simulation finds them.

use lb_agent::vrrp::fsm::{Action, Advert, Burst, State};
use lb_agent::vrrp::node::Step;
use lb_agent::vrrp::packet::Version;

/// What is wrong with the routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// A master that hears a weaker one does not announce the addresses anew.
    NoAnnouncementAfterSplit,
    /// A backup lets an advert of lower priority renew its patience.
    WeakerRenewsPatience,
    /// A backup takes over at once from a master that resigns.
    ResignationTakenAtOnce,
    /// A master does not yield to a stronger one.
    NeverYields,
    /// A backup does not learn the master's interval.
    IntervalNotLearned,
    /// Members of a sync group do not move together.
    GroupForgotten,
}

impl Fault {
    /// What a router is told instead of what was received.
    pub fn distort(
        self,
        advert: &mut Advert,
        version: Version,
        own: (State, u8, std::time::Duration),
    ) -> Heard {
        let (state, priority, interval) = own;
        match self {
            Self::WeakerRenewsPatience if state == State::Backup && advert.priority > 0 => {
                advert.priority = advert.priority.max(priority);
            }
            Self::NeverYields if state == State::Master && advert.priority >= priority => {
                return Heard::Nothing;
            }
            Self::IntervalNotLearned if version == Version::V3 => advert.interval = interval,
            Self::ResignationTakenAtOnce if state == State::Backup && advert.priority == 0 => {
                return Heard::AndClaims;
            }
            _ => {}
        }
        Heard::It
    }

    /// What is left of what a router wants done when it has heard an advert.
    pub fn curtail(self, steps: &mut Vec<Step>, was: State) {
        if self == Self::NoAnnouncementAfterSplit && was == State::Master {
            steps.retain(|step| step.action != Action::Announce(Burst::First));
        }
    }
}

/// What a router makes of an advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    It,
    Nothing,
    /// It hears it and claims the addresses.
    AndClaims,
}
