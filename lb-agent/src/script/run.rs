//! One run of a command.
//!
//! It is the leader of a process group of its own, with no input, and what it says goes into a pipe of which the
//! beginning is kept. Who gives up waiting (drops the run) ends it: the whole group gets SIGTERM, and SIGKILL
//! [`PATIENCE`] later or when the leader has ended.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, geteuid};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::ScriptError;
use super::secure;
use super::user::Ids;
use crate::config::{Scripts, User};

/// From SIGTERM to SIGKILL.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How often is looked whether a command that was told to end has done so.
const GLANCE: Duration = Duration::from_millis(10);
/// As much as is kept of what a command says.
const KEPT_BYTES: usize = 1024;
/// As much as is shown of it.
const SHOWN_CHARS: usize = 160;
/// Where programs are looked for by what a command runs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Sees to the end of all commands that it was given.
#[derive(Clone, Debug, Default)]
pub struct Runner {
    endings: TaskTracker,
}

impl Runner {
    /// Returns when every command that was given up has ended.
    pub async fn finish(&self) {
        self.endings.close();
        self.endings.wait().await;
    }
}

/// A command that can be run.
#[derive(Clone, Debug)]
pub struct Script {
    command: Vec<String>,
    ids: Ids,
    allow_insecure: bool,
    runner: Runner,
}

/// Equal where the same is run as the same.
impl PartialEq for Script {
    fn eq(&self, other: &Self) -> bool {
        (&self.command, &self.ids, self.allow_insecure)
            == (&other.command, &other.ids, other.allow_insecure)
    }
}

impl Eq for Script {}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit status or signal.
    pub status: ExitStatus,
    /// The first line it said, made fit for a log; empty: nothing.
    pub said: String,
}

impl Script {
    /// `command` is a program's absolute path and its arguments; `user`, where it has one of its own, goes before that of
    /// all scripts.
    ///
    /// # Errors
    /// Where there is no such user, or others than root can change the program and that is not allowed.
    pub fn new(
        command: &[String],
        user: Option<&User>,
        settings: &Scripts,
        runner: &Runner,
    ) -> Result<Self, ScriptError> {
        let script = Self {
            command: command.to_vec(),
            ids: Ids::of(user.unwrap_or(&settings.user))?,
            allow_insecure: settings.allow_insecure,
            runner: runner.clone(),
        };
        script.secured()?;
        Ok(script)
    }

    /// The program's path.
    pub fn program(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }

    /// Its own arguments.
    pub fn arguments(&self) -> &[String] {
        self.command.get(1..).unwrap_or_default()
    }

    /// Runs it with `arguments` after its own and `environment` besides the agent's. Dropped before its end, it ends the
    /// command.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub async fn run(
        &self,
        arguments: &[String],
        environment: &[(&str, String)],
    ) -> Result<Ended, ScriptError> {
        self.secured()?;
        self.run_unlooked(arguments, environment)
            .await
            .map_err(|source| ScriptError::Start {
                program: self.program().to_owned(),
                source,
            })
    }

    /// Looked at before every run: what was good at the start may have changed since.
    fn secured(&self) -> Result<(), ScriptError> {
        if !self.allow_insecure {
            secure::check(Path::new(self.program()))?;
        }
        Ok(())
    }

    async fn run_unlooked(
        &self,
        arguments: &[String],
        environment: &[(&str, String)],
    ) -> io::Result<Ended> {
        let (output, write) = io::pipe()?;
        let mut output = pipe::Receiver::from_owned_fd(output.into())?;
        let mut command = self.command(arguments, environment);
        command.stdout(write.try_clone()?).stderr(write);
        let child = command.spawn()?;
        // Its copies of the pipe's writing end: only the command's own keep it open now.
        drop(command);
        let mut running = Running {
            child: Some(child),
            runner: self.runner.clone(),
        };
        let mut said = Vec::new();
        let mut buffer = [0; 512];
        let mut is_open = true;
        let status = loop {
            tokio::select! {
                status = running.wait() => break status?,
                read = output.read(&mut buffer), if is_open => match read {
                    Ok(read) if read > 0 => keep(&mut said, &buffer[..read]),
                    Ok(_) | Err(_) => is_open = false,
                },
            }
        };
        // What it said last. Somebody it left behind may go on talking: not for ever.
        while said.len() < KEPT_BYTES {
            match output.try_read(&mut buffer) {
                Ok(read) if read > 0 => keep(&mut said, &buffer[..read]),
                Ok(_) | Err(_) => break,
            }
        }
        Ok(Ended {
            status,
            said: first_line(&said),
        })
    }

    fn command(&self, arguments: &[String], environment: &[(&str, String)]) -> Command {
        let mut command = Command::new(self.program());
        command
            .args(self.arguments())
            .args(arguments)
            // systemd takes what comes from these for the agent's own words.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .env("PATH", PATH)
            .env("USER", &self.ids.name)
            .env("LOGNAME", &self.ids.name)
            .env("HOME", &self.ids.home)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .process_group(0);
        if geteuid().is_root() {
            // With the user set, the supplementary groups go too.
            command
                .uid(self.ids.uid.as_raw())
                .gid(self.ids.gid.as_raw());
        }
        command
    }
}

/// A command that runs. Dropped, it is ended.
struct Running {
    child: Option<Child>,
    runner: Runner,
}

impl Running {
    /// Waits for its end, after which dropping does nothing.
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let Some(child) = &mut self.child else {
            return Err(io::Error::other("waited for twice"));
        };
        let status = child.wait().await?;
        self.child = None;
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else {
            return;
        };
        match Handle::try_current() {
            Ok(runtime) => drop(self.runner.endings.spawn_on(end(child), &runtime)),
            // The agent itself is at its end: there is no time left.
            Err(_) => {
                let _ = leader(&child).map(|leader| killpg(leader, Signal::SIGKILL));
            }
        }
    }
}

/// TERM, then KILL.
///
/// The leader is not reaped before its group has had both: until then nobody else can get its number.
async fn end(mut child: Child) {
    let Some(leader) = leader(&child) else { return };
    let until = Instant::now() + PATIENCE;
    // Fails only where all have ended.
    let _ = killpg(leader, Signal::SIGTERM);
    while Instant::now() < until && !has_ended(leader) {
        tokio::time::sleep(GLANCE).await;
    }
    let _ = killpg(leader, Signal::SIGKILL);
    if let Err(error) = child.wait().await {
        tracing::warn!(%leader, %error, "wait for a command that was killed");
    }
}

/// The number of a child that was not reaped yet, and of its group.
fn leader(child: &Child) -> Option<Pid> {
    child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .map(Pid::from_raw)
}

/// Whether a child has ended that was not reaped yet.
fn has_ended(child: Pid) -> bool {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    !matches!(waitid(Id::Pid(child), look), Ok(WaitStatus::StillAlive))
}

fn keep(said: &mut Vec<u8>, read: &[u8]) {
    let room = KEPT_BYTES.saturating_sub(said.len());
    said.extend(read.iter().take(room));
}

fn first_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    line.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SHOWN_CHARS)
        .collect()
}

impl Ended {
    /// In words, such as "exit status 3: nginx is not running".
    pub fn in_words(&self) -> String {
        use std::os::unix::process::ExitStatusExt as _;
        let how = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => match Signal::try_from(signal) {
                Ok(signal) => format!("killed by {signal}"),
                Err(_) => format!("killed by signal {signal}"),
            },
            (None, None) => self.status.to_string(),
        };
        match self.said.as_str() {
            "" => how,
            said => format!("{how}: {said}"),
        }
    }
}

#[cfg(test)]
mod tests;
