//! The kinds of check, made ready from the configuration.

use std::cell::OnceCell;

use super::tls::{NameError, Protocol, Trust, TrustError, Verify};
use super::{http, https};
use crate::config::{CheckKind, HttpsRequest};

/// One kind of check, ready to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection is accepted.
    Tcp,
    /// Each request is answered as wished.
    Http(Vec<http::Request>),
    /// The same over TLS.
    Https(Vec<https::Request>),
}

/// A check that cannot be made as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum KindError {
    /// The regular expression of a body.
    #[error("body_regex: {0}")]
    Pattern(#[from] http::PatternError),
    /// The name for TLS.
    #[error("https: {0}")]
    Name(#[from] NameError),
    /// Nothing to verify certificates by.
    #[error("https: {0}")]
    Trust(#[from] TrustError),
    /// [`config::load`](crate::config::load) lets none of these pass.
    #[error("{0} checks are not supported yet")]
    NotBuilt(&'static str),
}

/// Makes kinds of check ready. Reads from this host what they share, once.
#[derive(Debug, Default)]
pub struct Maker {
    trust: OnceCell<Trust>,
}

impl Maker {
    /// From the configuration.
    ///
    /// # Errors
    /// Where it cannot be made ready.
    pub fn kind(&self, kind: &CheckKind) -> Result<Kind, KindError> {
        Ok(match kind {
            CheckKind::Tcp => Kind::Tcp,
            CheckKind::Http(requests) => {
                let requests = requests.iter().map(http::Request::new);
                Kind::Http(requests.collect::<Result<_, _>>()?)
            }
            CheckKind::Https(requests) => {
                let requests = requests.iter().map(|request| self.https(request));
                Kind::Https(requests.collect::<Result<_, _>>()?)
            }
            CheckKind::Smtp { .. }
            | CheckKind::Ping
            | CheckKind::Dns { .. }
            | CheckKind::Udp { .. }
            | CheckKind::Misc { .. } => return Err(KindError::NotBuilt(kind.key())),
        })
    }

    fn https(&self, request: &HttpsRequest) -> Result<https::Request, KindError> {
        let verify = match request.verify {
            true => Verify::By(self.trust()?),
            false => Verify::Nothing,
        };
        let protocol = match request.http2 {
            true => Protocol::Http2,
            false => Protocol::Http1,
        };
        let http = http::Request::new(&request.http)?;
        let sni = request.sni.as_deref();
        Ok(https::Request::new(http, sni, verify, protocol)?)
    }

    fn trust(&self) -> Result<Trust, TrustError> {
        if let Some(trust) = self.trust.get() {
            return Ok(trust.clone());
        }
        let trust = Trust::of_this_host()?;
        Ok(self.trust.get_or_init(|| trust).clone())
    }
}
