//! When to ask the kernel to resolve or keep a neighbour: a plain state machine without clock or
//! socket, driven by the engine.
//!
//! A kernel from 5.16 on keeps an entry by itself once it is marked as managed; one request is
//! enough, and this module then only watches. On an older kernel, or where the mark is refused or
//! taken away, the same request merely uses the entry (NTF_USE), which makes the kernel check it;
//! it is repeated at an interval below the kernel's garbage collection time. A neighbour that does
//! not answer is asked for again with growing gaps.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rtnetlink::packet_route::neighbour::NeighbourState;

use super::neighbours::{Neighbour, NeighbourKey};

/// First gap between two requests for a neighbour that does not answer. The kernel's own attempt
/// takes 3 s (3 probes, `retrans_time` 1 s apart).
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Largest gap between two requests for a neighbour that does not answer.
const LAST_RETRY: Duration = Duration::from_secs(8);

/// How entries are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// The kernel keeps them (NTF_EXT_MANAGED); where it does not know how, they are used at an
    /// interval.
    Managed,
    /// They are used at an interval.
    Probed,
}

/// What is known of a wanted neighbour beyond its entry's state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// It did not answer, and has not been heard of since.
    Silent,
    /// The kernel refused our request.
    Refused { reason: String },
}

/// The neighbours that are wanted, and when each is due.
#[derive(Debug)]
pub(super) struct Upkeep {
    keeping: Keeping,
    refresh: Duration,
    records: BTreeMap<NeighbourKey, Record>,
}

#[derive(Debug, Default)]
struct Record {
    /// Not to be asked for again before this.
    not_before: Option<Instant>,
    /// Requests since it was last usable.
    attempts: u32,
    trouble: Trouble,
    /// Whether the last look found something to do, so that `not_before` is a deadline.
    waiting: bool,
}

/// What an entry needs from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    /// It works, and will go on working only if it is used.
    Use,
    /// It does not work.
    Resolve,
}

impl Upkeep {
    pub fn new(keeping: Keeping, refresh: Duration) -> Self {
        Self {
            keeping,
            refresh,
            records: BTreeMap::new(),
        }
    }

    /// How entries are kept at present.
    pub fn keeping(&self) -> Keeping {
        self.keeping
    }

    /// The kernel does not take managed entries: from now on use them at an interval.
    pub fn fall_back(&mut self) {
        self.keeping = Keeping::Probed;
    }

    /// These neighbours, and no others, are wanted.
    pub fn want(&mut self, keys: impl IntoIterator<Item = NeighbourKey>) {
        let mut old = std::mem::take(&mut self.records);
        self.records = keys
            .into_iter()
            .map(|key| (key, old.remove(&key).unwrap_or_default()))
            .collect();
    }

    pub fn is_wanted(&self, key: &NeighbourKey) -> bool {
        self.records.contains_key(key)
    }

    pub fn trouble(&self, key: &NeighbourKey) -> &Trouble {
        self.records
            .get(key)
            .map_or(&Trouble::None, |record| &record.trouble)
    }

    /// The interface has come up: what failed on it before says nothing now, so ask at once.
    pub fn interface_up(&mut self, interface: u32) {
        for (_, record) in self
            .records
            .iter_mut()
            .filter(|(key, _)| key.interface == interface)
        {
            *record = Record::default();
        }
    }

    /// The kernel's verdict on a request. Returns a refusal that is not known yet.
    pub fn answered(&mut self, key: &NeighbourKey, refusal: Option<String>) -> Option<&str> {
        let record = self.records.get_mut(key)?;
        let known = &record.trouble;
        match refusal.map(|reason| Trouble::Refused { reason }) {
            None if matches!(known, Trouble::Refused { .. }) => record.trouble = Trouble::None,
            Some(refused) if *known != refused => {
                record.trouble = refused;
                if let Trouble::Refused { reason } = &record.trouble {
                    return Some(reason);
                }
            }
            None | Some(_) => {}
        }
        None
    }

    /// The neighbours to ask the kernel for now. `look` gives the entry's state; neighbours for
    /// which `can_ask` is false (interface down) wait without a deadline.
    pub fn due<'a>(
        &mut self,
        now: Instant,
        look: impl Fn(&NeighbourKey) -> Option<&'a Neighbour>,
        can_ask: impl Fn(&NeighbourKey) -> bool,
    ) -> Vec<NeighbourKey> {
        let (keeping, refresh) = (self.keeping, self.refresh);
        let mut due = Vec::new();
        for (key, record) in &mut self.records {
            let entry = look(key);
            record.observe(entry);
            let need = if can_ask(key) {
                need(entry, keeping)
            } else {
                Need::Nothing
            };
            record.waiting = need != Need::Nothing;
            if !record.waiting || record.not_before.is_some_and(|at| now < at) {
                continue;
            }
            let gap = match need {
                Need::Use | Need::Nothing => refresh,
                Need::Resolve => retry_gap(record.attempts),
            };
            record.not_before = Some(now + gap);
            record.attempts = record.attempts.saturating_add(1);
            due.push(*key);
        }
        due
    }

    /// When [`due`](Self::due) has to be asked again if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.records
            .values()
            .filter(|record| record.waiting)
            .filter_map(|record| record.not_before)
            .min()
    }
}

impl Record {
    fn observe(&mut self, entry: Option<&Neighbour>) {
        match entry {
            Some(entry) if entry.usable_mac().is_some() => {
                self.attempts = 0;
                if self.trouble == Trouble::Silent {
                    self.trouble = Trouble::None;
                }
            }
            Some(entry)
                if entry.state == NeighbourState::Failed && self.trouble == Trouble::None =>
            {
                self.trouble = Trouble::Silent
            }
            _ => {}
        }
    }
}

fn need(entry: Option<&Neighbour>, keeping: Keeping) -> Need {
    let Some(entry) = entry else {
        return Need::Resolve;
    };
    if entry.is_foreign() {
        return Need::Nothing;
    }
    let usable = entry.usable_mac().is_some();
    match (keeping, entry.managed) {
        (Keeping::Managed, true) if usable || entry.state == NeighbourState::Incomplete => {
            Need::Nothing
        }
        _ if usable => Need::Use,
        _ => Need::Resolve,
    }
}

/// 1 s, 2 s, 4 s, then 8 s.
fn retry_gap(attempts: u32) -> Duration {
    FIRST_RETRY
        .saturating_mul(1 << attempts.min(3))
        .min(LAST_RETRY)
}

#[cfg(test)]
mod tests;
