//! What is asked and ordered over the control socket, and what comes of an order to drain.

use super::{
    Agent, boot_s,
    drain::{self, Seen},
    ownership,
    pool::{Pool, PoolRealServer, Stance, Word},
};
use crate::{
    control::protocol::{Request, Response, ServerVerb},
    vrrp::shell::Order,
};
use lb_common::{BackendState, Tenure};
use std::time::{Duration, Instant};

impl Agent {
    /// Answers a request.
    pub(super) async fn answer(&mut self, request: Request) -> Response {
        match request {
            Request::VrrpRelease { instance } => {
                ownership::hand_over(self.vrrp.as_ref(), Order::Release, instance).await
            }
            Request::VrrpClaim { instance } => {
                ownership::hand_over(self.vrrp.as_ref(), Order::Claim, instance).await
            }
            Request::Reload => match self.reload().await {
                Ok(done) => Response::Done(done),
                Err(words) => Response::Error(words),
            },
            Request::Status => match self.report().await {
                Ok(status) => Response::Status(Box::new(status)),
                Err(error) => Response::Error(format!("read the maps: {error}")),
            },
            Request::Server {
                verb,
                service,
                real_servers,
            } => match self.on_words(verb, &service, &real_servers) {
                Ok(done) => Response::Done(done),
                Err(error) => Response::Error(error),
            },
        }
    }

    /// Does what the operator says about some real servers: about all of them, or about none.
    fn on_words(
        &mut self,
        verb: ServerVerb,
        service: &str,
        real_servers: &[String],
    ) -> Result<Vec<String>, String> {
        let Some(found) = self
            .pool
            .services()
            .iter()
            .find(|known| known.name == service)
        else {
            let known: Vec<&str> = self
                .pool
                .services()
                .iter()
                .map(|known| known.name.as_str())
                .collect();
            return Err(format!(
                "there is no service `{service}`; there are: {}",
                known.join(", ")
            ));
        };
        let known: Vec<String> = found
            .real_servers
            .iter()
            .map(PoolRealServer::display_address)
            .collect();
        if let Some(stranger) = real_servers.iter().find(|name| !known.contains(name)) {
            let known = known.join(", ");
            return Err(format!(
                "service `{service}` has no real server {stranger}; it has: {known}"
            ));
        }
        let mut done = Vec::new();
        let now = Instant::now();
        for real_server in real_servers {
            let old = found_word(&self.pool, service, real_server);
            let word = verb.changes(old, boot_s());
            self.operator
                .keep(service, real_server, word)
                .map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
            match verb {
                ServerVerb::Drain { silence_s, .. } => {
                    let silence = silence_s.map_or(drain::SILENCE, Duration::from_secs);
                    self.drains.begin(service, real_server, silence, now);
                }
                ServerVerb::Disable | ServerVerb::Enable => {
                    self.drains.forget(service, real_server);
                }
                ServerVerb::Weight { .. } => {}
            }
            let changes = self.pool.on_word(service, real_server, word, now);
            done.push(format!("{service} {real_server}: {}", word.in_words()));
            self.announce(changes);
            // Where it was drained already, with another deadline perhaps.
            self.is_dirty = true;
        }
        Ok(done)
    }

    /// Looks at what is being drained, and says what has been.
    pub(super) fn look_at_drains(&mut self) {
        if !self.drains.go_on() {
            return;
        }
        let now = Instant::now();
        let writer = self.datapath.writer();
        let (pool, terms, sweeper) = (&self.pool, &self.terms, &self.sweeper);
        let look = |service: &str, real_server: &str, began: Instant| {
            let known = pool.services().iter().find(|known| known.name == service);
            let found = known.and_then(|known| {
                let found = known.real_server(real_server)?;
                Some((known, found, found.port.unwrap_or(0)))
            });
            let Some((known, found, port)) = found else {
                return Seen {
                    is_released: true,
                    ..Seen::default()
                };
            };
            if !known.is_forwarded() {
                // Its connections are nobody's business here.
                return Seen {
                    connections: Some(0),
                    ..Seen::default()
                };
            }
            let term = terms.term(service, found.address, port);
            Seen {
                // The change is in force by then.
                connections: writer.service_id(&known.keys).and_then(|id| {
                    let since = began + Duration::from_secs(1);
                    sweeper.connections(id, found.address, port, since)
                }),
                is_released: term.is_none_or(|term| term.tenure == Tenure::Released),
                is_dead: found.state == BackendState::Down,
            }
        };
        for (service, real_server, end) in self.drains.look(now, look) {
            let reason = end.in_words();
            let change = self.pool.on_drained(&service, &real_server, &reason, now);
            self.announce(change.into_iter().collect());
        }
    }
}

fn found_word(pool: &Pool, service: &str, real_server: &str) -> Word {
    let mut services = pool.services().iter().filter(|known| known.name == service);
    let found = services.find_map(|service| service.real_server(real_server));
    found.map(|found| found.word).unwrap_or_default()
}

impl ServerVerb {
    /// The word that stands after it. `now_s`: seconds of boot time.
    fn changes(self, old: Word, now_s: u64) -> Word {
        let stance = match self {
            Self::Disable => Stance::Disabled,
            Self::Enable => Stance::Enabled,
            Self::Drain { deadline_s, .. } => Stance::Draining {
                until_s: deadline_s.map(|deadline_s| now_s.saturating_add(deadline_s)),
            },
            Self::Weight { weight } => return Word { weight, ..old },
        };
        Word { stance, ..old }
    }
}
