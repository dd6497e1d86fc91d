//! What is missing, found by looking at files alone.

use std::path::Path;

use super::toolchain::{self, Choice};
use super::{Need, bpffs};
use crate::vm::image;
use crate::workspace::find_program;

/// A Debian package to install.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Package {
    /// By its name.
    Named(&'static str),
    /// `llvm-NN-dev` for the LLVM of this major version, or for rustc-web's where that is not installed yet.
    LlvmDev(Option<u32>),
}

/// What a verb needs and does not find.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Packages, in the order they were asked for, each once.
    pub packages: Vec<Package>,
    /// The toolchain's link, the linker or the record of both is not there or not up to date.
    pub toolchain: bool,
    /// bpffs is not mounted.
    pub bpffs: bool,
    /// The guest's image is not there or not up to date.
    pub image: bool,
}

/// A program and the package that brings it.
type Tool = (&'static str, &'static str);

/// What the lab runs.
const LAB: [Tool; 8] = [
    ("nginx", "nginx"),
    ("curl", "curl"),
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("keepalived", "keepalived"),
    ("dnsmasq", "dnsmasq-base"),
    ("smtpd", "opensmtpd"),
    ("aiosmtpd", "python3-aiosmtpd"),
];
/// What benchmarks measure beside lb.
const PEERS: [Tool; 3] = [("nft", "nftables"), ("haproxy", "haproxy"), ("wrk", "wrk")];
/// A module is no program.
const STREAM_MODULE: (&str, &str) = (
    "/usr/lib/nginx/modules/ngx_stream_module.so",
    "libnginx-mod-stream",
);
/// What makes and runs the guest's image. The guest sees the host's root, so `modprobe` and `ip` serve inside it too.
/// QEMU, kernel and busybox are part of the image.
const VM: [Tool; 3] = [("modprobe", "kmod"), ("xz", "xz-utils"), ("ip", "iproute2")];

impl Plan {
    /// Looks at this machine.
    pub fn survey(needs: &[Need]) -> Self {
        let mut plan = Self::default();
        for need in needs {
            match need {
                Need::Ebpf => plan.add_toolchain(),
                Need::Bpffs => plan.bpffs = !bpffs::is_mounted(),
                Need::Lab => plan.add_tools(&LAB, |name| find_program(name).is_some()),
                Need::Peers => {
                    plan.add_tools(&PEERS, |name| find_program(name).is_some());
                    plan.add_tools(&[STREAM_MODULE], |file| Path::new(file).exists());
                }
                Need::Vm => {
                    plan.add_tools(&VM, |name| find_program(name).is_some());
                    plan.image = !image::is_ready();
                }
            }
        }
        plan
    }

    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// One line for each thing that is missing.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.packages.is_empty() {
            let names: Vec<String> = self.packages.iter().map(Package::to_string).collect();
            lines.push(format!("Debian packages: {}", names.join(" ")));
        }
        for (missing, what) in [
            (
                self.toolchain,
                "the eBPF toolchain: rustup's link to it, bpf-linker in target/tools, or the note which is used",
            ),
            (self.bpffs, "a bpf file system at /sys/fs/bpf"),
            (
                self.image,
                "the guest's image in target/vm (Debian's kernel and QEMU, unpacked, never installed)",
            ),
        ] {
            if missing {
                lines.push(what.to_owned());
            }
        }
        lines
    }

    fn add_toolchain(&mut self) {
        let choice = Choice::find();
        if let Choice::Debian(rustc) = &choice {
            self.add_debian_compiler(Path::new(toolchain::DEBIAN_PREFIX));
            let llvm = rustc.as_ref().map(|rustc| rustc.llvm);
            let library = |major| Path::new(&toolchain::llvm_prefix(major)).join("lib/libLLVM.so");
            if !llvm.is_some_and(|major| library(major).exists()) {
                self.add(Package::LlvmDev(llvm));
            }
        }
        self.toolchain = !self.packages.is_empty() || !toolchain::is_ready(&choice);
    }

    fn add_debian_compiler(&mut self, prefix: &Path) {
        const FILES: [(&str, &str); 3] = [
            ("bin/rustc", "rustc-web"),
            ("bin/cargo", "cargo-web"),
            (
                "lib/rustlib/bpfel-unknown-none/lib",
                "libstd-rust-web-dev-bpf",
            ),
        ];
        // They come from one source and must be of one version: where one is missing, ask for all.
        if FILES.iter().any(|(file, _)| !prefix.join(file).exists()) {
            for (_, package) in FILES {
                self.add(Package::Named(package));
            }
        }
    }

    fn add_tools(&mut self, tools: &[Tool], is_there: impl Fn(&str) -> bool) {
        for &(program, package) in tools {
            if !is_there(program) {
                self.add(Package::Named(package));
            }
        }
    }

    fn add(&mut self, package: Package) {
        if !self.packages.contains(&package) {
            self.packages.push(package);
        }
    }
}

impl std::fmt::Display for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::LlvmDev(Some(major)) => write!(f, "llvm-{major}-dev"),
            Self::LlvmDev(None) => f.write_str("llvm-NN-dev (of rustc-web's LLVM)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_two_needs_share_is_asked_for_once() {
        let mut plan = Plan::default();
        plan.add_tools(&LAB, |_| false);
        plan.add_tools(&VM, |_| false);
        let iproute2 = plan
            .packages
            .iter()
            .filter(|package| **package == Package::Named("iproute2"))
            .count();
        assert_eq!(iproute2, 1);
        assert_eq!(plan.packages.len(), LAB.len() + VM.len() - 1);
    }

    #[test]
    fn only_the_missing_tool_is_asked_for() {
        let mut plan = Plan::default();
        plan.add_tools(&LAB, |name| name != "ethtool");
        assert_eq!(plan.packages, [Package::Named("ethtool")]);
        assert!(!plan.is_empty());
        assert_eq!(plan.describe(), ["Debian packages: ethtool"]);
    }

    #[test]
    fn a_machine_without_any_of_the_compiler_needs_all_of_it() {
        let mut plan = Plan::default();
        plan.add_debian_compiler(Path::new("/nonexistent"));
        assert_eq!(
            plan.packages,
            ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"].map(Package::Named)
        );
    }

    #[test]
    fn nothing_missing_is_an_empty_plan() {
        let mut plan = Plan::default();
        plan.add_tools(&VM, |_| true);
        assert!(plan.is_empty());
        assert!(plan.describe().is_empty());
    }

    #[test]
    fn the_llvm_package_bears_the_compilers_version() {
        assert_eq!(Package::LlvmDev(Some(22)).to_string(), "llvm-22-dev");
        assert!(Package::LlvmDev(None).to_string().contains("NN"));
    }
}
