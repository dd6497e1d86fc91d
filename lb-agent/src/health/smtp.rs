//! SMTP, RFC 5321: does the mail server greet, take our HELO, and let us go?
//!
//! What a server can make the agent read is bounded: [`MAX_LINE_BYTES`] a line and [`MAX_LINES`] lines a reply.

use std::net::SocketAddr;

use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;

use super::deadline::{Deadline, Late};
use super::detour::Origin;
use super::net::{self, ConnectError, Purpose};
use super::probe::Fault;

/// The longest line of a reply, with its end. RFC 5321 §4.5.3.1.5 allows 512.
pub const MAX_LINE_BYTES: u64 = 1024;
/// The most lines of one reply.
pub const MAX_LINES: usize = 100;
/// As much of a line as a reason shows.
const SHOWN_BYTES: usize = 80;

/// A step of the exchange, RFC 5321 §4.3.2: what it is called, and the code that it wants.
type Step = (&'static str, u16);

const GREETING: Step = ("the greeting", 220);
const HELO: Step = ("HELO", 250);
const QUIT: Step = ("QUIT", 221);

/// Why a check did not pass.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Not in time.
    #[error("{step}: {late}")]
    Late {
        /// Where in the exchange.
        step: &'static str,
        /// What was waited for.
        late: Late,
    },
    /// The connection broke.
    #[error("{step}: {source}")]
    Broken {
        /// Where in the exchange.
        step: &'static str,
        /// How.
        source: net::Error,
    },
    /// The server hung up.
    #[error("{step}: the server closed the connection")]
    Closed {
        /// Where in the exchange.
        step: &'static str,
    },
    /// Another code.
    #[error("{step}: the server answers \"{found}\", expected {expected}")]
    Unexpected {
        /// Where in the exchange.
        step: &'static str,
        /// The reply's first line, or as much as is shown of it.
        found: String,
        /// The good code.
        expected: u16,
    },
    /// More than is read.
    #[error("{step}: the answer is longer than {what}")]
    TooLong {
        /// Where in the exchange.
        step: &'static str,
        /// The bound.
        what: String,
    },
}

impl Fault for Error {
    fn is_ours(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_ours(),
            Self::Broken { source, .. } => source.is_ours(),
            Self::Late { .. }
            | Self::Closed { .. }
            | Self::Unexpected { .. }
            | Self::TooLong { .. } => false,
        }
    }
}

/// Greets as `helo`, and leaves.
///
/// # Errors
/// At the first step that does not go as it should.
pub async fn check(
    to: SocketAddr,
    from: &Origin,
    helo: &str,
    deadline: &Deadline,
) -> Result<(), Error> {
    let stream = net::connect(to, from, Purpose::Talk, deadline).await?;
    let mut stream = BufReader::new(stream);
    reply(&mut stream, GREETING, deadline).await?;
    say(&mut stream, HELO, &format!("HELO {helo}\r\n"), deadline).await?;
    reply(&mut stream, HELO, deadline).await?;
    say(&mut stream, QUIT, "QUIT\r\n", deadline).await?;
    reply(&mut stream, QUIT, deadline).await
}

async fn say(
    stream: &mut BufReader<TcpStream>,
    (step, _): Step,
    command: &str,
    deadline: &Deadline,
) -> Result<(), Error> {
    match deadline
        .limit("answer", stream.write_all(command.as_bytes()))
        .await
    {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Error::Broken {
            step,
            source: error.into(),
        }),
        Err(late) => Err(Error::Late { step, late }),
    }
}

/// Reads a whole reply, and judges it by its first line.
async fn reply(
    stream: &mut (impl AsyncBufRead + Unpin),
    (step, expected): Step,
    deadline: &Deadline,
) -> Result<(), Error> {
    let unexpected = |line: &[u8]| Error::Unexpected {
        step,
        found: shown(line),
        expected,
    };
    for _ in 0..MAX_LINES {
        let line = match deadline.limit("answer", line(stream, step)).await {
            Ok(line) => line?,
            Err(late) => return Err(Error::Late { step, late }),
        };
        let Some((code, more)) = parse(&line) else {
            return Err(unexpected(&line));
        };
        if code != expected {
            return Err(unexpected(&line));
        }
        if !more {
            deadline.note(|| format!("{step}: \"{}\"", shown(&line)));
            return Ok(());
        }
    }
    Err(Error::TooLong {
        step,
        what: format!("{MAX_LINES} lines"),
    })
}

async fn line(
    stream: &mut (impl AsyncBufRead + Unpin),
    step: &'static str,
) -> Result<Vec<u8>, Error> {
    let mut line = Vec::new();
    let read = stream
        .take(MAX_LINE_BYTES)
        .read_until(b'\n', &mut line)
        .await;
    read.map_err(|error| Error::Broken {
        step,
        source: error.into(),
    })?;
    match line.last() {
        Some(b'\n') => Ok(line),
        Some(_) if line.len() as u64 == MAX_LINE_BYTES => Err(Error::TooLong {
            step,
            what: format!("{MAX_LINE_BYTES} bytes a line"),
        }),
        Some(_) | None => Err(Error::Closed { step }),
    }
}

/// Code, and whether more lines follow. RFC 5321 §4.2: `220-text`, `220 text`, `220`.
fn parse(line: &[u8]) -> Option<(u16, bool)> {
    let (code, rest) = line.split_at_checked(3)?;
    let code = std::str::from_utf8(code).ok()?;
    let code = code
        .bytes()
        .all(|c| c.is_ascii_digit())
        .then_some(code)?
        .parse()
        .ok()?;
    match rest {
        [b'-', ..] => Some((code, true)),
        [b' ' | b'\r' | b'\n', ..] => Some((code, false)),
        _ => None,
    }
}

fn shown(line: &[u8]) -> String {
    let line = line.trim_ascii_end();
    line.get(..SHOWN_BYTES)
        .unwrap_or(line)
        .escape_ascii()
        .to_string()
}

#[cfg(test)]
mod tests;
