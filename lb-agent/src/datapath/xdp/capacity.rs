//! How large the maps are: fixed when they are made, so chosen from the configuration with room to grow.

use lb_common::reason::REASONS;

/// Sizes of the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Entries of one bank of the service table, a power of two; also the number of service ids.
    pub services: u32,
    /// Entries of one bank of the backend table.
    pub backends: u32,
    /// Slots in all.
    pub slots: u32,
    /// Buckets of the flow table, a power of two.
    pub flow_buckets: u32,
}

/// What a desired state takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Entries of the service table: listen addresses, and each address once by itself.
    pub services: u32,
    /// Real servers of all services.
    pub backends: u32,
    /// Slots of all tables.
    pub slots: u32,
}

/// A desired state that the maps have no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data plane has no room: {needed} {what} are needed, {available} can be held")]
pub struct NoRoom {
    /// What runs out.
    pub what: &'static str,
    /// How many are needed.
    pub needed: u64,
    /// How many there can be.
    pub available: u64,
}

impl Capacity {
    /// The smallest maps: 8 tables of 65,537 slots take 4 MiB, a flow table for half a million flows 8 MiB.
    pub const SMALLEST: Self = Self {
        services: 256,
        backends: 1024,
        slots: 8 * 65_537,
        flow_buckets: 1 << 16,
    };

    /// Room for `demand`, and for a change of all of it at once.
    pub fn for_demand(demand: Demand) -> Self {
        let smallest = Self::SMALLEST;
        Self {
            services: (demand.services * 4)
                .next_power_of_two()
                .max(smallest.services),
            backends: (demand.backends * 3)
                .next_power_of_two()
                .max(smallest.backends),
            slots: demand.slots.saturating_mul(3).max(smallest.slots),
            flow_buckets: smallest.flow_buckets,
        }
    }

    /// Whether every change of a state of this `demand` into another fits: old and new may lie side by side.
    pub fn suffices(self, demand: Demand) -> bool {
        self.services >= demand.services * 2
            && self.backends > demand.backends * 2
            && self.slots >= demand.slots.saturating_mul(2)
    }

    /// Entries of the map that counts reasons.
    pub fn reason_counters(self) -> u32 {
        self.services * REASONS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_more_slots_than_can_be_counted_get_as_many_as_there_can_be() {
        let demand = |slots| Demand {
            services: 1,
            backends: 1,
            slots,
        };
        // 12,000 services with the largest table.
        let capacity = Capacity::for_demand(demand(12_000 * 131_071));
        assert_eq!(capacity.slots, u32::MAX);
        assert!(capacity.suffices(demand(12_000 * 131_071)));
        assert!(!Capacity::SMALLEST.suffices(demand(u32::MAX)));
    }
}
