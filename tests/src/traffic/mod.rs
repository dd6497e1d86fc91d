//! A steady stream of real HTTP requests from a node, and what became of each.
//!
//! Open loop as far as a thread allows: each connection has a fixed pace, so that the rate says how many were asked and
//! not how fast the answers were, and an outage costs as many requests as it lasts.

mod latency;
mod stream;

pub use latency::Latencies;
pub use stream::{Load, Outcome, Stream, request_once};
