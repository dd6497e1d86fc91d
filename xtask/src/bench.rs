//! `cargo xtask bench NAME`: runs a benchmark and shows what it wrote to `target/bench/NAME.json`.
//!
//! Every benchmark writes one form: a list of cases, each with its median and its spread over the rounds.

use std::fs;

use anyhow::{Context, bail};
use lb_tests::figures::{self, Figure};

use crate::child::{self, Event, Pipe};
use crate::setup::{self, Need};
use crate::{vm, workspace};

/// Measure, and write target/bench/NAME.json.
#[derive(clap::Args)]
pub struct Args {
    /// What to measure.
    #[arg(value_enum)]
    name: Name,
}

/// The benchmarks there are.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Name {
    /// Time per packet in the XDP program, above bare XDP_TX.
    Packet,
    /// What health checks cost, how late they are, and how soon packets obey them.
    Checks,
}

impl Name {
    /// Of the program in `tests/benches`, and of the JSON file.
    fn as_str(self) -> &'static str {
        match self {
            Self::Packet => "packet",
            Self::Checks => "checks",
        }
    }

    fn needs(self) -> &'static [Need] {
        match self {
            Self::Packet => &[Need::Ebpf, Need::Bpffs],
            Self::Checks => &[Need::Ebpf, Need::Bpffs, Need::Lab],
        }
    }

    /// Features of the package that has it.
    fn features(self) -> &'static [&'static str] {
        match self {
            Self::Packet => &["--features", "bench"],
            Self::Checks => &[],
        }
    }
}

/// Runs the verb.
pub fn run(args: Args) -> anyhow::Result<()> {
    let name = args.name.as_str();
    setup::need_root(&format!(
        "the benchmark {name} loads programs into the kernel"
    ))?;
    setup::ensure(args.name.needs())?;
    let file = figures::file(&workspace::root(), name);
    // What is shown afterwards must be of this run.
    if file.exists() {
        fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
    }
    if let Name::Checks = args.name {
        // It runs an agent, which is to be as fast as the one that serves.
        let mut build = workspace::cargo();
        build.args(["build", "--release", "--package", "lb-agent"]);
        let end = child::run(&mut build, Pipe::Out, None, |event: Event<'_>| {
            vm::forward(&event)
        })?;
        if !end.success() {
            bail!("`{}` {}", setup::shown(&build), end.describe());
        }
    }
    let mut command = workspace::cargo();
    command.args(["bench", "--package", "lb-tests", "--bench", name]);
    command.args(args.name.features());
    let end = child::run(&mut command, Pipe::Out, None, |event: Event<'_>| {
        vm::forward(&event)
    })?;
    if !end.success() {
        bail!("`{}` {}", setup::shown(&command), end.describe());
    }
    print!("{}", table(&figures::read(&file)?));
    Ok(())
}

/// One line a case, in columns.
fn table(cases: &[Figure]) -> String {
    let width = cases
        .iter()
        .map(|case| case.case.chars().count())
        .chain(["case".len()])
        .max()
        .unwrap_or_default();
    let mut text = format!(
        "{:width$}  {:>12}  {:>12}  {:>12}  {:10}  {:>6}\n",
        "case", "median", "min", "max", "unit", "rounds"
    );
    for case in cases {
        let [value, min, max] = [case.value, case.min, case.max].map(figures::decimals);
        text.push_str(&format!(
            "{:width$}  {value:>12}  {min:>12}  {max:>12}  {:10}  {:>6}\n",
            case.case, case.unit, case.rounds
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_case() {
        let json = r#"[{"case": "dr4_tcp_established", "value": 21.25, "unit": "ns", "min": 20.5, "max": 25, "rounds": 9},
            {"case": "pass_arp", "value": 0.5, "unit": "ns", "min": 0.25, "max": 1234.5, "rounds": 9}]"#;
        let cases: Vec<Figure> = serde_json::from_str(json).unwrap();
        let text = table(&cases);
        let words: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            words[1],
            ["dr4_tcp_established", "21.2", "20.5", "25.0", "ns", "9"]
        );
        assert_eq!(words[2], ["pass_arp", "0.500", "0.250", "1234", "ns", "9"]);
        assert_eq!(words.len(), 3);
    }
}
