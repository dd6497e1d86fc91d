//! Taking a lab away: its processes, namespaces and mounts, in whatever state they were left.
//!
//! Finds what there is in the kernel instead of trusting a list, and takes "already gone" for done: it is used on live
//! labs and on what a killed process left half made. It starts no other program, so a Ctrl-C that reaches every process
//! of the terminal cannot cut it short.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::namespace::NETNS;
use super::registry;
use super::wait::wait_until_even_if_interrupted;

/// A killed process is gone in milliseconds; only one stuck in the kernel takes longer.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// Removes everything of the lab but its directory.
pub(super) fn remove_contents(lab: &str) -> Result<()> {
    let namespaces: Vec<PathBuf> = registry::namespaces()?
        .into_iter()
        .filter(|(owner, _)| owner == lab)
        .map(|(_, namespace)| Path::new(NETNS).join(namespace))
        .collect();
    kill_processes(&namespaces)?;
    for namespace in &namespaces {
        unmount(namespace)?;
        match fs::remove_file(namespace) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", namespace.display()));
            }
            _ => {}
        }
    }
    for mount in mounts_below(&registry::directory(lab))?.iter().rev() {
        unmount(mount)?;
    }
    Ok(())
}

/// The mounts of this lab, in the order they were made.
fn mounts_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
    // The second field. Spaces would be written as \040, but a lab's paths have none.
    let points = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from);
    Ok(points
        .filter(|point| point.starts_with(directory))
        .collect())
}

/// Processes whose network is one of `namespaces`, but never this one.
pub(super) fn processes_in(namespaces: &[PathBuf]) -> Result<Vec<Pid>> {
    let networks: Vec<(u64, u64)> = namespaces
        .iter()
        .filter_map(|path| identity(path))
        .collect();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("list /proc")? {
        let Some(pid) = entry
            .ok()
            .and_then(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        else {
            continue;
        };
        // A process that has ended meanwhile, or is a zombie, has no network any more.
        let network = identity(Path::new(&format!("/proc/{pid}/ns/net")));
        if network.is_some_and(|network| networks.contains(&network))
            && pid != std::process::id().cast_signed()
        {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

/// A namespace is known by device and inode of its file in nsfs; one that is not mounted is a plain file, and no process's.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path)
        .ok()
        .map(|metadata| (metadata.dev(), metadata.ino()))
}

fn kill_processes(namespaces: &[PathBuf]) -> Result<()> {
    if namespaces.is_empty() {
        return Ok(());
    }
    wait_until_even_if_interrupted(KILL_DEADLINE, "the processes of the lab to end", || {
        let processes = processes_in(namespaces).map_err(|error| error.to_string())?;
        for process in &processes {
            let _ = kill(*process, Signal::SIGKILL); // ESRCH: it has ended by itself.
        }
        if processes.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = processes.iter().copied().map(describe).collect();
        Err(names.join(", "))
    })
}

/// Its name and number.
pub(super) fn describe(pid: Pid) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{} ({pid})", name.trim())
}

/// All mounts that are stacked on `path`. EINVAL: not a mount point (any more).
fn unmount(path: &Path) -> Result<()> {
    loop {
        match umount2(path, MntFlags::MNT_DETACH) {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("unmount {}", path.display())),
        }
    }
}
