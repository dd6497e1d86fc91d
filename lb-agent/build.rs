//! Builds the BPF programs and leaves them as `lb` (XDP), `fence` and `probe` (TC) in `OUT_DIR`, from where the agent embeds them.
//!
//! The compiler and the linker are those that `cargo xtask setup` chose and noted in `target/tools/ebpf-toolchain`.
//! `AYA_BUILD_SKIP=1` builds without them (for documentation and `cargo check`): the embedded object is empty then.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, anyhow};
use aya_build::{Package, Toolchain};

/// What is printed where the toolchain is missing: one line, with the cure.
const CURE: &str = "the eBPF toolchain is missing: run `cargo xtask setup`";

fn main() {
    if let Err(error) = build() {
        // `error` lines of a build script fail the build; nothing else is printed, no backtrace.
        println!("cargo::error={error:#}");
    }
}

#[expect(
    unsafe_code,
    reason = "aya-build reads its settings from the environment of this process"
)]
fn build() -> anyhow::Result<()> {
    let manifest =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR is not set")?);
    let workspace = manifest.parent().context("lb-agent lies in no workspace")?;
    let record = workspace.join("target/tools/ebpf-toolchain");
    for path in [
        &workspace.join("lb-common"),
        &workspace.join("Cargo.lock"),
        &record,
    ] {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=AYA_BUILD_SKIP");
    if env::var_os("AYA_BUILD_SKIP")
        .is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    {
        let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
        for object in ["lb", "fence", "probe"] {
            fs::write(out.join(object), []).context("write an empty object")?;
        }
        return Ok(());
    }

    let tools = Tools::read(workspace, &record).ok_or_else(|| anyhow!(CURE))?;
    println!(
        "cargo::rerun-if-changed={}",
        tools.linker_folder.join("bpf-linker").display()
    );
    let path = tools.path()?;
    // SAFETY: a build script has one thread here, so that nothing reads the environment at the same time.
    unsafe {
        env::set_var("PATH", path);
        // Without this each line of the inner cargo's progress would be shown as a warning.
        env::set_var("CARGO_TERM_QUIET", "true");
        match tools.bootstrap.as_str() {
            "" => env::remove_var("RUSTC_BOOTSTRAP"),
            // Of the program itself: atomic words.
            names => env::set_var("RUSTC_BOOTSTRAP", format!("{names},lb")),
        }
    }
    let ebpf = workspace.join("lb-ebpf");
    let ebpf = ebpf
        .to_str()
        .context("the path of the workspace is not UTF-8")?;
    let features: &[&str] = if env::var_os("CARGO_FEATURE_BENCH").is_some() {
        &["bench"]
    } else {
        &[]
    };
    let package = Package {
        name: "lb-ebpf",
        root_dir: ebpf,
        no_default_features: false,
        features,
    };
    aya_build::build_ebpf([package], Toolchain::Custom(&tools.toolchain))
        .context("the XDP program does not build: see the warnings of lb-agent")
}

/// What `target/tools/ebpf-toolchain` says.
struct Tools {
    /// A toolchain of rustup.
    toolchain: String,
    /// The value of `RUSTC_BOOTSTRAP`; empty for none.
    bootstrap: String,
    /// Where bpf-linker lies.
    linker_folder: PathBuf,
}

impl Tools {
    /// None unless all is said and the linker is there.
    fn read(workspace: &Path, record: &Path) -> Option<Self> {
        let text = fs::read_to_string(record).ok()?;
        let field = |name: &str| {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(" ="))?;
            Some(value.trim().to_owned())
        };
        let linker_folder = workspace.join(field("linker_folder")?);
        let found = Self {
            toolchain: field("toolchain")?,
            bootstrap: field("bootstrap")?,
            linker_folder,
        };
        found
            .linker_folder
            .join("bpf-linker")
            .exists()
            .then_some(found)
    }

    /// `PATH` with the linker first.
    fn path(&self) -> anyhow::Result<OsString> {
        let before = env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.linker_folder.clone()).chain(env::split_paths(&before));
        env::join_paths(folders).context("PATH has a part with a colon")
    }
}
