//! HTTP: is a request answered with the status, and the body, that the operator wants?
//!
//! One connection for each request. Redirects are answers like any other: they are not followed.
//!
//! What a server can make the agent hold is bounded: [`MAX_HEAD_BYTES`] of headers, and [`MAX_BODY_BYTES`] of a body
//! that is to be searched. A body that nobody judges is not read: status and headers decide, so that a check of an
//! endless stream passes.

mod answer;
mod http1;
mod http2;

use std::net::SocketAddr;

use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::deadline::{Deadline, Late};
use super::detour::Origin;
use super::net::{self, ConnectError, Purpose};
use super::probe::Fault;
use super::tls::{self, Protocol};
use crate::config::HttpRequest;
use answer::Wanted;
pub use answer::{Answer, AnswerError, MAX_BODY_BYTES, PatternError};

/// The longest status line and headers together.
pub const MAX_HEAD_BYTES: u32 = 64 * 1024;
/// What a server's log shows of us.
pub(super) const AGENT: &str = concat!("lb-agent/", env!("CARGO_PKG_VERSION"));

/// A request, and the answer that is wished for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    path: String,
    host: Option<String>,
    wanted: Wanted,
}

/// Why a check did not pass.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// A request that cannot be written.
    #[error("ask for {path} of host `{host}`: {source}")]
    Request {
        /// Its path.
        path: String,
        /// Its host.
        host: String,
        /// What is wrong with it.
        #[source]
        source: hyper::http::Error,
    },
    /// No whole answer in time.
    #[error("ask for {path}: {late}")]
    Late {
        /// What was asked for.
        path: String,
        /// What was waited for.
        late: Late,
    },
    /// No answer, or none in HTTP.
    #[error("ask for {path}: {reason}")]
    NoAnswer {
        /// What was asked for.
        path: String,
        /// Why.
        reason: String,
    },
    /// Another answer than wished for.
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

impl Fault for Error {
    fn is_ours(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_ours(),
            Self::Tls(error) => error.is_ours(),
            Self::Request { .. } | Self::Late { .. } | Self::NoAnswer { .. } | Self::Answer(_) => {
                false
            }
        }
    }
}

impl Request {
    /// From the configuration.
    ///
    /// # Errors
    /// Where `body_regex` is too large to be searched for.
    pub fn new(request: &HttpRequest) -> Result<Self, PatternError> {
        Ok(Self {
            path: request.path.clone(),
            host: request.host.clone(),
            wanted: Wanted::new(request)?,
        })
    }

    /// One that takes any answer, and finds the digest of its body.
    pub fn for_digest(path: &str, host: &str) -> Self {
        Self {
            path: path.to_owned(),
            host: Some(host.to_owned()),
            wanted: Wanted::digest(),
        }
    }

    /// The Host header that is asked for, if any.
    pub(super) fn configured_host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Asks over a connection that is there, and judges the answer. `own_port` is the scheme's.
    pub(super) async fn ask(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        to: SocketAddr,
        own_port: u16,
        protocol: Protocol,
        deadline: &Deadline,
    ) -> Result<Answer, Error> {
        let host = self.host(to, own_port);
        match protocol {
            Protocol::Http1 => http1::ask(stream, self, host, deadline).await,
            Protocol::Http2 => http2::ask(stream, self, host, deadline).await,
        }
    }

    /// The Host header: as configured, else the address checked, with its port unless that is the scheme's own.
    fn host(&self, to: SocketAddr, own_port: u16) -> String {
        match &self.host {
            Some(host) => host.clone(),
            None if to.port() != own_port => to.to_string(),
            None if to.is_ipv6() => format!("[{}]", to.ip()),
            None => to.ip().to_string(),
        }
    }
}

/// Asks once, and judges the answer.
///
/// # Errors
/// Where the answer is not what was wished for, or there is none.
pub async fn check(
    to: SocketAddr,
    from: &Origin,
    request: &Request,
    deadline: &Deadline,
) -> Result<Answer, Error> {
    let stream = net::connect(to, from, Purpose::Talk, deadline).await?;
    request.ask(stream, to, 80, Protocol::Http1, deadline).await
}

/// The result of `talk`, which only moves while `connection` does.
async fn alongside<T>(connection: impl Future, talk: impl Future<Output = T>) -> T {
    tokio::pin!(connection, talk);
    let mut is_open = true;
    loop {
        tokio::select! {
            biased;
            result = &mut talk => return result,
            // `talk` is told how it ended.
            _ = &mut connection, if is_open => is_open = false,
        }
    }
}

impl Request {
    fn cannot_be_written(&self, host: String, source: hyper::http::Error) -> Error {
        let path = self.path.clone();
        Error::Request { path, host, source }
    }

    fn no_answer(&self, error: &impl InWords) -> Error {
        Error::NoAnswer {
            path: self.path.clone(),
            reason: error.in_words(),
        }
    }

    /// A step of the exchange, with its failure in words.
    async fn within<T, E: InWords>(
        &self,
        deadline: &Deadline,
        what: &'static str,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        match deadline.limit(what, step).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.no_answer(&error)),
            Err(late) => Err(Error::Late {
                path: self.path.clone(),
                late,
            }),
        }
    }

    async fn judge(
        &self,
        status: u16,
        mut incoming: impl Pieces,
        deadline: &Deadline,
    ) -> Result<Answer, Error> {
        deadline.note(|| format!("HTTP {status} from {}", self.path));
        self.wanted.status(&self.path, status)?;
        let Some(mut body) = self.wanted.body(&self.path) else {
            return Ok(Answer { status, body: None });
        };
        let next = "end of the body";
        while let Some(data) = self.within(deadline, next, incoming.next()).await? {
            body.add(&data)?;
        }
        let body = body.judge()?;
        deadline.note(|| match &body.digest {
            Some(digest) => format!("a body of {} bytes with the MD5 {digest}", body.bytes),
            None => format!("a body of {} bytes", body.bytes),
        });
        Ok(Answer {
            status,
            body: Some(body),
        })
    }
}

/// A body that comes in piece by piece.
trait Pieces {
    type Error: InWords;

    /// The next piece; `None` at the end. Trailers are passed over.
    async fn next(&mut self) -> Result<Option<Bytes>, Self::Error>;
}

/// What went wrong in an exchange.
trait InWords {
    fn in_words(&self) -> String;
}

#[cfg(test)]
mod tests;
