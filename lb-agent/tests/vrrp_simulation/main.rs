//! Elections by the hundred thousand: the real machines of 2 to 5 hosts under a scheduler that follows from a seed.
//!
//! A seed stands for hosts and their configuration, for what befalls them (loss, delay, duplication, reordering, cuts of
//! one or both ways, hosts that stand still or crash, agents that are killed and find their addresses, restarts, faults,
//! weights, the operator's hand; clocks of different rates), for a calm in which all must settle, and for a drill in which
//! the master goes. Clocks cannot be stepped here as they cannot there: the machine is told the time since boot.
//!
//! `cargo xtask sim --seeds N` runs more schedules than the test does, `cargo xtask sim --seed S` one of them, and shows
//! what happened in it.

mod disturb;
mod fault;
mod plan;
mod promise;
mod random;
mod schedule;
mod world;

use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use fault::Fault;
use schedule::{Failure, Trace};

/// Schedules of the test.
const SEEDS: u64 = 100_000;
/// Lines of a failure's history that are shown.
const SHOWN: usize = 60;

#[test]
fn elections_keep_every_promise() {
    let first = number("LB_SIM_SEED").unwrap_or(0);
    let seeds = number("LB_SIM_SEEDS").unwrap_or(SEEDS);
    if seeds == 1 {
        return replay(first);
    }
    let next = AtomicU64::new(first);
    let end = first.saturating_add(seeds);
    let (adverts, promotions) = (AtomicU64::new(0), AtomicU64::new(0));
    let failures: Mutex<Vec<Failure>> = Mutex::new(Vec::new());
    let over = AtomicBool::new(false);
    let work = || {
        while !over.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                break;
            }
            match schedule::run(seed, Fault::None) {
                Ok(counts) => {
                    adverts.fetch_add(counts.adverts, Ordering::Relaxed);
                    promotions.fetch_add(counts.promotions, Ordering::Relaxed);
                }
                Err(failure) => {
                    over.store(true, Ordering::Relaxed);
                    failures.lock().expect("no thread panics").push(failure);
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().expect("no thread panics");
    if let Some(failure) = failures.iter().min_by_key(|failure| failure.seed) {
        panic!("{}", told(failure));
    }
    let (adverts, promotions) = (adverts.into_inner(), promotions.into_inner());
    println!("{seeds} schedules, {promotions} promotions, {adverts} adverts: every promise kept");
}

/// What is wrong with a machine is found within so many schedules, or the simulation is worth nothing.
fn finds(fault: Fault, words: &str) {
    const WITHIN: u64 = 5_000;
    let found = (0..WITHIN).find_map(|seed| schedule::run(seed, fault).err());
    let failure = found.unwrap_or_else(|| panic!("{fault:?} is not found in {WITHIN} schedules"));
    let what = &failure.broken.what;
    assert!(
        what.contains(words),
        "{fault:?} shows itself otherwise: {what}"
    );
}

#[test]
fn a_healed_split_that_is_not_announced_is_found() {
    finds(Fault::NoAnnouncementAfterSplit, "clients beside host");
}

#[test]
fn patience_renewed_by_a_weaker_master_is_found() {
    finds(Fault::WeakerRenewsPatience, "does not preempt");
}

#[test]
fn a_resignation_taken_as_a_call_to_take_over_at_once_is_found() {
    finds(Fault::ResignationTakenAtOnce, "but these were promoted");
}

#[test]
fn a_master_that_never_yields_is_found() {
    finds(Fault::NeverYields, "masters for three intervals");
}

#[test]
fn an_interval_that_is_not_learned_is_found() {
    finds(Fault::IntervalNotLearned, "was promoted");
}

#[test]
fn a_group_that_does_not_move_together_is_found() {
    finds(Fault::GroupForgotten, "half master");
}

fn replay(seed: u64) {
    let (outcome, trace) = schedule::attempt(seed, Fault::None, Trace::On);
    println!("{:#?}", plan::Plan::new(seed));
    println!("{}", trace.join("\n"));
    match outcome {
        Ok(counts) => println!("seed {seed}: every promise kept; {counts:?}"),
        Err(broken) => panic!(
            "seed {seed} at {:.6} s: {}",
            broken.at as f64 / 1e9,
            broken.what
        ),
    }
}

fn told(failure: &Failure) -> String {
    let Failure {
        seed,
        broken,
        trace,
    } = failure;
    let shown = trace
        .get(trace.len().saturating_sub(SHOWN)..)
        .unwrap_or_default()
        .join("\n");
    let (at, what) = (broken.at as f64 / 1e9, &broken.what);
    format!("{shown}\nseed {seed} at {at:.6} s: {what}\nreplay: cargo xtask sim --seed {seed}")
}

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable} must be a number, not {value:?}")),
    )
}
