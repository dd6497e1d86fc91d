//! Going into a node: its network, its view of `/sys`, its own `/sys/fs/bpf` and its own `/run/lb`.
//!
//! A network namespace alone would not do. `/sys/class/net` shows the network that the sysfs was mounted in, two
//! directors that pin at the agent's default path would share the pins, and two that listen on `/run/lb/lb.sock` the
//! socket. So a command of a node gets a private mount namespace in which these three are the node's. They are mounted
//! anew for each command, over directories that live as long as the lab: what is pinned or left in `/run/lb` outlives
//! the process that put it there, as on a real host.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigHandler, Signal, signal};

/// Where the agent keeps its socket; bound over in every node, so it has to exist on the host.
pub(super) const RUN_LB: &str = "/run/lb";

/// What is needed to go into a node, opened and allocated beforehand.
#[derive(Debug)]
pub(super) struct Namespace {
    net: OwnedFd,
    bpf: CString,
    run: CString,
}

impl Namespace {
    /// Opens the named network namespace; `bpf` and `run` are the node's own directories.
    pub fn open(name: &str, bpf: &Path, run: &Path) -> Result<Self> {
        let path = Path::new(NETNS).join(name);
        let net = File::open(&path)
            .with_context(|| format!("open the network namespace {}", path.display()))?;
        let c_string = |path: &Path| {
            CString::new(path.as_os_str().as_bytes()).context("a path has a zero byte")
        };
        Ok(Self {
            net: net.into(),
            bpf: c_string(bpf)?,
            run: c_string(run)?,
        })
    }

    /// Runs `work` on a thread of its own whose sockets are of this network.
    ///
    /// The network only: `/sys` and `/run/lb` stay the caller's, because a mount namespace cannot be left alone by one
    /// thread without unsharing more.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let net = self.net.as_fd();
        let outcome = thread::scope(|scope| {
            let inside = scope.spawn(move || setns(net, CloneFlags::CLONE_NEWNET).map(|()| work()));
            inside.join()
        });
        match outcome {
            Ok(result) => result.context("enter a network namespace"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Where iproute2 keeps named network namespaces.
pub(super) const NETNS: &str = "/run/netns";

/// Makes `command` start inside the node.
#[expect(
    unsafe_code,
    reason = "the standard library can only go into a namespace between fork and exec"
)]
pub(super) fn enter_on_exec(command: &mut Command, namespace: Arc<Namespace>) {
    let hook = move || {
        enter_after_fork(&namespace).map_err(|(step, error)| {
            // The error that `spawn` returns carries no text, and ENOENT would be read as "no such program".
            let _ = nix::unistd::write(io::stderr(), step.to_bytes());
            io::Error::from(error)
        })
    };
    // SAFETY: the hook makes system calls only. What it uses was allocated beforehand, it takes no lock, and
    // converting an errno to an io::Error does not allocate.
    unsafe {
        command.pre_exec(hook);
    }
}

#[expect(unsafe_code, reason = "setting what a signal does")]
fn enter_after_fork(namespace: &Namespace) -> Result<(), (&'static CStr, nix::Error)> {
    let none = None::<&CStr>;
    let step = |text: &'static CStr| move |error| (text, error);
    // A shell has what it runs in the background ignore these, and what is ignored stays so across exec.
    for ignored in [Signal::SIGINT, Signal::SIGQUIT] {
        // SAFETY: the default action calls nothing of ours.
        unsafe { signal(ignored, SigHandler::SigDfl) }
            .map_err(step(c"lab: cannot reset a signal\n"))?;
    }
    setns(&namespace.net, CloneFlags::CLONE_NEWNET)
        .map_err(step(c"lab: cannot enter the node's network namespace\n"))?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(step(c"lab: cannot make a mount namespace\n"))?;
    mount(
        none,
        c"/",
        none,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        none,
    )
    .map_err(step(c"lab: cannot make the mounts of the node private\n"))?;
    mount(
        Some(c"lb-lab"),
        c"/sys",
        Some(c"sysfs"),
        MsFlags::empty(),
        none,
    )
    .map_err(step(c"lab: cannot mount the node's /sys\n"))?;
    mount(
        Some(namespace.bpf.as_c_str()),
        c"/sys/fs/bpf",
        none,
        MsFlags::MS_BIND,
        none,
    )
    .map_err(step(c"lab: cannot bind the node's /sys/fs/bpf\n"))?;
    mount(
        Some(namespace.run.as_c_str()),
        c"/run/lb",
        none,
        MsFlags::MS_BIND,
        none,
    )
    .map_err(step(c"lab: cannot bind the node's /run/lb\n"))
}
