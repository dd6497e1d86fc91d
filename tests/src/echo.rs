//! Servers on a node that send back what they get: for large transfers, and for UDP.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::Node;

/// How often a server looks whether it is to end.
const POLL: Duration = Duration::from_millis(20);
/// A connection that stands still for longer is given up.
const STALLED: Duration = Duration::from_secs(20);

/// A server that ends with this value.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Answers each datagram to `endpoint` with the node's name, a space, and what was in it.
    pub fn udp(node: &Node, endpoint: SocketAddr) -> Result<Self> {
        let socket = node
            .enter(|| UdpSocket::bind(endpoint))?
            .with_context(|| format!("bind {endpoint} on {}", node.name()))?;
        socket.set_read_timeout(Some(POLL))?;
        let name = node.name().to_owned();
        Self::serve(move |stop| {
            let mut buffer = [0; 2048];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, peer)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                let mut answer = format!("{name} ").into_bytes();
                answer.extend(buffer.iter().take(length));
                let _ = socket.send_to(&answer, peer); // The client counts what it misses.
            }
        })
    }

    /// Sends back what arrives on each connection to `endpoint` until its end; several at a time.
    pub fn tcp(node: &Node, endpoint: SocketAddr) -> Result<Self> {
        Self::greeting_tcp(node, endpoint, String::new())
    }

    /// The same, after `greeting`.
    pub fn greeting_tcp(node: &Node, endpoint: SocketAddr, greeting: String) -> Result<Self> {
        let listener = node
            .enter(|| TcpListener::bind(endpoint))?
            .with_context(|| format!("bind {endpoint} on {}", node.name()))?;
        listener.set_nonblocking(true)?;
        Self::serve(move |stop| {
            thread::scope(|scope| {
                while !stop.load(Ordering::Relaxed) {
                    match listener.accept() {
                        Ok((stream, _)) => {
                            let greeting = &greeting;
                            drop(scope.spawn(move || send_back(stream, greeting)));
                        }
                        Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(POLL),
                        Err(error) => eprintln!("echo: accept: {error}"),
                    }
                }
            });
        })
    }

    fn serve(work: impl FnOnce(&AtomicBool) + Send + 'static) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::Builder::new().name("echo".into());
        let thread = thread
            .spawn(move || work(&seen))
            .context("start an echo server")?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // A panic has been printed by its thread.
        }
    }
}

/// The client may stop reading for a while, so a full buffer there must not stop us from reading here.
fn send_back(mut stream: TcpStream, greeting: &str) {
    let outcome = (|| {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(STALLED))?;
        stream.set_write_timeout(Some(STALLED))?;
        stream.write_all(greeting.as_bytes())?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = stream.read(&mut buffer)?;
            if length == 0 {
                return stream.shutdown(Shutdown::Write);
            }
            stream.write_all(buffer.get(..length).unwrap_or_default())?;
        }
    })();
    if let Err(error) = outcome {
        eprintln!("echo: {error}"); // The client misses the rest.
    }
}

/// Sends `bytes` to a TCP echo at `target` from `node` and returns what comes back.
pub fn exchange(node: &Node, target: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let work = || -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&target, Duration::from_secs(5))
            .with_context(|| format!("connect to {target}"))?;
        stream.set_read_timeout(Some(STALLED))?;
        stream.set_write_timeout(Some(STALLED))?;
        let mut writer = stream.try_clone()?;
        thread::scope(|scope| {
            let sent = scope.spawn(move || {
                writer.write_all(bytes)?;
                writer.shutdown(Shutdown::Write)
            });
            let mut back = Vec::with_capacity(bytes.len());
            stream
                .read_to_end(&mut back)
                .with_context(|| format!("after {} bytes back", back.len()))?;
            sent.join()
                .map_err(|_| anyhow::anyhow!("the sender panicked"))?
                .context("send")?;
            Ok(back)
        })
    };
    node.enter(work)?
}
