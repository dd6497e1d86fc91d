//! A DNS query over UDP, RFC 1035 §4: is it answered, and without an error?
//!
//! As in keepalived any answer with RCODE 0 is good, also one without a record of the type that was asked for: what is
//! asked is whether the server serves.

use std::net::SocketAddr;

use socket2::{Protocol, Type};

use super::deadline::Deadline;
use super::detour::Origin;
use super::probe::Fault;
use super::{net, udp};
use crate::config::DnsType;

/// RFC 1035 §4.2.1. We announce no more (no EDNS), so that nobody may send it.
const MAX_ANSWER_BYTES: usize = 512;
/// ID, flags, and the numbers of questions, answers, authorities and additional records.
const HEADER_BYTES: usize = 12;
/// Class IN.
const INTERNET: u16 = 1;
/// The bit that tells an answer from a query.
const QR: u16 = 1 << 15;
/// Recursion is wished for.
const RD: u16 = 1 << 8;
/// RCODE's bits.
const RCODE: u16 = 0xf;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    name: String,
    record: DnsType,
    /// Name, type and class as they are sent.
    question: Vec<u8>,
}

/// Why a check did not pass.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer.
    #[error("ask {to} for {record} of {name}: {source}")]
    Network {
        /// Whom.
        to: SocketAddr,
        /// For which type.
        record: DnsType,
        /// Of which name.
        name: String,
        /// What came of it.
        #[source]
        source: net::Error,
    },
    /// An error.
    #[error("{to} answers {} when asked for {record} of {name}", rcode(*.code))]
    Refused {
        /// Whom.
        to: SocketAddr,
        /// For which type.
        record: DnsType,
        /// Of which name.
        name: String,
        /// RCODE.
        code: u16,
    },
}

impl Fault for Error {
    fn is_ours(&self) -> bool {
        match self {
            Self::Network { source, .. } => source.is_ours(),
            Self::Refused { .. } => false,
        }
    }
}

/// RFC 1035 §4.1.1 and RFC 2136 §2.2.
fn rcode(code: u16) -> String {
    let name = match code {
        1 => "FORMERR (it does not understand the query)",
        2 => "SERVFAIL (it cannot find out)",
        3 => "NXDOMAIN (there is no such name)",
        4 => "NOTIMP (it does not know this kind of query)",
        5 => "REFUSED (it does not answer this to us)",
        _ => return format!("RCODE {code}"),
    };
    name.to_owned()
}

impl Query {
    /// For records of `name`, which the configuration has made sure of: labels of at most 63 bytes, 253 in all.
    pub fn new(name: &str, record: DnsType) -> Self {
        let mut question = Vec::new();
        for label in name.split('.').filter(|label| !label.is_empty()) {
            let label = label.as_bytes();
            let len = label.len().min(63);
            question.push(len as u8);
            question.extend(label.iter().take(len));
        }
        question.push(0);
        question.extend(code(record).to_be_bytes());
        question.extend(INTERNET.to_be_bytes());
        Self {
            name: name.to_owned(),
            record,
            question,
        }
    }

    /// The message: a header and the question.
    fn message(&self, id: u16) -> Vec<u8> {
        let header = [id, RD, 1, 0, 0, 0];
        let header = header.into_iter().flat_map(u16::to_be_bytes);
        header.chain(self.question.iter().copied()).collect()
    }

    /// RCODE of the answer to this query with `id`; `None`: `received` is no answer to it.
    fn answer(&self, id: u16, received: &[u8]) -> Option<u16> {
        let (header, rest) = received.split_at_checked(HEADER_BYTES)?;
        let word = |at: usize| Some(u16::from_be_bytes([*header.get(at)?, *header.get(at + 1)?]));
        let flags = word(2)?;
        if word(0)? != id || flags & QR == 0 {
            return None;
        }
        // Servers that could not read the question need not repeat it.
        let question = rest.get(..self.question.len());
        let repeated = question.is_some_and(|found| found.eq_ignore_ascii_case(&self.question));
        (word(4)? == 0 || repeated).then_some(flags & RCODE)
    }
}

/// RFC 1035 §3.2.2, RFC 3596 §2.1.
fn code(record: DnsType) -> u16 {
    match record {
        DnsType::A => 1,
        DnsType::Ns => 2,
        DnsType::Cname => 5,
        DnsType::Soa => 6,
        DnsType::Mx => 15,
        DnsType::Txt => 16,
        DnsType::Aaaa => 28,
    }
}

/// Asks once, and judges the answer.
///
/// # Errors
/// Where there is none, or it is an error.
pub async fn check(
    to: SocketAddr,
    from: &Origin,
    query: &Query,
    deadline: &Deadline,
) -> Result<(), Error> {
    let (name, record) = (|| query.name.clone(), query.record);
    match ask(to, from, query, deadline).await {
        Ok(0) => {
            deadline.note(|| format!("{to} answers for {record} of {}", query.name));
            Ok(())
        }
        Ok(code) => Err(Error::Refused {
            to,
            record,
            name: name(),
            code,
        }),
        Err(source) => Err(Error::Network {
            to,
            record,
            name: name(),
            source,
        }),
    }
}

async fn ask(
    to: SocketAddr,
    from: &Origin,
    query: &Query,
    deadline: &Deadline,
) -> Result<u16, net::Error> {
    let socket = net::datagrams(to, from, Type::DGRAM, Protocol::UDP, deadline)?;
    let [high, low, ..] = net::token().to_be_bytes();
    let id = u16::from_be_bytes([high, low]);
    socket.send(&query.message(id)).await?;
    let answered = async {
        loop {
            let received = udp::receive(&socket, MAX_ANSWER_BYTES).await?;
            // Anything else is passed over: it may be somebody who guesses.
            if let Some(code) = query.answer(id, &received) {
                return Ok(code);
            }
        }
    };
    deadline.limit("answer", answered).await?
}

#[cfg(test)]
mod tests;
