//! How instances stand, for whoever asks.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::clock::Clock;
use super::plan::Instance;
use crate::vrrp::counters::Counters;
use crate::vrrp::fsm::{Machine, State};
use crate::vrrp::receive::Refused;

/// How one instance stands.
#[derive(Clone, Debug)]
pub struct InstanceReport {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// Since when, by the clock on the wall.
    pub since: SystemTime,
    /// Why, in words.
    pub reason: String,
    /// Its priority with all weights counted.
    pub priority: u8,
    /// Who is master, and with what priority; `None`: nobody was heard.
    pub master: Option<(IpAddr, u8)>,
    /// Until it does something by itself if nothing happens.
    pub next_deadline: Option<Duration>,
    /// What happened how often, zeros included.
    pub counters: Vec<(&'static str, u64)>,
}

impl InstanceReport {
    /// Of one instance, now.
    pub fn new(
        instance: &Instance,
        machine: &Machine,
        refused: &Counters<Refused>,
        clock: &Clock,
    ) -> Self {
        let (since, cause) = machine.since();
        let ago = clock.now().saturating_duration_since(since);
        let parameters = machine.parameters();
        let priority = parameters.priority.get();
        let faults: Vec<&str> = machine.faults().collect();
        let reason = match (machine.state(), cause) {
            (State::Fault, _) if !faults.is_empty() => format!("down: {}", faults.join(", ")),
            (_, Some(cause)) => cause.to_string(),
            (_, None) => "not started".to_owned(),
        };
        let master = match machine.state() {
            State::Master => Some((parameters.source, priority)),
            State::Init | State::Backup | State::Fault => {
                machine.peer().map(|peer| (peer.address, peer.priority))
            }
        };
        Self {
            name: instance.name.clone(),
            state: machine.state(),
            since: SystemTime::now()
                .checked_sub(ago)
                .unwrap_or(SystemTime::UNIX_EPOCH),
            reason,
            priority,
            master,
            next_deadline: machine
                .next_deadline()
                .map(|deadline| clock.until(deadline)),
            counters: machine.counters().iter().chain(refused.iter()).collect(),
        }
    }
}
