//! What libtest says of its results, summed up.

use std::fmt;

/// Counts of tests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Ran and found nothing wrong.
    pub passed: usize,
    /// Failed, or was skipped without leave.
    pub failed: usize,
    /// Said that it cannot run here, with leave.
    pub skipped: usize,
}

impl Tally {
    /// Adds the counts of another.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// The sums of libtest's closing lines, one a test program.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Results {
    /// "passed"; a test that skipped itself is among them, for libtest knows no such thing.
    pub passed: usize,
    /// "failed".
    pub failed: usize,
    /// "ignored": by `#[ignore]`, which this project does not use.
    pub ignored: usize,
}

impl Results {
    /// Adds what `line` says, if it is a closing line.
    pub fn read(&mut self, line: &str) {
        if let Some(results) = parse(line) {
            self.passed += results.passed;
            self.failed += results.failed;
            self.ignored += results.ignored;
        }
    }

    /// How many tests were run or ignored.
    pub fn count(&self) -> usize {
        self.passed + self.failed + self.ignored
    }
}

/// Reads `test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.00s`.
fn parse(line: &str) -> Option<Results> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |what: &str| {
        counts
            .split("; ")
            .find_map(|part| part.strip_suffix(what)?.trim_end().parse::<usize>().ok())
    };
    Some(Results {
        passed: count("passed")?,
        failed: count("failed")?,
        ignored: count("ignored")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_several_programs_are_summed() {
        let output = "running 2 tests\ntest a ... ok\ntest b ... FAILED\n\
            test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            \ntest result: ok. 5 passed; 0 failed; 2 ignored; 0 measured; 3 filtered out; finished in 1.00s\n";
        let mut results = Results::default();
        output.lines().for_each(|line| results.read(line));
        assert_eq!(
            results,
            Results {
                passed: 6,
                failed: 1,
                ignored: 2
            }
        );
        assert_eq!(results.count(), 9);
    }

    #[test]
    fn other_lines_count_nothing() {
        let mut results = Results::default();
        for line in [
            "test result: ok",
            "test result: ok. x passed; 0 failed; 0 ignored",
            "5 passed; 0 failed",
            "",
            "test a ... ok",
        ] {
            results.read(line);
        }
        assert_eq!(results, Results::default());
    }

    #[test]
    fn the_closing_line_has_the_form_that_readers_look_for() {
        let mut total = Tally {
            passed: 3,
            failed: 0,
            skipped: 1,
        };
        total.add(Tally {
            passed: 2,
            failed: 1,
            skipped: 0,
        });
        assert_eq!(total.to_string(), "5 passed, 1 failed, 1 skipped");
    }
}
