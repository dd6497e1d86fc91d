//! What labs there are, for people.

use std::path::Path;

use anyhow::Result;

use super::namespace::NETNS;
use super::registry::{self, State};
use super::{plan, removal};

/// A lab as `cargo xtask lab status` shows it.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Whose it is, in words.
    pub state: String,
    /// Its nodes, and the processes that run in each.
    pub processes: Vec<(String, Vec<String>)>,
}

/// All labs of this machine, whoever's they are, by name.
pub fn all_labs() -> Result<Vec<Listed>> {
    let mut names = registry::names()?;
    names.sort();
    names.into_iter().map(list).collect()
}

fn list(name: String) -> Result<Listed> {
    let Ok(state) = registry::read(&name) else {
        return Ok(Listed {
            name,
            state: "being made or removed, or a left-over that the next start removes".into(),
            processes: Vec::new(),
        });
    };
    let mut processes = Vec::new();
    for node in plan::nodes(state.real_servers) {
        let namespace = Path::new(NETNS).join(registry::namespace(&name, &node.name));
        let found = removal::processes_in(&[namespace])?;
        processes.push((
            node.name,
            found.into_iter().map(removal::describe).collect(),
        ));
    }
    Ok(Listed {
        state: describe(&name, &state),
        name,
        processes,
    })
}

fn describe(name: &str, state: &State) -> String {
    match &state.owner {
        None => format!("stays until `cargo xtask lab down --name {name}`"),
        Some(owner) if owner.is_alive() => format!("goes away with process {}", owner.pid()),
        Some(owner) => format!(
            "left over by process {}; the next start removes it",
            owner.pid()
        ),
    }
}
