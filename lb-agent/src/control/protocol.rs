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

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// It is done; in words.
    Done(String),
    /// The request cannot be answered, and why.
    Error(String),
}
