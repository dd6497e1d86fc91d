//! Who takes a new flow, where that depends on what went before: turns, connections, limits.

use lb_common::{Method, scheduling::CANDIDATES};
use std::collections::BTreeSet;

/// A backend that takes new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: u32,
    /// Its weight, above 0.
    pub weight: u32,
    /// How many connections it may have; 0: any number.
    pub max_connections: u32,
    /// Below how many it takes new ones again once it was full; 0: below the limit.
    pub min_connections: u32,
}

/// A backend's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// As IPVS defines it.
    pub active: u32,
    /// The others.
    pub inactive: u32,
}

impl Count {
    /// Both.
    pub fn all(self) -> u32 {
        self.active + self.inactive
    }
}

/// What a scheduler that keeps state knows besides the flows.
#[derive(Clone, Debug, Default)]
pub struct Board {
    /// Those that take new flows, in the configuration's order.
    pub members: Vec<Member>,
    /// For `rr` and `wrr`: whose turn it is, one after the other.
    pub turns: Vec<u32>,
    /// The place in `turns` of the next.
    pub next: usize,
    /// Those that have had as many connections as they may, and not few enough since.
    pub full: BTreeSet<u32>,
}

impl Board {
    /// Whether the backend takes new flows.
    pub fn takes(&self, id: u32) -> bool {
        self.members.iter().any(|member| member.id == id)
    }

    /// Chooses for a new flow. `count` says what a backend has; `counts_all`: datagrams are what it is busy with.
    pub fn choose(
        &mut self,
        method: Method,
        counts_all: bool,
        count: impl Fn(u32) -> Count,
    ) -> Option<u32> {
        let busy = |id| match counts_all {
            true => count(id).all(),
            false => count(id).active,
        };
        if method == Method::InTurn {
            for _ in 0..self.turns.len().min(CANDIDATES as usize) {
                let at = self.next % self.turns.len();
                self.next = at + 1;
                if self.has_room(self.turns[at], count(self.turns[at])) {
                    return Some(self.turns[at]);
                }
            }
            return None;
        }
        let mut free = Vec::new();
        for member in self.members.clone() {
            if self.has_room(member.id, count(member.id)) {
                if method == Method::NeverQueue && busy(member.id) == 0 {
                    return Some(member.id);
                }
                free.push(member);
            }
        }
        // As a fraction; the first of equals.
        let cost = |member: &Member| {
            let Count { active, inactive } = count(member.id);
            let overhead = u64::from(active) * 256 + u64::from(inactive);
            let weight = u64::from(member.weight);
            match method {
                Method::Least => (overhead, 1),
                Method::LeastByWeight => (overhead, weight),
                _ => (u64::from(busy(member.id)) + 1, weight),
            }
        };
        let cheapest = free.iter().min_by(|a, b| {
            let ((a, its_weight), (b, others_weight)) = (cost(a), cost(b));
            (a * others_weight).cmp(&(b * its_weight))
        });
        cheapest.map(|member| member.id)
    }

    /// Whether a backend with `count` may have one more connection. Asked before it gets one and after.
    pub fn has_room(&mut self, id: u32, count: Count) -> bool {
        let Some(&member) = self.members.iter().find(|member| member.id == id) else {
            return true;
        };
        let limit = match (self.full.contains(&id), member.min_connections) {
            (true, min) if min > 0 => min.min(member.max_connections),
            _ => member.max_connections,
        };
        let is_full = member.max_connections > 0 && count.all() >= limit;
        match is_full {
            true => self.full.insert(id),
            false => self.full.remove(&id),
        };
        !is_full
    }
}
