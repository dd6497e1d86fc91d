//! From the results of a tracked script's runs to how it is.

use super::tracking::Condition;

/// Counts results in a row. The first one decides by itself: until then nothing is known, which counts as down.
#[derive(Clone, Copy, Debug)]
pub struct Streak {
    rise: u32,
    fall: u32,
    /// Results in a row that speak against `condition`.
    against: u32,
    condition: Condition,
}

impl Streak {
    /// Of a script that is up after `rise` successes in a row, and down after `fall` failures.
    pub fn new(rise: u32, fall: u32) -> Self {
        Self {
            rise,
            fall,
            against: 0,
            condition: Condition::Unknown,
        }
    }

    /// Takes the result of a run; says how the script is now, if that is news.
    pub fn on_result(&mut self, is_success: bool) -> Option<Condition> {
        let result = match is_success {
            true => Condition::Up,
            false => Condition::Down,
        };
        let needed = match (self.condition, result) {
            (Condition::Unknown, _) => 1,
            (Condition::Down, Condition::Up) => self.rise,
            (Condition::Up, Condition::Down) => self.fall,
            (Condition::Up | Condition::Down, _) => {
                self.against = 0;
                return None;
            }
        };
        self.against += 1;
        if self.against < needed {
            return None;
        }
        self.against = 0;
        self.condition = result;
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(rise: u32, fall: u32, results: &str) -> Vec<Option<Condition>> {
        let mut streak = Streak::new(rise, fall);
        let results = results.chars();
        results.map(|one| streak.on_result(one == '+')).collect()
    }

    // V89, V94
    #[test]
    fn the_first_result_decides_and_later_ones_must_come_in_a_row() {
        const UP: Option<Condition> = Some(Condition::Up);
        const DOWN: Option<Condition> = Some(Condition::Down);
        assert_eq!(conditions(3, 2, "+"), [UP]);
        assert_eq!(conditions(3, 2, "-"), [DOWN]);
        let found = conditions(3, 2, "+-+--++-+++");
        let mut expected = vec![None; 11];
        (expected[0], expected[4], expected[10]) = (UP, DOWN, UP);
        assert_eq!(found, expected);
        assert_eq!(conditions(1, 1, "+-+"), [UP, DOWN, UP]);
    }
}
