//! Tests that say they cannot run here.
//!
//! libtest has no word for it, so: a test that cannot run appends the line `NAME: REASON` to the file that the
//! environment variable [`LOG_VARIABLE`] names, and returns. `NAME` is the test's own, as libtest prints it.
//! A skip counts as a failure unless `tests/SKIPS.md` lists the name, as ``- `NAME`: REASON``.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;

use anyhow::Context;

use super::tally::{Results, Tally};
use crate::say::say;
use crate::workspace;

/// Names the file to which tests append.
pub const LOG_VARIABLE: &str = "LB_SKIP_LOG";

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The test.
    pub name: String,
    /// Why it cannot run.
    pub reason: String,
}

/// The skips that `tests/SKIPS.md` allows.
#[derive(Debug, Default)]
pub struct Allowed(BTreeSet<String>);

impl Allowed {
    /// Reads the file; without one, nothing may be skipped.
    pub fn read() -> anyhow::Result<Self> {
        match fs::read_to_string(workspace::root().join("tests/SKIPS.md")) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).context("read tests/SKIPS.md"),
        }
    }

    fn parse(text: &str) -> Self {
        let names = text
            .lines()
            .filter_map(|line| line.strip_prefix("- `")?.split_once('`'));
        Self(names.map(|(name, _)| name.to_owned()).collect())
    }

    /// The counts of a layer from what libtest counted and what the log says. Prints each skip.
    pub fn judge(&self, results: Results, skips: &[Skip]) -> Tally {
        let (with_leave, without): (Vec<&Skip>, Vec<&Skip>) =
            skips.iter().partition(|skip| self.0.contains(&skip.name));
        for skip in &with_leave {
            say!("skipped: {}: {}", skip.name, skip.reason);
        }
        for skip in &without {
            say!(
                "failed, for it was skipped and tests/SKIPS.md does not list it: {}: {}",
                skip.name,
                skip.reason
            );
        }
        if results.ignored > 0 {
            say!(
                "failed, for they are ignored: {} tests; a test that cannot run must say why",
                results.ignored
            );
        }
        Tally {
            passed: results.passed.saturating_sub(skips.len()),
            failed: results.failed + results.ignored + without.len(),
            skipped: with_leave.len(),
        }
    }
}

/// Reads the log's text. A test that says it twice is skipped once.
pub fn parse_log(text: &str) -> Vec<Skip> {
    let mut skips: Vec<Skip> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        // A module path has `::` in it, so that the name ends at a colon and a space.
        let (name, reason) = line.split_once(": ").unwrap_or((line, "no reason given"));
        if !skips.iter().any(|skip| skip.name == name) {
            skips.push(Skip {
                name: name.to_owned(),
                reason: reason.to_owned(),
            });
        }
    }
    skips
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESULTS: Results = Results {
        passed: 5,
        failed: 1,
        ignored: 0,
    };

    #[test]
    fn a_listed_skip_is_neither_passed_nor_failed() {
        let allowed = Allowed::parse(
            "# Skips\n\nWhy there are any.\n\n- `native::attaches`: needs a driver with XDP\n",
        );
        let tally = allowed.judge(RESULTS, &parse_log("native::attaches: no driver here\n"));
        assert_eq!(
            tally,
            Tally {
                passed: 4,
                failed: 1,
                skipped: 1
            }
        );
    }

    #[test]
    fn a_skip_that_is_not_listed_is_a_failure() {
        let tally = Allowed::parse("- `other`: why\n")
            .judge(RESULTS, &parse_log("native::attaches: no driver here\n"));
        assert_eq!(
            tally,
            Tally {
                passed: 4,
                failed: 2,
                skipped: 0
            }
        );
    }

    #[test]
    fn an_ignored_test_is_a_failure() {
        let tally = Allowed::default().judge(
            Results {
                passed: 1,
                failed: 0,
                ignored: 2,
            },
            &[],
        );
        assert_eq!(
            tally,
            Tally {
                passed: 1,
                failed: 2,
                skipped: 0
            }
        );
    }

    #[test]
    fn the_log_is_read_once_for_each_test() {
        let skips = parse_log("a::b: why: because\n\na::b: again\nc\n");
        let pairs: Vec<_> = skips
            .iter()
            .map(|skip| (skip.name.as_str(), skip.reason.as_str()))
            .collect();
        assert_eq!(pairs, [("a::b", "why: because"), ("c", "no reason given")]);
    }
}
