//! How long a real server keeps the flows it has, once it no longer takes new ones.
//!
//! A drained or removed one keeps them for `drain_timeout`. A dead one has its TCP connections held for `dead_hold`, in
//! case it comes straight back; then they are released: another server's reset lets the client start again at once.

use lb_common::Tenure;

/// How a real server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes new flows.
    Serving,
    /// Alive, but it takes none: weight 0.
    Drained,
    /// The operator has taken it out, at once.
    Disabled,
    /// Found dead.
    Dead,
    /// No longer in the configuration.
    Removed,
}

/// How long, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `drain_timeout`.
    pub drain_s: u64,
    /// `dead_hold`.
    pub dead_hold_s: u64,
}

/// What becomes of a real server's flows, and until when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Term {
    /// What becomes of them.
    pub tenure: Tenure,
    /// When that ends, seconds of boot time; `None`: it does not.
    pub until_s: Option<u64>,
}

impl Term {
    /// The term of a real server that was not known before. One that is dead has no connections to hold.
    pub fn first(standing: Standing, now_s: u64, limits: Limits) -> Self {
        match standing {
            Standing::Serving | Standing::Drained => {
                Self::default().changed(Standing::Serving, standing, now_s, limits)
            }
            Standing::Disabled | Standing::Dead | Standing::Removed => Self {
                tenure: Tenure::Released,
                until_s: None,
            },
        }
    }

    /// The term after a change of standing from `was` to `is`.
    pub fn changed(self, was: Standing, is: Standing, now_s: u64, limits: Limits) -> Self {
        use Standing::{Dead, Disabled, Drained, Removed, Serving};
        match (was, is) {
            (Serving, Serving)
            | (Dead, Dead)
            // A drain goes on; nobody checks a removed server, so that one which was dead stays so.
            | (Drained | Removed, Drained | Removed)
            | (Dead, Removed)
            // Its flows were released already: they are not to be held now.
            | (Disabled, Dead | Removed) => self,
            (_, Serving) => Self::default(),
            (_, Disabled) => Self {
                tenure: Tenure::Released,
                until_s: None,
            },
            (Serving | Dead | Disabled, Drained) | (Serving, Removed) => Self {
                tenure: Tenure::Keeps,
                until_s: Some(now_s.saturating_add(limits.drain_s)),
            },
            (Drained | Removed, Dead) if self.tenure == Tenure::Released => self,
            (Serving | Drained | Removed, Dead) => Self {
                tenure: Tenure::Holds,
                until_s: Some(now_s.saturating_add(limits.dead_hold_s)),
            },
        }
    }

    /// The term at `now_s`.
    pub fn at(self, now_s: u64) -> Self {
        match self.until_s {
            Some(until_s) if until_s <= now_s => Self {
                tenure: Tenure::Released,
                until_s: None,
            },
            Some(_) | None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Standing::*, *};

    const LIMITS: Limits = Limits {
        drain_s: 900,
        dead_hold_s: 5,
    };

    fn story(changes: &[(u64, Standing)]) -> Term {
        let mut standing = Serving;
        let mut term = Term::default();
        for &(now_s, is) in changes {
            term = term.at(now_s).changed(standing, is, now_s, LIMITS);
            standing = is;
        }
        term
    }

    #[test]
    fn a_drained_server_keeps_its_flows_for_the_drain_timeout() {
        let term = story(&[(100, Drained)]);
        assert_eq!(term.at(999).tenure, Tenure::Keeps);
        assert_eq!(term.at(1_000).tenure, Tenure::Released);
    }

    #[test]
    fn a_dead_server_has_its_connections_held_then_released() {
        let term = story(&[(100, Dead)]);
        assert_eq!(term.at(104).tenure, Tenure::Holds);
        assert_eq!(term.at(105).tenure, Tenure::Released);
    }

    #[test]
    fn a_server_that_comes_back_keeps_its_flows_again_without_end() {
        for away in [Dead, Drained, Removed] {
            assert_eq!(story(&[(100, away), (5_000, Serving)]), Term::default());
        }
    }

    #[test]
    fn a_disabled_server_keeps_no_flow_at_once_and_dead_or_not() {
        let released = Term {
            tenure: Tenure::Released,
            until_s: None,
        };
        assert_eq!(story(&[(100, Disabled)]), released);
        assert_eq!(story(&[(100, Disabled), (101, Dead)]), released);
        assert_eq!(story(&[(100, Dead), (101, Disabled)]), released);
        assert_eq!(story(&[(100, Disabled), (200, Serving)]), Term::default());
    }

    #[test]
    fn removing_what_was_drained_does_not_begin_anew() {
        let term = story(&[(100, Drained), (500, Removed)]);
        assert_eq!(term.at(1_000).tenure, Tenure::Released);
    }

    #[test]
    fn a_dead_server_that_is_removed_stays_dead() {
        let term = story(&[(100, Dead), (102, Removed)]);
        assert_eq!(term.tenure, Tenure::Holds);
        assert_eq!(term.at(105).tenure, Tenure::Released);
    }

    #[test]
    fn a_drained_server_that_dies_is_held_unless_its_flows_were_released() {
        assert_eq!(story(&[(100, Drained), (200, Dead)]).tenure, Tenure::Holds);
        assert_eq!(
            story(&[(100, Drained), (2_000, Dead)]).tenure,
            Tenure::Released
        );
    }
}
