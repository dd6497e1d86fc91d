//! A host of the lab, and what can be run on it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::daemon::Daemon;
use super::namespace::{self, Namespace};
use super::plan::NodePlan;
use super::{Role, registry, requirements, wait_until};

/// No command that a test waits for takes longer; one that does would otherwise hang the test.
const RUN_DEADLINE: Duration = Duration::from_secs(60);

/// A proxy of the developer's network does not exist in the lab's.
const PROXIES: [&str; 6] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
];

/// A host of the lab. Cheap to clone, and a clone can be moved into a thread.
#[derive(Clone, Debug)]
pub struct Node {
    name: String,
    role: Role,
    directory: PathBuf,
    namespace: Arc<Namespace>,
}

impl Node {
    pub(super) fn open(lab: &str, plan: &NodePlan) -> Result<Self> {
        let directory = registry::directory(lab).join(&plan.name);
        let name = registry::namespace(lab, &plan.name);
        let namespace = Namespace::open(&name, &directory.join("bpf"), &directory.join("run"))?;
        Ok(Self {
            name: plan.name.clone(),
            role: plan.role,
            directory,
            namespace: Arc::new(namespace),
        })
    }

    /// Its name in the plan, such as "rs1".
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The node's directory on the host. It has `bpf` (the node's `/sys/fs/bpf`) and `run` (its `/run/lb`), the logs of
    /// its daemons, and goes away with the lab.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A command that will run on this node.
    ///
    /// If `spawn` fails with a line on stderr that begins with "lab:", it was the node that could not be entered.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("PATH", requirements::search_path());
        command.env("STATE_DIRECTORY", self.directory.join("state"));
        for name in PROXIES {
            command.env_remove(name);
        }
        namespace::enter_on_exec(&mut command, Arc::clone(&self.namespace));
        command
    }

    /// Runs a command to its end and returns what it wrote to stdout.
    ///
    /// # Errors
    /// When it cannot be started, ends with another status than 0 (the error has what it wrote), or runs longer than a minute.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(program);
        command.args(arguments);
        run_to_end(
            command,
            &format!("{program} {} on {}", arguments.join(" "), self.name),
        )
    }

    /// Starts a daemon, called `name` in messages, that ends when the returned value is dropped. What it writes goes to
    /// a log in the node's directory.
    pub fn spawn(&self, name: &str, command: Command) -> Result<Daemon> {
        Daemon::start(
            &format!("{name} on {}", self.name),
            command,
            self.directory.join(format!("{name}.log")),
        )
    }

    /// Runs `work` on a thread of its own whose sockets belong to this node. `/sys` and `/run/lb` stay the host's.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.namespace
            .enter(work)
            .with_context(|| format!("do something on {}", self.name))
    }
}

/// Runs `command`, called `what` in errors, and returns its stdout.
pub(super) fn run_to_end(mut command: Command, what: &str) -> Result<String> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start {what}"))?;
    // Both pipes are read at once, because a child that has filled one of them does not end.
    let stdout = child.stdout.take().map(read_in_background);
    let stderr = child.stderr.take().map(read_in_background);
    let ended = wait_until(RUN_DEADLINE, &format!("{what} to end"), || {
        match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it runs".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    });
    if ended.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let text = |reader: Option<thread::JoinHandle<String>>| {
        reader
            .and_then(|reader| reader.join().ok())
            .unwrap_or_default()
    };
    let status = ended?;
    let (stdout, stderr) = (text(stdout), text(stderr));
    if !status.success() {
        bail!("{what}: {status}\n{}{}", stdout, stderr);
    }
    Ok(stdout)
}

fn read_in_background(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes); // What was read until an error is still worth showing.
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
