//! What the writer does for flows: slots with their windows, the clock that flows are dated by, and the key of their tags.

use super::{
    super::{
        bank::{Occupied, Plan},
        maps::Maps,
        sweep::{Assignment, Swept},
        windows::{View, Windows},
    },
    Writer,
};
use crate::datapath::Desired;
use lb_common::{Control, Deadline, Load, Slot};
use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    mem::offset_of,
};

impl Writer {
    /// Writes the tables that are not there yet. A slot that has another owner than in the live table opens a window.
    pub(super) fn write_slots(
        &self,
        desired: &Desired,
        plan: &Plan,
        occupied: &Occupied,
        now_s: u64,
    ) {
        for (service, id) in desired.services.iter().zip(&plan.ids) {
            if !plan.unwritten.contains(id) {
                continue;
            }
            let table = &plan.tables[id];
            let window_s = service.flows.window_s;
            let was_stateful = occupied.scheduling(*id).is_stateful();
            let before = occupied
                .slots(*id)
                .filter(|&(_, len)| len == table.len && window_s > 0 && !was_stateful);
            let end = Deadline::after(now_s, window_s);
            // Flows that were remembered by another scheduler stay where they are.
            let remembers = match was_stateful && !service.flows.scheduling.is_stateful() {
                true => Slot::REMEMBERS,
                false => 0,
            };
            for (at, owner) in (0..).zip(table.owners()) {
                let before = before.and_then(|(start, _)| self.maps.slots.read(start + at));
                let slot = match before {
                    Some(slot) => slot.owned_by(owner, end),
                    None => Slot(Slot::settled(owner).0 | remembers),
                };
                self.maps.slots.write(table.start + at, slot);
            }
        }
    }

    /// Writes the backends' shares of a bank, and their limits.
    pub(super) fn write_loads(&self, bank: u32, plan: &Plan) {
        for (&(id, _), share) in plan.backends.iter().zip(&plan.shares) {
            let (shares_at, limits_at) = (offset_of!(Load, shares), offset_of!(Load, limits));
            let shares = self.maps.loads.load_word(id, shares_at);
            let wanted = Load::with_share(shares, bank, share.weight.into());
            if shares != wanted {
                self.maps.loads.store_word(id, shares_at, wanted);
            }
            if self.maps.loads.load_word(id, limits_at) != share.limits.0 {
                self.maps.loads.store_word(id, limits_at, share.limits.0);
            }
        }
    }

    /// Ends the windows whose time has come; returns how many slots that were.
    pub fn end_windows(&mut self, now_s: u64) -> usize {
        self.windows.end(&self.maps, now_s)
    }

    /// The windows that are open, and slots whose flows are remembered.
    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    /// Whether a service remembers every flow.
    pub fn remembers_all(&self) -> bool {
        let mut rules = self.flow_rules.values();
        rules.any(|rules| rules.scheduling.is_stateful())
    }

    /// What a sweep of the flow table needs to know.
    pub fn assignments(&self) -> Vec<Assignment> {
        let views = self.windows.views().into_iter();
        let assign = |view: View| {
            let rules = *self.flow_rules.get(&view.service)?;
            Some(Assignment { view, rules })
        };
        views.filter_map(assign).collect()
    }

    /// Settles the slots in which a sweep found no flow. A grace period must have passed between [`Self::assignments`]
    /// and the sweep.
    pub fn forget(&mut self, assignments: &[Assignment], swept: &Swept, now_s: u64) {
        for assignment in assignments {
            let found = swept.services.get(&assignment.view.service);
            let is_remembered = |place| found.is_some_and(|found| found.is_remembered(place));
            self.windows
                .forget(&self.maps, assignment.view, is_remembered, now_s);
        }
    }

    /// Counts one more second of an agent's life: what flows are dated by. Called once a second; where it comes late, no
    /// flow has grown old meanwhile.
    pub fn tick(&self) {
        let offset = offset_of!(Control, clock);
        let clock = self.maps.control.load_word(0, offset);
        self.maps
            .control
            .store_word(0, offset, clock.wrapping_add(1));
    }
}

/// Draws the secret that flows' tags depend on, where the maps are new.
pub(super) fn draw_flow_key(maps: &Maps) {
    let offset = offset_of!(Control, flow_key);
    if maps.control.load_word(0, offset) == 0 {
        // Seeded by the kernel; a table of flows is no safe: SipHash of nothing is secret enough.
        let key = RandomState::new().build_hasher().finish();
        maps.control.store_word(0, offset, key | 1);
    }
}
