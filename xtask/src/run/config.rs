//! What the run has to know of the agent's configuration: whom to ask, and how soon a dead server must be out.
//!
//! The agent validates the file; here only a few keys are read, so that the figures of the run cannot differ from it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The part of the configuration that matters to the run.
#[derive(Debug)]
pub struct Expected {
    /// Every address that a service listens on.
    pub targets: Vec<SocketAddr>,
    /// After this a dead server gets no new connection: fall x interval + timeout, of the slowest check.
    pub bound: Duration,
}

#[derive(Deserialize)]
struct File {
    service: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    name: String,
    listen: Vec<SocketAddr>,
    check: Check,
}

#[derive(Deserialize)]
struct Check {
    interval: String,
    timeout: String,
    fall: u32,
}

impl Expected {
    /// Reads the text of a configuration whose services all have a check with `interval`, `timeout` and `fall`.
    pub fn read(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text).context("read the lab's configuration")?;
        ensure!(
            !file.service.is_empty(),
            "the lab's configuration has no service"
        );
        let mut targets = Vec::new();
        let mut bound = Duration::ZERO;
        for service in file.service {
            let of_service = service
                .check
                .bound()
                .with_context(|| format!("the check of service \"{}\"", service.name))?;
            bound = bound.max(of_service);
            targets.extend(service.listen);
        }
        Ok(Self { targets, bound })
    }
}

impl Check {
    fn bound(&self) -> Result<Duration> {
        let duration = |key: &str, text: &str| {
            humantime::parse_duration(text).with_context(|| format!("{key} = \"{text}\""))
        };
        Ok(self.fall * duration("interval", &self.interval)? + duration("timeout", &self.timeout)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labs_own_file_has_both_families_and_a_bound_of_one_second() {
        let expected = Expected::read(super::super::stage::CONFIG).unwrap();
        assert_eq!(expected.bound, Duration::from_secs(1));
        assert!(expected.targets.iter().any(SocketAddr::is_ipv4));
        assert!(expected.targets.iter().any(SocketAddr::is_ipv6));
        assert_eq!(expected.targets.len(), 4);
    }

    #[test]
    fn the_slowest_check_sets_the_bound() {
        let service = |name: &str, fall: u32| {
            format!(
                "[[service]]\nname = \"{name}\"\nlisten = [\"192.0.2.1:80\"]\ncheck = {{ interval = \"2s\", timeout = \"500ms\", fall = {fall} }}\n"
            )
        };
        let expected = Expected::read(&(service("a", 3) + &service("b", 1))).unwrap();
        assert_eq!(expected.bound, Duration::from_millis(6500));
    }
}
