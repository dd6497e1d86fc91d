//! A datagram: is it answered as wished, or at least not refused?
//!
//! Without an `expect` silence is good, for many protocols have no answer to a datagram that says little. What is bad
//! then is the host's own "port unreachable", which comes at once if it comes: a quiet time of a second, or of half of
//! what is left for the run, is waited for it. Linux sends such words at most once a second to one asker
//! (`icmp_ratelimit`): a check that is made more often may miss some of them.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Protocol, Type};
use tokio::net::UdpSocket;

use super::deadline::Deadline;
use super::detour::Origin;
use super::net;
use super::probe::Fault;

/// How long a refusal is waited for.
const QUIET: Duration = Duration::from_secs(1);
/// As much of an answer as is looked at: no longer one can be expected.
const MAX_ANSWER_BYTES: usize = 1500;
/// As much of an answer as a reason shows.
const SHOWN_BYTES: usize = 32;

/// What is sent, and what is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The payload of the datagram.
    pub send: Vec<u8>,
    /// What the answer begins with; empty: any answer, or none.
    pub expect: Vec<u8>,
}

/// Why a check did not pass.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing, or a refusal.
    #[error("send a datagram to {to}: {source}")]
    Network {
        /// To whom.
        to: SocketAddr,
        /// What came of it.
        #[source]
        source: net::Error,
    },
    /// Something else than expected.
    #[error("{to} answers {}, expected {}", shown(.found), shown(.expected))]
    Unexpected {
        /// Who.
        to: SocketAddr,
        /// What it said.
        found: Vec<u8>,
        /// How it should have begun.
        expected: Vec<u8>,
    },
}

impl Fault for Error {
    fn is_ours(&self) -> bool {
        match self {
            Self::Network { source, .. } => source.is_ours(),
            Self::Unexpected { .. } => false,
        }
    }
}

/// In hexadecimal, as it is configured.
fn shown(bytes: &[u8]) -> String {
    let digits: String = bytes
        .iter()
        .take(SHOWN_BYTES)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    match bytes.len() {
        0 => "nothing".to_owned(),
        1..=SHOWN_BYTES => digits,
        len => format!("{digits}… ({len} bytes)"),
    }
}

/// Sends one datagram, and judges the answer.
///
/// # Errors
/// Where it is not what was wished for.
pub async fn check(
    to: SocketAddr,
    from: &Origin,
    exchange: &Exchange,
    deadline: &Deadline,
) -> Result<(), Error> {
    let answer = ask(to, from, exchange, deadline).await;
    let found = answer.map_err(|source| Error::Network { to, source })?;
    match found.starts_with(&exchange.expect) {
        true => {
            deadline.note(|| format!("{to} answers {}", shown(&found)));
            Ok(())
        }
        false => Err(Error::Unexpected {
            to,
            found,
            expected: exchange.expect.clone(),
        }),
    }
}

async fn ask(
    to: SocketAddr,
    from: &Origin,
    exchange: &Exchange,
    deadline: &Deadline,
) -> Result<Vec<u8>, net::Error> {
    let socket = net::datagrams(to, from, Type::DGRAM, Protocol::UDP, deadline)?;
    socket.send(&exchange.send).await?;
    let answer = receive(&socket, MAX_ANSWER_BYTES);
    if !exchange.expect.is_empty() {
        return deadline.limit("answer", answer).await?;
    }
    let quiet = QUIET.min(deadline.left() / 2);
    match tokio::time::timeout(quiet, answer).await {
        Ok(answer) => answer,
        Err(_silence) => Ok(Vec::new()),
    }
}

/// The next datagram, cut to `max_bytes`.
pub(super) async fn receive(socket: &UdpSocket, max_bytes: usize) -> Result<Vec<u8>, net::Error> {
    let mut buffer = vec![0; max_bytes];
    let read = socket.recv(&mut buffer).await?;
    buffer.truncate(read);
    Ok(buffer)
}

#[cfg(test)]
mod tests;
