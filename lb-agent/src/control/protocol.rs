//! What goes over the control socket: a line with a [`Request`], a line with a [`Response`].

use super::status::Status;
use serde::{Deserialize, Serialize};

/// The longest line that is read, bytes.
pub const MAX_LINE: u64 = 1 << 16;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command", deny_unknown_fields)]
pub enum Request {
    /// How everything stands.
    Status,
    /// Something is to be done with real servers of a service.
    Server {
        /// What.
        verb: ServerVerb,
        /// The service's name.
        service: String,
        /// Their addresses, as the status shows them.
        real_servers: Vec<String>,
    },
    /// The agent is to go by what its file says now.
    Reload,
    /// A VRRP instance, and all that moves with it, is to give its addresses up, and not to preempt whoever takes them.
    VrrpRelease {
        /// Its name.
        instance: String,
    },
    /// A VRRP instance, and all that moves with it, is to take its addresses.
    VrrpClaim {
        /// Its name.
        instance: String,
    },
}

/// What the operator does with a real server. Kept until it is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerVerb {
    /// It gets nothing any more.
    Disable,
    /// It may serve again.
    Enable,
    /// It gets no new connections, and those it has end in peace.
    Drain {
        /// Seconds until they are cut; `None`: the service's `drain_timeout`.
        deadline_s: Option<u64>,
        /// Seconds that silent ones have to show themselves before they do not count; `None`: the agent's choice.
        silence_s: Option<u64>,
    },
    /// It gets another weight.
    Weight {
        /// `None`: the one that is configured, or that its check finds.
        weight: Option<u16>,
    },
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// It was done, one line for each.
    Done(Vec<String>),
    /// The request cannot be answered, and why.
    Error(String),
}
