//! What each case should reach, and what is known of peers: figures that the report puts beside ours.

/// Which side of the value is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The smaller the better.
    AtMost,
    /// The larger the better.
    AtLeast,
}

/// A goal of one case, in the case's unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal {
    /// Which side of it is good.
    pub bound: Bound,
    /// The bound itself.
    pub value: f64,
}

impl Goal {
    /// The goal of the case, if there is one.
    pub fn of(case: &str) -> Option<Self> {
        GOALS
            .iter()
            .find(|(name, ..)| *name == case)
            .map(|&(_, bound, value)| Self { bound, value })
    }

    /// Whether `value` reaches it.
    pub fn is_met(self, value: f64) -> bool {
        match self.bound {
            Bound::AtMost => value <= self.value,
            Bound::AtLeast => value >= self.value,
        }
    }
}

use Bound::{AtLeast, AtMost};

const GOALS: &[(&str, Bound, f64)] = &[
    ("dr4_tcp_established", AtMost, 20.0),
    ("dr4_tcp_1m_flows", AtMost, 30.0),
    ("dr4_syn", AtMost, 20.0),
    ("dr4_in_window_1m_new", AtMost, 200.0),
    ("dr4_rr_new", AtMost, 200.0),
    ("dr4_wlc_new", AtMost, 200.0),
    ("dr6_tcp_established", AtMost, 26.0),
    ("nat4_forward", AtMost, 30.0),
    ("nat4_reply", AtMost, 30.0),
    ("tun4", AtMost, 45.0),
    ("redirect_extra", AtMost, 9.0),
    ("pass_non_vip4", AtMost, 6.0),
    ("pass_non_vip6", AtMost, 8.0),
    ("pass_arp", AtMost, 2.0),
    ("dr_vs_macswap", AtLeast, 0.95),
    ("dr_vs_nft", AtLeast, 5.0),
    ("tcp_check_cpu", AtMost, 100.0),
    ("http_check_cpu", AtMost, 100.0),
    ("kill9_gap", AtMost, 45.0),
    ("graceful_lost", AtMost, 0.0),
    ("tcp_resets_kill9", AtMost, 0.0),
];

/// A peer's figure for a case, measured in the same way on another day and machine.
pub struct Peer {
    /// The benchmark it stands beside.
    pub bench: &'static str,
    /// What it is.
    pub case: &'static str,
    /// In the unit of that benchmark.
    pub value: f64,
    /// Where it is from.
    pub source: &'static str,
}

const KATRAN: &str = "Katran built with clang 22, LRU map, IPIP; BPF_PROG_TEST_RUN, Linux 6.18";

/// Katran's prices by the method of `bench packet`; see `docs/performance.md` for what they hold for.
pub const PEERS: &[Peer] = &[
    Peer {
        bench: "packet",
        case: "Katran, TCP established",
        value: 113.0,
        source: KATRAN,
    },
    Peer {
        bench: "packet",
        case: "Katran, TCP, 1 M flows",
        value: 283.0,
        source: KATRAN,
    },
    Peer {
        bench: "packet",
        case: "Katran, TCP over IPv6",
        value: 106.0,
        source: KATRAN,
    },
    Peer {
        bench: "packet",
        case: "Katran, no VIP: pass",
        value: 44.0,
        source: KATRAN,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_on_its_good_side() {
        let least = Goal::of("dr_vs_nft").expect("a goal");
        assert!(least.is_met(5.0) && !least.is_met(4.9));
        let most = Goal::of("dr4_syn").expect("a goal");
        assert!(most.is_met(20.0) && !most.is_met(20.1));
        assert_eq!(Goal::of("nonsense"), None);
    }

    #[test]
    fn no_case_has_two_goals() {
        for (index, (case, ..)) in GOALS.iter().enumerate() {
            assert!(
                !GOALS[..index].iter().any(|(other, ..)| other == case),
                "{case}"
            );
        }
    }
}
