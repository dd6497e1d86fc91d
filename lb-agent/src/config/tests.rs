//! Tests of the configuration: the documented example, every rule, the text of reports, and files that are anything.

mod example;
mod include;
mod mutation;
mod report;
mod round_trip;
mod rules;
mod unsupported;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A directory of a test's own, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lb-config-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder for the test can be made");
        Self(path)
    }

    /// Writes a file and returns its path.
    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a file in a folder")).expect("folder");
        fs::write(&path, text).expect("a file of the test can be written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Parses a text as the contract has it.
fn parsed(text: impl AsRef<[u8]>) -> Result<Loaded, Report> {
    parse(&Folder::new().write("lb.toml", text))
}

/// Parses a text that must hold.
fn config(text: &str) -> Config {
    match parsed(text) {
        Ok(loaded) => loaded.config,
        Err(report) => panic!("refused:\n{report}\n--- of:\n{text}"),
    }
}

/// The faults of a text.
fn errors(text: &str) -> Vec<Diagnostic> {
    match parsed(text) {
        Ok(_) => Vec::new(),
        Err(report) => report.errors,
    }
}
