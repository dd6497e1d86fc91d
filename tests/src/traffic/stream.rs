//! The clients: one thread for each connection, in the network of a node.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::lab::Node;

/// What to ask, how often.
#[derive(Clone, Debug)]
pub struct Load {
    /// Who is asked; each connection goes through all of them in turn.
    pub targets: Vec<SocketAddr>,
    /// How many ask at the same time.
    pub connections: usize,
    /// How many of these keep their TCP connections from one request to the next. The others open one for each, so that
    /// each request is a choice of the balancer.
    pub kept_alive: usize,
    /// From the beginning of one request of a connection to that of the next.
    pub period: Duration,
    /// A request that takes longer, all in all, has failed.
    pub timeout: Duration,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// When it began.
    pub began: Instant,
    /// How long it took to be answered or to fail.
    pub took: Duration,
    /// Whom it asked.
    pub target: SocketAddr,
    /// The name of the real server that answered, or why nobody did.
    pub answer: Result<String, String>,
}

impl Outcome {
    /// When the answer was there, or the failure was known.
    pub fn ended(&self) -> Instant {
        self.began + self.took
    }
}

/// Requests that go on until this value is dropped.
#[derive(Debug)]
pub struct Stream {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    outcomes: Mutex<Vec<Outcome>>,
}

impl Stream {
    /// Starts asking from `node`.
    pub fn start(node: &Node, load: &Load) -> Result<Self> {
        if load.targets.is_empty() || load.connections == 0 {
            bail!("a stream of requests needs at least one target and one connection");
        }
        let mut stream = Self {
            shared: Arc::default(),
            threads: Vec::new(),
        };
        for number in 0..load.connections {
            let (node, load, shared) = (node.clone(), load.clone(), Arc::clone(&stream.shared));
            let thread = thread::Builder::new().name(format!("client {number}"));
            let work = move || {
                let outcome = node.enter(|| ask_until_stopped(number, &load, &shared));
                if let Err(error) = outcome {
                    eprintln!("client {number}: {error:#}"); // Judged by its missing requests.
                }
            };
            stream
                .threads
                .push(thread.spawn(work).context("start a client thread")?);
        }
        Ok(stream)
    }

    /// What has ended since the last call.
    pub fn take(&self) -> Vec<Outcome> {
        std::mem::take(
            &mut *self
                .shared
                .outcomes
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Lets the requests that are on their way end, and returns what had not been taken.
    pub fn stop(mut self) -> Vec<Outcome> {
        self.join();
        self.take()
    }

    fn join(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // A panic has been printed by its thread.
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.join();
    }
}

/// One request from `node`, over a connection of its own; returns the name of the real server that answered.
pub fn request_once(node: &Node, target: SocketAddr, timeout: Duration) -> Result<String> {
    let answer = node.enter(|| ask(&client(target, timeout, Connections::Closed), target))?;
    answer.map_err(|reason| anyhow::anyhow!("ask {target}: {reason}"))
}

fn ask_until_stopped(number: usize, load: &Load, shared: &Shared) {
    let connections = if number < load.kept_alive {
        Connections::Kept
    } else {
        Connections::Closed
    };
    let clients: Vec<_> = load
        .targets
        .iter()
        .map(|target| (*target, client(*target, load.timeout, connections)))
        .collect();
    // The connections begin in different places and at different times, so that they do not ask in step.
    let share = load.period.mul_f64(number as f64 / load.connections as f64);
    let mut next = Instant::now() + share;
    for (target, client) in clients.iter().cycle().skip(number) {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let began = Instant::now();
        let answer = ask(client, *target);
        let outcome = Outcome {
            began,
            took: began.elapsed(),
            target: *target,
            answer,
        };
        shared
            .outcomes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(outcome);
        // A slow answer delays the next request, but is not made up for by a burst.
        next = (next + load.period).max(Instant::now());
    }
}

#[derive(Clone, Copy)]
enum Connections {
    Kept,
    Closed,
}

fn client(target: SocketAddr, timeout: Duration, connections: Connections) -> ureq::Agent {
    let builder = Config::builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .proxy(None);
    let config = match connections {
        Connections::Kept => builder.build(),
        Connections::Closed => builder
            .max_idle_connections(0)
            .max_idle_connections_per_host(0)
            .build(),
    };
    ureq::Agent::with_parts(config, DefaultConnector::default(), Fixed(target))
}

/// The address is known. ureq's own resolver would start a thread for each request to look for it.
#[derive(Debug)]
struct Fixed(SocketAddr);

impl Resolver for Fixed {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(self.0);
        Ok(addresses)
    }
}

fn ask(client: &ureq::Agent, target: SocketAddr) -> Result<String, String> {
    let mut response = client
        .get(format!("http://{target}/"))
        .call()
        .map_err(|error| error.to_string())?;
    let status = response.status();
    let server = response
        .headers()
        .get("x-real-server")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let body = response
        .body_mut()
        .read_to_string()
        .map_err(|error| error.to_string())?;
    match server {
        Some(server) if status.is_success() && body.trim_end() == server => Ok(server),
        _ => Err(format!("status {status}, server {server:?}, body {body:?}")),
    }
}
