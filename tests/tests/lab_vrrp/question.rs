//! Asking a network who has an address, without a stack that would remember.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_agent::sys::frames::FrameSocket;
use lb_tests::lab::Node;

/// One who asks on a leg of a node.
pub struct Asker {
    socket: FrameSocket,
    interface: u32,
    mac: [u8; 6],
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

impl Asker {
    /// On the leg `device` of `node`, with the addresses of the lab's plan for `host` in network `network`.
    pub fn new(node: &Node, device: &str, network: u8, host: u8) -> Self {
        let open = || {
            let interface = nix::net::if_::if_nametoindex(device).expect("the node has the leg");
            (
                FrameSocket::open().expect("open a packet socket"),
                interface,
            )
        };
        let (socket, interface) = node.enter(open).expect("enter the node");
        let as_written = u16::from_str_radix(&host.to_string(), 16).expect("decimal digits");
        Self {
            socket,
            interface,
            mac: [2, 0, 10, network, 0, host],
            v4: Ipv4Addr::new(10, network, 0, host),
            v6: Ipv6Addr::new(0xfd00, network.into(), 0, 0, 0, 0, 0, as_written),
        }
    }

    /// Asks once, over IPv6 in both forms: plain, and behind an extension header.
    pub fn ask(&self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.send(&self.request(address)),
            IpAddr::V6(address) => {
                self.send(&self.solicitation(address, &[]));
                // Destination options: padding alone.
                self.send(&self.solicitation(address, &[58, 0, 1, 4, 0, 0, 0, 0]));
            }
        }
    }

    fn send(&self, frame: &[u8]) {
        self.socket
            .send(self.interface, frame)
            .expect("send a frame");
    }

    /// RFC 826.
    fn request(&self, target: Ipv4Addr) -> Vec<u8> {
        let mut frame = vec![0xff; 6];
        frame.extend(self.mac);
        frame.extend([0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 1]);
        frame.extend(self.mac);
        frame.extend(self.v4.octets());
        frame.extend([0; 6]);
        frame.extend(target.octets());
        frame
    }

    /// RFC 4861 §4.3.
    fn solicitation(&self, target: Ipv6Addr, extension: &[u8]) -> Vec<u8> {
        let [.., a, b, c] = target.octets();
        let group = Ipv6Addr::new(
            0xff02,
            0,
            0,
            0,
            0,
            1,
            0xff00 | u16::from(a),
            u16::from_be_bytes([b, c]),
        );
        let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
        message.extend(target.octets());
        message.extend([1, 1]);
        message.extend(self.mac);
        let sum = checksum(self.v6, group, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());

        let mut frame = vec![0x33, 0x33, 0xff, a, b, c];
        frame.extend(self.mac);
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0]);
        let length = u8::try_from(extension.len() + message.len()).expect("a short message");
        let next = if extension.is_empty() { 58 } else { 60 };
        frame.extend([length, next, 255]);
        frame.extend(self.v6.octets());
        frame.extend(group.octets());
        frame.extend(extension);
        frame.extend(message);
        frame
    }
}

/// RFC 8200 §8.1, of ICMPv6.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let mut bytes = source.octets().to_vec();
    bytes.extend(destination.octets());
    bytes.extend(u32::try_from(message.len()).expect("short").to_be_bytes());
    bytes.extend([0, 0, 0, 58]);
    bytes.extend(message);
    let words = bytes.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or_default();
        u32::from(u16::from_be_bytes([pair[0], low]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}
