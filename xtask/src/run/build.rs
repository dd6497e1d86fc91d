//! Building the agent as a user would, and finding the binary.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::say::say;
use anyhow::{Context, Result, bail};
use lb_tests::interrupt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The agent's package and its binary.
const PACKAGE: &str = "lb-agent";

/// How the agent is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// As the tests are, so that nothing is built twice. The XDP program is optimised all the same.
    Dev,
    /// As it is to serve.
    Release,
}

/// Builds the agent, with cargo's own progress on stderr, and returns the path of the binary.
pub fn agent(profile: Profile) -> Result<PathBuf> {
    let flags: &[&str] = match profile {
        Profile::Dev => &[],
        Profile::Release => &["--release"],
    };
    say!("+ cargo build -p {PACKAGE} {}", flags.join(" "));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask is in a workspace")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut child = Command::new(cargo)
        .args(["build", "-p", PACKAGE])
        .arg("--message-format=json-render-diagnostics")
        .args(flags)
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start cargo")?;
    let stdout = child.stdout.take().context("cargo's stdout is a pipe")?;
    let reader = thread::spawn(move || executable(stdout));
    let status = loop {
        if let Some(status) = child.try_wait().context("wait for cargo")? {
            break status;
        }
        if interrupt::arrived() {
            // By Ctrl-C it has the signal already; by `kill` of this process alone it has not.
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
            let _ = child.wait();
            bail!("interrupted while the agent was built");
        }
        thread::sleep(Duration::from_millis(50));
    };
    let executable = reader.join().unwrap_or_default();
    if !status.success() {
        bail!(
            "the agent could not be built ({status}); what is missing for building is installed by `cargo xtask setup`"
        );
    }
    executable
        .with_context(|| format!("cargo has built {PACKAGE}, but named no binary of that name"))
}

/// cargo says where it put the binary, wherever the target directory is.
fn executable(messages: impl Read) -> Option<PathBuf> {
    let lines = BufReader::new(messages).lines().map_while(Result::ok);
    let mut found = None;
    for line in lines {
        let message: Value = serde_json::from_str(&line).unwrap_or_default();
        if message["target"]["name"] == PACKAGE
            && let Some(path) = message["executable"].as_str()
        {
            found = Some(PathBuf::from(path));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_found_among_cargos_messages() {
        let messages = r#"not json
{"reason":"compiler-artifact","target":{"name":"lb-agent","kind":["lib"]},"executable":null}
{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/t/release/other"}
{"reason":"compiler-artifact","target":{"name":"lb-agent","kind":["bin"]},"executable":"/t/release/lb-agent"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(
            executable(messages.as_bytes()),
            Some("/t/release/lb-agent".into())
        );
        assert_eq!(executable(&b"{}"[..]), None);
    }
}
