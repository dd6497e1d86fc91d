//! `cargo xtask VERB`: everything a developer or a newcomer does.
//!
//! Wiring only: each verb is a module with its `Args` and its `run`.

mod bench;
mod lab;
mod run;
mod setup;
mod test;
mod vm;

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
    /// Measure, and write target/bench/NAME.json.
    Bench(bench::Args),
    /// The network lab by hand: up, down, exec NODE CMD, status.
    Lab(lab::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().verb {
        Verb::Setup(args) => setup::run(args),
        Verb::Run(args) => run::run(args),
        Verb::Test(args) => test::run(args),
        Verb::Bench(args) => bench::run(args),
        Verb::Lab(args) => lab::run(args),
    }
}
