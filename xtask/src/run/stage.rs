//! Everything that stands before the first request: the lab, its web servers, and the agent.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lb_tests::interrupt;
use lb_tests::lab::{AccessLog, Agent, Lab, Nginx, Options, wait_until};
use lb_tests::traffic::request_once;

use super::config::Expected;
use crate::say::say;

/// The configuration of the director, as it is in the repository.
pub const CONFIG: &str = include_str!("../../../lab/lb.toml");

/// The node that asks.
pub const CLIENT: &str = "cl1";
/// The node that balances.
const DIRECTOR: &str = "lb1";
/// From the agent's readiness until every virtual address answers. A guess: resolving neighbours takes milliseconds.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// A lab that serves. The fields are dropped in this order.
pub struct Stage {
    /// The agent on the director.
    pub agent: Agent,
    /// The web servers, one for each real server.
    pub servers: Vec<Nginx>,
    /// The network.
    pub lab: Lab,
}

impl Stage {
    /// Sets everything up, and waits until each of the virtual addresses has answered once.
    pub fn set(agent: &Path, expected: &Expected) -> Result<Self> {
        let start = Instant::now();
        let lab = Lab::up(&Options::default())?;
        interrupt::check()?;
        // No log of requests: a run may go on for days.
        let servers = lab
            .real_servers()
            .map(|node| Nginx::start(node, AccessLog::Off))
            .collect::<Result<Vec<_>>>()?;
        interrupt::check()?;
        say!(
            "lab     clients cl1 cl2, directors lb1 lb2, real servers with nginx {}",
            names(&servers).join(" ")
        );
        let agent = lab.agent(DIRECTOR, agent, CONFIG)?;
        let stage = Self {
            agent,
            servers,
            lab,
        };
        stage.wait_for_answers(expected)?;
        let targets: Vec<_> = expected.targets.iter().map(ToString::to_string).collect();
        say!(
            "agent   on {DIRECTOR} with lab/lb.toml, serving {}",
            targets.join(" ")
        );
        say!("ready   after {:.1} s", start.elapsed().as_secs_f64());
        Ok(stage)
    }

    /// The names of the real servers.
    pub fn server_names(&self) -> Vec<String> {
        names(&self.servers)
    }

    fn wait_for_answers(&self, expected: &Expected) -> Result<()> {
        let client = self.lab.find_node(CLIENT)?;
        for target in &expected.targets {
            wait_until(FIRST_ANSWER, &format!("{target} to answer"), || {
                request_once(client, *target, Duration::from_secs(1))
                    .map_err(|error| format!("{error:#}"))
            })
            .with_context(|| format!("the agent's log ends with\n{}", self.agent.log_tail(30)))?;
        }
        Ok(())
    }
}

fn names(servers: &[Nginx]) -> Vec<String> {
    servers
        .iter()
        .map(|server| server.node().name().to_owned())
        .collect()
}
