//! A client that sends a numbered datagram each millisecond and notes the answers.

use anyhow::Context as _;
use lb_tests::lab::Node;
use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Between two datagrams.
const PERIOD: Duration = Duration::from_millis(1);
/// How long answers are waited for after the last one was sent.
const TAIL: Duration = Duration::from_millis(300);

/// A client at work.
pub struct Probe {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<Vec<Instant>>,
    receiver: JoinHandle<BTreeMap<u64, Instant>>,
}

/// What it saw.
pub struct Seen {
    /// When each datagram was sent.
    sent: Vec<Instant>,
    /// When each was answered first.
    answered: BTreeMap<u64, Instant>,
}

impl Probe {
    /// Asks `target` from `node` until it is stopped.
    pub fn start(node: &Node, target: SocketAddr) -> anyhow::Result<Self> {
        let open = || -> std::io::Result<UdpSocket> {
            let socket = UdpSocket::bind(("0.0.0.0", 0))?;
            socket.connect(target)?;
            socket.set_read_timeout(Some(Duration::from_millis(20)))?;
            Ok(socket)
        };
        let socket = node.enter(open)?.context("open a socket")?;
        let stop = Arc::new(AtomicBool::new(false));
        let (sending, is_over) = (socket.try_clone()?, Arc::clone(&stop));
        let sender = thread::spawn(move || {
            let mut sent = Vec::new();
            let mut next = Instant::now();
            while !is_over.load(Ordering::Relaxed) {
                thread::sleep(next.saturating_duration_since(Instant::now()));
                next += PERIOD;
                let number = sent.len() as u64;
                sent.push(Instant::now());
                // What is refused or lost is missing among the answers.
                let _ = sending.send(&number.to_be_bytes());
            }
            sent
        });
        let is_over = Arc::clone(&stop);
        let receiver = thread::spawn(move || {
            let mut answered = BTreeMap::new();
            let mut buffer = [0; 256];
            let mut over_since: Option<Instant> = None;
            loop {
                if is_over.load(Ordering::Relaxed)
                    && over_since.get_or_insert_with(Instant::now).elapsed() > TAIL
                {
                    return answered;
                }
                let Ok(length) = socket.recv(&mut buffer) else {
                    continue;
                };
                // Behind the server's name.
                let number = buffer.get(..length).and_then(|answer| answer.last_chunk());
                if let Some(number) = number {
                    answered
                        .entry(u64::from_be_bytes(*number))
                        .or_insert_with(Instant::now);
                }
            }
        });
        Ok(Self {
            stop,
            sender,
            receiver,
        })
    }

    /// Stops it, and says what it saw.
    pub fn stop(self) -> anyhow::Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let panicked = |_| anyhow::anyhow!("the probe panicked");
        Ok(Seen {
            sent: self.sender.join().map_err(panicked)?,
            answered: self.receiver.join().map_err(panicked)?,
        })
    }
}

impl Seen {
    /// The longest time between two answers.
    pub fn gap(&self) -> Duration {
        let mut times: Vec<Instant> = self.answered.values().copied().collect();
        times.sort();
        let pairs = times.iter().zip(times.iter().skip(1));
        pairs
            .map(|(one, next)| *next - *one)
            .max()
            .unwrap_or(Duration::MAX)
    }

    /// Datagrams without an answer.
    pub fn lost(&self) -> usize {
        self.sent.len() - self.answered.len()
    }
}
