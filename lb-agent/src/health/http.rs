//! HTTP: is a request answered with the status, and the body, that the operator wants?
//!
//! One connection for each request, HTTP/1.1. Redirects are answers like any other: they are not followed.
//!
//! What a server can make the agent hold is bounded: [`MAX_HEAD_BYTES`] of headers, and [`MAX_BODY_BYTES`] of a body
//! that is to be searched. A body that nobody judges is not read: status and headers decide, so that a check of an
//! endless stream passes.

mod answer;

use std::net::{IpAddr, SocketAddr};

use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::deadline::{Deadline, Late};
use super::net::{self, ConnectError, Purpose};
use super::probe::Fault;
use crate::config::HttpRequest;
use answer::Wanted;
pub use answer::{AnswerError, MAX_BODY_BYTES, PatternError};

/// The longest status line and headers together.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
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
    from: Option<IpAddr>,
    request: &Request,
    deadline: &Deadline,
) -> Result<(), Error> {
    let stream = net::connect(to, from, Purpose::Talk, deadline).await?;
    ask_http1(stream, request, request.host(to, 80), deadline).await
}

/// HTTP/1.1 over a connection that is there.
async fn ask_http1(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: &Request,
    host: String,
    deadline: &Deadline,
) -> Result<(), Error> {
    let message = hyper::Request::get(&request.path)
        .header(HOST, &host)
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "*/*")
        .body(String::new())
        .map_err(|source| request.cannot_be_written(host, source))?;
    let handshake = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream));
    let (mut sender, connection) = request.within(deadline, "answer", handshake).await?;
    alongside(connection, async {
        let sent = sender.send_request(message);
        let response = request.within(deadline, "answer", sent).await?;
        request.judge(response, deadline).await
    })
    .await
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

    /// A step of the exchange, with its failure in words.
    async fn within<T>(
        &self,
        deadline: &Deadline,
        what: &'static str,
        step: impl Future<Output = Result<T, hyper::Error>>,
    ) -> Result<T, Error> {
        match deadline.limit(what, step).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Error::NoAnswer {
                path: self.path.clone(),
                reason: in_words(&error),
            }),
            Err(late) => Err(Error::Late {
                path: self.path.clone(),
                late,
            }),
        }
    }

    async fn judge(
        &self,
        response: hyper::Response<Incoming>,
        deadline: &Deadline,
    ) -> Result<(), Error> {
        self.wanted.status(&self.path, response.status().as_u16())?;
        let Some(mut body) = self.wanted.body(&self.path) else {
            return Ok(());
        };
        let mut incoming = response.into_body();
        let next = "end of the body";
        while let Some(data) = self
            .within(deadline, next, answer::next_data(&mut incoming))
            .await?
        {
            body.add(&data)?;
        }
        Ok(body.judge()?)
    }
}

/// What went wrong in an exchange.
fn in_words(error: &hyper::Error) -> String {
    if error.is_parse() {
        return format!("the answer cannot be read as HTTP: {error}");
    }
    if error.is_incomplete_message() {
        return "the connection was closed before the answer was complete".to_owned();
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return match error.raw_os_error() {
                Some(errno) => {
                    net::Error::from(std::io::Error::from_raw_os_error(errno)).to_string()
                }
                None => error.to_string(),
            };
        }
        cause = error.source();
    }
    error.to_string()
}

#[cfg(test)]
mod tests;
