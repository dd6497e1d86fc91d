//! The kinds of check, made ready from the configuration.

use std::cell::OnceCell;

use super::misc::{Misc, Verdict};
use super::tls::{NameError, Protocol, Trust, TrustError, Verify};
use super::{dns, http, https, udp};
use crate::config::{Check, CheckKind, Config, HttpsRequest, Scripts};
use crate::script::{Runner, Script, ScriptError};

/// One kind of check, ready to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection is accepted.
    Tcp,
    /// Each request is answered as wished.
    Http(Vec<http::Request>),
    /// The same over TLS.
    Https(Vec<https::Request>),
    /// A mail server greets.
    Smtp {
        /// The name that we greet it with.
        helo: String,
    },
    /// An ICMP echo is answered.
    Ping,
    /// A DNS query is answered.
    Dns(dns::Query),
    /// A datagram is answered as wished, or not refused.
    Udp(udp::Exchange),
    /// A command says so.
    Misc(Box<Misc>),
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
    /// The command of a misc check.
    #[error("misc: {0}")]
    Script(#[from] ScriptError),
}

/// Makes kinds of check ready. Reads from this host what they share, once.
#[derive(Debug)]
pub struct Maker {
    router_id: String,
    scripts: Scripts,
    runner: Runner,
    trust: OnceCell<Trust>,
}

/// Whose check it is, as commands are told.
#[derive(Clone, Copy, Debug)]
pub struct Whose<'a> {
    /// The service's name.
    pub service: &'a str,
    /// The real server's configured weight.
    pub weight: u16,
    /// Where the check goes.
    pub check: &'a Check,
}

impl Maker {
    /// For the checks of a configuration, whose commands `runner` sees to.
    pub fn new(config: &Config, runner: &Runner) -> Self {
        Self {
            router_id: config.router_id.clone(),
            scripts: config.scripts.clone(),
            runner: runner.clone(),
            trust: OnceCell::new(),
        }
    }

    /// From the configuration.
    ///
    /// # Errors
    /// Where it cannot be made ready.
    pub fn kind(&self, kind: &CheckKind, whose: Whose<'_>) -> Result<Kind, KindError> {
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
            CheckKind::Smtp { helo } => Kind::Smtp {
                helo: helo.as_ref().unwrap_or(&self.router_id).clone(),
            },
            CheckKind::Ping => Kind::Ping,
            CheckKind::Dns { name, record } => Kind::Dns(dns::Query::new(name, *record)),
            CheckKind::Udp { send, expect } => Kind::Udp(udp::Exchange {
                send: send.clone(),
                expect: expect.clone(),
            }),
            CheckKind::Misc {
                command,
                dynamic,
                user,
            } => Kind::Misc(Box::new(Misc {
                script: Script::new(command, user.as_ref(), &self.scripts, &self.runner)?,
                arguments: whose.arguments(),
                router_id: self.router_id.clone(),
                verdict: match dynamic {
                    true => Verdict::Weight,
                    false => Verdict::UpOrDown,
                },
            })),
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

impl Whose<'_> {
    /// Those that a command gets: service, address, port, weight.
    fn arguments(&self) -> [String; 4] {
        let Self {
            service,
            weight,
            check,
        } = self;
        let (address, port) = (check.address.to_string(), check.port.to_string());
        [(*service).to_owned(), address, port, weight.to_string()]
    }
}
