//! Debian's packages unpacked into `target/vm`, without being installed: apt fetches them and checks their signatures.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::setup::{apt, step};

/// Downloads packages by their names and unpacks them into the folder `to`. It appears when all are unpacked,
/// so that one that is there is whole.
pub fn unpack(packages: &[String], to: &Path) -> anyhow::Result<()> {
    let archives = to.with_extension("packages");
    let fresh = to.with_extension("new");
    empty(&archives)?;
    empty(&fresh)?;
    let title = match packages {
        [one] => format!("apt-get download {one}"),
        many => format!("apt-get download of {} packages", many.len()),
    };
    let mut download = apt::apt_get();
    // Root's apt would otherwise warn that its own user may not write here.
    download
        .current_dir(&archives)
        .args(["-o", "APT::Sandbox::User=root", "download"])
        .args(packages);
    if step(&title, &mut download).is_err() {
        // Debian removes a version when a newer one comes: old lists name what is gone.
        apt::update()?;
        step(&title, &mut download).context(
            "Debian's packages cannot be fetched: check the network and /etc/apt/sources.list",
        )?;
    }
    for archive in files(&archives)? {
        let mut command = Command::new("dpkg-deb");
        command.arg("--extract").arg(&archive).arg(&fresh);
        let status = command.status().context("start dpkg-deb")?;
        anyhow::ensure!(
            status.success(),
            "unpack {}: dpkg-deb ended with {status}",
            archive.display()
        );
    }
    fs::rename(&fresh, to)
        .with_context(|| format!("rename {} to {}", fresh.display(), to.display()))?;
    fs::remove_dir_all(&archives).with_context(|| format!("remove {}", archives.display()))
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn empty(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove {}", folder.display()));
        }
        _ => {}
    }
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))
}
