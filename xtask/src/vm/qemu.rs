//! QEMU: the host's own if it is there, otherwise Debian's, unpacked into `target/vm/qemu`.
//!
//! It is not installed: Debian's package is at odds with a `qemu-utils` of another release, and set-up removes
//! nobody's packages. QEMU finds its data and modules relative to its program; its libraries need `LD_LIBRARY_PATH`.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::bail;

use super::{image, unpack};
use crate::child;
use crate::setup::apt;
use crate::workspace::find_program;

/// The program's name, and so the only architecture of the guest.
const PROGRAM: &str = "qemu-system-x86_64";
/// Debian's package of it.
const PACKAGE: &str = "qemu-system-x86";
/// Never taken from elsewhere than the running system: the dynamic linker and it are one.
const SYSTEM_LIBRARY: &str = "libc6";

/// Whether a QEMU that starts was found.
pub fn is_there() -> bool {
    find_program(PROGRAM).is_some() || unpacked().exists()
}

/// A command for it, without arguments.
pub fn command() -> Command {
    if let Some(program) = find_program(PROGRAM) {
        return Command::new(program);
    }
    let mut command = Command::new(unpacked());
    command.env("LD_LIBRARY_PATH", libraries());
    command
}

/// Fetches and unpacks it, with those of its libraries that the host lacks.
pub fn fetch() -> anyhow::Result<()> {
    let mut packages = needed();
    if packages.is_empty() {
        apt::update()?;
        packages = needed();
    }
    if packages.is_empty() {
        bail!("apt cannot work out what {PACKAGE} needs: try `apt-get -s install {PACKAGE}`");
    }
    unpack::unpack(&packages, &folder())?;
    if child::output(command().arg("--version")).is_none() {
        bail!(
            "the QEMU in {} does not start: try `apt-get install {PACKAGE}`",
            folder().display()
        );
    }
    Ok(())
}

fn folder() -> PathBuf {
    image::folder().join("qemu")
}

fn unpacked() -> PathBuf {
    folder().join("usr/bin").join(PROGRAM)
}

fn libraries() -> OsString {
    let parts = [
        "usr/lib/x86_64-linux-gnu",
        "lib/x86_64-linux-gnu",
        "usr/lib/x86_64-linux-gnu/pulseaudio",
    ];
    env::join_paths(parts.map(|part| folder().join(part))).unwrap_or_default()
}

/// What apt would install; a simulation, so that nothing changes.
fn needed() -> Vec<String> {
    let mut command = apt::apt_get();
    command.args(["--simulate", "--no-install-recommends", "install", PACKAGE]);
    parse_simulation(&child::output(&mut command).unwrap_or_default())
}

/// The names in lines such as `Inst seabios (1.16.2-1 Debian:12.13/oldstable [all])`.
fn parse_simulation(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next())
        .filter(|name| *name != SYSTEM_LIBRARY)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_would_install_is_read_and_what_it_would_remove_is_not() {
        let text = "Remv qemu-utils [1:10.0]\nInst libfdt1 (1.6.1-4 Debian:12 [amd64])\nInst libc6 [2.36-8] (2.36-9 Debian:12 [amd64])\n\
            Inst qemu-system-x86 (1:7.2 Debian:12 [amd64])\nConf libfdt1 (1.6.1-4 Debian:12 [amd64])\n";
        assert_eq!(parse_simulation(text), ["libfdt1", "qemu-system-x86"]);
        assert!(parse_simulation("E: Unable to locate package").is_empty());
    }
}
