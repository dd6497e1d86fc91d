//! HTTPS: what [`http`](super::http) asks, over TLS, with HTTP/1.1 or HTTP/2.

use std::net::SocketAddr;

use super::deadline::Deadline;
use super::detour::Origin;
use super::http::{self, Answer, Error};
use super::net::{self, Purpose};
use super::tls::{NameError, Protocol, Tls, Verify};

/// A request, and how TLS is spoken for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    http: http::Request,
    tls: Tls,
    protocol: Protocol,
}

impl Request {
    /// `http` inside TLS, where the server is asked for `sni`, or else for the request's host.
    ///
    /// # Errors
    /// Where that is no name that can be asked for.
    pub fn new(
        http: http::Request,
        sni: Option<&str>,
        verify: Verify,
        protocol: Protocol,
    ) -> Result<Self, NameError> {
        Ok(Self {
            tls: Tls::new(sni, http.configured_host(), verify, protocol)?,
            http,
            protocol,
        })
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
    let stream = request.tls.handshake(stream, to, deadline).await?;
    request
        .http
        .ask(stream, to, 443, request.protocol, deadline)
        .await
}

#[cfg(test)]
mod tests;
