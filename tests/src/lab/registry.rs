//! Which labs there are on this machine, whose they are, and which of them are left-overs.
//!
//! Each lab has a directory below [`ROOT`] with a state file that says who owns it. The file is written, under a lock,
//! before the first namespace is made: so whatever is found without one is nobody's.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::namespace::{NETNS, RUN_LB};
use super::removal;

/// Where labs keep their directories.
pub const ROOT: &str = "/run/lb-lab";
/// The first part of the name of every namespace of a lab.
const PREFIX: &str = "lb-lab";
const STATE_FILE: &str = "lab.json";

/// What the next command has to know of a lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// The process that the lab goes away with; none: it stays until it is taken down.
    pub owner: Option<Owner>,
    /// How many real servers it was made with.
    pub real_servers: usize,
}

/// A process, told from a later one with the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pid: u32,
    /// proc(5), /proc/PID/stat field 22: since boot, in clock ticks.
    start_ticks: u64,
    /// `/run` need not be empty after a boot.
    boot_id: String,
}

impl Owner {
    /// This process.
    pub fn current() -> Result<Self> {
        Self::of(std::process::id())
    }

    fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
            .with_context(|| format!("read /proc/{pid}/stat"))?;
        // The command's name is in parentheses and may contain spaces and parentheses itself.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let start_ticks = fields
            .split_ascii_whitespace()
            .nth(19)
            .and_then(|field| field.parse().ok());
        let boot_id =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").context("read the boot's id")?;
        Ok(Self {
            pid,
            start_ticks: start_ticks
                .with_context(|| format!("/proc/{pid}/stat has no start time: {stat}"))?,
            boot_id: boot_id.trim().to_owned(),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether that process runs.
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid).is_ok_and(|found| found == *self)
    }
}

/// The directory of the lab `name`.
pub(super) fn directory(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

/// The name of a node's network namespace, as `ip netns` shows it.
pub(super) fn namespace(lab: &str, node: &str) -> String {
    format!("{PREFIX}-{lab}-{node}")
}

/// The namespaces of labs that exist: the lab's name, and the namespace's.
pub(super) fn namespaces() -> Result<Vec<(String, String)>> {
    let entries = match fs::read_dir(NETNS) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("list {NETNS}")),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names
        .filter_map(|name| Some((lab_of(&name)?.to_owned(), name)))
        .collect())
}

/// A node's name has no dash, so the lab's name is everything between the prefix and the last one.
fn lab_of(namespace: &str) -> Option<&str> {
    let rest = namespace.strip_prefix(PREFIX)?.strip_prefix('-')?;
    rest.rsplit_once('-').map(|(lab, _)| lab)
}

/// Reads the state file of the lab `name`.
pub(super) fn read(name: &str) -> Result<State> {
    let path = directory(name).join(STATE_FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("understand {}", path.display()))
}

/// The names of all labs that have a directory.
pub(super) fn names() -> Result<Vec<String>> {
    match fs::read_dir(ROOT) {
        Ok(entries) => Ok(entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("list {ROOT}")),
    }
}

/// Removes left-overs, then enters the new lab: from here on it is found again, whatever happens to this process.
pub(super) fn register(name: &str, state: &State) -> Result<()> {
    let _lock = lock()?;
    remove_stale()?;
    let directory = directory(name);
    match fs::create_dir(&directory) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!(
                "the lab \"{name}\" is up already: use it, or take it down by `cargo xtask lab down --name {name}`"
            )
        }
        Err(error) => return Err(error).with_context(|| format!("make {}", directory.display())),
    }
    let path = directory.join(STATE_FILE);
    fs::write(&path, serde_json::to_string(state)?)
        .with_context(|| format!("write {}", path.display()))?;
    fs::create_dir_all(RUN_LB).with_context(|| format!("make {RUN_LB}"))
}

/// Forgets the lab `name` when everything else of it has been removed, and what only labs need when it was the last.
pub(super) fn unregister(name: &str) -> Result<()> {
    let _lock = lock()?;
    let directory = directory(name);
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove {}", directory.display()));
        }
        _ => {}
    }
    remove_root_if_empty();
    Ok(())
}

/// A lab's name becomes part of file names.
pub(super) fn check_name(name: &str) -> Result<()> {
    let valid = !name.is_empty()
        && name.len() <= 32
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    ensure!(
        valid,
        "\"{name}\" cannot be the name of a lab: 1 to 32 lower-case letters and digits are expected"
    );
    Ok(())
}

/// Removes what labs of processes that were killed have left, without waiting for the next start to do so.
///
/// # Errors
/// Where the kernel refuses.
pub fn remove_left_overs() -> Result<()> {
    let _lock = lock()?;
    remove_stale()?;
    remove_root_if_empty();
    Ok(())
}

/// With the lock held.
fn remove_stale() -> Result<()> {
    for name in names()? {
        let stale = match read(&name) {
            Ok(State {
                owner: Some(owner), ..
            }) => !owner.is_alive(),
            Ok(State { owner: None, .. }) => false,
            Err(_) => true,
        };
        if stale {
            removal::remove_contents(&name)
                .with_context(|| format!("remove what is left of the lab \"{name}\""))?;
            let directory = directory(&name);
            fs::remove_dir_all(&directory)
                .with_context(|| format!("remove {}", directory.display()))?;
        }
    }
    for (lab, _) in namespaces()? {
        if !directory(&lab).exists() {
            removal::remove_contents(&lab)
                .with_context(|| format!("remove what is left of the lab \"{lab}\""))?;
        }
    }
    Ok(())
}

/// With the lock held. The agent's directory is removed only when no lab is left: removing a directory also detaches
/// what is mounted on it in other mount namespaces, which would be the other labs' nodes.
fn remove_root_if_empty() {
    if fs::remove_dir(ROOT).is_ok() {
        let _ = fs::remove_dir(RUN_LB); // Not empty: an agent of this host uses it.
    }
}

/// One process at a time looks for left-overs and registers. The lock is on the directory itself, so that no file stays
/// behind; whoever waited for a directory that was removed meanwhile tries again.
fn lock() -> Result<Flock<File>> {
    loop {
        fs::create_dir_all(ROOT).with_context(|| format!("make {ROOT}"))?;
        let Ok(file) = File::open(ROOT) else { continue };
        let locked = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error);
        let locked = locked.with_context(|| format!("lock {ROOT}"))?;
        let mine = locked
            .metadata()
            .with_context(|| format!("look at {ROOT}"))?
            .ino();
        if fs::metadata(ROOT).is_ok_and(|there| there.ino() == mine) {
            return Ok(locked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lab_of_a_namespace_is_found_in_its_name() {
        assert_eq!(lab_of(&namespace("1234-1", "rs1")), Some("1234-1"));
        assert_eq!(lab_of(&namespace("main", "sw")), Some("main"));
        assert_eq!(lab_of("lb-labor-1-x"), None);
        assert_eq!(lab_of("other"), None);
    }

    #[test]
    fn this_process_is_alive_and_a_former_one_of_its_number_is_not() {
        let owner = Owner::current().unwrap();
        assert!(owner.is_alive());
        assert!(
            !Owner {
                start_ticks: owner.start_ticks - 1,
                ..owner.clone()
            }
            .is_alive()
        );
        assert!(
            !Owner {
                boot_id: "another".into(),
                ..owner
            }
            .is_alive()
        );
    }

    #[test]
    fn a_name_that_would_leave_the_directory_is_refused() {
        for name in ["", "..", "a/b", "a-b", "A", "a b"] {
            assert!(check_name(name).is_err(), "{name:?} was taken");
        }
        assert!(check_name("main").is_ok());
    }
}
