//! Runs of test programs, here and in the guest: their output is shown as it comes, and counted.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use super::layer::{Layer, PACKET};
use super::skips::{Allowed, LOG_VARIABLE, parse_log};
use super::tally::{Results, Tally};
use crate::child::{self, End, Event, Lines, Pipe};
use crate::say::say;
use crate::vm::guest::{Finish, Guest, SHARE, Share};
use crate::{vm, workspace};

/// How long a run may take, building included: far above what it takes on two cores, so that a hang ends.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// The guest's memory for the packet tables, MiB.
const GUEST_MEMORY_MIB: u32 = 2048;

/// What runs of test programs gave.
#[derive(Debug, Default)]
pub struct Outcome {
    results: Results,
    skips: String,
    /// What went wrong besides single tests.
    troubles: Vec<String>,
}

impl Outcome {
    /// Whether nothing went wrong.
    pub fn is_well(&self) -> bool {
        self.results.failed == 0 && self.troubles.is_empty()
    }

    /// Adds another run's.
    pub fn add(&mut self, other: Self) {
        self.results.passed += other.results.passed;
        self.results.failed += other.results.failed;
        self.results.ignored += other.results.ignored;
        self.skips.push_str(&other.skips);
        self.troubles.extend(other.troubles);
    }

    /// A layer without a test, and a command that failed without a failed test, count as one failure each.
    pub fn judge(mut self, layer: Layer, allowed: &Allowed) -> Tally {
        if self.results.count() == 0 && self.troubles.is_empty() {
            self.troubles.push(format!("the layer {layer} ran no test"));
        }
        let mut tally = allowed.judge(self.results, &parse_log(&self.skips));
        for trouble in self.troubles {
            say!("failed: {trouble}");
            tally.failed += 1;
        }
        tally
    }

    /// How a command ended; `what` names it.
    fn ended(&mut self, what: &str, success: bool, how: &str) {
        if !success && self.results.failed == 0 {
            self.troubles.push(format!(
                "{what} {how}, yet no test failed: it did not build, or a test program died"
            ));
        }
    }
}

/// `cargo test` of the whole workspace but the program for the BPF target.
pub fn cargo_test(targets: &[&str]) -> Command {
    let mut command = workspace::cargo();
    command
        .args([
            "test",
            "--workspace",
            "--exclude",
            "lb-ebpf",
            "--no-fail-fast",
        ])
        .args(targets);
    command
}

/// Runs `cargo test` to its end. An error means that it was interrupted or could not be started.
pub fn run_here(mut command: Command) -> anyhow::Result<Outcome> {
    let log = workspace::root().join("target/skips.log");
    fs::create_dir_all(workspace::root().join("target")).context("create target")?;
    fs::write(&log, "").with_context(|| format!("empty {}", log.display()))?;
    command.env(LOG_VARIABLE, &log);
    let mut outcome = Outcome::default();
    let mut lines = Lines::default();
    let end = child::run(&mut command, Pipe::Out, Some(LIMIT), |event| {
        count(&event, &mut lines, &mut outcome.results)
    })?;
    if end == End::Interrupted {
        bail!("interrupted");
    }
    outcome.ended("cargo test", end.success(), &end.describe());
    outcome.skips = fs::read_to_string(&log).with_context(|| format!("read {}", log.display()))?;
    Ok(outcome)
}

/// Builds the packet tests and runs them in the guest.
pub fn run_in_guest() -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let Some(program) = build_packet_tests(&mut outcome)? else {
        return Ok(outcome);
    };
    let folder = workspace::root().join("tests");
    let guest = Guest {
        memory_mib: GUEST_MEMORY_MIB,
        cpus: 1,
        limit: LIMIT,
        modules: vec!["veth".to_owned()],
        environment: vec![
            (
                "CARGO_MANIFEST_DIR".to_owned(),
                folder.clone().into_os_string(),
            ),
            (
                LOG_VARIABLE.to_owned(),
                OsString::from(format!("{SHARE}/skips")),
            ),
        ],
        folder,
    };
    let share = Share::create()?;
    let mut lines = Lines::default();
    let command = [program.into_os_string(), "--test-threads=1".into()];
    let finish = guest.run_in(&share, &command, |event| {
        count(&event, &mut lines, &mut outcome.results)
    })?;
    match finish {
        Finish::Exited(code) => outcome.ended(
            "the packet tests in the guest",
            code == 0,
            &format!("ended with status {code}"),
        ),
        Finish::Interrupted => bail!("interrupted"),
        failed @ (Finish::TimedOut | Finish::Died { .. }) => {
            outcome.troubles.push(failed.into_error().to_string())
        }
    }
    outcome.skips = fs::read_to_string(share.0.join("skips")).unwrap_or_default();
    Ok(outcome)
}

/// Builds the packet tests and finds their program; none if they do not build, which `outcome` then says.
fn build_packet_tests(outcome: &mut Outcome) -> anyhow::Result<Option<PathBuf>> {
    let mut command = cargo_test(&[
        "--test",
        PACKET,
        "--no-run",
        "--message-format=json-render-diagnostics",
    ]);
    let (mut lines, mut program) = (Lines::default(), None);
    let end = child::run(&mut command, Pipe::Out, Some(LIMIT), |event| {
        if let Event::Out(bytes) = event {
            lines.push(bytes, |line| program = executable(line).or(program.take()));
        }
    })?;
    if end == End::Interrupted {
        bail!("interrupted");
    }
    if program.is_none() || !end.success() {
        outcome.troubles.push(format!(
            "the packet tests could not be built: cargo {}",
            end.describe()
        ));
        return Ok(None);
    }
    Ok(program)
}

/// The program that one of cargo's messages names, if it is the packet tests'.
fn executable(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let is_packet = message.pointer("/target/name")?.as_str()? == PACKET;
    is_packet.then(|| Some(PathBuf::from(message.get("executable")?.as_str()?)))?
}

/// Shows a test program's output and counts its closing lines.
fn count(event: &Event<'_>, lines: &mut Lines, results: &mut Results) {
    if let Event::Out(bytes) = event {
        lines.push(bytes, |line| results.read(line));
    }
    vm::forward(event);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_without_tests_fails() {
        let tally = Outcome::default().judge(Layer::Lab, &Allowed::default());
        assert_eq!(
            tally,
            Tally {
                passed: 0,
                failed: 1,
                skipped: 0
            }
        );
    }

    #[test]
    fn a_command_that_fails_without_a_failed_test_counts_as_one_failure() {
        let mut outcome = Outcome {
            results: Results {
                passed: 3,
                failed: 0,
                ignored: 0,
            },
            ..Outcome::default()
        };
        outcome.ended("cargo test", false, "ended with exit status: 101");
        assert_eq!(
            outcome.judge(Layer::Unit, &Allowed::default()),
            Tally {
                passed: 3,
                failed: 1,
                skipped: 0
            }
        );
    }

    #[test]
    fn a_failed_test_is_not_counted_twice() {
        let mut outcome = Outcome {
            results: Results {
                passed: 3,
                failed: 2,
                ignored: 0,
            },
            ..Outcome::default()
        };
        outcome.ended("cargo test", false, "ended with exit status: 101");
        assert_eq!(
            outcome.judge(Layer::Unit, &Allowed::default()),
            Tally {
                passed: 3,
                failed: 2,
                skipped: 0
            }
        );
    }

    #[test]
    fn the_packet_tests_program_is_read_from_cargos_messages() {
        let message = r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"packet"},"executable":"/t/packet-1"}"#;
        assert_eq!(executable(message), Some(PathBuf::from("/t/packet-1")));
        for other in [
            r#"{"target":{"name":"lib"},"executable":null}"#,
            r#"{"reason":"build-finished"}"#,
            "text",
        ] {
            assert_eq!(executable(other), None, "{other}");
        }
    }
}
