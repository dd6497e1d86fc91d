//! Many TCP connections at a time, and a server for them: what happens to all of them when a director fails.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::task::JoinSet;

use crate::lab::Node;

/// How often a server looks whether it is to end.
const POLL: Duration = Duration::from_millis(20);
/// Opening a connection in the lab takes less than a millisecond.
const PATIENCE: Duration = Duration::from_secs(10);

/// Raises the limit of open files as far as it goes.
///
/// # Errors
/// The kernel's answer.
pub fn raise_open_files() -> Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// A server that sends back what it gets on any number of connections, with one thread. It ends with this value.
#[derive(Debug)]
pub struct Host {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// On `endpoint` of `node`.
    ///
    /// # Errors
    /// Where it cannot listen.
    pub fn start(node: &Node, endpoint: SocketAddr) -> Result<Self> {
        node.enter(|| Self::here(endpoint))?
            .with_context(|| format!("serve on {}", node.name()))
    }

    /// On `endpoint` of this very process's network.
    ///
    /// # Errors
    /// Where it cannot listen.
    pub fn here(endpoint: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(endpoint).with_context(|| format!("bind {endpoint}"))?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::Builder::new().name("crowd".into());
        let thread = thread.spawn(move || {
            let served = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(anyhow::Error::from)
                .and_then(|runtime| runtime.block_on(serve(listener, &seen)));
            if let Err(error) = served {
                eprintln!("crowd: {error:#}"); // The clients miss their answers.
            }
        });
        Ok(Self {
            stop,
            thread: Some(thread.context("start a server")?),
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // A panic has been printed by its thread.
        }
    }
}

async fn serve(listener: TcpListener, stop: &AtomicBool) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut guests = JoinSet::new();
    while !stop.load(Ordering::Relaxed) {
        tokio::select! {
            accepted = listener.accept() => {
                let (mut guest, _) = accepted?;
                guests.spawn(async move {
                    let (mut from, mut to) = guest.split();
                    // A guest that is gone is not ours to judge.
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
            _ = guests.join_next(), if !guests.is_empty() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
    Ok(())
}

/// What became of connections that said something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// They got their answer.
    pub answered: usize,
    /// They were reset, or closed.
    pub lost: usize,
    /// Nothing came.
    pub silent: usize,
}

/// Connections from a node. They end with this value.
#[derive(Debug)]
pub struct Crowd(Vec<TcpStream>);

impl Crowd {
    /// Opens `count` to `target`, each of which says something and is answered.
    ///
    /// # Errors
    /// At the first that fails.
    pub fn open(node: &Node, target: SocketAddr, count: usize) -> Result<Self> {
        let open = || -> Result<Vec<TcpStream>> {
            let one = |_| {
                let stream = TcpStream::connect_timeout(&target, PATIENCE)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Ok(stream)
            };
            (0..count).map(one).collect()
        };
        let mut crowd = Self(
            node.enter(open)?
                .with_context(|| format!("connect to {target}"))?,
        );
        let fate = crowd.speak(PATIENCE);
        anyhow::ensure!(fate.answered == count, "of {count} connections: {fate:?}");
        Ok(crowd)
    }

    /// Takes some of them away, to be used at the same time.
    pub fn split_off(&mut self, at: usize) -> Self {
        Self(self.0.split_off(at))
    }

    /// All of them say something, and wait for the answer until `patience` has passed for all.
    pub fn speak(&mut self, patience: Duration) -> Fate {
        let mut fate = Fate::default();
        let mut waiting = Vec::new();
        for stream in &mut self.0 {
            match stream.write_all(b"x") {
                Ok(()) => waiting.push(stream),
                Err(_) => fate.lost += 1,
            }
        }
        let until = Instant::now() + patience;
        for stream in waiting {
            let left = until.saturating_duration_since(Instant::now());
            let _ = stream.set_read_timeout(Some(left.max(Duration::from_millis(1))));
            match stream.read(&mut [0; 16]) {
                Ok(1..) => fate.answered += 1,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    fate.silent += 1;
                }
                Ok(0) | Err(_) => fate.lost += 1,
            }
        }
        fate
    }
}
