//! `cargo xtask lab`: a lab that stays up between commands, to look around in by hand.

use std::os::unix::process::CommandExt;
use std::time::Instant;

use crate::say::say;
use anyhow::{Context, Result};
use clap::Subcommand;
use lb_tests::lab::{Lab, Options, ROOT, all_labs, check_requirements};

/// The lab that is meant where none is named.
const MAIN: &str = "main";

/// Arguments of `cargo xtask lab`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a lab that stays until `down`.
    Up {
        #[command(flatten)]
        which: Which,
        /// How many real servers.
        #[arg(long, default_value_t = Options::default().real_servers)]
        real_servers: usize,
    },
    /// Take the lab down, with everything that runs in it.
    Down {
        #[command(flatten)]
        which: Which,
    },
    /// Run a command on a node: sw, cl1, cl2, lb1, lb2, rs1 ...
    Exec {
        #[command(flatten)]
        which: Which,
        /// The node.
        node: String,
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Say which labs are up, and what runs in them.
    Status,
}

#[derive(clap::Args)]
struct Which {
    /// The lab's name, lower-case letters and digits.
    #[arg(long, default_value = MAIN)]
    name: String,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<()> {
    match args.verb {
        Verb::Up {
            which,
            real_servers,
        } => up(&which.name, real_servers),
        Verb::Down { which } => down(&which.name),
        Verb::Exec {
            which,
            node,
            command,
        } => exec(&which.name, &node, &command),
        Verb::Status => status(),
    }
}

fn up(name: &str, real_servers: usize) -> Result<()> {
    let start = Instant::now();
    lb_tests::interrupt::install()?;
    let lab = Lab::up_to_stay(name, &Options { real_servers })?;
    let names: Vec<_> = lab.nodes().iter().map(|node| node.name()).collect();
    say!(
        "lab \"{name}\" is up after {:.1} s: {}",
        start.elapsed().as_secs_f64(),
        names.join(" ")
    );
    let which = match name {
        MAIN => String::new(),
        name => format!("--name {name} "),
    };
    say!(
        "a node's own files are in {ROOT}/{name}/NODE; try: cargo xtask lab exec {which}cl1 ip -br address"
    );
    Ok(())
}

fn down(name: &str) -> Result<()> {
    if Lab::remove(name)? {
        say!("lab \"{name}\" is down");
    } else {
        say!("there is no lab \"{name}\"");
    }
    Ok(())
}

/// Becomes the command, so that its exit status, its terminal and its signals are its own.
fn exec(name: &str, node: &str, command: &[String]) -> Result<()> {
    check_requirements()?;
    let lab = Lab::find(name)?;
    let (program, arguments) = command.split_first().context("a command is needed")?;
    let error = lab.find_node(node)?.command(program).args(arguments).exec();
    Err(error).with_context(|| format!("run {program} on {node}"))
}

fn status() -> Result<()> {
    let labs = all_labs()?;
    if labs.is_empty() {
        say!("no lab is up");
    }
    for lab in labs {
        say!("lab \"{}\": {}", lab.name, lab.state);
        for (node, processes) in lab.processes {
            say!("  {node:4} {}", processes.join(", "));
        }
    }
    Ok(())
}
