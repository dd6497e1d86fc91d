//! Commands of the operator: checks, notifications. Run as somebody, for a bounded time, with bounded output.
//!
//! [`secure`] says whether a program may be run at all, [`user`] as whom, [`run`] runs it.

pub mod run;
pub mod secure;
pub mod user;

pub use run::{Ended, Runner, Script};
pub use secure::Insecure;
pub use user::{Ids, UserError};

/// A command that cannot be run as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// Nobody to run it as.
    #[error(transparent)]
    User(#[from] UserError),
    /// Others than root can change it.
    #[error(transparent)]
    Insecure(#[from] Insecure),
    /// The kernel does not start it.
    #[error("start {program}: {source}")]
    Start {
        /// Its path.
        program: String,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
}
