//! A program that runs until it is told to stop.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write as _};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::wait_until;

/// How much of the end of a log is looked at for its last lines.
const TAIL_BYTES: u64 = 64 * 1024;

/// A process, with all that it starts, that ends with this value. Its output is in a log.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    reaped: bool,
    log: PathBuf,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit status.
    Exited(i32),
    /// By a signal.
    Signaled(Signal),
    /// It was killed by [`Daemon::kill`] or [`Daemon::stop`] earlier.
    Reaped,
}

impl fmt::Display for Ended {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(formatter, "exit status {status}"),
            Self::Signaled(signal) => write!(formatter, "killed by {signal}"),
            Self::Reaped => write!(formatter, "killed before"),
        }
    }
}

impl Daemon {
    pub(super) fn start(name: &str, mut command: Command, log: PathBuf) -> Result<Self> {
        let open = || OpenOptions::new().create(true).append(true).open(&log);
        let out = open().with_context(|| format!("open the log {}", log.display()))?;
        let err = out
            .try_clone()
            .with_context(|| format!("open the log {}", log.display()))?;
        // Its own process group: a Ctrl-C is for us, who then end the daemons in order.
        command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            reaped: false,
            log,
        })
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, which is also that of its process group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file that has what it wrote to stdout and stderr.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines that it wrote.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<Ended> {
        // It stays a zombie, so that its number stays its own until the whole group has been killed.
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(self.group()), flags) {
            Ok(WaitStatus::Exited(_, status)) => Some(Ended::Exited(status)),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(Ended::Signaled(signal)),
            Ok(_) => None,
            Err(_) => Some(Ended::Reaped), // ECHILD
        }
    }

    /// Sends a signal to it and all that it started. One that has ended gets none.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if self.ended().is_some() {
            return Ok(());
        }
        killpg(self.group(), signal).with_context(|| format!("send {signal} to {}", self.name))
    }

    /// Sends a signal, waits for the end, and says how it ended.
    pub fn stop(&mut self, signal: Signal, deadline: Duration) -> Result<Ended> {
        self.signal(signal)?;
        self.wait(deadline)
    }

    /// Waits for the end, and says how it ended.
    pub fn wait(&mut self, deadline: Duration) -> Result<Ended> {
        let status = wait_until(deadline, &format!("{} to end", self.name), || {
            self.ended()
                .ok_or_else(|| format!("it runs; its log ends with\n{}", self.log_tail(20)))
        })?;
        self.kill();
        Ok(status)
    }

    /// Kills it and all that it started at once, as a crash would.
    pub fn kill(&mut self) {
        if !self.reaped {
            // The group also when the leader has ended: what it started may live on.
            let _ = killpg(self.group(), Signal::SIGKILL);
            let _ = self.child.wait();
            self.reaped = true;
        }
    }

    fn group(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            // A panic in a panic would end everything at once, and leave the lab behind.
            let _ = writeln!(
                std::io::stderr(),
                "--- last lines of {} ---\n{}",
                self.name,
                self.log_tail(40)
            );
        }
    }
}

/// The last lines of a file; empty when it cannot be read.
pub(super) fn tail(path: &Path, lines: usize) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
