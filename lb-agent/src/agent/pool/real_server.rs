//! One real server of a service, and everything that decides about its share.

use super::{
    PoolError,
    change::{Change, Commands, UpDown},
    forwarding::Receiver,
    targets::Targets,
};
use crate::{
    balance::{Ramp, ramp},
    config,
    health::{Event, State, Target},
};
use lb_common::{BackendState, Tenure};
use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

/// Changes that are remembered.
const HISTORY: usize = 8;

/// A real server of a service.
#[derive(Debug)]
pub struct PoolRealServer {
    /// Its address.
    pub address: IpAddr,
    /// Its port; `None`: the port the client asked for.
    pub port: Option<u16>,
    /// Configured weight.
    pub configured_weight: u16,
    /// The weight that its check found, which goes before the configured one.
    pub found_weight: Option<u16>,
    /// What the operator has said, which goes before all.
    pub word: Word,
    /// What health says.
    pub state: BackendState,
    /// Why, in words.
    pub reason: String,
    /// Since when it is what it is, if anything has changed in this life of the agent.
    pub since: Option<Instant>,
    /// The last changes, the latest last.
    pub history: VecDeque<(Instant, Change)>,
    /// Its check; `None`: always up.
    pub target: Option<Target>,
    /// Its way back.
    ramp: Option<Ramp>,
    slow_start: Duration,
    commands: UpDown,
}

/// What the operator has said about a real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// It gets nothing.
    pub is_disabled: bool,
    /// Its weight, in place of any other.
    pub weight: Option<u16>,
}

impl Word {
    /// In words, such as "disabled, weight 5".
    pub fn in_words(self) -> String {
        let Self {
            is_disabled,
            weight,
        } = self;
        let able = if is_disabled { "disabled" } else { "enabled" };
        match weight {
            Some(weight) => format!("{able}, weight {weight}"),
            None => format!("{able}, weight as configured"),
        }
    }
}

impl PoolRealServer {
    pub(super) fn new(
        service: &config::Service,
        real_server: &config::RealServer,
        targets: &mut Targets,
        commands: &Commands<'_>,
    ) -> Result<Self, PoolError> {
        let target = targets.target(service, real_server)?;
        let commands = commands.of_real_server(&service.notify, &real_server.notify);
        let (mut state, mut reason) = (BackendState::Up, "no check is configured");
        if target.is_some() {
            reason = "not checked yet";
            if service.start_down {
                (state, reason) = (BackendState::Down, "waiting for its first good check");
            }
        }
        Ok(Self {
            address: real_server.address,
            port: real_server.port,
            configured_weight: real_server.weight,
            found_weight: None,
            word: Word::default(),
            state,
            reason: reason.to_owned(),
            since: None,
            history: VecDeque::new(),
            target,
            ramp: None,
            slow_start: service.slow_start,
            commands: commands.map_err(|source| PoolError::Notify {
                service: service.name.clone(),
                source,
            })?,
        })
    }

    /// Address, with its port if it has one of its own.
    pub fn display_address(&self) -> String {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).to_string(),
            None => self.address.to_string(),
        }
    }

    /// What it is called: the operator's word goes before health's.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            _ if self.word.is_disabled => "disabled",
            BackendState::Up => "up",
            BackendState::Down => "down",
        }
    }

    /// The weight that counts.
    pub fn weight(&self) -> u16 {
        let found = self.found_weight.unwrap_or(self.configured_weight);
        self.word.weight.unwrap_or(found)
    }

    /// What it adds to the weight that lives.
    pub fn live_weight(&self) -> u16 {
        match self.state {
            BackendState::Up if !self.word.is_disabled => self.weight(),
            BackendState::Up | BackendState::Down => 0,
        }
    }

    /// Steps of its slow start that were taken; `None`: it has its whole weight.
    pub fn ramp_step(&self, now: Instant) -> Option<u32> {
        self.ramp.filter(|_| self.live_weight() > 0)?.step(now)
    }

    /// When its share changes next by itself.
    pub fn next_step(&self, now: Instant) -> Option<Instant> {
        self.ramp.filter(|_| self.live_weight() > 0)?.next_step(now)
    }

    /// Its weight for the table, of a service whose weights are all multiplied by `scale`.
    pub(super) fn share(&self, scale: u16, now: Instant) -> u16 {
        let whole = self.live_weight().saturating_mul(scale);
        match self.ramp_step(now) {
            Some(step) => ramp::ramped(whole, step),
            None => whole,
        }
    }

    /// Takes in a result of its check.
    pub(super) fn on_health(
        &mut self,
        service: &str,
        event: &Event,
        now: Instant,
    ) -> Option<Change> {
        let state = match event.state {
            State::Up => BackendState::Up,
            State::Down => BackendState::Down,
            State::Unknown => return None,
        };
        let was_down = self.state == BackendState::Down;
        self.changed(service, &event.reason, now, |own| {
            own.state = state;
            own.found_weight = event.weight;
            own.reason.clone_from(&event.reason);
            if was_down && state == BackendState::Up {
                own.ramp = Ramp::new(now, own.slow_start);
            }
        })
    }

    /// Takes in what the operator says.
    pub(super) fn on_word(&mut self, service: &str, word: Word, now: Instant) -> Option<Change> {
        let reason = format!("the operator says: {}", word.in_words());
        let was_disabled = self.word.is_disabled;
        self.changed(service, &reason, now, |own| {
            own.word = word;
            if was_disabled && !word.is_disabled {
                own.ramp = Ramp::new(now, own.slow_start);
            }
        })
    }

    /// What was known of it under another configuration.
    pub(super) fn take_over(&mut self, old: &Self) {
        if self.target.is_some() != old.target.is_some() {
            return;
        }
        self.found_weight = old.found_weight;
        self.state = old.state;
        self.reason.clone_from(&old.reason);
        self.since = old.since;
        self.history.clone_from(&old.history);
        self.ramp = old.ramp;
    }

    /// What an earlier life knew, before anything is checked.
    pub(super) fn inherit(&mut self, state: BackendState) {
        let initial = match state {
            BackendState::Up => State::Up,
            BackendState::Down => State::Down,
        };
        let Some(target) = &mut self.target else {
            return;
        };
        target.initial = initial;
        self.state = state;
        self.reason = format!(
            "{} before the agent was restarted, not checked since",
            self.state_name()
        );
    }

    /// Carries out `change`, and says what came of it.
    fn changed(
        &mut self,
        service: &str,
        reason: &str,
        now: Instant,
        change: impl FnOnce(&mut Self),
    ) -> Option<Change> {
        let (old, old_weight, was_up) = (
            self.state_name(),
            self.weight(),
            self.state == BackendState::Up,
        );
        change(self);
        let (new, is_up) = (self.state_name(), self.state == BackendState::Up);
        if (old, old_weight) == (new, self.weight()) {
            return None;
        }
        self.since = Some(now);
        let change = Change {
            service: service.to_owned(),
            real_server: Some(self.display_address()),
            old,
            new,
            weight: Some(self.weight()),
            reason: reason.to_owned(),
            // They are told of life and death, not of the operator's own doings.
            commands: if was_up == is_up {
                Vec::new()
            } else {
                self.commands.when(is_up)
            },
        };
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back((now, change.clone()));
        Some(change)
    }

    /// As packets may go to it.
    pub(super) fn receiver(&self) -> Receiver {
        Receiver {
            address: self.address,
            port: self.port,
            weight: self.weight(),
            state: self.state,
            tenure: match self.word.is_disabled {
                true => Tenure::Released,
                false => Tenure::Keeps,
            },
        }
    }
}
