//! The compiler and the linker for the XDP program.
//!
//! aya-ebpf needs an unstable feature of rustc and a `core` for the BPF target, which rustup's stable lacks.
//! Two ways lead there, and none of them downloads a toolchain:
//!
//! * a rustup nightly with `rust-src`, and a bpf-linker in `PATH`: used where both are found;
//! * Debian's `rustc-web` with its prebuilt `core`, linked as the rustup toolchain [`LINK`], and bpf-linker
//!   built for that rustc's LLVM into `target/tools`.
//!
//! Which it is goes into the file `target/tools/ebpf-toolchain`, which `lb-agent/build.rs` reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::step;
use crate::child;
use crate::say::say;
use crate::workspace::{self, find_program};

/// The name that Debian's compiler gets in rustup.
const LINK: &str = "lb-bpf";
/// Where Debian's compiler lies.
pub const DEBIAN_PREFIX: &str = "/usr";
/// The version that is built; its Cargo features name the LLVM versions it knows.
const LINKER_VERSION: &str = "0.13.0";
/// The majors of LLVM for which that version has a feature.
const LINKER_LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// Which compiler and linker build the XDP program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// rustup's own.
    Nightly {
        /// Its name in rustup.
        name: String,
        /// The folder of the bpf-linker that `PATH` names.
        linker_folder: PathBuf,
    },
    /// Debian's; what it says of itself, if it is installed.
    Debian(Option<Rustc>),
}

/// What `rustc -vV` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rustc {
    /// As in "1.96.0".
    pub release: String,
    /// Major version of its LLVM.
    pub llvm: u32,
}

/// A toolchain of rustup's list.
#[derive(Debug, PartialEq, Eq)]
struct Installed {
    name: String,
    path: PathBuf,
}

impl Choice {
    /// Looks at this machine.
    pub fn find() -> Self {
        let ours = workspace::tools().join("bin");
        let linker = find_program("bpf-linker").filter(|file| !file.starts_with(&ours));
        // rustup is asked only where its answer can matter.
        let Some(folder) = linker.as_deref().and_then(Path::parent) else {
            return Self::Debian(debian_rustc());
        };
        let nightly = installed_toolchains().into_iter().find(|found| {
            found.name.starts_with("nightly")
                && found
                    .path
                    .join("lib/rustlib/src/rust/library/core")
                    .is_dir()
        });
        match nightly {
            Some(found) => Self::Nightly {
                name: found.name,
                linker_folder: folder.to_owned(),
            },
            None => Self::Debian(debian_rustc()),
        }
    }

    /// One line that says which was chosen.
    pub fn describe(&self) -> String {
        match self {
            Self::Nightly {
                name,
                linker_folder,
            } => {
                format!(
                    "eBPF toolchain: rustup's {name} with rust-src, and {}",
                    linker_folder.join("bpf-linker").display()
                )
            }
            Self::Debian(Some(rustc)) => format!(
                "eBPF toolchain: Debian's rustc {} (rustup toolchain {LINK}), and bpf-linker {LINKER_VERSION} for LLVM {} in target/tools",
                rustc.release, rustc.llvm
            ),
            Self::Debian(None) => "eBPF toolchain: Debian's rustc-web, not installed".to_owned(),
        }
    }

    /// The text of `target/tools/ebpf-toolchain`. It changes when the compiler does, which makes build.rs run again.
    fn record(&self) -> String {
        let (toolchain, bootstrap, folder, version) = match self {
            Self::Nightly {
                name,
                linker_folder,
            } => (
                name.as_str(),
                "",
                linker_folder.display().to_string(),
                String::new(),
            ),
            Self::Debian(rustc) => {
                let version = rustc.as_ref().map_or_else(String::new, |rustc| {
                    format!("{} LLVM {}", rustc.release, rustc.llvm)
                });
                // Opens unstable features for this one crate, and keeps aya-build from building core.
                (LINK, "aya_ebpf", "target/tools/bin".to_owned(), version)
            }
        };
        format!(
            "# written by `cargo xtask setup`, read by lb-agent/build.rs\n\
             toolchain = {toolchain}\nbootstrap = {bootstrap}\nlinker_folder = {folder}\nversion = {version}\n"
        )
    }
}

/// Where the LLVM of Debian's packages with this major version lies.
pub fn llvm_prefix(major: u32) -> String {
    format!("/usr/lib/llvm-{major}")
}

/// Whether the link, the linker and the record are there and fit the compiler of today.
pub fn is_ready(choice: &Choice) -> bool {
    let recorded = fs::read_to_string(record_file()).is_ok_and(|text| text == choice.record());
    recorded
        && match choice {
            Choice::Nightly { .. } => true,
            Choice::Debian(None) => false,
            Choice::Debian(Some(rustc)) => {
                linker_file().exists()
                    && linker_note(rustc.llvm) == read_linker_note()
                    && is_linked()
            }
        }
}

/// Makes the link, the linker and the record where they are missing. The packages are installed already.
pub fn prepare() -> anyhow::Result<()> {
    let choice = Choice::find();
    if let Choice::Debian(rustc) = &choice {
        let rustc = rustc.as_ref().context("/usr/bin/rustc does not say its LLVM version (`/usr/bin/rustc -vV`): reinstall rustc-web")?;
        link()?;
        build_linker(rustc.llvm)?;
    }
    fs::create_dir_all(workspace::tools()).context("create target/tools")?;
    fs::write(record_file(), choice.record())
        .with_context(|| format!("write {}", record_file().display()))?;
    say!("{}", choice.describe());
    Ok(())
}

fn link() -> anyhow::Result<()> {
    if is_linked() {
        return Ok(());
    }
    if find_program("rustup").is_none() {
        bail!(
            "rustup is not in PATH: lb is built by rustup's stable toolchain, and the eBPF compiler is linked into rustup; install rustup, then run `cargo xtask setup` again"
        );
    }
    let mut command = Command::new("rustup");
    command.args(["toolchain", "link", LINK, DEBIAN_PREFIX]);
    step(
        &format!("rustup toolchain link {LINK} {DEBIAN_PREFIX}"),
        &mut command,
    )
}

/// Looks at rustup's folder rather than asks it: that takes microseconds.
fn is_linked() -> bool {
    let home = std::env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".rustup")));
    home.is_some_and(|home| {
        fs::canonicalize(home.join("toolchains").join(LINK))
            .is_ok_and(|target| target == Path::new(DEBIAN_PREFIX))
    })
}

fn build_linker(llvm: u32) -> anyhow::Result<()> {
    if linker_works() && (read_linker_note() == linker_note(llvm) || linked_with(llvm)) {
        return note_linker(llvm);
    }
    if !LINKER_LLVM.contains(&llvm) {
        bail!(
            "bpf-linker {LINKER_VERSION} knows LLVM {} to {}, and Debian's rustc has LLVM {llvm}: a newer bpf-linker is needed (LINKER_VERSION in xtask)",
            LINKER_LLVM.start(),
            LINKER_LLVM.end()
        );
    }
    let mut command = workspace::cargo();
    // A user's flags and targets are for lb, not for its tools.
    for name in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_TARGET_DIR",
    ] {
        command.env_remove(name);
    }
    command
        .env("LLVM_PREFIX", llvm_prefix(llvm))
        .args([
            "install",
            &format!("bpf-linker@{LINKER_VERSION}"),
            "--locked",
            "--force",
            "--no-default-features",
        ])
        .args(["--features", &format!("llvm-{llvm}"), "--root"])
        .arg(workspace::tools());
    step(
        &format!("build bpf-linker {LINKER_VERSION} for LLVM {llvm}"),
        &mut command,
    )
    .context(
        "bpf-linker could not be built: the lines above say why (it is fetched from crates.io)",
    )?;
    note_linker(llvm)
}

fn linker_works() -> bool {
    child::output(Command::new(linker_file()).arg("--version"))
        .is_some_and(|text| text.trim() == format!("bpf-linker {LINKER_VERSION}"))
}

/// Whether a linker without our note was built for this LLVM: its run-time library says so.
fn linked_with(llvm: u32) -> bool {
    fs::read(linker_file()).is_ok_and(|bytes| {
        let library = format!("libLLVM.so.{llvm}.");
        bytes
            .windows(library.len())
            .any(|window| window == library.as_bytes())
    })
}

fn linker_note(llvm: u32) -> String {
    format!("bpf-linker {LINKER_VERSION} LLVM {llvm}\n")
}

fn note_linker(llvm: u32) -> anyhow::Result<()> {
    fs::write(linker_note_file(), linker_note(llvm))
        .with_context(|| format!("write {}", linker_note_file().display()))
}

fn read_linker_note() -> String {
    fs::read_to_string(linker_note_file()).unwrap_or_default()
}

fn linker_file() -> PathBuf {
    workspace::tools().join("bin/bpf-linker")
}

fn linker_note_file() -> PathBuf {
    workspace::tools().join("bpf-linker.version")
}

fn record_file() -> PathBuf {
    workspace::tools().join("ebpf-toolchain")
}

fn debian_rustc() -> Option<Rustc> {
    let mut command = Command::new(Path::new(DEBIAN_PREFIX).join("bin/rustc"));
    parse_rustc(&child::output(command.arg("-vV"))?)
}

fn parse_rustc(text: &str) -> Option<Rustc> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let llvm = field("LLVM version")?.split('.').next()?.parse().ok()?;
    Some(Rustc {
        release: field("release")?.to_owned(),
        llvm,
    })
}

fn installed_toolchains() -> Vec<Installed> {
    let text =
        child::output(Command::new("rustup").args(["toolchain", "list", "-v"])).unwrap_or_default();
    parse_toolchains(&text)
}

/// Lines such as `stable-x86_64-unknown-linux-gnu (active, default) /root/.rustup/toolchains/stable-…`,
/// or with the path after a tab, as older rustups write.
fn parse_toolchains(text: &str) -> Vec<Installed> {
    text.lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once([' ', '\t'])?;
            let path = rest.get(rest.find('/')?..)?;
            Some(Installed {
                name: name.to_owned(),
                path: PathBuf::from(path.trim_end()),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUSTC: &str = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\nbinary: rustc\n\
        host: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n";

    #[test]
    fn the_llvm_version_is_read_from_rustc() {
        assert_eq!(
            parse_rustc(RUSTC),
            Some(Rustc {
                release: "1.96.0".into(),
                llvm: 22
            })
        );
    }

    #[test]
    fn a_rustc_that_does_not_say_its_llvm_is_none() {
        assert_eq!(parse_rustc("rustc 1.63.0\nrelease: 1.63.0\n"), None);
        assert_eq!(parse_rustc("release: 1.96.0\nLLVM version: x\n"), None);
        assert_eq!(parse_rustc(""), None);
    }

    #[test]
    fn toolchains_are_read_from_rustups_list() {
        let text = "stable-x86_64-unknown-linux-gnu (active, default) /r/toolchains/stable\nnightly-2026-01-01-x86_64\t/r/n\nlb-bpf /usr\nno path\n";
        let found = parse_toolchains(text);
        let names: Vec<_> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "stable-x86_64-unknown-linux-gnu",
                "nightly-2026-01-01-x86_64",
                "lb-bpf"
            ]
        );
        assert_eq!(
            found.last().map(|found| found.path.as_path()),
            Some(Path::new("/usr"))
        );
    }

    #[test]
    fn the_record_changes_with_the_compiler() {
        let record = |release: &str, llvm| {
            Choice::Debian(Some(Rustc {
                release: release.into(),
                llvm,
            }))
            .record()
        };
        assert_ne!(record("1.96.0", 22), record("1.97.0", 22));
        assert_ne!(record("1.96.0", 22), record("1.96.0", 23));
        assert!(record("1.96.0", 22).contains(
            "\ntoolchain = lb-bpf\nbootstrap = aya_ebpf\nlinker_folder = target/tools/bin\n"
        ));
    }

    #[test]
    fn a_nightly_builds_core_itself() {
        let choice = Choice::Nightly {
            name: "nightly-x".into(),
            linker_folder: "/opt/bin".into(),
        };
        assert!(
            choice
                .record()
                .contains("\ntoolchain = nightly-x\nbootstrap = \nlinker_folder = /opt/bin\n")
        );
        assert!(choice.describe().contains("/opt/bin/bpf-linker"));
    }
}
