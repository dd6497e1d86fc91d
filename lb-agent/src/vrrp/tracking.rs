//! What an instance depends on, and what that does to it: a fault, or another priority.
//!
//! Arithmetic alone: who looks at interfaces, runs scripts and counts real servers is elsewhere.
//!
//! Something tracked with weight 0 is a condition of taking part: while it is down, the instance is in fault. With a
//! positive weight it adds to the priority while it is up, with a negative one it takes away while it is down. Weights
//! add up and the sum is held to 1..=254. The owner's priority of 255 never changes, RFC 9568 §6.1: it is a statement
//! of fact. What is not known yet counts as down: an instance must not become master on a check that has not been made.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU8;

use super::fsm::OWNER;

/// The greatest priority of a router that is not the owner. RFC 9568 §5.2.4.
const GREATEST: NonZeroU8 = NonZeroU8::new(254).expect("254 is not zero");

/// Something that an instance or a group may depend on. `Display` names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// An interface of this host: up means running.
    Interface(String),
    /// A script that is run again and again.
    Script(String),
    /// A service: up means at or above its quorum.
    Service(String),
}

/// How it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Not looked at yet.
    #[default]
    Unknown,
    /// As it should be.
    Up,
    /// Not so.
    Down,
}

/// That something is depended on, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// What.
    pub source: Source,
    /// -253..=253; 0: while it is down, the instance is in fault.
    pub weight: i16,
}

/// How everything is that is tracked on this host.
#[derive(Clone, Debug, Default)]
pub struct Conditions(BTreeMap<Source, Condition>);

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => write!(f, "interface {name}"),
            Self::Script(name) => write!(f, "script {name}"),
            Self::Service(name) => write!(f, "service {name}"),
        }
    }
}

impl Conditions {
    /// Notes how something is now; says whether that is news.
    pub fn set(&mut self, source: Source, condition: Condition) -> bool {
        self.0.insert(source, condition).unwrap_or_default() != condition
    }

    /// How something is.
    pub fn get(&self, source: &Source) -> Condition {
        self.0.get(source).copied().unwrap_or_default()
    }

    /// What of `tracked` makes a fault.
    pub fn faults<'a>(
        &self,
        tracked: impl IntoIterator<Item = &'a Tracked>,
    ) -> impl Iterator<Item = &'a Source> {
        tracked
            .into_iter()
            .filter(|tracked| tracked.weight == 0 && !self.is_up(tracked))
            .map(|tracked| &tracked.source)
    }

    /// The priority of an instance with `base`, all weights of `tracked` counted.
    pub fn priority<'a>(
        &self,
        base: NonZeroU8,
        tracked: impl IntoIterator<Item = &'a Tracked>,
    ) -> NonZeroU8 {
        if base == OWNER {
            return OWNER;
        }
        let weight = |tracked: &Tracked| match (self.is_up(tracked), tracked.weight) {
            (true, weight @ 1..) | (false, weight @ ..0) => i32::from(weight),
            (true, ..=0) | (false, 0..) => 0,
        };
        let sum: i32 = tracked.into_iter().map(weight).sum();
        let priority = (i32::from(base.get()) + sum).clamp(1, i32::from(GREATEST.get()));
        let priority = u8::try_from(priority).ok().and_then(NonZeroU8::new);
        priority.unwrap_or(base)
    }

    fn is_up(&self, tracked: &Tracked) -> bool {
        match self.get(&tracked.source) {
            Condition::Up => true,
            Condition::Down | Condition::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn script(name: &str, weight: i16) -> Tracked {
        let source = Source::Script(name.to_owned());
        Tracked { source, weight }
    }

    fn conditions(all: &[(&str, Condition)]) -> Conditions {
        let named = |&(name, condition): &(&str, _)| (Source::Script(name.to_owned()), condition);
        Conditions(all.iter().map(named).collect())
    }

    fn priority(base: u8, tracked: &[Tracked], conditions: &Conditions) -> u8 {
        let base = NonZeroU8::new(base).expect("a base above zero");
        conditions.priority(base, tracked).get()
    }

    // V90, V91
    #[test]
    fn a_positive_weight_is_added_while_up_and_a_negative_one_while_down() {
        let up = conditions(&[("check", Condition::Up)]);
        let down = conditions(&[("check", Condition::Down)]);
        assert_eq!(priority(100, &[script("check", 20)], &up), 120);
        assert_eq!(priority(100, &[script("check", 20)], &down), 100);
        assert_eq!(priority(100, &[script("check", -20)], &up), 100);
        assert_eq!(priority(100, &[script("check", -20)], &down), 80);
    }

    // V90, V92
    #[test]
    fn weights_add_up_before_the_sum_is_held_to_what_a_priority_may_be() {
        let all = conditions(&[("a", Condition::Down), ("b", Condition::Up)]);
        let tracked = [script("a", -253), script("b", 200)];
        assert_eq!(priority(100, &tracked, &all), 47);
        assert_eq!(priority(100, &tracked[..1], &all), 1);
        assert_eq!(priority(100, &tracked[1..], &all), 254);
    }

    // V91
    #[test]
    fn the_owners_priority_never_changes() {
        let down = conditions(&[("check", Condition::Down)]);
        assert_eq!(priority(255, &[script("check", -20)], &down), 255);
    }

    // V94
    #[test]
    fn what_is_not_known_yet_counts_as_down() {
        let unknown = Conditions::default();
        let tracked = [script("a", 0), script("b", -10), script("c", 10)];
        let faults: Vec<_> = unknown.faults(&tracked).map(Source::to_string).collect();
        assert_eq!(faults, ["script a"]);
        assert_eq!(priority(100, &tracked, &unknown), 90);
    }

    // V92
    #[test]
    fn of_two_faults_one_stays_when_the_other_is_mended() {
        let mut all = conditions(&[("a", Condition::Down), ("b", Condition::Down)]);
        let tracked = [script("a", 0), script("b", 0)];
        assert_eq!(all.faults(&tracked).count(), 2);
        assert!(all.set(Source::Script("a".to_owned()), Condition::Up));
        assert!(!all.set(Source::Script("a".to_owned()), Condition::Up));
        let left: Vec<_> = all.faults(&tracked).map(Source::to_string).collect();
        assert_eq!(left, ["script b"]);
    }

    proptest! {
        #[test]
        fn a_priority_stays_in_range_and_does_not_depend_on_order(
            base in 1_u8..=254,
            weights in proptest::collection::vec((-253_i16..=253, any::<bool>()), 0..20),
        ) {
            let mut all = Conditions::default();
            let mut tracked = Vec::new();
            for (at, (weight, up)) in weights.iter().enumerate() {
                let one = script(&at.to_string(), *weight);
                all.set(one.source.clone(), if *up { Condition::Up } else { Condition::Down });
                tracked.push(one);
            }
            let forward = priority(base, &tracked, &all);
            tracked.reverse();
            prop_assert_eq!(forward, priority(base, &tracked, &all));
            prop_assert!((1..=254).contains(&forward));
        }
    }
}
