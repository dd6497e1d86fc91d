//! What a virtual router wants done, told and logged.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::State;

/// Something for the shell to do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send one advert with the instance's addresses and interval; to each peer where there are peers.
    SendAdvert {
        /// The priority in it; 0: the addresses are given up.
        priority: u8,
    },
    /// Tell the data plane whose the addresses are.
    SetOwnership(Ownership),
    /// Make the host have the instance's addresses and routes as they are configured now, and no former ones.
    AddAddresses,
    /// Take all of them away.
    RemoveAddresses,
    /// Announce every address by gratuitous ARP or unsolicited neighbour advertisement.
    Announce(Burst),
    /// Run the notifications of a new state.
    Notify {
        /// The state; `Init`: stopped.
        state: State,
        /// The priority at that moment.
        priority: u8,
    },
    /// Log a change of state: one line.
    LogTransition(Transition),
    /// Log something the operator should know of.
    Report(Notice),
}

/// Whose the addresses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ownership {
    /// This router's.
    Ours,
    /// Another's, or nobody's.
    NotOurs,
}

/// Why addresses are announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Burst {
    /// They are new here, or somebody else claimed them: the configured number of repeats.
    First,
    /// The same once more, in case the first was lost.
    Second,
    /// In turn, where the operator asked for it: once each.
    Refresh,
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state before.
    pub old: State,
    /// The state now.
    pub new: State,
    /// Why.
    pub cause: Cause,
}

/// Why the state changed. `Display` says it in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The agent started the instance.
    Started,
    /// The instance owns the addresses and need not wait for anyone.
    AddressOwner,
    /// The addresses were still here when the agent started.
    Adopted,
    /// No advert came for as long as a backup waits.
    Silence {
        /// Who was master, if anyone was heard.
        master: Option<IpAddr>,
        /// The time without an advert that counted.
        waited: Duration,
    },
    /// The master gave the addresses up.
    Resigned {
        /// Who did, if it was heard before.
        master: Option<IpAddr>,
    },
    /// The master's priority is lower than ours.
    Preempted {
        /// The master.
        master: IpAddr,
        /// Its priority.
        priority: u8,
        /// Ours.
        own: u8,
    },
    /// Another router's priority is higher than ours.
    Higher {
        /// The other.
        master: IpAddr,
        /// Its priority.
        priority: u8,
        /// Ours.
        own: u8,
    },
    /// Another router has our priority and the higher address.
    HigherAddress {
        /// The other.
        master: IpAddr,
        /// Its priority and ours.
        priority: u8,
    },
    /// This router said nothing for longer than backups wait, and one of them took over.
    Overslept {
        /// Who took over.
        master: IpAddr,
        /// How long nothing was said; `None`: an earlier life of the agent spoke last.
        slept: Option<Duration>,
    },
    /// Something the instance depends on is down.
    Down {
        /// What.
        source: String,
    },
    /// All that the instance depends on is up again.
    Recovered {
        /// What came up last.
        source: String,
    },
    /// The operator released the addresses.
    Released,
    /// The operator claimed the addresses.
    Claimed,
    /// It moves together with another instance, which lost its addresses.
    Together {
        /// The other.
        member: String,
    },
    /// The agent stopped the instance.
    Stopped,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => write!(f, "started"),
            Self::AddressOwner => write!(f, "started as owner of the addresses (priority 255)"),
            Self::Silence {
                master: Some(master),
                waited,
            } => write!(f, "no advert from {master} for {waited:.3?}"),
            Self::Silence {
                master: None,
                waited,
            } => write!(f, "no advert from anyone for {waited:.3?}"),
            Self::Resigned {
                master: Some(master),
            } => write!(f, "{master} gave the addresses up (priority 0)"),
            Self::Resigned { master: None } => {
                write!(f, "the master gave the addresses up (priority 0)")
            }
            Self::Preempted {
                master,
                priority,
                own,
            } => write!(f, "{master} has priority {priority}, below ours of {own}"),
            Self::Higher {
                master,
                priority,
                own,
            } => write!(f, "{master} has priority {priority}, above ours of {own}"),
            Self::HigherAddress { master, priority } => {
                write!(
                    f,
                    "{master} has our priority of {priority} and the higher address"
                )
            }
            Self::Overslept {
                master,
                slept: Some(slept),
            } => write!(
                f,
                "{master} took over while nothing was sent for {slept:.3?}"
            ),
            Self::Overslept {
                master,
                slept: None,
            } => write!(f, "{master} took over while the agent was gone"),
            Self::Adopted => write!(
                f,
                "an earlier life of the agent was master and left the addresses here"
            ),
            Self::Down { source } => write!(f, "{source} is down"),
            Self::Recovered { source } => write!(f, "{source} is up again"),
            Self::Released => write!(f, "released by the operator"),
            Self::Claimed => write!(f, "claimed by the operator"),
            Self::Together { member } => {
                write!(f, "{member}, of the same sync group, is no longer master")
            }
            Self::Stopped => write!(f, "stopped"),
        }
    }
}

/// Something that is no change of state, but that the operator should know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Time went by in which this router did nothing: it was stopped, starved, or its machine stood still.
    LostTime {
        /// How long.
        lost: Duration,
        /// How long it now listens before it acts as master.
        listens: Duration,
    },
    /// Two routers say that they own the addresses: an error of configuration.
    TwoOwners {
        /// The other one.
        other: IpAddr,
    },
    /// What the operator asked for was not done.
    Refused(Refusal),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LostTime { lost, listens } => write!(
                f,
                "lost {lost:.3?}, longer than others wait; listening for {listens:.3?} before acting as master"
            ),
            Self::TwoOwners { other } => write!(
                f,
                "{other} also has priority 255, that of the owner of the addresses; give one of the two another"
            ),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

/// Why the operator's wish was not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The instance was not started.
    NotStarted,
    /// Something it depends on is down.
    Fault {
        /// What.
        sources: Vec<String>,
    },
    /// The master would take the addresses back at once.
    MasterIsStronger {
        /// The master.
        master: IpAddr,
        /// Its priority.
        priority: u8,
        /// Ours.
        own: u8,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted => write!(f, "the instance is not running"),
            Self::Fault { sources } => {
                write!(f, "the instance is in fault: {} down", sources.join(", "))
            }
            Self::MasterIsStronger {
                master,
                priority,
                own,
            } => write!(
                f,
                "{master} has priority {priority}, ours is {own}: it would take the addresses back; release them there"
            ),
        }
    }
}
