//! Everything that stands before the first request: the lab, its web servers, and the agent.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lb_tests::interrupt;
use lb_tests::lab::{AccessLog, Agent, Lab, Nginx, Node, Options, VIP4, VIP6, wait_until};
use lb_tests::traffic::request_once;

use super::config::Expected;
use crate::say::say;

/// The configuration of the directors, as it is in the repository.
pub const CONFIG: &str = include_str!("../../../lab/lb.toml");
/// Who owns the virtual addresses.
const VRRP: &str = include_str!("../../../lab/vrrp.toml");

/// The node that asks.
pub const CLIENT: &str = "cl1";
/// The nodes that balance: the master, and its backup.
pub const DIRECTORS: [&str; 2] = ["lb1", "lb2"];
/// The backup's priority, in the place of the master's.
const PRIORITIES: [&str; 2] = ["priority = 150", "priority = 100"];
/// From the agent's readiness until every virtual address answers. A guess: resolving neighbours takes milliseconds.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// A lab that serves. The fields are dropped in this order.
pub struct Stage {
    /// The agents on the directors, the master first.
    pub agents: [Agent; 2],
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
        let [master, backup] = DIRECTORS;
        give_addresses_up(lab.find_node(master)?)?;
        let agents = [
            lab.agent(master, agent, &format!("{CONFIG}\n{VRRP}"))?,
            lab.agent(backup, agent, &of_the_backup())?,
        ];
        let stage = Self {
            agents,
            servers,
            lab,
        };
        stage.wait_for_answers(expected)?;
        let targets: Vec<_> = expected.targets.iter().map(ToString::to_string).collect();
        say!(
            "agents  on {master} (master) and {backup} (backup) with lab/lb.toml and lab/vrrp.toml, serving {}",
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
            .with_context(|| {
                format!("the agent's log ends with\n{}", self.agents[0].log_tail(30))
            })?;
        }
        Ok(())
    }
}

/// The lab gives the first director the virtual addresses for good. Here they are who is master's.
fn give_addresses_up(director: &Node) -> Result<()> {
    for address in [format!("{VIP4}/32"), format!("{VIP6}/128")] {
        director.run("ip", &["address", "delete", &address, "dev", "eth0"])?;
    }
    Ok(())
}

/// The master's file, made the backup's.
fn of_the_backup() -> String {
    let [master, backup] = DIRECTORS;
    let router_id = |name: &str| format!("router_id = \"{name}\"");
    let config = CONFIG.replace(&router_id(master), &router_id(backup));
    let [higher, lower] = PRIORITIES;
    format!("{config}\n{}", VRRP.replace(higher, lower))
}

fn names(servers: &[Nginx]) -> Vec<String> {
    servers
        .iter()
        .map(|server| server.node().name().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backups_file_differs_from_the_masters_in_name_and_priority_alone() {
        let master = format!("{CONFIG}\n{VRRP}");
        let backup = of_the_backup();
        let lines = master.lines().zip(backup.lines());
        let other: Vec<_> = lines.filter(|(one, other)| one != other).collect();
        let router = ("router_id = \"lb1\"", "router_id = \"lb2\"");
        let priority = (PRIORITIES[0], PRIORITIES[1]);
        assert_eq!(other, [router, priority, priority]);
    }
}
