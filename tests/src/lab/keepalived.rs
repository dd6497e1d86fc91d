//! Real keepalived on a node: the peer that VRRP must get along with.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::daemon::{Daemon, Ended};
use super::node::Node;
use super::wait_until;

/// Generous: it ends in some milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// `keepalived` on a node, VRRP alone. Ends with this value, by SIGKILL.
#[derive(Debug)]
pub struct Keepalived {
    node: Node,
    config: PathBuf,
    daemon: Option<Daemon>,
}

impl Keepalived {
    /// Starts it with `config` as the text of its file, once it finds nothing wrong with that.
    ///
    /// # Errors
    /// Where it refuses the file or cannot be started.
    pub fn start(node: &Node, config: &str) -> Result<Self> {
        let path = node.directory().join("keepalived.conf");
        fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
        let path_text = path.to_string_lossy().into_owned();
        // What it does not know it logs and leaves out: nothing that a test could rely on.
        let said = node.run("keepalived", &["--config-test", "-f", &path_text])?;
        ensure!(
            said.trim().is_empty(),
            "keepalived does not like its configuration: {said}"
        );
        let mut keepalived = Self {
            node: node.clone(),
            config: path,
            daemon: None,
        };
        keepalived.restart()?;
        Ok(keepalived)
    }

    /// Starts it again, with the same file.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let pids =
            ["keepalived.pid", "keepalived_vrrp.pid"].map(|name| self.node.directory().join(name));
        for pid in &pids {
            // What was killed may still wait for init to take notice, and a pid file would then say that it runs.
            let _ = fs::remove_file(pid);
        }
        let mut command = self.node.command("keepalived");
        command
            .args(["--vrrp", "--dont-fork", "--log-console", "--log-detail"])
            .arg("--use-file")
            .arg(&self.config)
            .arg("--pid")
            .arg(&pids[0])
            .arg("--vrrp_pid")
            .arg(&pids[1]);
        self.daemon = Some(self.node.spawn("keepalived", command)?);
        Ok(())
    }

    /// Ends it in order: it resigns.
    ///
    /// # Errors
    /// Where it does not end.
    pub fn stop(&mut self) -> Result<Ended> {
        let daemon = self.daemon.as_mut().context("keepalived is not running")?;
        daemon.stop(Signal::SIGTERM, DEADLINE)
    }

    /// Kills it and its children at once, as the loss of its host would.
    pub fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill();
        }
    }

    /// Waits until its log has `words`.
    ///
    /// # Errors
    /// After `deadline`, with the end of the log.
    pub fn wait_for_log(&self, words: &str, deadline: Duration) -> Result<()> {
        wait_until(deadline, &format!("keepalived to say {words:?}"), || {
            let log = self.log();
            match log.contains(words) {
                true => Ok(()),
                false => Err(log),
            }
        })
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        let daemon = self.daemon.as_ref();
        let text = daemon.map(|daemon| fs::read_to_string(daemon.log()).unwrap_or_default());
        text.unwrap_or_default()
    }
}
