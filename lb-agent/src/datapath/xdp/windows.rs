//! Windows: which tables have slots whose flows are told apart by age, and when those end.
//!
//! The slots themselves know all of it; here is only what saves looking at each of them every second. Everything is done
//! in place, by one store a slot, in the table that packets read: both words are right at that moment.

use super::{bank::Plan, maps::Maps};
use lb_common::{Deadline, Slot};
use std::collections::{HashMap, HashSet};

/// The tables that are live.
#[derive(Debug, Default)]
pub struct Windows {
    tables: HashMap<u16, Table>,
    /// Counts changes, so that what was learnt of a table can be told to be out of date.
    changes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Table {
    start: u32,
    len: u32,
    /// Slots with an open window.
    open: u32,
    /// Slots without, whose flows may be remembered.
    remembering: u32,
    /// When the first window ends.
    first_end: Option<Deadline>,
    changed: u64,
}

/// A table as it was at one moment.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The service's id.
    pub service: u16,
    /// First slot.
    pub start: u32,
    /// Slots.
    pub len: u32,
    changed: u64,
}

impl Windows {
    /// Looks at the tables of a commit that were not there before, and settles slots whose `previous` is no more: nobody
    /// has their entry-less flows.
    pub(super) fn follow(&mut self, maps: &Maps, plan: &Plan, now_s: u64) {
        let ids: HashSet<u32> = plan.backends.iter().map(|&(id, _)| id).collect();
        let mut tables = HashMap::new();
        for (&service, written) in &plan.tables {
            let known = self
                .tables
                .get(&service)
                .filter(|table| (table.start, table.len) == (written.start, written.len));
            let table = match known {
                Some(&table) if table.open == 0 => table,
                _ => {
                    self.changes += 1;
                    let gone = |slot: Slot| {
                        slot.is_open() && slot.previous() != 0 && !ids.contains(&slot.previous())
                    };
                    close(maps, written.start, written.len, gone);
                    Table::look(maps, written.start, written.len, self.changes, now_s)
                }
            };
            tables.insert(service, table);
        }
        self.tables = tables;
    }

    /// Ends the windows whose time has come; returns how many slots that were.
    pub fn end(&mut self, maps: &Maps, now_s: u64) -> usize {
        let mut ended = 0;
        for table in self.tables.values_mut() {
            if table.first_end.is_none_or(|end| !end.has_passed(now_s)) {
                continue;
            }
            self.changes += 1;
            ended += close(maps, table.start, table.len, |slot| {
                slot.is_open() && slot.deadline().has_passed(now_s)
            });
            *table = Table::look(maps, table.start, table.len, self.changes, now_s);
        }
        ended
    }

    /// Slots with an open window.
    pub fn open(&self) -> u32 {
        self.tables.values().map(|table| table.open).sum()
    }

    /// Slots without, whose flows may be remembered.
    pub fn remembering(&self) -> u32 {
        self.tables.values().map(|table| table.remembering).sum()
    }

    /// The tables as they are.
    pub fn views(&self) -> Vec<View> {
        self.tables
            .iter()
            .map(|(&service, table)| View {
                service,
                start: table.start,
                len: table.len,
                changed: table.changed,
            })
            .collect()
    }

    /// Settles the slots of `view` for which `is_remembered` says no, unless the table has changed since. A grace period
    /// must have passed between the two, so that no packet remembers a flow by what the slot said before.
    pub fn forget(
        &mut self,
        maps: &Maps,
        view: View,
        is_remembered: impl Fn(u32) -> bool,
        now_s: u64,
    ) {
        let Some(table) = self.tables.get_mut(&view.service) else {
            return;
        };
        if table.changed != view.changed || table.remembering == 0 {
            return;
        }
        for at in 0..table.len {
            let Some(slot) = maps.slots.read(table.start + at) else {
                break;
            };
            if !slot.is_open() && slot.remembers() && !is_remembered(at) {
                maps.slots
                    .store_word(table.start + at, 0, slot.forgotten().0);
            }
        }
        *table = Table::look(maps, table.start, table.len, table.changed, now_s);
    }
}

impl Table {
    fn look(maps: &Maps, start: u32, len: u32, changed: u64, now_s: u64) -> Self {
        let mut table = Self {
            start,
            len,
            open: 0,
            remembering: 0,
            first_end: None,
            changed,
        };
        for at in 0..len {
            let Some(slot) = maps.slots.read(start + at) else {
                break;
            };
            if slot.is_open() {
                table.open += 1;
                let end = slot.deadline();
                if table
                    .first_end
                    .is_none_or(|first| end.remaining_s(now_s) < first.remaining_s(now_s))
                {
                    table.first_end = Some(end);
                }
            } else if slot.remembers() {
                table.remembering += 1;
            }
        }
        table
    }
}

/// Ends the windows of the slots that are `due`.
fn close(maps: &Maps, start: u32, len: u32, due: impl Fn(Slot) -> bool) -> usize {
    let mut closed = 0;
    for at in start..start.saturating_add(len) {
        let Some(slot) = maps.slots.read(at) else {
            break;
        };
        if due(slot) {
            maps.slots.store_word(at, 0, slot.closed().0);
            closed += 1;
        }
    }
    closed
}
