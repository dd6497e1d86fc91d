//! What goes over the control socket: a line with a [`Request`], a line with a [`Response`].

use super::status::Status;
use serde::{Deserialize, Serialize};

/// The longest line that is read, bytes.
pub const MAX_LINE: u64 = 1 << 16;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command", deny_unknown_fields)]
pub enum Request {
    /// How everything stands.
    Status,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// The request cannot be answered, and why.
    Error(String),
}
