//! `cargo xtask lint`: the format, and clippy with warnings as errors.

use std::process::Command;

use anyhow::bail;

use crate::child::{self, Event, Pipe};
use crate::say::say;
use crate::setup::{self, Need};
use crate::{vm, workspace};

/// Check the format, and let clippy read all crates.
#[derive(clap::Args)]
pub struct Args {}

/// Runs the verb: every check, and then fails if one did.
pub fn run(_args: Args) -> anyhow::Result<()> {
    setup::ensure(&[Need::Ebpf])?;
    let mut host = workspace::cargo();
    host.args([
        "clippy",
        "--workspace",
        "--exclude",
        "lb-ebpf",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]);
    // Apart from the others, whose features and panic handler are not its own. It is only read, so the host's target
    // will do, if it aborts on panics as the BPF target does; aya-ebpf and it need the same unstable features as there.
    let mut ebpf = workspace::cargo();
    ebpf.env("RUSTC_BOOTSTRAP", "aya_ebpf,lb")
        .env("CARGO_PROFILE_DEV_PANIC", "abort")
        .args([
            "clippy",
            "--package",
            "lb-ebpf",
            "--all-features",
            "--",
            "-D",
            "warnings",
        ]);
    let mut format = workspace::cargo();
    format.args(["fmt", "--all", "--check"]);

    let mut failed = Vec::new();
    for command in [&mut format, &mut host, &mut ebpf] {
        say!("{}", setup::shown(command));
        if !passes(command)? {
            failed.push(setup::shown(command));
        }
    }
    if !failed.is_empty() {
        bail!("lint: {}", failed.join("; "));
    }
    Ok(())
}

fn passes(command: &mut Command) -> anyhow::Result<bool> {
    let end = child::run(command, Pipe::Out, None, |event: Event<'_>| {
        vm::forward(&event)
    })?;
    Ok(end.success())
}
