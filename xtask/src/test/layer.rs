//! The four layers, and how each is run.
//!
//! All of them build the same packages with the same features, so that nothing is compiled twice: they differ
//! in the test programs they choose. A file `tests/*.rs` of any crate belongs to the layer that its name says.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Context;

use super::runner::{Outcome, cargo_test, run_here, run_in_guest};
use super::skips::Allowed;
use super::tally::Tally;
use crate::setup::Need;
use crate::workspace;

/// A layer of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Layer {
    /// Unit, property and documentation tests; no root.
    Unit,
    /// Tables of packets through the XDP program, in this kernel.
    Packet,
    /// Real traffic in network namespaces.
    Lab,
    /// The tables of packets in Debian's kernel, in the guest.
    Vm,
}

/// The test program of the packet tables.
pub const PACKET: &str = "packet";
/// How the names of the lab's test programs begin.
const LAB_PREFIX: &str = "lab_";

/// The workspace's test programs: the names of all `tests/*.rs`.
pub struct Build {
    programs: Vec<String>,
}

impl Build {
    /// Looks into the workspace.
    pub fn survey() -> anyhow::Result<Self> {
        let mut programs = Vec::new();
        for package in ["lb-common", "lb-agent", "xtask", "tests"] {
            let Ok(entries) = fs::read_dir(workspace::root().join(package).join("tests")) else {
                continue;
            };
            for entry in entries {
                let path = entry
                    .with_context(|| format!("read {package}/tests"))?
                    .path();
                if let Some(name) = program_name(&path) {
                    programs.push(name);
                }
            }
        }
        programs.sort();
        programs.dedup();
        Ok(Self { programs })
    }

    fn of(&self, layer: Layer) -> impl Iterator<Item = &str> {
        self.programs
            .iter()
            .map(String::as_str)
            .filter(move |name| belongs_to(name) == layer)
    }
}

/// `FILE.rs` and `FOLDER/main.rs` are test programs.
fn program_name(path: &Path) -> Option<String> {
    let is_program = path.extension().is_some_and(|extension| extension == "rs")
        || path.join("main.rs").is_file();
    is_program.then(|| path.file_stem()?.to_str().map(str::to_owned))?
}

/// The layer of a test program.
fn belongs_to(program: &str) -> Layer {
    if program == PACKET {
        Layer::Packet
    } else if program.starts_with(LAB_PREFIX) {
        Layer::Lab
    } else {
        Layer::Unit
    }
}

impl Layer {
    /// All, the quick ones first.
    pub const ALL: [Self; 4] = [Self::Unit, Self::Packet, Self::Lab, Self::Vm];

    /// One line of what it is.
    pub fn about(self) -> &'static str {
        match self {
            Self::Unit => "unit, property and documentation tests",
            Self::Packet => "tables of packets through the XDP program, in this kernel",
            Self::Lab => "real traffic in network namespaces",
            Self::Vm => {
                "the tables of packets in Debian's own kernel, in a guest with an emulated processor"
            }
        }
    }

    /// What must be set up.
    pub fn needs(self) -> &'static [Need] {
        match self {
            Self::Unit => &[Need::Ebpf],
            Self::Packet => &[Need::Ebpf, Need::Bpffs],
            Self::Lab => &[Need::Ebpf, Need::Bpffs, Need::Lab],
            Self::Vm => &[Need::Ebpf, Need::Vm],
        }
    }

    /// Why it takes root, if it does.
    pub fn why_root(self) -> Option<&'static str> {
        match self {
            Self::Unit | Self::Vm => None,
            Self::Packet => Some("the packet tests load programs into the kernel"),
            Self::Lab => Some("the lab makes network namespaces"),
        }
    }

    /// Runs it, shows its output, and counts. An error means that it was interrupted or could not be started.
    pub fn run(self, build: &Build, allowed: &Allowed) -> anyhow::Result<Tally> {
        let mut outcome = Outcome::default();
        match self {
            Self::Unit => {
                let mut tests = cargo_test(&["--lib", "--bins"]);
                tests.args(build.of(Self::Unit).flat_map(|name| ["--test", name]));
                outcome.add(run_here(tests)?);
                outcome.add(run_here(cargo_test(&["--doc"]))?);
            }
            Self::Packet => outcome.add(run_here(cargo_test(&["--test", PACKET]))?),
            Self::Lab => {
                let mut tests = cargo_test(&[]);
                let programs: Vec<&str> = build.of(Self::Lab).collect();
                // The labs start lb-agent itself, which cargo builds for tests of its own package alone: and one that is left
                // from before would be tested as if it were this one.
                let mut building = cargo_test(&["--no-run"]);
                let all = [Self::Unit, Self::Lab]
                    .into_iter()
                    .flat_map(|layer| build.of(layer));
                building.args(all.flat_map(|name| ["--test", name]));
                let built = run_here(building)?;
                let is_built = built.is_well();
                outcome.add(built);
                if is_built && !programs.is_empty() {
                    // One lab at a time: they would share two processors, and deadlines with them.
                    tests
                        .args(programs.iter().flat_map(|name| ["--test", *name]))
                        .args(["--", "--test-threads=1"]);
                    let ran = run_here(tests);
                    // A test that Ctrl-C or its time limit has ended could not do so itself.
                    lb_tests::lab::remove_left_overs()?;
                    outcome.add(ran?);
                }
            }
            Self::Vm => outcome.add(run_in_guest()?),
        }
        Ok(outcome.judge(self, allowed))
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unit => "unit",
            Self::Packet => "packet",
            Self::Lab => "lab",
            Self::Vm => "vm",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_program_belongs_to_a_layer() {
        assert_eq!(belongs_to("packet"), Layer::Packet);
        assert_eq!(belongs_to("lab_dr"), Layer::Lab);
        for name in ["properties", "packets", "config"] {
            assert_eq!(belongs_to(name), Layer::Unit, "{name}");
        }
    }
}
