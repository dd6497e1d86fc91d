//! A lab from its making to its removal.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};

use super::agent::Agent;
use super::node::Node;
use super::registry::{self, Owner, State};
use super::{AccessLog, MAX_REAL_SERVERS, Nginx, Role, network, plan, removal, requirements};

/// What kind of lab to make.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many real servers, 1 to [`MAX_REAL_SERVERS`].
    pub real_servers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { real_servers: 3 }
    }
}

/// A network that is up.
#[derive(Debug)]
pub struct Lab {
    name: String,
    nodes: Vec<Node>,
    at_drop: AtDrop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtDrop {
    Remove,
    Keep,
}

impl Lab {
    /// Makes a lab that is removed when the value is dropped, or by the next `up` of any process after this one was killed.
    /// Several can be up at once. Removes what former labs have left behind.
    pub fn up(options: &Options) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let owner = Owner::current()?;
        let name = format!(
            "{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        Self::make(name, options, Some(owner), AtDrop::Remove)
    }

    /// Makes a lab that stays until [`Lab::remove`], for several commands of a shell. `name` has only lower-case letters
    /// and digits.
    pub fn up_to_stay(name: &str, options: &Options) -> Result<Self> {
        registry::check_name(name)?;
        let mut lab = Self::make(name.to_owned(), options, None, AtDrop::Remove)?;
        lab.at_drop = AtDrop::Keep;
        Ok(lab)
    }

    /// Finds a lab that was made to stay.
    pub fn find(name: &str) -> Result<Self> {
        registry::check_name(name)?;
        if !registry::directory(name).exists() {
            let others: BTreeSet<_> = registry::names()?.into_iter().collect();
            let others = if others.is_empty() {
                "no lab".into()
            } else {
                others.into_iter().collect::<Vec<_>>().join(", ")
            };
            bail!("there is no lab \"{name}\" ({others} is up): `cargo xtask lab up` makes one");
        }
        let state = registry::read(name)?;
        let plan = plan::nodes(state.real_servers);
        let nodes = plan
            .iter()
            .map(|planned| Node::open(name, planned))
            .collect::<Result<_>>();
        let nodes = nodes.with_context(|| {
            format!("the lab \"{name}\" is not whole: take it down by `cargo xtask lab down --name {name}`")
        })?;
        Ok(Self {
            name: name.to_owned(),
            nodes,
            at_drop: AtDrop::Keep,
        })
    }

    /// Removes a lab that was made to stay, whole or not. False: there was none.
    pub fn remove(name: &str) -> Result<bool> {
        registry::check_name(name)?;
        requirements::check()?;
        let exists = registry::directory(name).exists()
            || registry::namespaces()?.iter().any(|(lab, _)| lab == name);
        if exists {
            take_down(name)?;
        }
        Ok(exists)
    }

    fn make(
        name: String,
        options: &Options,
        owner: Option<Owner>,
        at_drop: AtDrop,
    ) -> Result<Self> {
        requirements::check()?;
        let real_servers = options.real_servers;
        ensure!(
            (1..=MAX_REAL_SERVERS).contains(&real_servers),
            "a lab has 1 to {MAX_REAL_SERVERS} real servers, not {real_servers}"
        );
        registry::register(
            &name,
            &State {
                owner,
                real_servers,
            },
        )?;
        // From here on dropping removes what is there of it.
        let mut lab = Self {
            name,
            nodes: Vec::new(),
            at_drop,
        };
        lab.nodes =
            network::build(&lab.name, &plan::nodes(real_servers)).context("make the lab")?;
        Ok(lab)
    }

    /// The lab's name, which is in the names of its namespaces.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All nodes, the switch first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node called `name`.
    ///
    /// # Errors
    /// Where there is none; the error says which there are.
    pub fn find_node(&self, name: &str) -> Result<&Node> {
        let found = self.nodes.iter().find(|node| node.name() == name);
        found.with_context(|| {
            let names: Vec<_> = self.nodes.iter().map(Node::name).collect();
            format!(
                "the lab has no node \"{name}\": it has {}",
                names.join(", ")
            )
        })
    }

    /// The node called `name`: for callers that name it themselves.
    ///
    /// # Panics
    /// Where there is none.
    pub fn node(&self, name: &str) -> &Node {
        self.find_node(name)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The real servers, in order.
    pub fn real_servers(&self) -> impl Iterator<Item = &Node> {
        self.nodes
            .iter()
            .filter(|node| node.role() == Role::RealServer)
    }

    /// Starts nginx on a node, with an access log.
    pub fn nginx(&self, node: &str) -> Result<Nginx> {
        Nginx::start(self.find_node(node)?, AccessLog::On)
    }

    /// Starts the agent on a node, with `config` as its file, and waits until it is ready.
    pub fn agent(&self, node: &str, binary: &std::path::Path, config: &str) -> Result<Agent> {
        Agent::start(self.find_node(node)?, binary, config)
    }

    /// Takes the lab down now, and says what went wrong with that.
    pub fn down(mut self) -> Result<()> {
        self.at_drop = AtDrop::Keep;
        self.nodes.clear();
        take_down(&self.name)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.at_drop == AtDrop::Remove
            && let Err(error) = take_down(&self.name)
        {
            let _ = writeln!(
                std::io::stderr(),
                "the lab \"{}\" could not be removed (the next start tries again): {error:#}",
                self.name
            );
        }
    }
}

fn take_down(name: &str) -> Result<()> {
    removal::remove_contents(name)?;
    registry::unregister(name)
}
