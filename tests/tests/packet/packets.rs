//! Frames for the tables: built field by field, so that any field can be wrong.

use crate::world::{CLIENT, DIRECTOR, Mac};
use etherparse::{Ipv4HeaderSlice, TcpHeader, UdpHeader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// EtherType of 802.1Q and of 802.1ad.
pub const CUSTOMER_TAG: u16 = 0x8100;
pub const SERVICE_TAG: u16 = 0x88a8;
/// EtherTypes of IPv4 and IPv6.
pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86dd;
/// IP protocol numbers (IANA).
pub const HOP_BY_HOP: u8 = 0;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
pub const DESTINATION_OPTIONS: u8 = 60;
pub const MOBILITY: u8 = 135;

/// The client's port in every frame that does not say otherwise.
const CLIENT_PORT: u16 = 40_000;

/// A place in a fragmented datagram.
#[derive(Clone, Copy, Debug)]
pub struct Fragment {
    /// Eight-byte units from the datagram's beginning.
    pub offset: u16,
    /// Whether more follow.
    pub more: bool,
}

/// A frame to be.
#[derive(Clone, Debug)]
pub struct Frame {
    to_mac: Mac,
    tags: Vec<(u16, u16)>,
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    identification: u16,
    fragment: Option<Fragment>,
    option_words: u8,
    extensions: Vec<(u8, Vec<u8>)>,
    protocol: u8,
    transport: Vec<u8>,
    padding: usize,
}

/// A TCP segment (an ACK with `payload` bytes of data) to `destination` and `port`.
pub fn tcp(destination: IpAddr, port: u16, payload: usize) -> Frame {
    tcp_from(client(destination), CLIENT_PORT, destination, port, payload)
}

/// A UDP datagram with `payload` bytes of data to `destination` and `port`.
pub fn udp(destination: IpAddr, port: u16, payload: usize) -> Frame {
    udp_from(client(destination), CLIENT_PORT, destination, port, payload)
}

/// As [`tcp`], of another flow.
pub fn tcp_from(
    source: IpAddr,
    source_port: u16,
    destination: IpAddr,
    port: u16,
    payload: usize,
) -> Frame {
    let data = data(payload);
    let mut header = TcpHeader::new(source_port, port, 1_000, 8_192);
    header.ack = true;
    header.acknowledgment_number = 2_000;
    header.checksum = match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.calc_checksum_ipv4_raw(from.octets(), to.octets(), &data)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            header.calc_checksum_ipv6_raw(from.octets(), to.octets(), &data)
        }
        _ => panic!("two families in one packet"),
    }
    .expect("the payload is short enough for a checksum");
    raw(
        source,
        destination,
        TCP,
        [&header.to_bytes()[..], &data].concat(),
    )
}

/// As [`udp`], of another flow.
pub fn udp_from(
    source: IpAddr,
    source_port: u16,
    destination: IpAddr,
    port: u16,
    payload: usize,
) -> Frame {
    let data = data(payload);
    let header = match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => UdpHeader::with_ipv4_checksum(
            source_port,
            port,
            &etherparse::Ipv4Header {
                source: from.octets(),
                destination: to.octets(),
                ..etherparse::Ipv4Header::default()
            },
            &data,
        ),
        (IpAddr::V6(from), IpAddr::V6(to)) => UdpHeader::with_ipv6_checksum(
            source_port,
            port,
            &etherparse::Ipv6Header {
                source: from.octets(),
                destination: to.octets(),
                ..etherparse::Ipv6Header::default()
            },
            &data,
        ),
        _ => panic!("two families in one packet"),
    }
    .expect("the payload is short enough for UDP");
    raw(
        source,
        destination,
        UDP,
        [&header.to_bytes()[..], &data].concat(),
    )
}

/// A packet of any protocol, `transport` as it is.
pub fn to(destination: IpAddr, protocol: u8, transport: Vec<u8>) -> Frame {
    raw(client(destination), destination, protocol, transport)
}

fn raw(source: IpAddr, destination: IpAddr, protocol: u8, transport: Vec<u8>) -> Frame {
    Frame {
        to_mac: DIRECTOR,
        tags: Vec::new(),
        source,
        destination,
        ttl: 64,
        identification: 7,
        fragment: None,
        option_words: 0,
        extensions: Vec::new(),
        protocol,
        transport,
        padding: 0,
    }
}

/// An Ethernet frame that is neither IPv4 nor IPv6.
pub fn ethernet(to_mac: Mac, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&to_mac[..], &CLIENT, &ether_type.to_be_bytes(), payload].concat()
}

/// An extension header of `units` times eight bytes, less the first that names the next one.
pub fn extension(units: u8) -> Vec<u8> {
    let mut body = vec![0; usize::from(units) * 8 - 1];
    body[0] = units - 1;
    // PadN over all the rest (RFC 8200 §4.2): what a host would really send.
    if let [_, option, length, ..] = &mut body[..] {
        *option = 1;
        *length = units * 8 - 4;
    }
    body
}

fn client(destination: IpAddr) -> IpAddr {
    match destination {
        IpAddr::V4(_) => Ipv4Addr::new(10, 9, 8, 7).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 9, 8, 7, 6, 5, 4).into(),
    }
}

/// No two neighbours alike, so that a shifted copy shows.
fn data(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

impl Frame {
    /// Destination MAC.
    pub fn for_station(mut self, mac: Mac) -> Self {
        self.to_mac = mac;
        self
    }

    /// One more VLAN tag, inside those there are: its EtherType and its 16 bits.
    pub fn tag(mut self, ether_type: u16, control: u16) -> Self {
        self.tags.push((ether_type, control));
        self
    }

    /// TTL or hop limit.
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// IPv4 identification.
    pub fn identification(mut self, identification: u16) -> Self {
        self.identification = identification;
        self
    }

    /// The place in a fragmented datagram; in IPv6 by a fragment header after the other extension headers.
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.fragment = Some(Fragment { offset, more });
        self
    }

    /// As many words of IPv4 options.
    pub fn options(mut self, words: u8) -> Self {
        self.option_words = words;
        self
    }

    /// One more IPv6 extension header: its number, and its bytes but the first.
    pub fn extension(mut self, number: u8, body: Vec<u8>) -> Self {
        self.extensions.push((number, body));
        self
    }

    /// Bytes after the IP packet, as short frames have.
    pub fn padding(mut self, bytes: usize) -> Self {
        self.padding = bytes;
        self
    }

    /// The frame's bytes.
    pub fn build(self) -> Vec<u8> {
        let mut frame = [self.to_mac, CLIENT].concat();
        for (ether_type, control) in &self.tags {
            frame.extend(ether_type.to_be_bytes());
            frame.extend(control.to_be_bytes());
        }
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend(IPV4.to_be_bytes());
                frame.extend(self.ipv4_header(source, destination));
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend(IPV6.to_be_bytes());
                frame.extend(self.ipv6_headers(source, destination));
            }
            _ => panic!("two families in one packet"),
        }
        frame.extend(&self.transport);
        // Not zero: padding that is read as a header shows.
        frame.resize(frame.len() + self.padding, 0xa5);
        frame
    }

    fn ipv4_header(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
        let ihl = 5 + self.option_words;
        let total_len = u16::from(ihl) * 4 + self.transport.len() as u16;
        let fragment = self
            .fragment
            .map_or(0x4000, |at| at.offset | u16::from(at.more) << 13);
        let mut header = vec![0x40 | ihl, 0];
        header.extend(total_len.to_be_bytes());
        header.extend(self.identification.to_be_bytes());
        header.extend(fragment.to_be_bytes());
        header.extend([self.ttl, self.protocol, 0, 0]);
        header.extend(source.octets());
        header.extend(destination.octets());
        // No-operation options (RFC 791 §3.1).
        header.resize(usize::from(ihl) * 4, 1);
        set_ipv4_checksum(&mut header);
        header
    }

    fn ipv6_headers(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
        let mut chain = self.extensions.clone();
        if let Some(at) = self.fragment {
            let place = at.offset << 3 | u16::from(at.more);
            chain.push((
                FRAGMENT,
                [&[0], &place.to_be_bytes()[..], &[0, 0, 0, 9]].concat(),
            ));
        }
        let mut next: Vec<u8> = chain.iter().map(|&(number, _)| number).collect();
        next.push(self.protocol);
        let mut extensions = Vec::new();
        for ((_, body), next) in chain.iter().zip(&next[1..]) {
            extensions.push(*next);
            extensions.extend(body);
        }
        let mut header = vec![0x60, 0, 0, 0];
        header.extend(((extensions.len() + self.transport.len()) as u16).to_be_bytes());
        header.extend([next[0], self.ttl]);
        header.extend(source.octets());
        header.extend(destination.octets());
        header.extend(extensions);
        header
    }
}

/// Where the EtherType of `frame` lies that no tag follows.
fn ether_type_offset(frame: &[u8]) -> usize {
    let is_tag = |at: &usize| {
        let bytes = frame.get(*at..at + 2);
        bytes == Some(&CUSTOMER_TAG.to_be_bytes()) || bytes == Some(&SERVICE_TAG.to_be_bytes())
    };
    (12..)
        .step_by(4)
        .find(|at| !is_tag(at))
        .expect("a frame ends")
}

/// Where the IP header of `frame` begins.
pub fn ip_offset(frame: &[u8]) -> usize {
    ether_type_offset(frame) + 2
}

/// The type of what `frame` carries, tags skipped; `None`: it ends before.
pub fn ether_type(frame: &[u8]) -> Option<u16> {
    let at = ether_type_offset(frame);
    frame
        .get(at..at + 2)
        .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Writes the checksum that the header at the start of `packet` is to have, computed anew over all of it.
pub fn set_ipv4_checksum(packet: &mut [u8]) {
    let header = Ipv4HeaderSlice::from_slice(packet)
        .expect("a whole IPv4 header")
        .to_header();
    packet[10..12].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
}

/// `frame` as a router would send it on: new addresses, one hop less, the IPv4 checksum computed anew.
pub fn routed(frame: &[u8], to_mac: Mac, from_mac: Mac) -> Vec<u8> {
    let mut routed = frame.to_vec();
    routed[..6].copy_from_slice(&to_mac);
    routed[6..12].copy_from_slice(&from_mac);
    let packet = &mut routed[ip_offset(frame)..];
    match packet[0] >> 4 {
        4 => {
            packet[8] -= 1;
            set_ipv4_checksum(packet);
        }
        6 => packet[7] -= 1,
        version => panic!("IP version {version}"),
    }
    routed
}
