//! Whether enough of a service lives.
//!
//! ```text
//!   up ── live weight below quorum - hysteresis ──▶ down
//!   up ◀── live weight at least quorum + hysteresis ── down
//! ```
//!
//! As in keepalived, but that all real servers together are enough to be up again: `quorum + hysteresis` above the
//! weight of all of them would otherwise keep a service down for ever. Before anything was known the quorum alone
//! decides.

/// The quorum of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    quorum: u32,
    hysteresis: u32,
    /// The weight of all real servers, as configured.
    whole: u32,
    /// `None`: not judged yet.
    is_met: Option<bool>,
}

impl Quorum {
    /// For a service whose real servers have the weight `whole` in all.
    pub fn new(quorum: u32, hysteresis: u32, whole: u32) -> Self {
        Self {
            quorum,
            hysteresis,
            whole,
            is_met: None,
        }
    }

    /// Whether enough lived when it was judged last.
    pub fn is_met(&self) -> bool {
        self.is_met.unwrap_or(false)
    }

    /// Judges the weight that lives now. Says what it finds where that is another than before; the first judgement is
    /// no change.
    pub fn judge(&mut self, live: u32) -> Option<bool> {
        let enough = match self.is_met {
            None => self.quorum,
            Some(true) => self.quorum.saturating_sub(self.hysteresis),
            Some(false) => {
                let far = self.quorum.saturating_add(self.hysteresis);
                far.min(self.whole.max(self.quorum))
            }
        };
        let now = live >= enough;
        let before = self.is_met.replace(now);
        before.filter(|&before| before != now).map(|_| now)
    }

    /// Forgets what was judged: the next judgement is the first.
    pub fn forget(&mut self) {
        self.is_met = None;
    }

    /// The weight that it takes, in words.
    pub fn in_words(&self, live: u32) -> String {
        let Self { quorum, whole, .. } = self;
        format!("weight {live} of {whole} lives, the quorum is {quorum}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is judged of each weight in turn.
    fn judged(mut quorum: Quorum, weights: &[u32]) -> Vec<Option<bool>> {
        weights.iter().map(|&live| quorum.judge(live)).collect()
    }

    #[test]
    fn the_quorum_alone_decides_without_hysteresis() {
        let quorum = Quorum::new(2, 0, 4);
        let found = judged(quorum, &[4, 2, 1, 0, 1, 2]);
        assert_eq!(found, [None, None, Some(false), None, None, Some(true)]);
    }

    #[test]
    fn with_hysteresis_the_weight_must_go_further_in_both_directions() {
        let quorum = Quorum::new(3, 1, 6);
        let found = judged(quorum, &[6, 3, 2, 1, 2, 3, 4]);
        assert_eq!(
            found,
            [None, None, None, Some(false), None, None, Some(true)]
        );
    }

    #[test]
    fn the_first_judgement_is_by_the_quorum_and_no_change() {
        let mut quorum = Quorum::new(3, 2, 6);
        assert!(!quorum.is_met());
        assert_eq!(quorum.judge(3), None);
        assert!(quorum.is_met());
        let mut quorum = Quorum::new(3, 2, 6);
        assert_eq!(quorum.judge(2), None);
        assert!(!quorum.is_met());
    }

    #[test]
    fn all_real_servers_together_are_enough_unless_the_quorum_itself_is_more() {
        let found = judged(Quorum::new(3, 2, 4), &[0, 3, 4]);
        assert_eq!(found, [None, None, Some(true)]);
        let found = judged(Quorum::new(5, 0, 4), &[0, 4]);
        assert_eq!(found, [None, None]);
    }
}
