//! Files in the agent's state directory: what systemd names in `STATE_DIRECTORY`, else `/var/lib/lb`.
//!
//! JSON, written whole or not at all.

use serde::{Serialize, de::DeserializeOwned};
use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Where there is no `STATE_DIRECTORY`.
const DIRECTORY: &str = "/var/lib/lb";

/// A file.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
    what: &'static str,
}

/// A file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// The kernel refuses.
    #[error("{action} {path}, where {what} are kept")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What it has.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// It is not what was written.
    #[error("{path}, where {what} are kept, cannot be understood; remove it to forget them")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it has.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl StateFile {
    /// The file of this name. `what` it has, for messages, such as "the operator's words".
    pub fn named(name: &str, what: &'static str) -> Self {
        let directory = env::var_os("STATE_DIRECTORY").unwrap_or_else(|| DIRECTORY.into());
        // systemd separates several by colons, and the first is ours.
        let first = env::split_paths(&directory)
            .next()
            .unwrap_or_else(|| DIRECTORY.into());
        Self::at(&first.join(name), what)
    }

    /// The file at this path.
    pub fn at(path: &Path, what: &'static str) -> Self {
        Self {
            path: path.to_owned(),
            what,
        }
    }

    /// What it has; where there is no file: nothing.
    ///
    /// # Errors
    /// Where there is one that cannot be read.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Vec<T>, StateFileError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.failed("read", source)),
        };
        serde_json::from_str(&text).map_err(|source| StateFileError::Foreign {
            path: self.path.clone(),
            what: self.what,
            source,
        })
    }

    /// Writes all anew: into a new file, then in place of the old one.
    ///
    /// # Errors
    /// The file is then as it was.
    pub fn write<T: Serialize>(&self, all: &[T]) -> Result<(), StateFileError> {
        let text = serde_json::to_string_pretty(all)
            .map_err(|error| self.failed("write", error.into()))?;
        let new = self.path.with_extension("new");
        let written = || -> io::Result<()> {
            if let Some(directory) = self.path.parent() {
                fs::create_dir_all(directory)?;
            }
            let mut file = fs::File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        };
        written().map_err(|source| self.failed("write", source))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> StateFileError {
        StateFileError::Io {
            action,
            path: self.path.clone(),
            what: self.what,
            source,
        }
    }
}
