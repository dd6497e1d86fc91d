//! The bpf file system, where the agent pins programs and maps.

use std::path::Path;
use std::process::Command;

use anyhow::bail;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::{need_root, step};

/// Where every tool of the field expects it.
const PLACE: &str = "/sys/fs/bpf";

/// Whether it is mounted.
pub fn is_mounted() -> bool {
    statfs(PLACE).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC)
}

/// Mounts it for this boot; systemd does so by itself on its machines.
pub fn mount() -> anyhow::Result<()> {
    need_root(
        "there is no bpf file system at /sys/fs/bpf, and mounting one is `mount -t bpf bpf /sys/fs/bpf`",
    )?;
    if !Path::new(PLACE).is_dir() {
        bail!(
            "{PLACE} does not exist: mount sysfs (`mount -t sysfs sysfs /sys`), on a kernel with CONFIG_BPF_SYSCALL"
        );
    }
    let mut command = Command::new("mount");
    command.args(["-t", "bpf", "bpf", PLACE]);
    step("mount the bpf file system", &mut command)
}
