//! What the operator has said about real servers, kept in a file: a restart, of the agent or of the host, must not bring
//! back a server that was disabled.
//!
//! `operator.json` in the agent's state directory: what systemd names in `STATE_DIRECTORY`, else `/var/lib/lb`.

use super::pool::Word;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Where there is no `STATE_DIRECTORY`.
const DIRECTORY: &str = "/var/lib/lb";
const FILE: &str = "operator.json";

/// The words, by service and real server.
#[derive(Debug)]
pub struct Operator {
    path: PathBuf,
    words: BTreeMap<(String, String), Word>,
}

/// The file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The kernel refuses.
    #[error("{action} {path}, where the operator's words about real servers are kept")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// It is not what was written.
    #[error(
        "{path}, where the operator's words about real servers are kept, cannot be understood; remove it to forget them"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// A word as it is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    service: String,
    real_server: String,
    #[serde(default)]
    disabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<u16>,
}

impl Operator {
    /// What was said before.
    ///
    /// # Errors
    /// Where there is a file that cannot be read: to begin without what it says could bring a broken server back.
    pub fn recall() -> Result<Self, OperatorError> {
        let directory = env::var_os("STATE_DIRECTORY").unwrap_or_else(|| DIRECTORY.into());
        // systemd separates several by colons, and the first is ours.
        let first = env::split_paths(&directory)
            .next()
            .unwrap_or_else(|| DIRECTORY.into());
        Self::recall_from(&first.join(FILE))
    }

    fn recall_from(path: &Path) -> Result<Self, OperatorError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => "[]".to_owned(),
            Err(source) => {
                return Err(OperatorError::Io {
                    action: "read",
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let kept: Vec<Kept> =
            serde_json::from_str(&text).map_err(|source| OperatorError::Foreign {
                path: path.to_owned(),
                source,
            })?;
        let words = kept.into_iter().map(|kept| {
            let word = Word {
                is_disabled: kept.disabled,
                weight: kept.weight,
            };
            ((kept.service, kept.real_server), word)
        });
        Ok(Self {
            path: path.to_owned(),
            words: words.collect(),
        })
    }

    /// Everything that was said: service, real server, word.
    pub fn words(&self) -> impl Iterator<Item = (&str, &str, Word)> {
        self.words
            .iter()
            .map(|((service, real_server), &word)| (service.as_str(), real_server.as_str(), word))
    }

    /// Keeps a word; one that says nothing is forgotten.
    ///
    /// # Errors
    /// The file is then as it was, and so are the words.
    pub fn keep(
        &mut self,
        service: &str,
        real_server: &str,
        word: Word,
    ) -> Result<(), OperatorError> {
        let key = (service.to_owned(), real_server.to_owned());
        let mut words = self.words.clone();
        match word == Word::default() {
            true => drop(words.remove(&key)),
            false => drop(words.insert(key, word)),
        }
        self.write(&words)?;
        self.words = words;
        Ok(())
    }

    /// Whole or not at all: into a new file, then in place of the old one.
    fn write(&self, words: &BTreeMap<(String, String), Word>) -> Result<(), OperatorError> {
        let kept = words.iter().map(|((service, real_server), word)| Kept {
            service: service.clone(),
            real_server: real_server.clone(),
            disabled: word.is_disabled,
            weight: word.weight,
        });
        let failed = |source| OperatorError::Io {
            action: "write",
            path: self.path.clone(),
            source,
        };
        let text = serde_json::to_string_pretty(&kept.collect::<Vec<_>>())
            .map_err(|error| failed(error.into()))?;
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
        written().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kept_and_forgotten_again() {
        let folder = env::temp_dir().join(format!("lb-operator-{}", std::process::id()));
        let path = folder.join("state").join(FILE);
        let mut operator = Operator::recall_from(&path).expect("nothing there is nothing said");
        let disabled = Word {
            is_disabled: true,
            weight: None,
        };
        let weighed = Word {
            is_disabled: false,
            weight: Some(0),
        };
        operator
            .keep("web", "192.0.2.1:80", disabled)
            .expect("kept");
        operator.keep("web", "192.0.2.2:80", weighed).expect("kept");
        let recalled = Operator::recall_from(&path).expect("what was kept");
        let words: Vec<_> = recalled.words().collect();
        assert_eq!(
            words,
            [
                ("web", "192.0.2.1:80", disabled),
                ("web", "192.0.2.2:80", weighed)
            ]
        );
        operator
            .keep("web", "192.0.2.1:80", Word::default())
            .expect("forgotten");
        assert_eq!(
            Operator::recall_from(&path)
                .expect("what was kept")
                .words()
                .count(),
            1
        );
        fs::write(&path, "[{}]").expect("the test's own file");
        let error = Operator::recall_from(&path)
            .expect_err("foreign")
            .to_string();
        assert!(error.contains("remove it to forget them"), "{error}");
        fs::remove_dir_all(&folder).expect("the test's own folder");
    }
}
