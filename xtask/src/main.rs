//! `cargo xtask VERB`: everything a developer or a newcomer does.
//!
//! Wiring only: each verb is a module with its `Args` and its `run`.

mod bench;
mod child;
mod lab;
mod lint;
mod run;
mod say;
mod setup;
mod sim;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Set up, run, test and measure lb.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what building and running needs, where it is missing.
    Setup(setup::Args),
    /// Serve real traffic: the lab with its agent, or this host with --config FILE.
    Run(run::Args),
    /// Run the tests: unit, packet, lab, vm; all of them by default.
    Test(test::Args),
    /// Check the format, and let clippy read all crates.
    Lint(lint::Args),
    /// Measure, and write target/bench/NAME.json.
    Bench(bench::Args),
    /// Simulate elections of VRRP; a failing seed is shown again by --seed S.
    Sim(sim::Args),
    /// The network lab by hand: up, down, exec NODE CMD, status.
    Lab(lab::Args),
    /// Run a command in the guest with Debian's own kernel.
    Vm(vm::Args),
}

fn main() -> ExitCode {
    match run_verb(Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line with its causes; a backtrace would tell the reader nothing.
            say::error(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run_verb(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Setup(args) => setup::run(args),
        Verb::Run(args) => run::run(args),
        Verb::Test(args) => test::run(args),
        Verb::Lint(args) => lint::run(args),
        Verb::Bench(args) => bench::run(args),
        Verb::Sim(args) => sim::run(args),
        Verb::Lab(args) => lab::run(args),
        Verb::Vm(args) => vm::run(args),
    }
}
