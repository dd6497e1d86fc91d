//! `lb-agent server`: what the operator does with real servers, through the running agent.

use super::output;
use crate::control::{
    client,
    protocol::{Request, Response, ServerVerb},
    status::{RealServerStatus, Status},
};
use anyhow::bail;
use clap::Subcommand;
use std::{
    collections::BTreeMap,
    path::Path,
    process::ExitCode,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

/// Between two looks at a drain that is waited for.
const GLANCE: Duration = Duration::from_millis(500);
/// As long may the agent be away meanwhile: a restart.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to do with real servers.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Give them nothing new, and let the connections they have end in peace.
    Drain {
        #[command(flatten)]
        servers: Servers,
        /// Wait until no connection is left, or until those that are have been cut at the deadline: exit status 1.
        #[arg(long)]
        wait: bool,
        /// How long connections may take to end, such as 10m [default: the service's `drain_timeout`].
        #[arg(long, value_name = "TIME")]
        deadline: Option<humantime::Duration>,
        /// How long silent connections have to show themselves before they count as ended. Nothing is known of a
        /// connection before it sends something; it keeps its place until the deadline, counted or not.
        #[arg(long, value_name = "TIME", default_value = "30s")]
        silence: humantime::Duration,
    },
    /// Give them nothing any more, at once: their connections are moved to others.
    Disable(Servers),
    /// Let them serve again, as health allows.
    Enable(Servers),
    /// Give them another weight.
    Weight {
        #[command(flatten)]
        servers: Servers,
        /// 0 to 65535, or `configured` for that of the configuration.
        weight: Weight,
    },
}

/// A weight that the operator sets; `None`: the configured one.
#[derive(Clone, Copy, Debug)]
pub struct Weight(Option<u16>);

impl FromStr for Weight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "configured" {
            return Ok(Self(None));
        }
        let expected = |error| format!("{error}; expected 0..65535 or `configured`");
        text.parse()
            .map(|weight| Self(Some(weight)))
            .map_err(expected)
    }
}

/// Which real servers.
#[derive(Clone, Debug, clap::Args)]
pub struct Servers {
    /// The service's name.
    service: String,
    /// Their addresses, as the status shows them.
    #[arg(required = true, value_name = "REAL_SERVER")]
    real_servers: Vec<String>,
}

/// Whether the end of a drain is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    No,
    Yes,
}

/// Has it done.
///
/// # Errors
/// Where the agent refuses, or does not answer.
pub fn run(socket: &Path, verb: Verb) -> anyhow::Result<ExitCode> {
    let (verb, servers, waiting) = match verb {
        Verb::Drain {
            servers,
            wait,
            deadline,
            silence,
        } => {
            let verb = ServerVerb::Drain {
                deadline_s: deadline.map(whole_seconds),
                silence_s: Some(whole_seconds(silence)),
            };
            let waiting = match wait {
                true => Waiting::Yes,
                false => Waiting::No,
            };
            (verb, servers, waiting)
        }
        Verb::Disable(servers) => (ServerVerb::Disable, servers, Waiting::No),
        Verb::Enable(servers) => (ServerVerb::Enable, servers, Waiting::No),
        Verb::Weight {
            servers,
            weight: Weight(weight),
        } => (ServerVerb::Weight { weight }, servers, Waiting::No),
    };
    let request = Request::Server {
        verb,
        service: servers.service.clone(),
        real_servers: servers.real_servers.clone(),
    };
    match client::ask(socket, request)? {
        Response::Done(lines) => output::say(&format_args!("{}\n", lines.join("\n")))?,
        Response::Status(_) => bail!("the agent answers another question"),
        Response::Error(error) => bail!("{error}"),
    }
    match waiting {
        Waiting::No => Ok(ExitCode::SUCCESS),
        Waiting::Yes => wait_for_drain(socket, &servers),
    }
}

/// Up to the next one.
fn whole_seconds(duration: humantime::Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Shows what is left, until all have been drained.
fn wait_for_drain(socket: &Path, servers: &Servers) -> anyhow::Result<ExitCode> {
    let mut shown: BTreeMap<&str, String> = BTreeMap::new();
    let mut answered = Instant::now();
    loop {
        let status = match client::ask(socket, Request::Status) {
            Ok(Response::Status(status)) => status,
            Ok(Response::Error(error)) => bail!("{error}"),
            Ok(Response::Done(_)) => bail!("the agent answers another question"),
            Err(_) if answered.elapsed() < PATIENCE => {
                thread::sleep(GLANCE);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        answered = Instant::now();
        let (mut going_on, mut cut) = (0, 0);
        for name in &servers.real_servers {
            let Some(found) = find(&status, &servers.service, name) else {
                bail!(
                    "service `{}` has no real server {name} any more",
                    servers.service
                );
            };
            let Some(drain) = &found.drain else {
                bail!(
                    "{name} is not to be drained any more: it is {}",
                    found.state
                );
            };
            match drain.cut {
                Some(lost) => cut += lost,
                None => going_on += 1,
            }
            let line = in_words(found);
            if shown.get(name.as_str()) != Some(&line) {
                output::say(&format_args!("{} {name}: {line}\n", servers.service))?;
                shown.insert(name, line);
            }
        }
        match (going_on, cut) {
            (0, 0) => return Ok(ExitCode::SUCCESS),
            (0, _) => return Ok(ExitCode::FAILURE),
            _ => thread::sleep(GLANCE),
        }
    }
}

fn find<'a>(status: &'a Status, service: &str, name: &str) -> Option<&'a RealServerStatus> {
    let service = status.services.iter().find(|known| known.name == service)?;
    let mut real_servers = service.real_servers.iter();
    real_servers.find(|known| known.address == name)
}

fn in_words(real_server: &RealServerStatus) -> String {
    let Some(drain) = &real_server.drain else {
        return real_server.state.clone();
    };
    if drain.cut.is_some() {
        let last = real_server.history.last();
        let why = last.map_or("", |change| change.reason.as_str());
        return format!("drained: {why}");
    }
    match drain.connections {
        None => "draining: connections are being counted".to_owned(),
        Some(1) => "draining: 1 connection left".to_owned(),
        Some(count) => format!("draining: {count} connections left"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_a_number_or_the_configured_one() {
        assert_eq!(
            "configured".parse::<Weight>().map(|weight| weight.0),
            Ok(None)
        );
        assert_eq!(
            "65535".parse::<Weight>().map(|weight| weight.0),
            Ok(Some(65535))
        );
        let error = "65536".parse::<Weight>().map(|weight| weight.0);
        assert!(error.is_err_and(|error| error.contains("expected 0..65535 or `configured`")));
    }

    #[test]
    fn parts_of_a_second_count_as_a_whole_one() {
        let seconds = |text: &str| text.parse().map(whole_seconds);
        assert_eq!(
            [seconds("0s"), seconds("100ms"), seconds("1m")],
            [Ok(0), Ok(1), Ok(60)]
        );
    }
}
