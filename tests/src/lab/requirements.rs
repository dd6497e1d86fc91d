//! What a lab needs of the machine, asked for before anything is made.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};

/// A command, and the Debian package that has it.
const COMMANDS: [(&str, &str); 8] = [
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("nginx", "nginx-light"),
    ("curl", "curl"),
    ("keepalived", "keepalived"),
    ("dnsmasq", "dnsmasq-base"),
    ("smtpd", "opensmtpd"),
    ("aiosmtpd", "python3-aiosmtpd"),
];

/// Fails for any other user than root.
pub fn check_root() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "the lab makes network namespaces and loads BPF programs, which needs root: run this as root, for example with sudo -E"
        );
    }
    Ok(())
}

/// Fails with everything that is missing, and how to get it.
pub fn check() -> Result<()> {
    check_root()?;
    let directories: Vec<PathBuf> = env::split_paths(&search_path()).collect();
    let missing: Vec<_> = COMMANDS
        .into_iter()
        .filter(|(command, _)| {
            !directories
                .iter()
                .any(|directory| directory.join(command).is_file())
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let commands: Vec<_> = missing.iter().map(|(command, _)| *command).collect();
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    bail!(
        "the lab needs {}, not found in PATH: run `cargo xtask setup`, or `apt-get install {}`",
        commands.join(", "),
        packages.join(" ")
    );
}

/// PATH, with the directories that Debian's `su` leaves out of it.
pub(super) fn search_path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    if !path.is_empty() {
        path.push(":");
    }
    path.push("/usr/sbin:/usr/bin:/sbin:/bin");
    path
}
