//! The guest: Debian's own kernel in QEMU, for what this machine's kernel cannot show.
//!
//! The guest sees this machine's root file system (9p, read-only) below a throw-away overlay, so that
//! any program built here runs there at its own path. The processor is emulated in software: 10 to 50 times
//! slower, which nothing that runs in it may measure.
//!
//! [`image`] makes the guest from Debian's packages (`unpack`, `qemu`), `cpio` packs its first file system, [`guest`] runs a command in it.

mod cpio;
pub mod guest;
pub mod image;
mod qemu;
mod unpack;

use std::env;
use std::ffi::OsString;
use std::io::{Write, stderr, stdout};
use std::process::exit;
use std::time::Duration;

use anyhow::Context;

use crate::child::Event;
use crate::setup::{self, Need};
use guest::{Finish, Guest};

/// Run a command in the guest as root; its exit status is ours.
#[derive(clap::Args)]
pub struct Args {
    /// The guest's memory, MiB.
    #[arg(long, default_value_t = 1024)]
    memory: u32,
    /// The guest's processors; one is quickest on a busy machine.
    #[arg(long, default_value_t = 1)]
    cpus: u32,
    /// Seconds after which the guest is ended.
    #[arg(long, default_value_t = 600)]
    timeout: u64,
    /// A kernel module to load first; may be repeated.
    #[arg(long = "module", value_name = "NAME")]
    modules: Vec<String>,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the verb.
pub fn run(args: Args) -> anyhow::Result<()> {
    setup::ensure(&[Need::Vm])?;
    let guest = Guest {
        memory_mib: args.memory,
        cpus: args.cpus,
        folder: env::current_dir().context("read the current folder")?,
        limit: Duration::from_secs(args.timeout),
        modules: args.modules,
        environment: Vec::new(),
    };
    let finish = guest.run(&args.command, |event| forward(&event))?;
    match finish {
        Finish::Exited(code) => exit(code),
        failed @ (Finish::TimedOut | Finish::Interrupted | Finish::Died { .. }) => {
            Err(failed.into_error())
        }
    }
}

/// Hands a guest's output on to ours, as it comes.
pub fn forward(event: &Event<'_>) {
    // A closed pipe of ours is no reason to end the guest: its exit status still counts.
    match event {
        Event::Out(bytes) => drop(stdout().write_all(bytes).and_then(|()| stdout().flush())),
        Event::Err(bytes) => drop(stderr().write_all(bytes)),
        Event::Tick => {}
    }
}
