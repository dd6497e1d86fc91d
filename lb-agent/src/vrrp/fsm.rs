//! The election: which router of one virtual router is master. RFC 9568 §6.4, RFC 3768 §6.4.
//!
//! ```text
//!                  start                     deadline
//!   ┌────────┐ ─────────────▶ ┌──────────┐ ──────────────▶ ┌──────────┐
//!   │  Init  │     stop       │  Backup  │                 │  Master  │
//!   └────────┘ ◀───────────── └──────────┘ ◀────────────── └──────────┘
//!     ▲  │ ▲                    │      ▲     a stronger      │  ▲   │
//!     │  │ └────────────────────│──────│──── advert ─────────│──│───┘ stop
//!     │  │ start, something     │      │                     │  │
//!     │  │ is down              ▼      │ all is up           │  │
//!     │  └──────────────▶ ┌─────────────────┐ ◀──────────────┘  │
//!     └────────────────── │      Fault      │ ──────────────────┘
//!           stop          └─────────────────┘   all is up, owner
//! ```
//!
//! A [`Machine`] owns no clock, socket or task. It is told of an advert, of its [deadline](Machine::next_deadline), and of
//! what happens on this host, each with the time, and says what to do as a list of [`Action`]s, to be carried out in
//! order. Promotion: advert, ownership, addresses, announcement. Demotion: addresses, ownership.
//!
//! # What the driver owes it
//!
//! * Time never goes back and does not stand still while the machine sleeps: `CLOCK_BOOTTIME`, not the wall clock.
//! * Adverts that wait are handed in before a deadline that has passed: silence is only what was not received.
//! * Only adverts that concern the instance are handed in.
//!
//! # Lost time
//!
//! A process or its host may stand still for longer than the others wait. A master that finds out (it has sent nothing
//! for as long as it would itself wait for an advert) keeps its addresses and listens for one interval and a half before
//! it says anything. If it hears another master meanwhile, it yields, also to a weaker one, and then is a backup like any
//! other, with its delay before it preempts. A backup whose deadline comes late by an interval or more listens too, once,
//! before it takes the silence for the master's.
//!
//! # Two masters
//!
//! When a split heals, one of two masters yields, and switches beside it must learn where the addresses are. The other one
//! announces them anew once it knows that there were two. It may not know: whoever yields may have been silent since the
//! split healed. So whoever yields says so: by one last advert if it is the weaker, else by a resignation, which does not
//! make the other one yield.

mod action;
mod backup;
mod event;
mod master;
mod parameters;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

pub use action::{Action, Burst, Cause, Notice, Ownership, Refusal, Transition};
pub use event::{Advert, Count, Local};
pub use parameters::{OWNER, Parameters, Preempt, Promotion};

use self::backup::Backup;
use self::event::Event;
use self::master::Master;
use super::counters::Counters;

/// Where a router stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not started, or stopped.
    Init,
    /// Ready to take over.
    Backup,
    /// It has the addresses.
    Master,
    /// Something it depends on is down: it cannot take over.
    Fault,
}

impl State {
    /// As in logs and status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Backup => "backup",
            Self::Master => "master",
            Self::Fault => "fault",
        }
    }
}

/// Another router that speaks as master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its own address.
    pub address: IpAddr,
    /// Its priority.
    pub priority: u8,
    /// When it was heard last.
    pub heard: Instant,
}

/// One virtual router's part in the election.
#[derive(Clone, Debug)]
pub struct Machine {
    parameters: Parameters,
    role: Role,
    /// The greatest time ever told.
    now: Instant,
    /// When the state changed last, and why.
    since: Instant,
    cause: Option<Cause>,
    /// What is down.
    faults: BTreeSet<String>,
    /// Released by hand: not to preempt.
    released: bool,
    /// Who was heard as master last.
    peer: Option<Peer>,
    /// The other owner that was reported last.
    other_owner: Option<IpAddr>,
    counters: Counters<Count>,
}

/// The state, and what it remembers.
#[derive(Clone, Copy, Debug)]
enum Role {
    Init,
    Backup(Backup),
    Master(Master),
    Fault,
}

impl Machine {
    /// One that has not been started.
    pub fn new(parameters: Parameters, now: Instant) -> Self {
        Self {
            parameters,
            role: Role::Init,
            now,
            since: now,
            cause: None,
            faults: BTreeSet::new(),
            released: false,
            peer: None,
            other_owner: None,
            counters: Counters::new(),
        }
    }

    /// An advert of another router was received and accepted.
    #[must_use = "actions are to be carried out"]
    pub fn on_packet(&mut self, advert: &Advert, now: Instant) -> Vec<Action> {
        self.on_event(Event::Advert(*advert), now)
    }

    /// The deadline has come. Too early a call does nothing.
    #[must_use = "actions are to be carried out"]
    pub fn on_timer(&mut self, now: Instant) -> Vec<Action> {
        self.on_event(Event::Timer, now)
    }

    /// Something happened on this host.
    #[must_use = "actions are to be carried out"]
    pub fn on_local(&mut self, event: Local, now: Instant) -> Vec<Action> {
        self.on_event(Event::Local(event), now)
    }

    /// When [`on_timer`](Self::on_timer) has something to do; in the past means at once.
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.role {
            Role::Init | Role::Fault => None,
            Role::Backup(backup) if backup.is_ready() => None,
            Role::Backup(backup) => Some(backup.deadline(&self.parameters).0),
            Role::Master(master) => Some(master.deadline()),
        }
    }

    /// Whether it would take over and waits for those it moves together with.
    pub fn is_ready(&self) -> bool {
        matches!(&self.role, Role::Backup(backup) if backup.is_ready())
    }

    /// Why a [`Claim`](Local::Claim) would be refused now.
    pub fn refusal(&self) -> Option<Refusal> {
        match &self.role {
            Role::Init => Some(Refusal::NotStarted),
            Role::Backup(_) => self.stronger_master(),
            Role::Master(_) => None,
            Role::Fault => Some(Refusal::Fault {
                sources: self.faults.iter().cloned().collect(),
            }),
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        match self.role {
            Role::Init => State::Init,
            Role::Backup(_) => State::Backup,
            Role::Master(_) => State::Master,
            Role::Fault => State::Fault,
        }
    }

    /// Since when it stands there, and what brought it there; `None`: it has always been there.
    pub fn since(&self) -> (Instant, Option<&Cause>) {
        (self.since, self.cause.as_ref())
    }

    /// The other router that was heard as master last and has not resigned.
    pub fn peer(&self) -> Option<Peer> {
        self.peer.filter(|peer| peer.priority > 0)
    }

    /// What is down.
    pub fn faults(&self) -> impl Iterator<Item = &str> {
        self.faults.iter().map(String::as_str)
    }

    /// What it goes by.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// What happened how often.
    pub fn counters(&self) -> &Counters<Count> {
        &self.counters
    }

    fn on_event(&mut self, event: Event, now: Instant) -> Vec<Action> {
        self.now = self.now.max(now);
        let mut actions = Vec::new();
        self.notice_lost_time(&mut actions);
        self.step(event, &mut actions);
        actions
    }

    /// Every pair of a state and an event.
    fn step(&mut self, event: Event, actions: &mut Vec<Action>) {
        use Local::{
            AddressesChanged, Adopt, Claim, Down, Parameters, Priority, Promote, Release, Start,
            Stop, Up, Yield,
        };
        match (self.role, event) {
            (Role::Init, Event::Advert(_)) => self.count(Count::IgnoredInInit),
            (Role::Fault, Event::Advert(advert)) => {
                self.count(Count::IgnoredInFault);
                self.heard(&advert);
            }
            (Role::Backup(backup), Event::Advert(advert)) => {
                self.backup_hears(backup, &advert);
            }
            (Role::Master(master), Event::Advert(advert)) => {
                self.master_hears(master, &advert, actions);
            }

            (Role::Init | Role::Fault, Event::Timer) => {}
            (Role::Backup(backup), Event::Timer) => self.backup_waited(backup, actions),
            (Role::Master(master), Event::Timer) => self.master_turn(master, actions),

            (Role::Init, Event::Local(Start)) => self.start(Cause::Started, actions),
            (Role::Init, Event::Local(Adopt)) => self.adopt(actions),
            (Role::Backup(_) | Role::Master(_) | Role::Fault, Event::Local(Start | Adopt)) => {}

            (Role::Init, Event::Local(Stop)) => {}
            (Role::Backup(_) | Role::Fault, Event::Local(Stop)) => {
                self.enter(Role::Init, Cause::Stopped, actions);
            }
            (Role::Master(master), Event::Local(Stop)) => {
                self.resign(&master, actions);
                self.enter(Role::Init, Cause::Stopped, actions);
            }

            (Role::Init | Role::Fault, Event::Local(Down(source))) => {
                self.faults.insert(source);
            }
            (Role::Backup(_), Event::Local(Down(source))) => {
                self.faults.insert(source.clone());
                self.enter(Role::Fault, Cause::Down { source }, actions);
            }
            (Role::Master(master), Event::Local(Down(source))) => {
                self.faults.insert(source.clone());
                self.resign(&master, actions);
                self.enter(Role::Fault, Cause::Down { source }, actions);
            }

            (Role::Init | Role::Backup(_) | Role::Master(_), Event::Local(Up(source))) => {
                self.faults.remove(&source);
            }
            (Role::Fault, Event::Local(Up(source))) => {
                if self.faults.remove(&source) && self.faults.is_empty() {
                    self.start(Cause::Recovered { source }, actions);
                }
            }

            (Role::Init | Role::Fault, Event::Local(Priority(priority))) => {
                self.parameters.priority = priority;
            }
            (Role::Backup(mut backup), Event::Local(Priority(priority))) => {
                self.parameters.priority = priority;
                backup.reconsider();
                self.role = Role::Backup(backup);
            }
            (Role::Master(master), Event::Local(Priority(priority))) => {
                let parameters = self::Parameters {
                    priority,
                    ..self.parameters.clone()
                };
                self.master_reloads(master, parameters, actions);
            }

            (Role::Init | Role::Fault, Event::Local(Parameters(parameters))) => {
                self.parameters = parameters;
            }
            (Role::Backup(mut backup), Event::Local(Parameters(parameters))) => {
                self.parameters = parameters;
                backup.reconsider();
                self.role = Role::Backup(backup);
            }
            (Role::Master(master), Event::Local(Parameters(parameters))) => {
                self.master_reloads(master, parameters, actions);
            }

            (Role::Init | Role::Backup(_) | Role::Fault, Event::Local(AddressesChanged)) => {}
            (Role::Master(master), Event::Local(AddressesChanged)) => {
                self.master_readdresses(master, actions);
            }

            (Role::Init, Event::Local(Release)) => {
                actions.push(Action::Report(Notice::Refused(Refusal::NotStarted)));
            }
            (Role::Init | Role::Backup(_) | Role::Fault, Event::Local(Claim)) => {
                match self.refusal() {
                    Some(refusal) => actions.push(Action::Report(Notice::Refused(refusal))),
                    None => self.promote(Cause::Claimed, actions),
                }
            }
            (Role::Fault, Event::Local(Release)) => self.released = true,
            (Role::Backup(mut backup), Event::Local(Release)) => {
                self.released = true;
                backup.reconsider();
                self.role = Role::Backup(backup);
            }
            (Role::Master(master), Event::Local(Release)) => {
                self.resign(&master, actions);
                self.enter(
                    Role::Backup(Backup::new(self.now)),
                    Cause::Released,
                    actions,
                );
                self.released = true;
            }
            (Role::Master(master), Event::Local(Claim)) => {
                if master.listening().is_some() {
                    self.reassert(master, actions);
                }
            }

            (Role::Backup(backup), Event::Local(Promote)) => {
                if backup.is_ready() {
                    self.take_over(backup, actions);
                }
            }
            (Role::Init | Role::Master(_) | Role::Fault, Event::Local(Promote)) => {}

            (Role::Master(_), Event::Local(Yield { member })) => {
                // Also where time was lost: whoever is master instead must know that we were, and announce the addresses.
                self.send(0, actions);
                let cause = Cause::Together { member };
                self.enter(Role::Backup(Backup::new(self.now)), cause, actions);
            }
            (Role::Init | Role::Backup(_) | Role::Fault, Event::Local(Yield { .. })) => {}
        }
    }

    /// RFC 9568 §6.4.1. An owner waits for nobody; everyone else is a backup first.
    fn start(&mut self, cause: Cause, actions: &mut Vec<Action>) {
        if let Some(source) = self.faults.first().cloned() {
            self.enter(Role::Fault, Cause::Down { source }, actions);
        } else if self.parameters.is_owner() && !self.released {
            let cause = match cause {
                Cause::Started => Cause::AddressOwner,
                other => other,
            };
            match self.parameters.promotion {
                Promotion::AtOnce => self.promote(cause, actions),
                Promotion::Together => {
                    self.enter(Role::Backup(Backup::owner(self.now)), cause, actions);
                }
            }
        } else {
            self.enter(Role::Backup(Backup::new(self.now)), cause, actions);
        }
    }

    /// Goes on where an earlier life of the agent was cut off.
    fn adopt(&mut self, actions: &mut Vec<Action>) {
        if !self.faults.is_empty() {
            return self.start(Cause::Started, actions);
        }
        actions.extend([Action::SetOwnership(Ownership::Ours), Action::AddAddresses]);
        self.count(Count::BecameMaster);
        let master = Master::adopting(&self.parameters, self.now);
        self.enter(Role::Master(master), Cause::Adopted, actions);
    }

    fn promote(&mut self, cause: Cause, actions: &mut Vec<Action>) {
        self.released = false;
        self.send(self.parameters.priority.get(), actions);
        actions.extend([
            Action::SetOwnership(Ownership::Ours),
            Action::AddAddresses,
            Action::Announce(Burst::First),
        ]);
        self.count(Count::BecameMaster);
        let master = Master::new(&self.parameters, self.now);
        self.enter(Role::Master(master), cause, actions);
    }

    /// Changes the state. A master's addresses are taken away first.
    fn enter(&mut self, role: Role, cause: Cause, actions: &mut Vec<Action>) {
        let old = self.state();
        self.role = role;
        let new = self.state();
        if old == State::Master && new != State::Master {
            actions.push(Action::RemoveAddresses);
            actions.push(Action::SetOwnership(Ownership::NotOurs));
        }
        if new == State::Init {
            (self.peer, self.other_owner, self.released) = (None, None, false);
        }
        self.since = self.now;
        self.cause = Some(cause.clone());
        let priority = self.parameters.priority.get();
        actions.push(Action::LogTransition(Transition { old, new, cause }));
        actions.push(Action::Notify {
            state: new,
            priority,
        });
    }

    fn send(&mut self, priority: u8, actions: &mut Vec<Action>) {
        self.count(match priority {
            0 => Count::ResignationSent,
            _ => Count::AdvertSent,
        });
        actions.push(Action::SendAdvert { priority });
    }

    /// Remembers who is master, for status and for the operator's claims.
    fn heard(&mut self, advert: &Advert) {
        let (address, priority, heard) = (advert.source, advert.priority, self.now);
        match priority {
            // Who resigned is still named as the cause of what follows, but beats nobody.
            0 if self.peer.is_some_and(|peer| peer.address == address) => {
                self.peer = Some(Peer {
                    address,
                    priority,
                    heard,
                });
            }
            0 => {}
            _ => {
                self.peer = Some(Peer {
                    address,
                    priority,
                    heard,
                });
            }
        }
    }

    /// RFC 9568 §6.1: an owner preempts whatever the operator chose. One that was released by hand does not.
    fn preempt(&self) -> Preempt {
        match (
            self.released,
            self.parameters.is_owner(),
            self.parameters.preempt,
        ) {
            (true, _, _) => Preempt::Never,
            (false, true, Preempt::Never) => Preempt::After(Duration::ZERO),
            (false, _, preempt) => preempt,
        }
    }

    fn patience(&self) -> Duration {
        let interval = match &self.role {
            Role::Backup(backup) => backup.interval(&self.parameters),
            Role::Init | Role::Master(_) | Role::Fault => self.parameters.advert_interval,
        };
        self.parameters.master_down(interval)
    }

    fn count(&mut self, what: Count) {
        self.counters.add(what);
    }
}

#[cfg(test)]
mod tests;
