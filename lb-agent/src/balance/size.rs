//! How many slots a Maglev table may have.

/// Slots of a table: a prime, so that every skip visits every slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableSize(u32);

/// Why a number cannot be a table's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableSizeError {
    /// Too small or too large.
    #[error("a table of {slots} slots is out of range: take a prime from {} to {}", TableSize::MIN.0, TableSize::MAX.0)]
    OutOfRange {
        /// What was asked for.
        slots: u32,
    },
    /// In range, but not a prime.
    #[error("a table of {slots} slots: not a prime, the nearest are {below} and {above}")]
    NotPrime {
        /// What was asked for.
        slots: u32,
        /// The next lower prime.
        below: u32,
        /// The next higher prime.
        above: u32,
    },
}

impl TableSize {
    /// 251 slots: the smallest table.
    pub const MIN: Self = Self(251);
    /// 131,071 slots: the largest table.
    pub const MAX: Self = Self(131_071);
    /// 65,537 slots: the paper's choice, good for some 600 members at 100 slots each.
    pub const DEFAULT: Self = Self(65_537);

    /// The number of slots.
    pub const fn slots(self) -> u32 {
        self.0
    }
}

impl Default for TableSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl TryFrom<u32> for TableSize {
    type Error = TableSizeError;

    fn try_from(slots: u32) -> Result<Self, TableSizeError> {
        if !(Self::MIN.0..=Self::MAX.0).contains(&slots) {
            return Err(TableSizeError::OutOfRange { slots });
        }
        if is_prime(slots) {
            return Ok(Self(slots));
        }
        // Both ends of the range are primes, so both searches end inside it.
        let below = (Self::MIN.0..slots).rev().find(|&n| is_prime(n));
        let above = (slots..=Self::MAX.0).find(|&n| is_prime(n));
        Err(TableSizeError::NotPrime {
            slots,
            below: below.unwrap_or(Self::MIN.0),
            above: above.unwrap_or(Self::MAX.0),
        })
    }
}

/// By trial division: at most 181 steps for what a table may be.
pub(super) fn is_prime(n: u32) -> bool {
    n >= 2
        && (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prime_in_range_is_a_size_and_nothing_else() {
        let mut sieve = vec![true; 131_073];
        for n in 2..sieve.len() {
            if sieve[n] {
                (n * n..sieve.len())
                    .step_by(n)
                    .for_each(|multiple| sieve[multiple] = false);
            }
        }
        for slots in 0..131_073_u32 {
            let expected = sieve[slots as usize] && (251..=131_071).contains(&slots);
            assert_eq!(TableSize::try_from(slots).is_ok(), expected, "{slots}");
        }
    }

    #[test]
    fn a_size_that_is_refused_is_answered_with_what_to_take() {
        let said = |slots: u32| {
            TableSize::try_from(slots)
                .expect_err("not a size")
                .to_string()
        };
        assert_eq!(
            said(65_536),
            "a table of 65536 slots: not a prime, the nearest are 65521 and 65537"
        );
        assert_eq!(
            said(250),
            "a table of 250 slots is out of range: take a prime from 251 to 131071"
        );
    }
}
