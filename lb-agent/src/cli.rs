//! The command line.

use crate::{
    agent::{self, Lock, Pool, StartError},
    config::{self, Loaded},
    control::{
        client,
        detail::InDetail,
        protocol::{Request, Response},
        server::remove_stale,
    },
    datapath::{fence, xdp},
    log,
    network::{Resolver, ResolverOptions},
    script::Runner,
};
mod check_now;
mod genhash;
mod host;
mod output;
mod server;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// An edge load balancer: XDP forwarding, health checks, one configuration file.
#[derive(Debug, Parser)]
#[command(name = "lb-agent", version)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the agent until SIGTERM; forwarding goes on afterwards.
    Run {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "/etc/lb/lb.toml")]
        config: PathBuf,
    },
    /// Say everything that is wrong with a configuration; change nothing.
    Check {
        /// The configuration.
        file: PathBuf,
    },
    /// Show how the running agent and the data plane stand.
    Status {
        /// One service alone, with its checks and what has happened to it.
        service: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// The agent's control socket.
        #[arg(long, value_name = "PATH", default_value = SOCKET)]
        socket: PathBuf,
    },
    /// Do something with real servers of a service, kept over restarts until it is undone.
    Server {
        /// What to do.
        #[command(subcommand)]
        verb: server::Verb,
        /// The agent's control socket.
        #[arg(long, global = true, value_name = "PATH", default_value = SOCKET)]
        socket: PathBuf,
    },
    /// Make the checks of one real server once, and show each step.
    CheckNow {
        /// The service's name.
        service: String,
        /// The real server's address, as the status shows it.
        real_server: String,
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "/etc/lb/lb.toml")]
        config: PathBuf,
    },
    /// Print the digest of what a server answers, for `digest` of an http or https check.
    Genhash(genhash::Args),
    /// Hand the ownership of virtual addresses over by hand, in order.
    Vrrp {
        #[command(subcommand)]
        verb: VrrpVerb,
    },
    /// Have the running agent go by what its file says now. What is wrong with it is shown, and then nothing changes.
    Reload {
        /// The agent's control socket.
        #[arg(long, value_name = "PATH", default_value = SOCKET)]
        socket: PathBuf,
    },
    /// Take the data plane away: programs, attachments, maps and kept neighbours. Only while no agent runs.
    Unload {
        /// The agent's control socket, by which a running one is known.
        #[arg(long, value_name = "PATH", default_value = SOCKET)]
        socket: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum VrrpVerb {
    /// Give the addresses up, and do not preempt whoever takes them. If nobody does, they come back.
    Release(Instance),
    /// Take the addresses, also without preemption and without delay.
    Claim(Instance),
}

#[derive(Debug, clap::Args)]
struct Instance {
    /// The instance's name. Those of its sync group move with it.
    instance: String,
    /// The agent's control socket.
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
}

/// The control socket's default, as in the configuration.
const SOCKET: &str = "/run/lb/lb.sock";

/// Does what the command line says.
///
/// # Errors
/// To be shown with all their causes.
pub fn main(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.verb {
        Verb::Run { config } => run(&config),
        Verb::Check { file } => check(&file),
        Verb::Status {
            service,
            json,
            socket,
        } => status(&socket, service.as_deref(), json),
        Verb::Server { verb, socket } => server::run(&socket, verb),
        Verb::CheckNow {
            service,
            real_server,
            config,
        } => check_now(&config, &service, &real_server),
        Verb::Genhash(args) => genhash::run(&args).map(|()| ExitCode::SUCCESS),
        Verb::Vrrp { verb } => hand_over(verb),
        Verb::Reload { socket } => ask(&socket, Request::Reload),
        Verb::Unload { socket } => unload(&socket),
    }
}

fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let loaded = match config::load(file) {
        Ok(loaded) => loaded,
        Err(report) => {
            output::complain(&report);
            return Ok(ExitCode::FAILURE);
        }
    };
    log::init(loaded.config.log);
    for warning in &loaded.warnings {
        tracing::warn!(key = warning.key, "{}", warning.message);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        match agent::start(loaded.config, file, Path::new(xdp::BPFFS)).await {
            Ok(agent) => agent.run().await,
            // Asked to end before it began: that is no failure.
            Err(error @ StartError::Interrupted) => tracing::info!("{error}"),
            Err(error) => return Err(error.into()),
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn check_now(file: &Path, service: &str, real_server: &str) -> anyhow::Result<ExitCode> {
    match config::load(file) {
        Ok(loaded) => check_now::run(&loaded.config, service, real_server),
        Err(report) => {
            output::complain(&report);
            Ok(ExitCode::FAILURE)
        }
    }
}

fn check(file: &Path) -> anyhow::Result<ExitCode> {
    match config::load(file) {
        Ok(Loaded {
            config,
            mut warnings,
            places,
            ..
        }) => {
            warnings.extend(host::warnings(&config, &places));
            for warning in &warnings {
                output::complain(&format_args!("{warning}\n"));
            }
            if let Err(error) = Pool::new(&config, &Runner::default()) {
                output::complain(&format_args!(
                    "warning: on this host it would not be started: {error}\n"
                ));
            }
            if let Err(error) = agent::trackers(&config, &Runner::default()) {
                output::complain(&format_args!(
                    "warning: on this host it would not be started: {error}\n"
                ));
            }
            let real_servers: usize = config
                .services
                .iter()
                .map(|service| service.real_servers.len())
                .sum();
            output::say(&format_args!(
                "{}: valid, {} services, {real_servers} real servers\n",
                file.display(),
                config.services.len()
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(report) => {
            output::complain(&report);
            Ok(ExitCode::FAILURE)
        }
    }
}

fn status(socket: &Path, service: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    match client::ask(socket, Request::Status)? {
        Response::Status(status) if service.is_some() => {
            let mut known = status.services.iter();
            let Some(found) = known.find(|known| Some(known.name.as_str()) == service) else {
                let known: Vec<&str> = status.services.iter().map(|it| it.name.as_str()).collect();
                bail!("there is no such service; there are: {}", known.join(", "));
            };
            match json {
                true => {
                    let text = serde_json::to_string_pretty(found)?;
                    output::say(&format_args!("{text}\n"))?;
                }
                false => output::say(&InDetail(found))?,
            }
        }
        Response::Status(status) if json => {
            output::say(&format_args!(
                "{}\n",
                serde_json::to_string_pretty(&status)?
            ))?;
        }
        Response::Status(status) => output::say(&status)?,
        Response::Done(_) => bail!("the agent answers another question"),
        Response::Error(error) => bail!("{error}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Has the agent do something, and shows what it says.
fn ask(socket: &Path, request: Request) -> anyhow::Result<ExitCode> {
    match client::ask(socket, request)? {
        Response::Done(lines) => output::say(&format_args!("{}\n", lines.join("\n")))?,
        Response::Status(_) => bail!("the agent answers another question"),
        Response::Error(error) => bail!("{error}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn hand_over(verb: VrrpVerb) -> anyhow::Result<ExitCode> {
    let (socket, request) = match verb {
        VrrpVerb::Release(Instance { instance, socket }) => {
            (socket, Request::VrrpRelease { instance })
        }
        VrrpVerb::Claim(Instance { instance, socket }) => (socket, Request::VrrpClaim { instance }),
    };
    ask(&socket, request)
}

fn unload(socket: &Path) -> anyhow::Result<ExitCode> {
    let bpffs = Path::new(xdp::BPFFS);
    xdp::Pins::look(bpffs)?;
    let _lock = Lock::take(socket, bpffs)?;
    // What an agent that was killed could not take away itself.
    remove_stale(socket)?;
    let removed = xdp::unload(bpffs)?;
    fence::unload();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let neighbours = runtime.block_on(async {
        Resolver::start(ResolverOptions::default())
            .await?
            .shutdown()
            .await
    });
    neighbours.map_err(|error| anyhow::anyhow!("{}", error.with_cause()))?;
    match removed.len() {
        0 => output::say(&"nothing was loaded\n")?,
        _ => {
            for path in &removed {
                output::say(&format_args!("removed {}\n", path.display()))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
