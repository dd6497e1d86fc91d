//! What a backend has to do: its connections, as both sides count them, and how many it may have.

use crate::flow::FlowState;
use bytemuck::{Pod, Zeroable};

/// Of one backend, by its id. Counted by whoever makes, changes or ends an entry of the flow table, so that it is right
/// after evictions too; it lies in a map of its own, so that it outlives the agent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Load {
    /// [`Connections`]. Changed by additions.
    pub connections: u64,
    /// Its weight among those that take new flows, of bank 0 in the low half, of bank 1 in the high one; 0: it takes none.
    /// Written by the agent.
    pub shares: u64,
    /// [`Limits`]. Written by the agent.
    pub limits: u64,
    /// 1 from when it has as many connections as it may until it has few enough again. Written by the program.
    pub full: u64,
}

const _: () = assert!(size_of::<Load>() == 32);

/// Active connections in the high half, inactive ones in the low one, as IPVS counts them: TCP is active from its SYN to
/// the client's FIN or RST (`tcp_state_active_table`, net/netfilter/ipvs/ip_vs_proto_tcp.c), UDP never.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections(pub u64);

impl Connections {
    /// What one active connection adds.
    pub const ACTIVE: u64 = 1 << 32;
    /// What one inactive connection adds.
    pub const INACTIVE: u64 = 1;

    /// Active connections. Where a sum of two CPUs is half done, never less than none.
    #[inline(always)]
    pub const fn active(self) -> u32 {
        // A low half below zero has borrowed from the high one.
        let borrowed = (self.0 as u32 >> 31) as u64;
        let active = (self.0 >> 32).wrapping_add(borrowed) as u32;
        if active >> 31 == 1 { 0 } else { active }
    }

    /// Inactive connections.
    #[inline(always)]
    pub const fn inactive(self) -> u32 {
        let inactive = self.0 as u32;
        if inactive >> 31 == 1 { 0 } else { inactive }
    }

    /// Both.
    #[inline(always)]
    pub const fn all(self) -> u32 {
        self.active().wrapping_add(self.inactive())
    }

    /// What IPVS compares: an inactive connection is a 256th of an active one (`ip_vs_dest_conn_overhead`).
    #[inline(always)]
    pub const fn overhead(self) -> u64 {
        ((self.active() as u64) << 8) + self.inactive() as u64
    }

    /// What a flow of this state adds; `None`: there is none.
    #[inline(always)]
    pub const fn of(state: Option<FlowState>) -> u64 {
        match state {
            Some(state) if state.is_client() => 0,
            Some(state) if state.is_active() => Self::ACTIVE,
            Some(_) => Self::INACTIVE,
            None => 0,
        }
    }

    /// What is to be added where a flow goes from one state into another.
    #[inline(always)]
    pub const fn change(from: Option<FlowState>, to: Option<FlowState>) -> u64 {
        Self::of(to).wrapping_sub(Self::of(from))
    }
}

/// How many connections a backend may have: `max_connections` in the low half (0: any number), in the high half below how
/// many it takes new ones again once it was full.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits(pub u64);

impl Limits {
    /// From the configuration, where a `min_connections` of 0 means the limit itself.
    pub const fn new(max_connections: u32, min_connections: u32) -> Self {
        let again = if min_connections == 0 || min_connections > max_connections {
            max_connections
        } else {
            min_connections
        };
        Self(max_connections as u64 | (again as u64) << 32)
    }

    /// True where there is none.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 as u32 == 0
    }

    /// Whether one who was full or not, and has `connections`, is full now.
    #[inline(always)]
    pub const fn is_full(self, was_full: bool, connections: u32) -> bool {
        let limit = if was_full {
            (self.0 >> 32) as u32
        } else {
            self.0 as u32
        };
        !self.is_none() && connections >= limit
    }
}

impl Load {
    /// The weight of a bank.
    #[inline(always)]
    pub const fn share(shares: u64, bank: u32) -> u32 {
        (shares >> ((bank & 1) * 32)) as u32
    }

    /// `shares` with the weight of one bank replaced.
    pub const fn with_share(shares: u64, bank: u32, weight: u32) -> u64 {
        let shift = (bank & 1) * 32;
        shares & !((u32::MAX as u64) << shift) | (weight as u64) << shift
    }
}

#[cfg(feature = "user")]
#[expect(
    unsafe_code,
    reason = "aya's marker trait, beside bytemuck's checked one"
)]
// SAFETY: `Pod` by bytemuck: no padding, every bit pattern valid.
unsafe impl aya::Pod for Load {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_are_what_was_added_in_any_order(active in 0..1_u32 << 20, inactive in 0..1_u32 << 20) {
            let up = Connections::ACTIVE * u64::from(active) + Connections::INACTIVE * u64::from(inactive);
            let counted = Connections(up);
            prop_assert_eq!((counted.active(), counted.inactive()), (active, inactive));
            // As many become inactive as there are active ones.
            let moved = Connections::change(Some(FlowState::Established), Some(FlowState::Closing));
            let counted = Connections(up.wrapping_add(moved.wrapping_mul(u64::from(active))));
            prop_assert_eq!((counted.active(), counted.inactive()), (0, active + inactive));
        }

        #[test]
        fn a_count_that_is_half_done_is_never_a_huge_one(early in 1..1_u32 << 20, active in 0..1_u32 << 20) {
            let counted = Connections((u64::from(active) << 32).wrapping_sub(u64::from(early)));
            prop_assert_eq!((counted.active(), counted.inactive()), (active, 0));
        }

        #[test]
        fn one_who_is_full_takes_no_more_until_few_enough_are_left(max in 1..100_u32, min in 0..100_u32, connections in 0..200_u32) {
            let limits = Limits::new(max, min);
            let again = if min == 0 || min > max { max } else { min };
            prop_assert_eq!(limits.is_full(false, connections), connections >= max);
            prop_assert_eq!(limits.is_full(true, connections), connections >= again);
            prop_assert!(!Limits::new(0, min).is_full(true, connections));
        }

        #[test]
        fn banks_have_weights_of_their_own(first in any::<u32>(), second in any::<u32>()) {
            let shares = Load::with_share(Load::with_share(7, 0, first), 1, second);
            prop_assert_eq!((Load::share(shares, 0), Load::share(shares, 1)), (first, second));
        }
    }

    #[test]
    fn tcp_is_active_until_its_client_ends_it_and_udp_never() {
        for state in [
            FlowState::Opening,
            FlowState::Glimpsed,
            FlowState::Established,
        ] {
            assert_eq!(Connections::of(Some(state)), Connections::ACTIVE);
        }
        for state in [
            FlowState::Closing,
            FlowState::Reset,
            FlowState::Datagram,
            FlowState::Stream,
        ] {
            assert_eq!(Connections::of(Some(state)), Connections::INACTIVE);
        }
        for state in [FlowState::Visitor, FlowState::Regular] {
            assert_eq!(Connections::of(Some(state)), 0);
        }
    }
}
