//! Where the workspace is, and how to call cargo from inside `cargo xtask`.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the workspace: the folder of the `Cargo.toml` with `[workspace]`.
pub fn root() -> PathBuf {
    // `cargo run` says where xtask lies now; the value at compile time serves a binary called by hand.
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Where the tools that [`crate::setup`] builds are kept, whatever `CARGO_TARGET_DIR` says:
/// `lb-agent/build.rs` looks for them at this place.
pub fn tools() -> PathBuf {
    root().join("target/tools")
}

/// A cargo that starts in the workspace's root and knows nothing of the cargo that started us.
///
/// What the user chose (`CARGO_HOME`, `CARGO_TARGET_DIR`, `RUSTFLAGS`, `RUSTUP_TOOLCHAIN` …) stays.
/// What `cargo run` set for xtask itself goes: it would make build scripts run again and puts
/// the toolchain's libraries into `LD_LIBRARY_PATH`.
pub fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root());
    for (name, _) in env::vars_os() {
        if set_by_cargo_run(&name) {
            command.env_remove(name);
        }
    }
    command
}

fn set_by_cargo_run(name: &OsStr) -> bool {
    const NAMES: [&str; 5] = [
        "CARGO",
        "CARGO_MAKEFLAGS",
        "LD_LIBRARY_PATH",
        "OUT_DIR",
        "RUST_RECURSION_COUNT",
    ];
    const PREFIXES: [&str; 5] = [
        "CARGO_BIN_",
        "CARGO_CRATE_",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_PRIMARY_",
    ];
    let name = name.to_string_lossy();
    NAMES.contains(&name.as_ref()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The path of a program: in `PATH`, or where Debian keeps what only root calls.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_run_sets_goes_and_what_the_user_sets_stays() {
        for gone in [
            "CARGO",
            "CARGO_PKG_NAME",
            "CARGO_MANIFEST_DIR",
            "LD_LIBRARY_PATH",
        ] {
            assert!(set_by_cargo_run(OsStr::new(gone)), "{gone}");
        }
        for kept in [
            "CARGO_HOME",
            "CARGO_TARGET_DIR",
            "CARGO_TERM_COLOR",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
            "PATH",
        ] {
            assert!(!set_by_cargo_run(OsStr::new(kept)), "{kept}");
        }
    }

    #[test]
    fn a_program_is_found_and_a_plain_file_is_not_one() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-anywhere").is_none());
        assert!(!is_executable(&root().join("Cargo.toml")));
        assert!(root().join("lb-ebpf/Cargo.toml").is_file());
    }
}
