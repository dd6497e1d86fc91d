//! A lab with real servers and an agent on lb1: where nearly every end-to-end test begins.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::lab::{Agent, Ended, Lab, Nginx, Node, Options, wait_until};
use crate::traffic::request_once;

/// The configuration that `cargo xtask run` uses.
pub const LAB_CONFIG: &str = include_str!("../../lab/lb.toml");

/// Long beside everything the agent does, short beside the patience of a person.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The agent's executable, built beside the one that runs.
///
/// # Errors
/// Where there is none.
pub fn agent_binary() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the test's own executable")?;
    // target/PROFILE/deps/TEST beside target/PROFILE/lb-agent
    let profile = own.parent().and_then(Path::parent);
    let binary = profile
        .context("the test's executable lies in no target directory")?
        .join("lb-agent");
    ensure!(
        binary.is_file(),
        "there is no {}: build it by `cargo build -p lb-agent`, or let `cargo xtask test lab` do so",
        binary.display()
    );
    Ok(binary)
}

/// The director with nginx on every real server.
#[derive(Debug)]
pub struct Director {
    /// The agent on lb1.
    pub agent: Agent,
    /// nginx of rs1, rs2 …
    pub servers: Vec<Nginx>,
    /// The network. The last to go.
    pub lab: Lab,
}

impl Director {
    /// Three real servers with nginx, and the agent with `config` as its file.
    pub fn up(config: &str) -> Result<Self> {
        Self::in_lab(Lab::up(&Options::default())?, config)
    }

    /// The same in a lab that has been changed before.
    pub fn in_lab(lab: Lab, config: &str) -> Result<Self> {
        let names: Vec<_> = lab
            .real_servers()
            .map(|node| node.name().to_owned())
            .collect();
        let servers = names
            .iter()
            .map(|name| lab.nginx(name))
            .collect::<Result<_>>()?;
        let agent = lab.agent("lb1", &agent_binary()?, config)?;
        Ok(Self {
            agent,
            servers,
            lab,
        })
    }

    /// The host that the agent runs on.
    pub fn node(&self) -> &Node {
        self.lab.node("lb1")
    }

    /// The client that asks.
    pub fn client(&self) -> &Node {
        self.lab.node("cl1")
    }

    /// Asks `target` this many times, each over a connection of its own, and counts who answered.
    ///
    /// # Errors
    /// At the first request that fails.
    pub fn ask(&self, target: &str, times: usize) -> Result<BTreeMap<String, usize>> {
        let target: SocketAddr = target.parse().context("a target is ADDRESS:PORT")?;
        let mut answers = BTreeMap::new();
        for number in 1..=times {
            let server = request_once(self.client(), target, Duration::from_secs(5))
                .with_context(|| format!("request {number} of {times}"))?;
            *answers.entry(server).or_insert(0) += 1;
        }
        Ok(answers)
    }

    /// Waits until the agent's status is as `probe` wants it.
    ///
    /// # Errors
    /// After [`DEADLINE`], with what `probe` saw last.
    pub fn wait_for_status<T>(
        &self,
        what: &str,
        mut probe: impl FnMut(&Value) -> Result<T, String>,
    ) -> Result<T> {
        wait_until(DEADLINE, what, || {
            let status = self.agent.status().map_err(|error| format!("{error:#}"))?;
            probe(&status)
        })
    }

    /// Waits until a real server of a service has this state, and returns what the status then says of it.
    ///
    /// # Errors
    /// After [`DEADLINE`], with what the status says of it.
    pub fn wait_for_state(&self, service: &str, address: &str, state: &str) -> Result<Value> {
        self.wait_for_status(&format!("{address} to be {state}"), |status| {
            let found = real_server(status, service, address);
            if found["state"] == state {
                Ok(found.clone())
            } else {
                Err(found.to_string())
            }
        })
    }
}

/// What a status says of a service; null where it says nothing.
pub fn service<'a>(status: &'a Value, name: &str) -> &'a Value {
    find(&status["services"], "name", name)
}

/// What a status says of a real server; null where it says nothing.
pub fn real_server<'a>(status: &'a Value, service_name: &str, address: &str) -> &'a Value {
    find(
        &service(status, service_name)["real_servers"],
        "address",
        address,
    )
}

/// What a status says of an interface; null where it says nothing.
pub fn interface<'a>(status: &'a Value, name: &str) -> &'a Value {
    find(&status["interfaces"], "name", name)
}

/// How many packets a status counts as dropped for `reason`.
pub fn drops(status: &Value, reason: &str) -> u64 {
    find(&status["drops"], "reason", reason)["count"]
        .as_u64()
        .unwrap_or(0)
}

/// How many packets a status counts as answered for `reason`.
pub fn answers(status: &Value, reason: &str) -> u64 {
    find(&status["answered"], "reason", reason)["count"]
        .as_u64()
        .unwrap_or(0)
}

fn find<'a>(list: &'a Value, key: &str, value: &str) -> &'a Value {
    let members = list.as_array().map(Vec::as_slice).unwrap_or_default();
    members
        .iter()
        .find(|member| member[key] == value)
        .unwrap_or(&Value::Null)
}

/// A start that failed.
#[derive(Debug)]
pub struct Refusal {
    /// How it ended.
    pub ended: Ended,
    /// All that it wrote.
    pub text: String,
}

impl Refusal {
    /// What it wrote to say why.
    ///
    /// # Errors
    /// Where that is not one message.
    pub fn message(&self) -> Result<&str> {
        let mut errors = self.text.match_indices("error: ");
        let first = errors.next();
        ensure!(
            matches!(self.ended, Ended::Exited(status) if status != 0),
            "it ended with {}: {}",
            self.ended,
            self.text
        );
        let (start, _) = first.with_context(|| format!("no error in: {}", self.text))?;
        ensure!(errors.next().is_none(), "several errors: {}", self.text);
        Ok(self.text.get(start..).unwrap_or_default().trim_end())
    }
}

/// Runs the agent on a node with a configuration that it is to refuse, and waits for its end.
///
/// # Errors
/// Where it does not end by itself.
pub fn refused(node: &Node, config: &str) -> Result<Refusal> {
    let path = node.directory().join("refused.toml");
    fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
    let mut command = node.command(agent_binary()?);
    command.arg("run").arg("--config").arg(&path);
    refused_command(node, command)
}

/// The same for any command.
///
/// # Errors
/// Where it does not end by itself.
pub fn refused_command(node: &Node, command: std::process::Command) -> Result<Refusal> {
    let mut daemon = node.spawn("refused", command)?;
    let ended = daemon.wait(DEADLINE)?;
    let text = fs::read_to_string(daemon.log()).context("read what it wrote")?;
    fs::remove_file(daemon.log()).context("remove its log for the next one")?;
    Ok(Refusal { ended, text })
}

/// What an agent has left on a node that shows from outside: pins, programs on interfaces, the control socket, neighbour
/// entries that the kernel is told to keep.
///
/// # Errors
/// Where the node cannot be looked at.
pub fn traces(node: &Node) -> Result<Vec<String>> {
    let mut traces = Vec::new();
    for path in ["bpf/lb", "run/lb.sock"] {
        let path = node.directory().join(path);
        if path.exists() {
            traces.push(path.display().to_string());
        }
    }
    let links = node.run("ip", &["-o", "link", "show"])?;
    traces.extend(
        links
            .lines()
            .filter(|line| line.contains("xdp"))
            .map(|line| line.trim_end().to_owned()),
    );
    let neighbours = node.run("ip", &["neighbour", "show"])?;
    let kept = |line: &&str| line.contains("managed") || line.contains("extern_learn");
    traces.extend(neighbours.lines().filter(kept).map(str::to_owned));
    Ok(traces)
}
