//! The agent on a node: started, watched, asked for its status.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::daemon::Daemon;
use super::node::{Node, run_to_end};
use super::wait_until;

/// Loading, attaching and the first commit take well below a second; a debug build on a busy machine is slower.
const READY_DEADLINE: Duration = Duration::from_secs(20);

/// `lb-agent run` on a node. Ends with this value, by SIGKILL: what it has pinned stays, in the node's own file system.
#[derive(Debug)]
pub struct Agent {
    node: Node,
    binary: PathBuf,
    config: PathBuf,
    daemon: Daemon,
}

/// `lb-agent status` on a node, whether an agent runs there or not.
#[derive(Clone, Debug)]
pub struct StatusReader {
    node: Node,
    binary: PathBuf,
}

impl StatusReader {
    /// What `lb-agent status --json` says now.
    pub fn read(&self) -> Result<Value> {
        let mut command = self.node.command(&self.binary);
        command.args(["status", "--json"]);
        let text = run_to_end(
            command,
            &format!("lb-agent status --json on {}", self.node.name()),
        )?;
        serde_json::from_str(&text)
            .with_context(|| format!("lb-agent status --json is not JSON: {text}"))
    }
}

impl Agent {
    /// Starts it with `config` as the text of its file, and waits until it answers and has a data path.
    ///
    /// # Errors
    /// When it ends or is not ready in time; the error has the end of its log.
    pub fn start(node: &Node, binary: &Path, config: &str) -> Result<Self> {
        let path = node.directory().join("lb.toml");
        fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
        let daemon = launch(node, binary, &path)?;
        let agent = Self {
            node: node.clone(),
            binary: binary.to_owned(),
            config: path,
            daemon,
        };
        agent.wait_until_ready()?;
        Ok(agent)
    }

    /// Kills it (SIGKILL), as a crash would.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Starts it again after it has ended, with the same file, and waits until it is ready.
    pub fn restart(&mut self) -> Result<()> {
        self.daemon.kill();
        self.daemon = launch(&self.node, &self.binary, &self.config)?;
        self.wait_until_ready()
    }

    /// Runs the agent's command line on its node, such as `["check", "/path/lb.toml"]`, and returns its stdout.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        let mut command: Command = self.node.command(&self.binary);
        command.args(arguments);
        run_to_end(
            command,
            &format!("lb-agent {} on {}", arguments.join(" "), self.node.name()),
        )
    }

    /// What `lb-agent status --json` says now.
    pub fn status(&self) -> Result<Value> {
        self.status_reader().read()
    }

    /// Reads the status from another thread.
    pub fn status_reader(&self) -> StatusReader {
        StatusReader {
            node: self.node.clone(),
            binary: self.binary.clone(),
        }
    }

    /// The process, for signals and its log.
    pub fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    /// The file that it was started with, which may be rewritten before a reload.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.daemon.log_tail(lines)
    }

    fn wait_until_ready(&self) -> Result<()> {
        let mut ended = None;
        let ready = wait_until(READY_DEADLINE, "the agent to be ready", || {
            ended = self.daemon.ended();
            if ended.is_some() {
                return Ok(()); // There is nothing to wait for any more.
            }
            let status = self.status().map_err(|error| format!("{error:#}"))?;
            match status["datapath"].as_str() {
                Some(datapath) if !datapath.is_empty() => Ok(()),
                _ => Err(format!("no datapath in {status}")),
            }
        });
        let failed = match ended {
            Some(status) => Err(anyhow::anyhow!(
                "the agent on {} ended at its start: {status}",
                self.node.name()
            )),
            None => ready,
        };
        failed.with_context(|| format!("the agent's log ends with\n{}", self.log_tail(30)))
    }
}

fn launch(node: &Node, binary: &Path, config: &Path) -> Result<Daemon> {
    let mut command = node.command(binary);
    command.arg("run").arg("--config").arg(config);
    node.spawn("lb-agent", command)
}
