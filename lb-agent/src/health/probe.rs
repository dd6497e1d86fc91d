//! One run of all the checks of a target, in order, within one timeout.
//!
//! A kind of check is a file of its own with a function `check`, that opens its socket from the configured source,
//! keeps the run's [`Deadline`], reads a bounded amount whatever the server sends, and fails with words that tell the
//! operator what was found and what was expected.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::deadline::Deadline;
use super::detour::Origin;
use super::fsm::Outcome;
use super::kind::Kind;
use super::{dns, http, https, misc, net, ping, smtp, tcp, udp};

/// What is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whom to speak to.
    pub address: IpAddr,
    /// Where, in host byte order.
    pub port: u16,
    /// Where from, and which way.
    pub origin: Origin,
    /// How. All must pass.
    pub kinds: Arc<[Kind]>,
}

/// What a kind of check fails with. Its text is the reason that the operator reads.
pub(super) trait Fault: Error {
    /// Whether this host alone is to blame, so that nothing is said about the server.
    fn is_ours(&self) -> bool;
}

impl Fault for net::ConnectError {
    fn is_ours(&self) -> bool {
        self.source.is_ours()
    }
}

fn outcome(fault: impl Fault) -> Outcome {
    match fault.is_ours() {
        true => Outcome::Inconclusive(fault.to_string()),
        false => Outcome::Failed(fault.to_string()),
    }
}

impl Probe {
    /// Makes the checks one after the other, until one does not pass. Ends within `timeout`.
    pub async fn run(&self, timeout: Duration) -> Outcome {
        self.run_until(&Deadline::after(timeout)).await
    }

    /// The same, by a deadline that may write the steps down.
    pub async fn run_until(&self, deadline: &Deadline) -> Outcome {
        let mut passed = Outcome::Passed;
        for kind in self.kinds.iter() {
            match self.run_kind(kind, deadline).await {
                Ok(None) => {}
                Ok(Some(weight)) => passed = Outcome::Weighed(weight),
                Err(ended) => return ended,
            }
        }
        passed
    }

    /// The weight that was found, if this kind finds one.
    async fn run_kind(&self, kind: &Kind, deadline: &Deadline) -> Result<Option<u16>, Outcome> {
        let to = SocketAddr::new(self.address, self.port);
        let from = &self.origin;
        match kind {
            Kind::Tcp => tcp::check(to, from, deadline).await.map_err(outcome)?,
            Kind::Http(requests) => {
                for request in requests {
                    http::check(to, from, request, deadline)
                        .await
                        .map_err(outcome)?;
                }
            }
            Kind::Https(requests) => {
                for request in requests {
                    https::check(to, from, request, deadline)
                        .await
                        .map_err(outcome)?;
                }
            }
            Kind::Smtp { helo } => smtp::check(to, from, helo, deadline)
                .await
                .map_err(outcome)?,
            Kind::Ping => ping::check(self.address, from.address, deadline)
                .await
                .map_err(outcome)?,
            Kind::Dns(query) => dns::check(to, from, query, deadline)
                .await
                .map_err(outcome)?,
            Kind::Udp(exchange) => {
                udp::check(to, from, exchange, deadline)
                    .await
                    .map_err(outcome)?;
            }
            Kind::Misc(misc) => return misc::check(misc, deadline).await.map_err(outcome),
        }
        Ok(None)
    }
}
