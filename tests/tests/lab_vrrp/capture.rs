//! What goes over the wire, as another host of the network sees it.

use std::io::Read;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lb_agent::vrrp::packet::{Endpoints, Family, GROUP_V4, GROUP_V6, PROTOCOL, Packet, Repr};
use lb_tests::lab::Node;
use socket2::{Domain, Protocol, Socket, Type};

/// Frames of every protocol (linux/if_ether.h), in network byte order as packet(7) has it.
const ETH_P_ALL: i32 = 0x0003_u16.to_be() as i32;

/// A frame, and when it was seen.
type Frame = (Instant, Vec<u8>);

/// A capture under way on a node. It ends with this value.
pub struct Capture {
    frames: Arc<Mutex<Vec<Frame>>>,
    over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    _members: [Socket; 2],
}

/// An advert that was seen.
#[derive(Clone, Debug)]
pub struct Advert {
    pub at: Instant,
    pub source_mac: [u8; 6],
    pub ttl: u8,
    pub type_of_service: u8,
    pub repr: Repr,
}

/// An address that was announced.
#[derive(Clone, Debug)]
pub struct Announcement {
    pub at: Instant,
    pub address: IpAddr,
    pub mac: [u8; 6],
}

impl Capture {
    /// Begins to write down what arrives at `node`.
    pub fn start(node: &Node) -> Self {
        let open = || {
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(ETH_P_ALL)));
            let socket = socket.expect("open a packet socket");
            let timeout = Some(Duration::from_millis(50));
            socket.set_read_timeout(timeout).expect("set a timeout");
            socket.set_recv_buffer_size(8 << 20).expect("set a buffer");
            // Joined, so that the network sends the groups' frames here.
            let v4 = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("open a socket");
            let eth0 = nix::net::if_::if_nametoindex("eth0").expect("the node has eth0");
            let index = socket2::InterfaceIndexOrAddress::Index(eth0);
            v4.join_multicast_v4_n(&GROUP_V4, &index).expect("join");
            let v6 = Socket::new(Domain::IPV6, Type::DGRAM, None).expect("open a socket");
            v6.join_multicast_v6(&GROUP_V6, eth0).expect("join");
            (socket, v4, v6)
        };
        let (mut socket, v4, v6) = node.enter(open).expect("enter the node");
        let frames = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let (into, end) = (Arc::clone(&frames), Arc::clone(&over));
        let reader = thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !end.load(Ordering::Relaxed) {
                if let Ok(length) = socket.read(&mut buffer) {
                    let frame = (Instant::now(), buffer[..length].to_vec());
                    into.lock().expect("no thread panics").push(frame);
                }
            }
        });
        Self {
            frames,
            over,
            reader: Some(reader),
            _members: [v4, v6],
        }
    }

    /// All adverts so far. One that cannot be read is a failure of its sender.
    pub fn adverts(&self) -> Vec<Advert> {
        self.frames()
            .iter()
            .filter_map(|(at, frame)| advert(*at, frame))
            .collect()
    }

    /// All gratuitous ARP and unsolicited neighbour advertisements so far.
    pub fn announcements(&self) -> Vec<Announcement> {
        let frames = self.frames();
        let read = frames.iter().filter_map(|(at, frame)| {
            let (address, mac) = gratuitous_arp(frame).or_else(|| unsolicited(frame))?;
            let at = *at;
            Some(Announcement { at, address, mac })
        });
        read.collect()
    }

    /// When, and by which station, an address was said to be the sender's own so far: all of ARP and neighbour
    /// advertisements.
    pub fn claims(&self, address: IpAddr) -> Vec<(Instant, [u8; 6])> {
        let frames = self.frames();
        let claims = frames.iter().filter_map(|(at, frame)| {
            let claimed = claimed_by_arp(frame).or_else(|| claimed_by_advertisement(frame))?;
            let station = frame.get(6..12)?.try_into().ok()?;
            (claimed == address).then_some((*at, station))
        });
        claims.collect()
    }

    fn frames(&self) -> Vec<Frame> {
        self.frames.lock().expect("no thread panics").clone()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn advert(at: Instant, frame: &[u8]) -> Option<Advert> {
    let source_mac = frame.get(6..12)?.try_into().ok()?;
    let ip = frame.get(14..)?;
    let octets = |at: usize| -> Option<[u8; 4]> { ip.get(at..at + 4)?.try_into().ok() };
    let octets_v6 = |at: usize| -> Option<[u8; 16]> { ip.get(at..at + 16)?.try_into().ok() };
    let (endpoints, ttl, type_of_service, payload) = match frame.get(12..14)? {
        [0x08, 0x00] if *ip.get(9)? == PROTOCOL => {
            let header = usize::from(ip[0] & 0x0f) * 4;
            let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
            let endpoints = Endpoints::new(octets(12)?.into(), octets(16)?.into())?;
            (endpoints, ip[8], ip[1], ip.get(header..total)?)
        }
        [0x86, 0xdd] if *ip.get(6)? == PROTOCOL => {
            let length = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
            let endpoints = Endpoints::new(octets_v6(8)?.into(), octets_v6(24)?.into())?;
            let class = ip[0] << 4 | ip[1] >> 4;
            (endpoints, ip[7], class, ip.get(40..40 + length)?)
        }
        _ => return None,
    };
    let family: Family = endpoints.family();
    let read = Packet::new_checked(payload, family)
        .and_then(|packet| Repr::parse(&packet, &endpoints))
        .unwrap_or_else(|error| panic!("{error} in {frame:02x?}"));
    Some(Advert {
        at,
        source_mac,
        ttl,
        type_of_service,
        repr: read.repr,
    })
}

/// A request in which sender and target are the same.
fn gratuitous_arp(frame: &[u8]) -> Option<(IpAddr, [u8; 6])> {
    if frame.get(12..14)? != [0x08, 0x06] || frame.get(20..22)? != [0, 1] {
        return None;
    }
    let sender: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
    let mac = frame.get(22..28)?.try_into().ok()?;
    (frame.get(38..42)? == sender).then_some((sender.into(), mac))
}

/// Whose address the sender of an ARP packet says to be.
fn claimed_by_arp(frame: &[u8]) -> Option<IpAddr> {
    let is_arp = frame.get(12..14)? == [0x08, 0x06];
    let sender: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
    is_arp.then_some(sender.into())
}

/// The target of a neighbour advertisement.
fn claimed_by_advertisement(frame: &[u8]) -> Option<IpAddr> {
    let is_one =
        frame.get(12..14)? == [0x86, 0xdd] && *frame.get(20)? == 58 && *frame.get(54)? == 136;
    let target: [u8; 16] = frame.get(62..78)?.try_into().ok()?;
    is_one.then_some(target.into())
}

/// A neighbour advertisement to all nodes that overrides.
fn unsolicited(frame: &[u8]) -> Option<(IpAddr, [u8; 6])> {
    let is_one = frame.get(12..14)? == [0x86, 0xdd]
        && *frame.get(20)? == 58
        && *frame.get(54)? == 136
        && frame.get(38..40)? == [0xff, 0x02]
        && *frame.get(58)? & 0x60 == 0x20;
    let target: [u8; 16] = frame.get(62..78)?.try_into().ok()?;
    let mac = frame.get(80..86)?.try_into().ok()?;
    is_one.then_some((target.into(), mac))
}
