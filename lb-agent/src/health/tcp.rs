//! One TCP connect: does the real server's kernel accept a connection?
//!
//! # How the connection ends
//!
//! By a reset, sent in place of the last segment of the handshake. Linux delays that segment when `TCP_QUICKACK` is off
//! (the data that usually follows would carry it), and closing with `SO_LINGER` 0 meanwhile sends RST instead: the wire
//! sees SYN, SYN-ACK, RST.
//!
//! * The server's application never sees the connection: nothing to accept, nothing in its log, no count of aborted
//!   clients (MySQL's `max_connect_errors` locks a checker out that connects and leaves).
//! * Neither side keeps anything: no TIME_WAIT here, where an orderly close would leave one for a minute per run, in
//!   the same port range the host's own connections use.
//! * Should the delayed segment go out first, because this host was busy for 200 ms, the server sees a connection that
//!   is reset at once. That is what an orderly close would always have been to it.
//!
//! What it does not show: that the application is well. A process that hangs while its kernel still queues connections
//! passes; one whose queue is full does not. Checks that speak the service's protocol are for that.

use std::net::SocketAddr;

use super::deadline::Deadline;
use super::detour::Origin;
use super::net::{ConnectError, Purpose, connect};

/// Connects to `to`, from `from` where given, and closes.
///
/// # Errors
/// Where no connection came about.
pub async fn check(to: SocketAddr, from: &Origin, deadline: &Deadline) -> Result<(), ConnectError> {
    // Closing is what sends the reset.
    connect(to, from, Purpose::GiveUp, deadline).await.map(drop)
}

#[cfg(test)]
mod tests;
