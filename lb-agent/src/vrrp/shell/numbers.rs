//! What instances are known by outside of the elections: a number for each, which it keeps as long as it is configured.

use std::collections::BTreeMap;

/// The numbers of instances, by name. 1 is the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers(BTreeMap<String, u16>);

impl Numbers {
    /// Of these instances, and of what was there before: who was keeps its number, and nobody gets one that another has
    /// just given up.
    #[must_use]
    pub fn after<'a>(&self, names: impl Iterator<Item = &'a str>) -> Self {
        let names: Vec<&str> = names.collect();
        let mut all = Self::default();
        for name in &names {
            if let Some(number) = self.of(name) {
                all.0.insert((*name).to_owned(), number);
            }
        }
        let mut free =
            (1..=u16::MAX).filter(|number| !self.0.values().any(|taken| taken == number));
        for name in names {
            if self.of(name).is_none()
                && let Some(number) = free.next()
            {
                all.0.insert(name.to_owned(), number);
            }
        }
        all
    }

    /// That of an instance.
    pub fn of(&self, name: &str) -> Option<u16> {
        self.0.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stays_keeps_its_number_and_who_comes_gets_one_that_nobody_had() {
        let first = Numbers::default().after(["a", "b", "c"].into_iter());
        assert_eq!(
            ["a", "b", "c"].map(|name| first.of(name)),
            [Some(1), Some(2), Some(3)]
        );
        let second = first.after(["d", "c", "a"].into_iter());
        let found = ["a", "b", "c", "d"].map(|name| second.of(name));
        assert_eq!(found, [Some(1), None, Some(3), Some(4)]);
        let third = second.after(["e", "c"].into_iter());
        assert_eq!(third.of("e"), Some(2), "given up one reload before");
    }
}
