//! Watching the agent's status while the requests go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lb_tests::lab::StatusReader;

/// How exactly the moment of a change is known; asking is a process each time.
const PERIOD: Duration = Duration::from_millis(100);

/// What the status said last, and when the generation changed.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The generation of the tables.
    pub generation: Option<u64>,
    /// The data path's mode.
    pub datapath: Option<String>,
    /// Each generation that is not the first, and when it was first seen.
    pub changes: Vec<(Instant, u64)>,
    /// When all its VRRP instances were first seen to be master.
    pub master_since: Option<Instant>,
    /// Why the status could not be read last time.
    pub error: Option<String>,
}

impl Seen {
    /// The first change of the tables at or after `moment`.
    pub fn change_after(&self, moment: Instant) -> Option<(Instant, u64)> {
        self.changes
            .iter()
            .copied()
            .find(|(seen, _)| *seen >= moment)
    }
}

/// A thread that asks again and again, until this value is dropped.
pub struct Watch {
    shared: Arc<(Mutex<Seen>, AtomicBool)>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts asking.
    pub fn start(reader: StatusReader) -> Self {
        let shared: Arc<(Mutex<Seen>, AtomicBool)> = Arc::default();
        let of_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            while !of_thread.1.load(Ordering::Relaxed) {
                let status = reader.read();
                let mut seen = of_thread.0.lock().unwrap_or_else(PoisonError::into_inner);
                match status {
                    Ok(status) => note(&mut seen, &status),
                    Err(error) => seen.error = Some(format!("{error:#}")),
                }
                drop(seen);
                thread::sleep(PERIOD);
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// What has been seen until now.
    pub fn seen(&self) -> Seen {
        self.shared
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn note(seen: &mut Seen, status: &serde_json::Value) {
    let generation = status["generation"].as_u64();
    if let (Some(before), Some(now)) = (seen.generation, generation)
        && before != now
    {
        seen.changes.push((Instant::now(), now));
    }
    seen.generation = generation;
    seen.datapath = status["datapath"].as_str().map(str::to_owned);
    let is_master = |instance: &serde_json::Value| instance["state"] == "master";
    if let Some(instances) = status["vrrp"].as_array() {
        match !instances.is_empty() && instances.iter().all(is_master) {
            true => drop(seen.master_since.get_or_insert_with(Instant::now)),
            false => seen.master_since = None,
        }
    }
    seen.error = None;
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.1.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // A panic has been printed by its thread.
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_is_noted_once_and_the_first_generation_is_none() {
        let mut seen = Seen::default();
        let start = Instant::now();
        for generation in [4, 4, 5, 5, 7] {
            note(
                &mut seen,
                &json!({ "generation": generation, "datapath": "xdp_native" }),
            );
        }
        let generations: Vec<_> = seen
            .changes
            .iter()
            .map(|(_, generation)| *generation)
            .collect();
        assert_eq!(generations, [5, 7]);
        assert_eq!(seen.change_after(start).unwrap().1, 5);
        assert_eq!(seen.change_after(Instant::now()), None);
        assert_eq!(seen.datapath.as_deref(), Some("xdp_native"));
        assert_eq!(seen.master_since, None);
    }

    #[test]
    fn a_master_is_one_by_all_its_instances() {
        let mut seen = Seen::default();
        for (states, is_master) in [
            (["backup", "backup"], false),
            (["master", "backup"], false),
            (["master", "master"], true),
            (["master", "fault"], false),
        ] {
            let vrrp: Vec<_> = states
                .iter()
                .map(|state| json!({ "state": state }))
                .collect();
            note(&mut seen, &json!({ "vrrp": vrrp }));
            assert_eq!(seen.master_since.is_some(), is_master, "{states:?}");
        }
    }
}
