//! A command of the operator: does it say that the server is well?
//!
//! Exit status 0 says so, any other does not. A `dynamic` one says more, as in keepalived: 1 the server is down, 2 to
//! 255 it is up with the weight two less. At the run's deadline the command is ended, see [`script`](crate::script).

use super::deadline::{Deadline, Late};
use super::probe::Fault;
use crate::script::{Ended, Script, ScriptError};

/// What an exit status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 0: up, other: down.
    UpOrDown,
    /// 0: up with the configured weight, 1: down, 2..=255: up with the weight two less.
    Weight,
}

/// A command, and what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misc {
    /// What is run.
    pub script: Script,
    /// Added to its arguments: service, address, port, weight.
    pub arguments: [String; 4],
    /// This node's name.
    pub router_id: String,
    /// What its exit status means.
    pub verdict: Verdict,
}

/// Why a check did not pass.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was not run.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// It did not end.
    #[error("{program}: {late}; it was terminated")]
    Late {
        /// The program.
        program: String,
        /// How long it was waited for.
        late: Late,
    },
    /// It says no.
    #[error("{program}: {}", .ended.in_words())]
    Said {
        /// The program.
        program: String,
        /// What it said.
        ended: Ended,
    },
}

impl Fault for Error {
    /// A command that is not there says nothing about the server.
    fn is_ours(&self) -> bool {
        match self {
            Self::Script(_) => true,
            Self::Late { .. } | Self::Said { .. } => false,
        }
    }
}

/// Runs the command. Returns the weight that it found, if any.
///
/// # Errors
/// Where it does not say that the server is well.
pub async fn check(misc: &Misc, deadline: &Deadline) -> Result<Option<u16>, Error> {
    let [service, address, port, weight] = misc.arguments.clone();
    let environment = [
        ("LB_ROUTER_ID", misc.router_id.clone()),
        ("LB_KIND", "CHECK".to_owned()),
        ("LB_NAME", service),
        ("LB_ADDRESS", address),
        ("LB_PORT", port),
        ("LB_WEIGHT", weight),
    ];
    let program = || misc.script.program().to_owned();
    let run = misc.script.run(&misc.arguments, &environment);
    let ended = match deadline.limit("end of the command", run).await {
        Ok(ended) => ended?,
        Err(late) => {
            return Err(Error::Late {
                program: program(),
                late,
            });
        }
    };
    deadline.note(|| format!("{}: {}", program(), ended.in_words()));
    match (misc.verdict, ended.status.code()) {
        (Verdict::UpOrDown | Verdict::Weight, Some(0)) => Ok(None),
        (Verdict::Weight, Some(code @ 2..=255)) => Ok(u16::try_from(code - 2).ok()),
        (Verdict::UpOrDown, Some(_)) | (Verdict::Weight, Some(_)) | (_, None) => Err(Error::Said {
            program: program(),
            ended,
        }),
    }
}

#[cfg(test)]
mod tests;
