//! The typed configuration: reads `lb.toml`, tells everything that is wrong with it at once, and hands out plain values.
//!
//! [`parse`] checks a file against the whole contract of `docs/lb.toml`; [`load`] also refuses what is valid but not built
//! yet. Both read files and nothing else of the host (the host name as default of `router_id` apart): whether interfaces
//! and addresses exist is for those to say who use them.
//!
//! The document is walked by hand ([`reader`]) instead of through serde, which stops at the first error.

mod check;
mod context;
mod diagnostic;
mod document;
mod duration;
mod endpoint;
mod global;
mod include;
pub mod model;
mod names;
mod reader;
mod real_server;
mod service;
mod source;
mod unsupported;
mod validate;
mod value;
mod vrrp;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use context::Places;
pub use diagnostic::{Diagnostic, Note, Report, Severity, Snippet};
pub use duration::format_duration;
pub use model::*;

use context::Context;

/// A configuration that holds, and what is worth saying about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is allowed but probably not meant, sorted by place.
    pub warnings: Vec<Diagnostic>,
    /// All files that were read, the main one first.
    pub files: Vec<PathBuf>,
    /// Where each key is written, for what others find out later.
    pub places: Places,
}

/// Reads and validates the file at `path` and what it includes.
///
/// # Errors
/// Every fault found, sorted by place; nothing of the host is changed either way.
pub fn parse(path: &Path) -> Result<Loaded, Report> {
    read(path, Scope::Contract)
}

/// As [`parse`], and refuses what this version cannot do yet, by name and place.
///
/// # Errors
/// Every fault found and every key that is not supported yet, sorted by place.
pub fn load(path: &Path) -> Result<Loaded, Report> {
    read(path, Scope::Built)
}

/// How much of the contract is accepted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// All of it.
    Contract,
    /// What this version can do.
    Built,
}

fn read(path: &Path, scope: Scope) -> Result<Loaded, Report> {
    let mut cx = Context::new();
    let Some(document) = include::read(&mut cx, path) else {
        return Err(cx.into_report());
    };
    let config = global::config(&cx, &document);
    cx.resolve_references();
    validate::config(&cx, &config);
    if scope == Scope::Built {
        unsupported::refuse(&cx, &config);
    }
    cx.finish(config)
}
