//! A run of the guest: one command, its output and its exit status.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::{image, qemu};
use crate::child::{self, End, Event, Pipe};

/// How many lines of the kernel's log are shown when the guest dies.
const LOG_LINES: usize = 30;
/// Where the guest sees [`Share`].
pub const SHARE: &str = "/run/vm";

/// The machine to start.
pub struct Guest {
    /// Memory, MiB.
    pub memory_mib: u32,
    /// Processors.
    pub cpus: u32,
    /// The folder to run in.
    pub folder: PathBuf,
    /// How long the whole may take.
    pub limit: Duration,
    /// Kernel modules to load first.
    pub modules: Vec<String>,
    /// Variables for the command, besides `CARGO*`, `RUST*` and `LB_*`, which are handed on.
    pub environment: Vec<(String, OsString)>,
}

/// How a run ended.
pub enum Finish {
    /// The command's exit status.
    Exited(i32),
    /// The limit has passed.
    TimedOut,
    /// Ctrl-C.
    Interrupted,
    /// The guest ended without a result.
    Died {
        /// How QEMU ended.
        qemu: String,
        /// The end of the kernel's log.
        log: String,
    },
}

impl Finish {
    /// The error that the outcome is, if the command's own status is not to be had.
    pub fn into_error(self) -> anyhow::Error {
        match self {
            Self::Exited(code) => anyhow!("the command in the guest ended with status {code}"),
            Self::TimedOut => {
                anyhow!("the guest took too long and was ended: give it more with --timeout")
            }
            Self::Interrupted => anyhow!("the guest was interrupted"),
            Self::Died { qemu, log } => anyhow!(
                "the guest died without a result (QEMU {qemu}); the end of its kernel's log:\n{log}"
            ),
        }
    }
}

impl Guest {
    /// Starts the guest, runs the command in it, and waits for the end.
    pub fn run(&self, command: &[OsString], each: impl FnMut(Event<'_>)) -> anyhow::Result<Finish> {
        let share = Share::create()?;
        self.run_in(&share, command, each)
    }

    /// As [`Guest::run`], with an exchange folder of the caller's.
    pub fn run_in(
        &self,
        share: &Share,
        command: &[OsString],
        each: impl FnMut(Event<'_>),
    ) -> anyhow::Result<Finish> {
        let release =
            image::release().context("the guest's image is missing: run `cargo xtask setup`")?;
        fs::write(share.0.join("stage2"), self.stage2(env::vars_os(), command))
            .context("write the guest's start script")?;
        let mut qemu = self.qemu(share, &release);
        let end = child::run(&mut qemu, Pipe::Both, Some(self.limit), each)?;
        if let Ok(text) = fs::read_to_string(share.0.join("status")) {
            let code = text.trim().parse().with_context(|| {
                format!("the guest wrote \"{}\" for an exit status", text.trim())
            })?;
            return Ok(Finish::Exited(code));
        }
        Ok(match end {
            End::TimedOut => Finish::TimedOut,
            End::Interrupted => Finish::Interrupted,
            End::Exited(status) => Finish::Died {
                qemu: format!("ended with {status}"),
                log: share.log_tail(),
            },
        })
    }

    fn qemu(&self, share: &Share, release: &str) -> Command {
        let mut qemu = qemu::command();
        qemu.args(["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,la57=off"])
            .args(["-smp", &self.cpus.to_string(), "-m", &self.memory_mib.to_string()])
            .args(["-nodefaults", "-display", "none", "-no-reboot", "-nic", "none"])
            .arg("-kernel")
            .arg(image::kernel())
            .arg("-initrd")
            .arg(image::initrd())
            .args(["-append", "console=ttyS0 quiet panic=-1 nokaslr mitigations=off no5lvl random.trust_cpu=on tsc=reliable"])
            .arg("-serial")
            .arg(prefixed("file:", &share.0.join("kernel.log")));
        for (tag, path, access) in [
            ("root", Path::new("/"), ",readonly=on"),
            ("modules", &image::modules(release), ",readonly=on"),
            ("share", &share.0, ""),
        ] {
            let mut device = prefixed(
                &format!("local,id={tag},security_model=none,multidevs=remap{access},path="),
                path,
            );
            // QEMU reads a comma as the end of a value unless it is doubled.
            device = OsString::from_vec(double_commas(device.as_bytes(), path.as_os_str().len()));
            qemu.arg("-fsdev").arg(device).args([
                "-device",
                &format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}"),
            ]);
        }
        // The guest's two streams come out of QEMU's own. Opened anew by their names they are written only; a chardev
        // of kind `stdio` would read ours as well, and stops the guest once that is at its end.
        qemu.args(["-device", "virtio-serial-pci"])
            .args([
                "-chardev",
                "file,id=out,path=/proc/self/fd/1,append=on",
                "-device",
                "virtserialport,chardev=out,name=out",
            ])
            .args([
                "-chardev",
                "file,id=err,path=/proc/self/fd/2,append=on",
                "-device",
                "virtserialport,chardev=err,name=err",
            ])
            .args(["-device", "virtio-rng-pci"]);
        qemu
    }

    /// What the guest runs once it stands on the host's root.
    fn stage2(
        &self,
        ours: impl Iterator<Item = (OsString, OsString)>,
        command: &[OsString],
    ) -> Vec<u8> {
        let mut script = Vec::new();
        script.extend_from_slice(
            b"export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb\n\
              ip link set lo up\n\
              echo '4 4 1 7' >/proc/sys/kernel/printk\n\
              for port in /sys/class/virtio-ports/*; do read -r name <\"$port/name\"; ln -sf \"/dev/${port##*/}\" \"/dev/vm-$name\"; done\n",
        );
        if !self.modules.is_empty() {
            let names: Vec<OsString> = self.modules.iter().map(OsString::from).collect();
            script.extend_from_slice(b"modprobe -a ");
            push_words(&mut script, &names);
            script.extend_from_slice(b" 2>/dev/vm-err\n");
        }
        let extra = self
            .environment
            .iter()
            .map(|(name, value)| (OsString::from(name), value.clone()));
        for (name, value) in ours.filter(|(name, _)| is_handed_on(name)).chain(extra) {
            script.extend_from_slice(b"export ");
            script.extend_from_slice(name.as_bytes());
            script.push(b'=');
            script.extend_from_slice(&quoted(&value));
            script.push(b'\n');
        }
        script.extend_from_slice(b"cd ");
        script.extend_from_slice(&quoted(self.folder.as_os_str()));
        script.push(b'\n');
        push_words(&mut script, command);
        script.extend_from_slice(
            format!(
                " </dev/null >/dev/vm-out 2>/dev/vm-err\n\
                 echo $? >{SHARE}/status.new; mv {SHARE}/status.new {SHARE}/status; sync\n\
                 echo o >/proc/sysrq-trigger; sleep 5; echo b >/proc/sysrq-trigger; sleep 9\n"
            )
            .as_bytes(),
        );
        script
    }
}

/// A folder that host and guest both write, removed when dropped.
pub struct Share(pub PathBuf);

impl Share {
    /// Makes one in `target/vm`, and removes those of runs that were killed.
    pub fn create() -> anyhow::Result<Self> {
        const PREFIX: &str = "run-";
        let parent = image::folder();
        for entry in fs::read_dir(&parent)
            .with_context(|| format!("read {}", parent.display()))?
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(owner) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if !Path::new("/proc").join(owner).exists() {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let folder = parent.join(format!("{PREFIX}{}", process::id()));
        fs::create_dir(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(Self(folder))
    }

    fn log_tail(&self) -> String {
        let bytes = fs::read(self.0.join("kernel.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines
            .get(lines.len().saturating_sub(LOG_LINES)..)
            .unwrap_or_default()
            .join("\n")
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn prefixed(prefix: &str, path: &Path) -> OsString {
    let mut text = OsString::from(prefix);
    text.push(path);
    text
}

/// Doubles each comma in the last `tail` bytes.
fn double_commas(text: &[u8], tail: usize) -> Vec<u8> {
    let (options, path) = text.split_at(text.len().saturating_sub(tail));
    let mut doubled = options.to_vec();
    for &byte in path {
        doubled.push(byte);
        if byte == b',' {
            doubled.push(byte);
        }
    }
    doubled
}

fn is_handed_on(name: &OsStr) -> bool {
    ["CARGO", "RUST", "LB_"]
        .iter()
        .any(|prefix| name.as_bytes().starts_with(prefix.as_bytes()))
}

fn push_words(script: &mut Vec<u8>, words: &[OsString]) {
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            script.push(b' ');
        }
        script.extend_from_slice(&quoted(word));
    }
}

/// A word that the shell reads back as it is.
fn quoted(word: &OsStr) -> Vec<u8> {
    let mut text = vec![b'\''];
    for &byte in word.as_bytes() {
        match byte {
            b'\'' => text.extend_from_slice(br"'\''"),
            byte => text.push(byte),
        }
    }
    text.push(b'\'');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_survive_a_shell() {
        for word in [
            "",
            "plain",
            "two words",
            "it's",
            "$HOME `x` \"y\" \\",
            "a\nb",
        ] {
            let script = [&b"printf %s "[..], &quoted(OsStr::new(word))].concat();
            let output = Command::new("sh")
                .arg("-c")
                .arg(OsStr::from_bytes(&script))
                .output()
                .unwrap();
            assert_eq!(output.stdout, word.as_bytes(), "{word:?}");
        }
    }

    #[test]
    fn the_start_script_sets_the_environment_and_then_runs_the_command() {
        let guest = Guest {
            memory_mib: 512,
            cpus: 1,
            folder: "/a b".into(),
            limit: Duration::from_secs(1),
            modules: vec!["veth".into()],
            environment: vec![("LB_SKIP_LOG".into(), "/run/vm/skips".into())],
        };
        let ours = [("RUST_BACKTRACE", "1"), ("SECRET", "x")]
            .map(|(name, value)| (name.into(), value.into()));
        let script = guest.stage2(ours.into_iter(), &["echo".into(), "it's".into()]);
        let script = String::from_utf8(script).unwrap();
        let expected = "modprobe -a 'veth' 2>/dev/vm-err\nexport RUST_BACKTRACE='1'\nexport LB_SKIP_LOG='/run/vm/skips'\ncd '/a b'\n'echo' 'it'\\''s' </dev/null";
        assert!(script.contains(expected), "{script}");
        assert!(!script.contains("SECRET"), "{script}");
    }

    #[test]
    fn a_comma_in_a_path_is_doubled_for_qemu() {
        assert_eq!(double_commas(b"local,path=/a,b", 4), b"local,path=/a,,b");
    }
}
