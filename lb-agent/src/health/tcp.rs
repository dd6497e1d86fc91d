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

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use super::fsm::Outcome;

/// Connects to `to`, from `from` where given, and closes. Ends within `timeout`.
pub async fn check(to: SocketAddr, from: Option<IpAddr>, timeout: Duration) -> Outcome {
    let result = match tokio::time::timeout(timeout, connect(to, from)).await {
        Ok(result) => result,
        Err(_elapsed) => Err(Error::NoAnswer { timeout }),
    };
    match result {
        Ok(connected) => {
            // Closing is what sends the reset.
            drop(connected);
            Outcome::Passed
        }
        Err(error) => {
            let words = format!("connect to {to}: {error}");
            match error {
                Error::Shortage { .. } => Outcome::Inconclusive(words),
                Error::NoAnswer { .. }
                | Error::Refused
                | Error::Reset
                | Error::NoRoute
                | Error::NetworkUnreachable
                | Error::Forbidden
                | Error::NotOurs { .. }
                | Error::NoLocalAddress
                | Error::Other(_) => Outcome::Failed(words),
            }
        }
    }
}

/// Why a connection did not come about.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no answer within {}", humantime::format_duration(*timeout))]
    NoAnswer { timeout: Duration },
    #[error("connection refused")]
    Refused,
    #[error("connection reset")]
    Reset,
    #[error(
        "no route to host (it does not answer ARP or neighbour discovery, or a router says so)"
    )]
    NoRoute,
    #[error("network is unreachable (this host has no route)")]
    NetworkUnreachable,
    #[error("not permitted (a firewall of this host?)")]
    Forbidden,
    #[error("source address {from} is not on this host")]
    NotOurs { from: IpAddr },
    #[error("this host has no address or no free port to connect from")]
    NoLocalAddress,
    /// This host's own want, which says nothing about the server.
    #[error("could not be tried: {source}")]
    Shortage { source: io::Error },
    #[error(transparent)]
    Other(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ECONNREFUSED) => Self::Refused,
            Some(libc::ECONNRESET) => Self::Reset,
            Some(libc::EHOSTUNREACH) => Self::NoRoute,
            Some(libc::ENETUNREACH) => Self::NetworkUnreachable,
            Some(libc::EPERM | libc::EACCES) => Self::Forbidden,
            Some(libc::EADDRNOTAVAIL) => Self::NoLocalAddress,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                Self::Shortage { source: error }
            }
            Some(_) | None => Self::Other(error),
        }
    }
}

async fn connect(to: SocketAddr, from: Option<IpAddr>) -> Result<TcpStream, Error> {
    let socket = Socket::new(
        Domain::for_address(to),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_tcp_quickack(false)?;
    socket.set_linger(Some(Duration::ZERO))?;
    if let Some(from) = from {
        // The port is chosen at connect: free for this destination, not free on the whole host.
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true).map_err(io::Error::from)?;
        socket
            .bind(&SocketAddr::new(from, 0).into())
            .map_err(|error| match error.raw_os_error() {
                Some(libc::EADDRNOTAVAIL) => Error::NotOurs { from },
                Some(_) | None => error.into(),
            })?;
    }
    Ok(TcpSocket::from_std_stream(socket.into())
        .connect(to)
        .await?)
}

#[cfg(test)]
mod tests;
