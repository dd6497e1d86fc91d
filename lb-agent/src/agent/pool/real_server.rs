//! One real server of a service, and everything that decides about its share.

use super::{
    PoolError,
    change::{Change, Commands, History, UpDown},
    forwarding::Receiver,
    targets::Targets,
    word::{Stance, Word},
};
use crate::{
    balance::{Ramp, ramp, term::Term},
    config::{self, OnFailure},
    health::{Event, State, Target},
};
use lb_common::{BackendState, Tenure};
use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

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
    /// Its state is an earlier life's.
    is_inherited: bool,
    /// It was to be drained, and has been.
    is_drained: bool,
    /// What health says.
    pub state: BackendState,
    /// Why, in words.
    pub reason: String,
    /// Since when it is what it is, if anything has changed in this life of the agent.
    pub since: Option<Instant>,
    /// The last changes, the latest last.
    pub history: History,
    /// Its check; `None`: always up.
    pub target: Option<Target>,
    /// Its way back.
    ramp: Option<Ramp>,
    slow_start: Duration,
    on_failure: OnFailure,
    commands: UpDown,
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
            is_inherited: false,
            is_drained: false,
            state,
            reason: reason.to_owned(),
            since: None,
            history: History::default(),
            target,
            ramp: None,
            slow_start: service.slow_start,
            on_failure: real_server.on_failure,
            commands: commands.map_err(|source| PoolError::Notify {
                service: service.name.clone(),
                source,
            })?,
        })
    }

    /// Whether its state has been found out, in this life or an earlier one, and not presumed.
    pub fn is_known(&self) -> bool {
        self.since.is_some() || self.is_inherited
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
        match (self.word.stance, self.state) {
            (Stance::Disabled, _) => "disabled",
            (Stance::Draining { .. }, _) if self.is_drained => "drained",
            (Stance::Draining { .. }, _) => "draining",
            (Stance::Enabled, BackendState::Up) => "up",
            (Stance::Enabled, BackendState::Down) => "down",
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
            BackendState::Up if self.word.stance.serves() => self.weight(),
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
        if let Some(target) = &mut self.target {
            // Where its checks are suspended for a while, they go on from here.
            target.initial = event.state;
        }
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
        let served = self.word.stance.serves();
        self.changed(service, &reason, now, |own| {
            own.word = word;
            own.is_drained = false;
            if !served && word.stance.serves() {
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
        self.is_inherited = old.is_inherited;
        self.is_drained = old.is_drained;
        self.state = old.state;
        self.reason.clone_from(&old.reason);
        self.since = old.since;
        self.history = old.history.clone();
        self.ramp = old.ramp;
    }

    /// Takes in that it was drained, of which one that is not to be drained takes no notice.
    pub(super) fn on_drained(
        &mut self,
        service: &str,
        reason: &str,
        now: Instant,
    ) -> Option<Change> {
        let drains = self.word.stance.drains();
        self.changed(service, reason, now, |own| own.is_drained = drains)
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
        self.is_inherited = true;
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
        self.history.push(now, change.clone());
        Some(change)
    }

    /// As packets may go to it.
    pub(super) fn receiver(&self) -> Receiver {
        let (mut weight, mut tenure, mut until_s) = (self.weight(), Tenure::Keeps, None);
        if self.state == BackendState::Down {
            match self.on_failure {
                OnFailure::Remove => tenure = Tenure::Holds,
                OnFailure::Drain => weight = 0,
            }
        }
        match self.word.stance {
            Stance::Enabled => {}
            Stance::Draining { until_s: deadline } => (weight, until_s) = (0, deadline),
            Stance::Disabled => tenure = Tenure::Released,
        }
        Receiver {
            address: self.address,
            port: self.port,
            weight,
            state: self.state,
            term: Term { tenure, until_s },
        }
    }
}
