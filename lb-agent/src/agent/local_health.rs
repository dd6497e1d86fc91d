//! What health has found out about real servers of services with `mode = "local"`, which the data plane knows nothing of:
//! kept in a file, so that an agent that is started again does not take a dead one for alive, and its VIP with it.

use super::{
    pool::Pool,
    state_file::{StateFile, StateFileError},
};
use lb_common::BackendState;
use serde::{Deserialize, Serialize};

const FILE: &str = "health.json";
const WHAT: &str = "the states of real servers of services with mode local";

/// The file, and what it has.
#[derive(Debug)]
pub struct LocalHealth {
    file: StateFile,
    kept: Vec<Kept>,
}

/// A real server that was found dead. The others are taken to live, as on the first start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    service: String,
    real_server: String,
    state: KeptState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeptState {
    Up,
    Down,
}

impl LocalHealth {
    /// Has `pool` take over what an earlier life knew.
    ///
    /// # Errors
    /// Where there is a file that cannot be read.
    pub fn recall(pool: &mut Pool) -> Result<Self, StateFileError> {
        Self::recall_from(StateFile::named(FILE, WHAT), pool)
    }

    fn recall_from(file: StateFile, pool: &mut Pool) -> Result<Self, StateFileError> {
        let kept: Vec<Kept> = file.read()?;
        let known = kept.iter().map(|kept| {
            let state = match kept.state {
                KeptState::Up => BackendState::Up,
                KeptState::Down => BackendState::Down,
            };
            (kept.service.as_str(), kept.real_server.as_str(), state)
        });
        pool.inherit_local(known);
        Ok(Self { file, kept })
    }

    /// Keeps how they stand, where that is another than before.
    pub fn keep(&mut self, pool: &Pool) {
        let local = pool
            .services()
            .iter()
            .filter(|service| !service.is_forwarded());
        let found = local.flat_map(|service| {
            let known = service.real_servers.iter();
            let known = known.filter(|real_server| real_server.is_known());
            known.map(|real_server| Kept {
                service: service.name.clone(),
                real_server: real_server.display_address(),
                state: match real_server.state {
                    BackendState::Up => KeptState::Up,
                    BackendState::Down => KeptState::Down,
                },
            })
        });
        let found: Vec<Kept> = found.collect();
        if found == self.kept {
            return;
        }
        match self.file.write(&found) {
            Ok(()) => self.kept = found,
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::error!(error, "an agent that is started again will not know");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent::pool::test_pool,
        health::{Event, State},
    };
    use std::{env, fs, time::Instant};

    const CONFIG: &str = "[[service]]\nname = \"db\"\nlisten = [\"192.0.2.10:3306\"]\nmode = \"local\"\ncheck.tcp = {}\n\
        [[service.real_server]]\naddress = \"192.0.2.21:3306\"\n[[service.real_server]]\naddress = \"192.0.2.22:3306\"\n";

    #[test]
    fn a_dead_real_server_of_a_local_service_is_dead_to_the_next_life_too() {
        let path = env::temp_dir().join(format!("lb-local-{}/health.json", std::process::id()));
        let file = || StateFile::at(&path, WHAT);
        let mut pool = test_pool(CONFIG);
        let mut health = LocalHealth::recall_from(file(), &mut pool).expect("nothing is kept");
        assert!(pool.services()[0].is_up());
        for target in pool.targets() {
            let event = Event {
                target: target.id,
                state: State::Down,
                weight: None,
                reason: "the test says so".to_owned(),
                at: Instant::now(),
            };
            let _ = pool.on_health(&event, Instant::now());
        }
        health.keep(&pool);
        let mut next = test_pool(CONFIG);
        let mut health = LocalHealth::recall_from(file(), &mut next).expect("what was kept");
        assert!(!next.services()[0].is_up());
        assert!(
            next.targets()
                .iter()
                .all(|target| target.initial == State::Down)
        );
        let before = fs::metadata(&path).and_then(|found| found.modified());
        health.keep(&next);
        let after = fs::metadata(&path).and_then(|found| found.modified());
        assert_eq!(before.ok(), after.ok(), "nothing new, nothing written");
        fs::remove_dir_all(path.parent().expect("a folder")).expect("the test's own folder");
    }
}
