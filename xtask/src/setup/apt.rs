//! Debian's packages: one `apt-get install` for all that is missing, without starting any service.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use anyhow::{Context, bail};

use super::plan::Package;
use super::{need_root, step};
use crate::child;
use crate::say::say;
use crate::workspace::find_program;

/// Installs packages. Removes none: a conflict is reported instead.
pub fn install(packages: &[Package]) -> anyhow::Result<()> {
    let wanted = packages
        .iter()
        .map(Package::to_string)
        .collect::<Vec<_>>()
        .join(" ");
    if find_program("apt-get").is_none() {
        bail!(
            "there is no apt-get here to install {wanted}: set-up knows Debian 12; elsewhere install their equals and a rustup nightly with rust-src and bpf-linker"
        );
    }
    need_root(&format!("{wanted} must be installed by apt-get"))?;
    update()?;
    let names = packages
        .iter()
        .map(name)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let nginx_is_new = names.iter().any(|name| name == "nginx");
    let quiet = ServicesStayOff::begin(Path::new("/usr/sbin/policy-rc.d"))?;
    let mut command = apt_get();
    command
        .args(["install", "--yes", "--no-install-recommends", "--no-remove"])
        .args(&names);
    let result = step(
        &format!("apt-get install {}", names.join(" ")),
        &mut command,
    );
    drop(quiet);
    result.context("some of Debian's packages could not be installed: the lines above say why")?;
    if nginx_is_new {
        keep_nginx_off();
    }
    Ok(())
}

/// Brings apt's package lists up to date.
pub fn update() -> anyhow::Result<()> {
    step("apt-get update", apt_get().arg("update")).context(
        "Debian's package lists cannot be read: check the network and /etc/apt/sources.list",
    )
}

/// apt-get that asks nothing and fails rather than works with half of its lists.
pub fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8");
    command.args([
        "-o",
        "APT::Update::Error-Mode=any",
        "-o",
        "DPkg::Lock::Timeout=300",
        "-o",
        "APT::Color=0",
    ]);
    command
}

/// The direct dependencies of a package in apt's lists; empty for an unknown one.
pub fn depends(package: &str) -> Vec<String> {
    let mut command = Command::new("apt-cache");
    command
        .args(["depends", "--important", package])
        .env("LC_ALL", "C.UTF-8");
    parse_depends(&child::output(&mut command).unwrap_or_default())
}

fn parse_depends(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            line.trim()
                .trim_start_matches('|')
                .strip_prefix("Depends: ")
        })
        .map(str::to_owned)
        .collect()
}

fn name(package: &Package) -> anyhow::Result<String> {
    match package {
        Package::Named(_) | Package::LlvmDev(Some(_)) => Ok(package.to_string()),
        // rust-web-llvm comes from the same source as rustc-web, and depends on the LLVM it was built with.
        Package::LlvmDev(None) => match depends("rust-web-llvm")
            .iter()
            .find_map(|name| llvm_major(name))
        {
            Some(major) => Ok(Package::LlvmDev(Some(major)).to_string()),
            None => bail!(
                "apt knows no rust-web-llvm: rustc-web is in Debian 12's security archive, which /etc/apt/sources.list must name"
            ),
        },
    }
}

/// The major version in a package's name such as `llvm-22`.
fn llvm_major(package: &str) -> Option<u32> {
    package.strip_prefix("llvm-")?.parse().ok()
}

/// While it lives, dpkg starts no service: a web server on port 80 is nothing that set-up should leave behind.
///
/// Debian asks `policy-rc.d` before it starts a service. One that is there already is left alone:
/// it is the administrator's (containers ship one that forbids all).
struct ServicesStayOff {
    ours: Option<PathBuf>,
}

/// First comment line of the file we write; by it a leftover is known as ours.
const MARK: &str = "# written by `cargo xtask setup` of lb for the time of one apt-get";

impl ServicesStayOff {
    fn begin(place: &Path) -> anyhow::Result<Self> {
        if fs::read_to_string(place).is_ok_and(|text| text.contains(MARK)) {
            fs::remove_file(place)
                .with_context(|| format!("remove our own leftover {}", place.display()))?;
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(place);
        let mut file = match file {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Ok(Self { ours: None });
            }
            Err(error) => return Err(error).with_context(|| format!("write {}", place.display())),
        };
        let ours = Self {
            ours: Some(place.to_owned()),
        };
        // Were we killed, the file left behind would forbid nothing: it asks whether we still run. 101 = forbidden.
        write!(
            file,
            "#!/bin/sh\n{MARK}\n[ -d /proc/{} ] && exit 101\nexit 0\n",
            process::id()
        )
        .and_then(|()| file.set_permissions(Permissions::from_mode(0o755)))
        .with_context(|| format!("write {}", place.display()))?;
        Ok(ours)
    }
}

impl Drop for ServicesStayOff {
    fn drop(&mut self) {
        if let Some(place) = &self.ours {
            let _ = fs::remove_file(place);
        }
    }
}

/// A freshly installed nginx would be started at the next boot. The lab starts its own, so say no, and say so.
fn keep_nginx_off() {
    let disabled = child::output(Command::new("update-rc.d").args(["nginx", "disable"])).is_some();
    if disabled {
        say!(
            "nginx is installed, its system service is off: the lab starts its own (`systemctl enable --now nginx` turns it on)"
        );
    } else {
        eprintln!(
            "warning: nginx is installed, and its system service may start at the next boot: `systemctl disable nginx` prevents that"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_apt_cache() {
        let text =
            "rust-web-llvm\n  Depends: libc6\n |Depends: llvm-22\n  Conflicts: <rust-llvm>\n";
        let found = parse_depends(text);
        assert_eq!(found, ["libc6", "llvm-22"]);
        assert_eq!(found.iter().find_map(|name| llvm_major(name)), Some(22));
    }

    #[test]
    fn llvm_packages_of_other_kinds_are_not_taken_for_a_version() {
        assert_eq!(llvm_major("llvm-22-dev"), None);
        assert_eq!(llvm_major("libllvm22"), None);
    }

    #[test]
    fn the_policy_file_forbids_while_we_run_and_goes_afterwards() {
        let folder = std::env::temp_dir().join(format!("lb-policy-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let place = folder.join("policy-rc.d");
        let guard = ServicesStayOff::begin(&place).unwrap();
        assert_eq!(Command::new(&place).status().unwrap().code(), Some(101));
        drop(guard);
        assert!(!place.exists());

        fs::write(&place, "#!/bin/sh\nexit 101\n").unwrap();
        drop(ServicesStayOff::begin(&place).unwrap());
        assert!(place.exists(), "the administrator's own file stays");

        fs::write(&place, format!("#!/bin/sh\n{MARK}\nexit 0\n")).unwrap();
        drop(ServicesStayOff::begin(&place).unwrap());
        assert!(!place.exists(), "our leftover is replaced and removed");
        fs::remove_dir_all(&folder).unwrap();
    }
}
