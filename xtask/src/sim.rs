//! `cargo xtask sim`: elections of VRRP, simulated by the hundred thousand.

use anyhow::bail;

use crate::child::{self, Event, Pipe};
use crate::setup::{self, Need};
use crate::{vm, workspace};

/// Simulate elections of VRRP under loss, delay, cuts, stalls and crashes.
#[derive(clap::Args)]
pub struct Args {
    /// How many schedules; 1 shows all that happens in it.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first one's seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Runs the verb.
pub fn run(args: Args) -> anyhow::Result<()> {
    setup::ensure(&[Need::Ebpf])?;
    let mut command = workspace::cargo();
    command
        .env("LB_SIM_SEEDS", args.seeds.to_string())
        .env("LB_SIM_SEED", args.seed.to_string())
        .args([
            "test",
            "--package",
            "lb-agent",
            "--test",
            "vrrp_simulation",
            "--",
            "--nocapture",
            "--exact",
            "elections_keep_every_promise",
        ]);
    let end = child::run(&mut command, Pipe::Out, None, |event: Event<'_>| {
        vm::forward(&event)
    })?;
    if !end.success() {
        bail!(
            "a promise was not kept, see above; `{}` {}",
            setup::shown(&command),
            end.describe()
        );
    }
    Ok(())
}
