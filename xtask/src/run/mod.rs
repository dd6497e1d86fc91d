//! `cargo xtask run`: real requests through the balancer, for everybody to see; or the agent on this host.
//!
//! The lab, its web servers and the agent belong to the run: they are gone when it ends, however it ends. Each run has a
//! lab of its own, so two at the same time do not meet.

pub mod build;
mod config;
mod drill;
mod failover;
mod stage;
mod tally;
mod view;
mod watch;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::say::{self, say};
use crate::setup::Need;
use anyhow::{Context, Result, bail};
use build::Profile;
use lb_tests::{interrupt, lab};

use config::Expected;
use drill::{Ended, Schedule};
use stage::Stage;

/// The shell's convention for "ended by Ctrl-C": 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// Arguments of `cargo xtask run`.
#[derive(clap::Args)]
pub struct Args {
    /// End after this time, such as 20s. Default: at Ctrl-C.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    length: Option<Duration>,
    /// Write the summary to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How many clients ask at the same time, 25 requests a second each.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=500))]
    connections: u16,
    /// Run the agent on this host with this file, instead of the lab.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["length", "json", "connections"])]
    config: Option<PathBuf>,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<()> {
    if let Some(config) = &args.config {
        return run_on_host(config);
    }
    let expected = Expected::read(stage::CONFIG)?;
    let schedule = Schedule::new(args.length, expected.bound)?;
    lab::check_root()?;
    crate::setup::ensure(&[Need::Ebpf, Need::Lab])?;
    lab::check_requirements()?;
    interrupt::install()?;
    let outcome = in_lab(&args, &expected, schedule);
    // Whatever the lab was, it is gone by now.
    match outcome {
        Ok(()) => Ok(()),
        Err(_) if interrupt::arrived() => {
            say::error(format_args!(
                "interrupted: everything that was started has been taken down"
            ));
            std::process::exit(INTERRUPTED);
        }
        Err(error) => Err(error),
    }
}

fn in_lab(args: &Args, expected: &Expected, schedule: Schedule) -> Result<()> {
    let agent = build::agent(Profile::Dev)?;
    let mut stage = Stage::set(&agent, expected)?;
    let end = if schedule.ends() {
        ""
    } else {
        "; Ctrl-C ends it"
    };
    say!(
        "asking  {} connections, {} requests/s{end}\n",
        args.connections,
        u32::from(args.connections) * 25
    );
    let ended = drill::run(&mut stage, expected, schedule, args.connections.into())?;
    judge(args, &ended, schedule).inspect_err(|_| {
        if interrupt::arrived() {
            return; // Not what a log explains.
        }
        for (agent, name) in stage.agents.iter().zip(stage::DIRECTORS) {
            say::error(format_args!(
                "--- the log of the agent on {name} ends with ---\n{}",
                agent.log_tail(30)
            ));
        }
    })
}

/// Says how it went, writes the summary, and fails if it did not go well.
fn judge(args: &Args, ended: &Ended, schedule: Schedule) -> Result<()> {
    let Ended { tally, seen, took } = ended;
    let mut faults = tally.faults();
    if schedule.ends() && interrupt::arrived() {
        faults.insert(0, "interrupted before the end".into());
    }
    view::report(tally, *took, seen);
    if let Some(path) = &args.json {
        let summary = tally.summary(
            *took,
            seen.generation,
            seen.datapath.clone(),
            faults.is_empty(),
        );
        let text = serde_json::to_string_pretty(&summary)? + "\n";
        fs::write(path, text)
            .with_context(|| format!("write the summary to {}", path.display()))?;
    }
    if faults.is_empty() {
        say!("passed");
        return Ok(());
    }
    for reason in &tally.reasons {
        say::error(format_args!("failed request: {reason}"));
    }
    bail!("{}", faults.join("; "));
}

/// Becomes the agent, so that signals and the exit status are its own.
fn run_on_host(config: &Path) -> Result<()> {
    crate::setup::ensure(&[Need::Ebpf, Need::Bpffs])?;
    let agent = build::agent(Profile::Release)?;
    say!("+ {} run --config {}", agent.display(), config.display());
    let error = Command::new(&agent)
        .arg("run")
        .arg("--config")
        .arg(config)
        .exec();
    Err(error).with_context(|| format!("run {}", agent.display()))
}
