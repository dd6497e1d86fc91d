//! Looks for holes in the rules: random clients, servers and operators, thousands of small worlds, each from one seed.
//!
//! What must hold, at every packet: a connection to a server that keeps its flows is never moved while it is used at least
//! once per `idle_timeout` (UDP: per `udp_learn`), whatever happens to the other servers. Replay a failing seed by
//!
//! ```text
//! LB_SEED=<seed> cargo test -p lb-agent model::simulation
//! ```
//!
//! and search more of them with `LB_SEEDS=<number>`. The faults planted in [`Fault`] are the first design's, and those of holes found since; each must be found.

mod random;
mod world;

use super::{Board, Flows, Service, Slot, service::Backend};
use crate::balance::term::Standing;
use std::collections::BTreeMap;
use world::World;

/// Worlds of an ordinary run.
const SEEDS: u64 = 3_000;
/// Worlds in which a planted fault must show.
const SEEDS_FOR_A_FAULT: u64 = 3_000;
/// Steps of a world.
const STEPS: usize = 400;

/// A rule broken on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// `previous` is forgotten when its server dies.
    PreviousDroppedAtDeath,
    /// Entries are deleted when their server is down.
    EntryDeletedWhenDown,
    /// A SYN goes to `current`, whatever is remembered.
    SynToCurrent,
    /// A slot forgets who had it when nobody is left to serve.
    VacatedSlotForgets,
    /// The end of a window that was over before its time holds for the next one.
    EndOutlivesWindow,
    /// Windows end at a restart.
    RestartEndsWindows,
    /// A client goes to its server also where that takes no new connections.
    ClientFollowsAnyServer,
    /// One that was full takes new connections as soon as it has one less.
    FullIsForgotten,
    /// A restart forgets the flows.
    RestartForgetsFlows,
}

impl Fault {
    pub fn after_change(self, slot: &mut Slot, backends: &BTreeMap<u32, Backend>) {
        let is_dead = |id| {
            backends
                .get(&id)
                .is_some_and(|backend| backend.standing == Standing::Dead)
        };
        match self {
            Self::PreviousDroppedAtDeath if slot.previous.is_some_and(is_dead) => {
                slot.previous = slot.current;
                slot.remembers = true;
            }
            Self::VacatedSlotForgets if slot.current.is_none() => slot.previous = None,
            Self::EndOutlivesWindow if slot.is_open() && slot.remembers => {
                // What was left of it: any time up to the whole.
                slot.ends_s = slot.ends_s.map(|end| end - end % 16);
            }
            _ => {}
        }
    }

    pub fn after_commit(self, flows: &mut Flows, backends: &BTreeMap<u32, Backend>) {
        if self == Self::EntryDeletedWhenDown {
            flows.retain(|_, flow| {
                backends
                    .get(&flow.backend)
                    .is_some_and(|backend| backend.standing != Standing::Dead)
            });
        }
    }

    pub fn after_restart(self, service: &mut Service, now_s: u64) {
        match self {
            Self::RestartEndsWindows => service.end_windows(now_s),
            Self::RestartForgetsFlows => service.forget_flows(),
            _ => {}
        }
    }

    pub fn before_choice(self, board: &mut Board) {
        if self == Self::FullIsForgotten {
            board.full.clear();
        }
    }
}

/// Runs one world to its end; the error tells its story.
fn run(seed: u64, fault: Fault) -> Result<(), String> {
    let mut world = World::new(seed, fault);
    for _ in 0..STEPS {
        world.step()?;
    }
    world.end()
}

/// The one seed of `LB_SEED`, else as many as `LB_SEEDS` says, else `count`.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("LB_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LB_SEEDS").unwrap_or(count),
    }
}

#[test]
fn no_connection_to_a_living_server_is_moved() {
    for seed in seeds(SEEDS) {
        if let Err(story) = run(seed, Fault::None) {
            panic!("LB_SEED={seed}:\n{story}");
        }
    }
}

fn find(fault: Fault) {
    let found = (0..SEEDS_FOR_A_FAULT).find(|&seed| run(seed, fault).is_err());
    assert!(found.is_some(), "{fault:?} was planted and not found");
}

#[test]
fn a_previous_that_is_dropped_at_death_is_found() {
    find(Fault::PreviousDroppedAtDeath);
}

#[test]
fn an_entry_that_is_deleted_when_its_server_is_down_is_found() {
    find(Fault::EntryDeletedWhenDown);
}

#[test]
fn a_syn_that_always_goes_to_current_is_found() {
    find(Fault::SynToCurrent);
}

#[test]
fn a_slot_that_forgets_when_nobody_serves_is_found() {
    find(Fault::VacatedSlotForgets);
}

#[test]
fn a_window_that_inherits_the_end_of_another_is_found() {
    find(Fault::EndOutlivesWindow);
}

#[test]
fn windows_that_end_at_a_restart_are_found() {
    find(Fault::RestartEndsWindows);
}

#[test]
fn a_client_that_follows_a_server_which_takes_no_new_connections_is_found() {
    find(Fault::ClientFollowsAnyServer);
}

#[test]
fn a_server_that_forgets_that_it_was_full_is_found() {
    find(Fault::FullIsForgotten);
}

#[test]
fn flows_that_a_restart_forgets_are_found() {
    find(Fault::RestartForgetsFlows);
}
