//! `cargo xtask bench NAME`: runs a benchmark and shows what it wrote to `target/bench/NAME.json`; `--report` makes a
//! page of what was measured so far.
//!
//! Every benchmark writes one form: a list of cases, each with its median and its spread over the rounds.

mod chart;
mod goals;
mod report;

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
    #[arg(value_enum, required_unless_present = "report")]
    name: Option<Name>,
    /// Write docs/performance.md from the figures that are there; measure first what is named, if anything is.
    #[arg(long)]
    report: bool,
}

/// The benchmarks there are.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Name {
    /// What clients notice when the master of two directors goes: beside keepalived.
    Failover,
    /// Frames over a cable on one core: beside a bare MAC swap and nftables.
    Frames,
    /// Real requests through the lab: beside HAProxy, nginx and nftables.
    Lab,
    /// Time per packet in the XDP program, above bare XDP_TX.
    Packet,
    /// What health checks cost, how late they are, and how soon packets obey them.
    Checks,
}

impl Name {
    /// Of the program in `tests/benches`, and of the JSON file.
    fn as_str(self) -> &'static str {
        match self {
            Self::Failover => "failover",
            Self::Frames => "frames",
            Self::Lab => "lab",
            Self::Packet => "packet",
            Self::Checks => "checks",
        }
    }

    fn needs(self) -> &'static [Need] {
        match self {
            Self::Failover => &[Need::Ebpf, Need::Bpffs, Need::Lab],
            Self::Frames | Self::Lab => &[Need::Ebpf, Need::Bpffs, Need::Lab, Need::Peers],
            Self::Packet => &[Need::Ebpf, Need::Bpffs],
            Self::Checks => &[Need::Ebpf, Need::Bpffs, Need::Lab],
        }
    }
}

impl Name {
    /// Features of the package that has it.
    fn features(self) -> &'static [&'static str] {
        match self {
            Self::Failover => &[],
            Self::Frames | Self::Lab | Self::Packet => &["--features", "bench"],
            Self::Checks => &[],
        }
    }

    /// Whether it starts lb-agent itself.
    fn runs_an_agent(self) -> bool {
        matches!(self, Self::Failover | Self::Lab | Self::Checks)
    }

    fn about(self) -> About {
        match self {
            Self::Failover => About {
                title: "The death of a master",
                method: "Two directors, adverts every 10 ms; a client sends a datagram each millisecond, and the gap is the longest time\n\
                         between two answers. `kill9`: the agent is killed and its host lives on; `cut`: the host's cable is pulled;\n\
                         `tcp_resets_kill9`: of 10,000 settled connections, half of them idle. keepalived, which has nothing to steer\n\
                         here, has the answering server on its own hosts.",
            },
            Self::Packet => About {
                title: "A packet through the program",
                method: "Nanoseconds above a bare `return XDP_TX`: `BPF_PROG_TEST_RUN` with a million repeats a round, each case in\n\
                         turn with a twin that only puts back what the program changed; differences of thread CPU time.",
            },
            Self::Checks => About {
                title: "Health checks",
                method: "2,000 checks a second against servers on loopback by the agent's own tasks on a thread of their own: CPU time of\n\
                         that thread for a check, how late checks start, memory; `flip`: an agent with 100 services in the lab, from\n\
                         the end of the last failed check until the first packet obeys.",
            },
            Self::Lab => About {
                title: "Requests through the lab",
                method: "wrk with 32 connections, one nginx, and each balancer in turn on one machine, a round of each: the rate as a\n\
                         ratio to no balancer at all, and the CPU time of the whole machine that a request takes more than it does\n\
                         without one. `keepalive`: connections are kept; `close`: each request has one of its own.",
            },
            Self::Frames => About {
                title: "Frames over a cable",
                method: "Frames that come back per second of CPU time, on one core that makes them, forwards them and counts them\n\
                         again, over a veth pair; each forwarder in turn, ratios of one round.",
            },
        }
    }
}

/// Runs cargo to its end.
fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = workspace::cargo();
    command.args(arguments);
    let end = child::run(&mut command, Pipe::Out, None, |event: Event<'_>| {
        vm::forward(&event)
    })?;
    if !end.success() {
        bail!("`{}` {}", setup::shown(&command), end.describe());
    }
    Ok(())
}

/// What the report says of a benchmark.
struct About {
    title: &'static str,
    method: &'static str,
}

/// Runs the verb.
pub fn run(args: Args) -> anyhow::Result<()> {
    if let Some(name) = args.name {
        measure(name)?;
    }
    if args.report {
        report::write()?;
    }
    Ok(())
}

fn measure(bench: Name) -> anyhow::Result<()> {
    let name = bench.as_str();
    setup::need_root(&format!(
        "the benchmark {name} loads programs into the kernel"
    ))?;
    setup::ensure(bench.needs())?;
    let file = figures::file(&workspace::root(), name);
    // What is shown afterwards must be of this run.
    if file.exists() {
        fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
    }
    if bench.runs_an_agent() {
        // As fast as the one that serves.
        cargo(&["build", "--release", "--package", "lb-agent"])?;
    }
    let mut arguments = vec!["bench", "--package", "lb-tests", "--bench", name];
    arguments.extend(bench.features());
    cargo(&arguments)?;
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
