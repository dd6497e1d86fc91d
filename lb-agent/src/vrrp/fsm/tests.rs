//! Every state met by every event, and what it takes to win, keep and lose an election.

mod backup;
mod local;
mod lost_time;
mod master;
mod table;
mod together;

use std::num::NonZeroU8;

use super::*;
use crate::vrrp::packet::Version;

const S: Duration = Duration::from_secs(1);

/// Adds up events to a machine's life, on a clock of its own.
struct Life {
    machine: Machine,
    now: Instant,
    start: Instant,
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn priority(value: u8) -> NonZeroU8 {
    NonZeroU8::new(value).expect("above zero")
}

/// Version 3, 192.0.2.5, 1 s, no second burst.
fn parameters(own: u8) -> Parameters {
    Parameters {
        version: Version::V3,
        source: address("192.0.2.5"),
        priority: priority(own),
        advert_interval: S,
        down_adverts: priority(3),
        preempt: Preempt::After(Duration::ZERO),
        announce_delay: Duration::ZERO,
        announce_refresh: Duration::ZERO,
        promotion: Promotion::AtOnce,
    }
}

/// The same, of one that moves together with others.
fn together(own: u8) -> Parameters {
    Parameters {
        promotion: Promotion::Together,
        ..parameters(own)
    }
}

/// From the router with the last octet `host`.
fn advert(host: u8, priority: u8) -> Advert {
    Advert {
        source: IpAddr::from([192, 0, 2, host]),
        priority,
        interval: S,
    }
}

impl Life {
    fn new(parameters: Parameters) -> Self {
        let now = Instant::now();
        Self {
            machine: Machine::new(parameters, now),
            now,
            start: now,
        }
    }

    fn started(parameters: Parameters) -> Self {
        let mut life = Self::new(parameters);
        life.local(Local::Start);
        life
    }

    /// A backup that has just heard 192.0.2.9 at priority 200.
    fn backup(parameters: Parameters) -> Self {
        let mut life = Self::started(parameters);
        life.hears(advert(9, 200));
        assert_eq!(life.machine.state(), State::Backup);
        life
    }

    /// A master that has just been promoted.
    fn master(parameters: Parameters) -> Self {
        let mut life = Self::started(parameters);
        if life.machine.state() == State::Backup {
            life.fires();
        }
        assert_eq!(life.machine.state(), State::Master);
        life
    }

    fn fault(parameters: Parameters) -> Self {
        let mut life = Self::started(parameters);
        life.local(Local::Down("interface eth0".into()));
        life
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn hears(&mut self, advert: Advert) -> String {
        words(&self.machine.on_packet(&advert, self.now))
    }

    fn local(&mut self, event: Local) -> String {
        words(&self.machine.on_local(event, self.now))
    }

    fn timer(&mut self) -> String {
        words(&self.machine.on_timer(self.now))
    }

    /// Waits for the deadline.
    fn fires(&mut self) -> String {
        self.now += self.left();
        self.timer()
    }

    /// Until the deadline.
    fn left(&self) -> Duration {
        let deadline = self.machine.next_deadline().expect("a deadline");
        deadline.duration_since(self.now)
    }

    fn left_ms(&self) -> u128 {
        self.left().as_millis()
    }

    fn cause(&self) -> String {
        let cause = self.machine.since().1;
        cause.map(ToString::to_string).unwrap_or_default()
    }

    fn count(&self, what: Count) -> u64 {
        self.machine.counters().get(what)
    }
}

/// What a promotion does, in order. V56
const PROMOTED: &str = "advert 100, ours, add, announce First, backup -> master, notify master";
/// What an unannounced demotion does, in order.
const DEMOTED: &str = "remove, not ours, master -> backup, notify backup";
/// What yielding to another master does, in order: it is told that there were two.
const YIELDED: &str = "advert 100, remove, not ours, master -> backup, notify backup";

/// Actions in short.
fn words(actions: &[Action]) -> String {
    let short = |action: &Action| match action {
        Action::SendAdvert { priority } => format!("advert {priority}"),
        Action::SetOwnership(Ownership::Ours) => "ours".into(),
        Action::SetOwnership(Ownership::NotOurs) => "not ours".into(),
        Action::AddAddresses => "add".into(),
        Action::RemoveAddresses => "remove".into(),
        Action::Announce(burst) => format!("announce {burst:?}"),
        Action::Notify { state, .. } => format!("notify {}", state.name()),
        Action::LogTransition(Transition { old, new, .. }) => {
            format!("{} -> {}", old.name(), new.name())
        }
        Action::Report(Notice::LostTime { .. }) => "lost time".into(),
        Action::Report(Notice::TwoOwners { .. }) => "two owners".into(),
        Action::Report(Notice::Refused(_)) => "refused".into(),
    };
    actions.iter().map(short).collect::<Vec<_>>().join(", ")
}
