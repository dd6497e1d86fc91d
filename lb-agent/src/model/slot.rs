//! A slot: who owns a share of the flows, and who did before.

use lb_common::Deadline;

/// A slot of a service's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Who gets new flows.
    pub current: Option<u32>,
    /// Who has the flows without an entry.
    pub previous: Option<u32>,
    /// When the window ends, seconds of boot time; `None`: there is none.
    pub ends_s: Option<u64>,
    /// Some of its flows may be remembered.
    pub remembers: bool,
}

impl Slot {
    /// True while flows are told apart by their age.
    pub fn is_open(&self) -> bool {
        self.current != self.previous
    }

    /// True where the flow table has nothing to say.
    pub fn is_settled(&self) -> bool {
        !self.is_open() && !self.remembers
    }

    /// Gives the slot to `owner`, with a window of `window_s` seconds if that opens one.
    pub fn give(&mut self, owner: Option<u32>, now_s: u64, window_s: u64) {
        if self.current == owner {
            return;
        }
        let was_open = self.is_open();
        self.current = owner;
        match self.previous {
            // Nobody has had flows yet.
            None => self.previous = owner,
            Some(_) if self.previous == owner => {
                self.remembers = true;
                self.ends_s = None;
            }
            Some(_) if !was_open => {
                let unit = Deadline::UNIT_S;
                self.ends_s = Some((now_s + window_s).div_ceil(unit) * unit);
            }
            Some(_) => {}
        }
    }

    /// Ends the window if its time has come.
    pub fn tick(&mut self, now_s: u64) {
        if self.is_open() && self.ends_s.is_some_and(|end| end <= now_s) {
            self.close();
        }
    }

    /// Ends the window: flows without an entry belong to `current`.
    pub fn close(&mut self) {
        self.previous = self.current;
        self.remembers = true;
        self.ends_s = None;
    }
}

/// What another life of the agent would make of the slot's word in the map.
impl From<(lb_common::Slot, u64)> for Slot {
    fn from((word, now_s): (lb_common::Slot, u64)) -> Self {
        let id = |id| (id != 0).then_some(id);
        Self {
            current: id(word.current()),
            previous: id(word.previous()),
            ends_s: word
                .is_open()
                .then(|| now_s + word.deadline().remaining_s(now_s)),
            remembers: word.remembers(),
        }
    }
}

impl From<Slot> for lb_common::Slot {
    fn from(slot: Slot) -> Self {
        let [current, previous] =
            [slot.current, slot.previous].map(|id| u64::from(id.unwrap_or(0)));
        let remembers = if slot.remembers { Self::REMEMBERS } else { 0 };
        let end = slot
            .ends_s
            .map_or(0, |end| (end / Deadline::UNIT_S) & 0x7fff);
        Self(current | previous << 24 | remembers | end << 49)
    }
}
