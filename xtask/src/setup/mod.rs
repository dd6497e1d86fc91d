//! `cargo xtask setup`: what building, running and testing need, installed where it is missing.
//!
//! Every step is first asked whether it is needed, by looking at files: with nothing to do the whole
//! takes a few milliseconds and prints nothing. Other verbs call [`ensure`] with the part they need.
//! Nothing is downloaded but Debian's packages and crates.

pub mod apt;
mod bpffs;
mod plan;
mod progress;
mod toolchain;

use anyhow::bail;
use nix::unistd::Uid;

pub use progress::{shown, step};

use crate::say::say;
use plan::Plan;
use toolchain::Choice;

/// What a verb needs before it can start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The compiler and the linker for the XDP program.
    Ebpf,
    /// `/sys/fs/bpf`, where programs and maps are pinned.
    Bpffs,
    /// What the network lab runs: nginx, curl, iproute2, ethtool, keepalived.
    Lab,
    /// What benchmarks compare lb with.
    Peers,
    /// The guest with Debian's own kernel: QEMU and an image in `target/vm`.
    Vm,
}

impl Need {
    /// Everything but what only benchmarks need.
    pub const ALL: [Self; 4] = [Self::Ebpf, Self::Bpffs, Self::Lab, Self::Vm];
}

/// Install what is missing; change nothing where all is there.
#[derive(clap::Args)]
pub struct Args {
    /// Only say what is missing, and change nothing; exit status 1 if something is.
    #[arg(long)]
    check: bool,
}

/// Runs the verb.
pub fn run(args: Args) -> anyhow::Result<()> {
    if args.check {
        let plan = Plan::survey(&Need::ALL);
        if plan.is_empty() {
            say!("nothing is missing");
            return Ok(());
        }
        for line in plan.describe() {
            say!("missing: {line}");
        }
        bail!("run `cargo xtask setup` as root to install what is missing");
    }
    ensure(&Need::ALL)?;
    say!("{}", Choice::find().describe());
    say!("set-up is complete");
    Ok(())
}

/// Installs what is missing of `needs`. Silent where nothing is.
pub fn ensure(needs: &[Need]) -> anyhow::Result<()> {
    let plan = Plan::survey(needs);
    if plan.is_empty() {
        return Ok(());
    }
    for line in plan.describe() {
        say!("missing: {line}");
    }
    if !plan.packages.is_empty() {
        apt::install(&plan.packages)?;
    }
    if plan.toolchain {
        toolchain::prepare()?;
    }
    if plan.bpffs {
        bpffs::mount()?;
    }
    if plan.image {
        crate::vm::image::build()?;
    }
    // Read again rather than trust: a package may have come without what we expect of it.
    let rest = Plan::survey(needs);
    if !rest.is_empty() {
        bail!(
            "set-up ran, yet this is still missing: {}",
            rest.describe().join("; ")
        );
    }
    Ok(())
}

/// Fails with the cure unless we are root. `what` begins the sentence: "the packet tests load programs into the kernel".
pub fn need_root(what: &str) -> anyhow::Result<()> {
    if Uid::effective().is_root() {
        return Ok(());
    }
    bail!(
        "{what}, which takes root: run it again as root, for example `sudo -E env \"PATH=$PATH\" cargo xtask …`"
    )
}
