//! What the operator has said about real servers, kept in a file: a restart, of the agent or of the host, must not bring
//! back a server that was disabled.
//!
//! `operator.json` in the agent's state directory ([`state_file`](super::state_file)).

use super::{
    pool::{Stance, Word},
    state_file::{StateFile, StateFileError},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const FILE: &str = "operator.json";
const WHAT: &str = "the operator's words about real servers";

/// The words, by service and real server.
#[derive(Debug)]
pub struct Operator {
    file: StateFile,
    words: BTreeMap<(String, String), Word>,
}

/// A word as it is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    service: String,
    real_server: String,
    #[serde(default)]
    disabled: bool,
    /// Until when is in the maps: a host that was started anew has no connections to keep.
    #[serde(default)]
    drained: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<u16>,
}

impl Operator {
    /// What was said before.
    ///
    /// # Errors
    /// Where there is a file that cannot be read: to begin without what it says could bring a broken server back.
    pub fn recall() -> Result<Self, StateFileError> {
        Self::recall_from(StateFile::named(FILE, WHAT))
    }

    fn recall_from(file: StateFile) -> Result<Self, StateFileError> {
        let kept: Vec<Kept> = file.read()?;
        let words = kept.into_iter().map(|kept| {
            let stance = match kept {
                Kept { disabled: true, .. } => Stance::Disabled,
                Kept { drained: true, .. } => Stance::Draining { until_s: None },
                Kept { .. } => Stance::Enabled,
            };
            let word = Word {
                stance,
                weight: kept.weight,
            };
            ((kept.service, kept.real_server), word)
        });
        Ok(Self {
            file,
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
    ) -> Result<(), StateFileError> {
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

    fn write(&self, words: &BTreeMap<(String, String), Word>) -> Result<(), StateFileError> {
        let kept = words.iter().map(|((service, real_server), word)| Kept {
            service: service.clone(),
            real_server: real_server.clone(),
            disabled: word.stance == Stance::Disabled,
            drained: word.stance.drains(),
            weight: word.weight,
        });
        self.file.write(&kept.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{env, fs};

    #[test]
    fn words_are_kept_and_forgotten_again() {
        let folder = env::temp_dir().join(format!("lb-operator-{}", std::process::id()));
        let path = folder.join("state").join(FILE);
        let mut operator = Operator::recall_from(StateFile::at(&path, WHAT))
            .expect("nothing there is nothing said");
        let disabled = Word {
            stance: Stance::Disabled,
            weight: None,
        };
        let weighed = Word {
            stance: Stance::Draining { until_s: None },
            weight: Some(0),
        };
        operator
            .keep("web", "192.0.2.1:80", disabled)
            .expect("kept");
        operator.keep("web", "192.0.2.2:80", weighed).expect("kept");
        let recalled = Operator::recall_from(StateFile::at(&path, WHAT)).expect("what was kept");
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
            Operator::recall_from(StateFile::at(&path, WHAT))
                .expect("what was kept")
                .words()
                .count(),
            1
        );
        fs::write(&path, "[{}]").expect("the test's own file");
        let error = Operator::recall_from(StateFile::at(&path, WHAT))
            .expect_err("foreign")
            .to_string();
        assert!(error.contains("remove it to forget them"), "{error}");
        fs::remove_dir_all(&folder).expect("the test's own folder");
    }
}
