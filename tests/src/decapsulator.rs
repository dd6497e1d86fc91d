//! A real server's end of IP-in-IP tunnels, of any pair of families.
//!
//! What a production host has as `ip link set tunl0 up` (modules ipip, sit, ip6_tunnel), for kernels without those modules:
//! raw sockets take the outer packets, a TUN device brings the inner ones in.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::lab::Node;

/// The TUN device's name.
const DEVICE: &str = "decap";
/// IP protocol numbers of IPv4 and IPv6 inside another packet (IANA).
const INSIDE: [i32; 2] = [4, 41];
/// How often a thread looks whether it is to end.
const POLL: Duration = Duration::from_millis(20);
/// The largest IP packet.
const LARGEST: usize = 65_535;

/// Unwraps packets on a node until it is dropped.
#[derive(Debug)]
pub struct Decapsulator {
    sources: Arc<Mutex<BTreeSet<IpAddr>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Decapsulator {
    /// Begins on `node`.
    ///
    /// # Errors
    /// Without `/dev/net/tun` (the kernel's TUN driver) or without root.
    pub fn start(node: &Node) -> Result<Self> {
        let device = Arc::new(node.enter(open_device)??);
        node.run("ip", &["link", "set", DEVICE, "up"])?;
        let stop = Arc::new(AtomicBool::new(false));
        let sources = Arc::new(Mutex::new(BTreeSet::new()));
        let mut threads = Vec::new();
        for domain in [Domain::IPV4, Domain::IPV6] {
            for protocol in INSIDE {
                let socket = node.enter(|| open_socket(domain, protocol))??;
                let (device, stop) = (Arc::clone(&device), Arc::clone(&stop));
                let sources = Arc::clone(&sources);
                threads.push(thread::spawn(move || {
                    unwrap_packets(&socket, domain, &device, &sources, &stop);
                }));
            }
        }
        Ok(Self {
            sources,
            stop,
            threads,
        })
    }

    /// The addresses that outer packets came from.
    pub fn sources(&self) -> BTreeSet<IpAddr> {
        self.sources
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Decapsulator {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn open_socket(domain: Domain, protocol: i32) -> Result<Socket> {
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(protocol)))
        .with_context(|| format!("open a raw socket for IP protocol {protocol}"))?;
    let any: SocketAddr = match domain {
        Domain::IPV4 => (Ipv4Addr::UNSPECIFIED, 0).into(),
        _ => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    socket.bind(&any.into()).context("bind a raw socket")?;
    socket.set_read_timeout(Some(POLL))?;
    // A window of a large transfer, while this thread waits for its turn.
    socket.set_recv_buffer_size(4 << 20)?;
    Ok(socket)
}

fn unwrap_packets(
    socket: &Socket,
    domain: Domain,
    device: &File,
    sources: &Mutex<BTreeSet<IpAddr>>,
    stop: &AtomicBool,
) {
    let mut buffer = vec![MaybeUninit::uninit(); LARGEST];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, source)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        if let Some(source) = source.as_socket() {
            sources
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(source.ip());
        }
        let packet = received(buffer.get(..length).unwrap_or_default());
        // An IPv4 socket hands out the outer header as well (raw(7)), an IPv6 one does not.
        let outer = match (domain, packet.first()) {
            (Domain::IPV4, Some(first)) => usize::from(first & 0x0f) * 4,
            _ => 0,
        };
        if let Some(inner) = packet.get(outer..) {
            // What does not arrive is sent again, or missed by the test.
            let _ = (&*device).write(inner);
        }
    }
}

#[expect(unsafe_code, reason = "socket2 receives into uninitialised memory")]
fn received(buffer: &[MaybeUninit<u8>]) -> &[u8] {
    // SAFETY: the caller cuts the buffer to what was received.
    unsafe { buffer.assume_init_ref() }
}

#[expect(unsafe_code, reason = "libc has no wrapper of the TUN driver's ioctl")]
fn open_device() -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .context("open /dev/net/tun: the lab's tunnels end in a TUN device")?;
    // SAFETY: an all-zero request is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(DEVICE.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the descriptor is open, and the kernel reads and writes the request alone (Linux drivers/net/tun.c).
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &mut request) };
    if result < 0 {
        return Err(std::io::Error::last_os_error())
            .with_context(|| format!("make the TUN device {DEVICE}"));
    }
    Ok(file)
}
