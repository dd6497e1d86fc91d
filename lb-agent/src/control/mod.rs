//! How the running agent is spoken to: one JSON object a line over a local socket.

pub mod client;
pub mod detail;
pub mod protocol;
pub mod server;
pub mod status;
