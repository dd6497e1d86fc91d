//! The guest's image in `target/vm`: an uncompressed kernel, its modules, and a first file system.
//!
//! Kernel and busybox are Debian's packages, unpacked here and never installed: the host's boot is not touched.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, bail};

use super::cpio::Archive;
use super::qemu;
use super::unpack::unpack;
use crate::say::say;
use crate::setup::{apt, step};
use crate::{child, workspace};

/// The metapackage behind which Debian keeps its newest kernel. The "cloud" kernel lacks 9p.
const METAPACKAGE: &str = "linux-image-amd64";
/// The first process of the guest.
const INIT: &str = include_str!("init.sh");
/// What the first file system must load to reach the host's root.
const BOOT_MODULES: [&str; 6] = [
    "virtio_pci",
    "virtio_mmio",
    "9pnet_virtio",
    "9p",
    "overlay",
    "virtio_console",
];
/// How an xz stream begins (xz file format 1.2, section 2.1.1.1).
const XZ_MAGIC: &[u8] = b"\xfd7zXZ\0";

/// `target/vm`.
pub fn folder() -> PathBuf {
    workspace::root().join("target/vm")
}

/// The kernel that QEMU starts: an ELF file, entered by PVH, which skips firmware and unpacking in the guest.
pub fn kernel() -> PathBuf {
    folder().join("vmlinux")
}

/// The first file system.
pub fn initrd() -> PathBuf {
    folder().join("initrd.cpio")
}

/// `/lib/modules/RELEASE` of the guest.
pub fn modules(release: &str) -> PathBuf {
    folder().join("kernel/lib/modules").join(release)
}

/// The kernel's release if the image is there and was made by this very code.
pub fn release() -> Option<String> {
    let text = fs::read_to_string(ready_file()).ok()?;
    let (release, rest) = text.split_once('\n')?;
    (rest == fingerprint() && kernel().exists() && initrd().exists() && modules(release).exists())
        .then(|| release.to_owned())
}

/// Whether the image can be started.
pub fn is_ready() -> bool {
    qemu::is_there() && release().is_some()
}

/// Makes the image anew, from the packages in `target/vm` or, where there are none, from Debian's.
pub fn build() -> anyhow::Result<()> {
    let folder = folder();
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    match fs::remove_file(ready_file()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("remove target/vm/ready");
        }
        _ => {}
    }
    if !qemu::is_there() {
        qemu::fetch()?;
    }
    if !folder.join("kernel").exists() {
        unpack(&[kernel_package()?], &folder.join("kernel"))?;
    }
    if !folder.join("busybox").exists() {
        unpack(&["busybox-static".to_owned()], &folder.join("busybox"))?;
    }
    let release = only_release(&folder.join("kernel/lib/modules"))?;
    step(
        "depmod for the guest's kernel",
        Command::new("depmod")
            .arg("-b")
            .arg(folder.join("kernel"))
            .arg(&release),
    )?;
    let image = folder
        .join("kernel/boot")
        .join(format!("vmlinuz-{release}"));
    let packed = fs::read(&image).with_context(|| format!("read {}", image.display()))?;
    fs::write(
        kernel(),
        uncompressed(&packed).with_context(|| format!("unpack {}", image.display()))?,
    )
    .context("write target/vm/vmlinux")?;
    fs::write(initrd(), first_file_system(&folder, &release)?)
        .context("write target/vm/initrd.cpio")?;
    fs::write(ready_file(), format!("{release}\n{}", fingerprint()))
        .context("write target/vm/ready")?;
    say!("guest: Debian's kernel {release} in target/vm");
    Ok(())
}

fn ready_file() -> PathBuf {
    folder().join("ready")
}

/// What the image depends on besides Debian's packages.
fn fingerprint() -> String {
    format!("{}\n{INIT}", BOOT_MODULES.join(" "))
}

/// The concrete package behind the metapackage, from apt's lists, which are fetched where they say nothing.
fn kernel_package() -> anyhow::Result<String> {
    let find = || {
        apt::depends(METAPACKAGE)
            .into_iter()
            .find(|name| name.starts_with("linux-image-"))
    };
    if let Some(name) = find() {
        return Ok(name);
    }
    apt::update()?;
    find().with_context(|| {
        format!(
            "apt knows no {METAPACKAGE}: the guest needs Debian's archive in /etc/apt/sources.list"
        )
    })
}

fn only_release(folder: &Path) -> anyhow::Result<String> {
    let entry = fs::read_dir(folder)
        .with_context(|| format!("read {}", folder.display()))?
        .next();
    let name = entry
        .with_context(|| format!("{} is empty", folder.display()))??
        .file_name();
    name.into_string()
        .ok()
        .context("the kernel's release is not UTF-8")
}

/// The ELF kernel inside a `vmlinuz`.
fn uncompressed(packed: &[u8]) -> anyhow::Result<Vec<u8>> {
    let at = packed
        .windows(XZ_MAGIC.len())
        .position(|window| window == XZ_MAGIC);
    let stream = at
        .and_then(|at| packed.get(at..))
        .context("no xz stream in it: Debian packs its kernel otherwise now")?
        .to_vec();
    // More follows the stream: xz would take it for a second one.
    let mut xz = Command::new("xz")
        .args(["--decompress", "--stdout", "--single-stream"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("start xz (Debian's package xz-utils)")?;
    let mut input = xz.stdin.take().context("xz has no standard input")?;
    // xz ends at the end of the stream and closes the pipe: the error of writing the rest means nothing.
    let writer = thread::spawn(move || drop(input.write_all(&stream)));
    let output = xz.wait_with_output().context("wait for xz")?;
    drop(writer.join());
    if !output.stdout.starts_with(b"\x7fELF") {
        bail!("what xz unpacked is no ELF file ({})", output.status);
    }
    Ok(output.stdout)
}

fn first_file_system(folder: &Path, release: &str) -> anyhow::Result<Vec<u8>> {
    let mut archive = Archive::default();
    for name in ["bin", "mods", "proc", "sys", "dev", "lower", "rw", "new"] {
        archive.folder(name);
    }
    let busybox = folder.join("busybox/bin/busybox");
    archive.program(
        "bin/busybox",
        &fs::read(&busybox).with_context(|| format!("read {}", busybox.display()))?,
    );
    let mut order = String::new();
    for file in load_order(folder, release)? {
        let name = file
            .file_name()
            .context("a module without a name")?
            .to_string_lossy()
            .into_owned();
        archive.file(
            &format!("mods/{name}"),
            &fs::read(&file).with_context(|| format!("read {}", file.display()))?,
        );
        order.push_str(&name);
        order.push('\n');
    }
    archive.file("mods/order", order.as_bytes());
    archive.program("init", INIT.as_bytes());
    Ok(archive.finish())
}

/// The files of [`BOOT_MODULES`] and of what they depend on, in the order in which they must be loaded.
fn load_order(folder: &Path, release: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut order = Vec::new();
    for module in BOOT_MODULES {
        let mut command = Command::new("modprobe");
        command.arg("-d").arg(folder.join("kernel")).args([
            "-S",
            release,
            "--show-depends",
            module,
        ]);
        let text = child::output(&mut command)
            .with_context(|| format!("modprobe finds no module {module} in the guest's kernel"))?;
        for file in insmod_lines(&text) {
            if !order.contains(&file) {
                order.push(file);
            }
        }
    }
    Ok(order)
}

/// The files in `insmod FILE` lines; `builtin NAME` lines need no loading.
fn insmod_lines(text: &str) -> impl Iterator<Item = PathBuf> {
    text.lines()
        .filter_map(|line| line.strip_prefix("insmod "))
        .map(|file| PathBuf::from(file.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builtin_modules_are_not_loaded() {
        let text = "insmod /k/virtio.ko \nbuiltin virtio_ring\ninsmod /k/virtio_pci.ko\n";
        let files: Vec<_> = insmod_lines(text).collect();
        assert_eq!(
            files,
            [Path::new("/k/virtio.ko"), Path::new("/k/virtio_pci.ko")]
        );
    }

    #[test]
    fn a_kernel_without_an_xz_stream_is_refused() {
        let error = uncompressed(b"MZ no stream here").unwrap_err().to_string();
        assert!(error.contains("no xz stream"), "{error}");
    }
}
