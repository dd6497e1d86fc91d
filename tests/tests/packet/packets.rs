//! Frames for the tables: built field by field, so that any field can be wrong.

use crate::world::{CLIENT, DIRECTOR, Mac};
use etherparse::{Ipv4HeaderSlice, TcpHeader, UdpHeader};
use lb_agent::datapath::TunnelSource;
use lb_common::hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// EtherType of 802.1Q and of 802.1ad.
pub const CUSTOMER_TAG: u16 = 0x8100;
pub const SERVICE_TAG: u16 = 0x88a8;
/// EtherTypes of IPv4 and IPv6.
pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86dd;
/// IP protocol numbers (IANA).
pub const HOP_BY_HOP: u8 = 0;
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
pub const ICMP6: u8 = 58;
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
    traffic_class: u8,
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
        traffic_class: 0,
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

    /// Type of service or traffic class.
    pub fn traffic_class(mut self, class: u8) -> Self {
        self.traffic_class = class;
        self
    }

    /// Where it comes from.
    pub fn from(mut self, source: IpAddr) -> Self {
        self.source = source;
        self
    }

    /// Identification: in IPv6 of a fragment.
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
        let mut header = vec![0x40 | ihl, self.traffic_class];
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
            let identification = u32::from(self.identification).to_be_bytes();
            chain.push((
                FRAGMENT,
                [&[0], &place.to_be_bytes()[..], &identification].concat(),
            ));
        }
        let mut next: Vec<u8> = chain.iter().map(|&(number, _)| number).collect();
        next.push(self.protocol);
        let mut extensions = Vec::new();
        for ((_, body), next) in chain.iter().zip(&next[1..]) {
            extensions.push(*next);
            extensions.extend(body);
        }
        let class = self.traffic_class;
        let mut header = vec![0x60 | class >> 4, class << 4, 0, 0];
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

/// An error that a packet is answered by.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    TtlExpired,
    TooLarge { mtu: u32 },
}

/// The frame that answers `frame`: back to its sender, from the address that the packet was for, quoting as much of it as
/// the program is to quote.
pub fn told(frame: &[u8], told: Told) -> Vec<u8> {
    let ip = ip_offset(frame);
    let packet = &frame[ip..ip + packet_len(&frame[ip..])];
    let quote = &packet[..packet.len().min(128) / 4 * 4];
    let mut answer = [&frame[6..12], &frame[..6], &frame[12..ip]].concat();
    if packet[0] >> 4 == 4 {
        let (source, destination) = (octets4(&packet[12..16]), octets4(&packet[16..20]));
        let (kind, word) = match told {
            Told::TtlExpired => ([11, 0], 0),
            Told::TooLarge { mtu } => ([3, 4], mtu),
        };
        let icmp = icmp(kind, word, quote, &[]);
        let mut header = vec![0x45, 0xc0];
        header.extend((20 + icmp.len() as u16).to_be_bytes());
        header.extend([0, 0, 0x40, 0, 64, 1, 0, 0]);
        header.extend(destination);
        header.extend(source);
        set_ipv4_checksum(&mut header);
        answer.extend(header);
        answer.extend(icmp);
    } else {
        let (source, destination) = (&packet[8..24], &packet[24..40]);
        let (kind, word) = match told {
            Told::TtlExpired => ([3, 0], 0),
            Told::TooLarge { mtu } => ([2, 0], mtu),
        };
        let len = 8 + quote.len() as u16;
        let pseudo = [
            destination,
            source,
            &[0, 0],
            &len.to_be_bytes(),
            &[0, 0, 0, 58],
        ]
        .concat();
        answer.extend([0x6c, 0, 0, 0]);
        answer.extend(len.to_be_bytes());
        answer.extend([58, 64]);
        answer.extend(destination);
        answer.extend(source);
        answer.extend(icmp(kind, word, quote, &pseudo));
    }
    answer
}

/// An ICMP message; `pseudo` is summed up with it (RFC 8200 §8.1).
fn icmp(kind: [u8; 2], word: u32, body: &[u8], pseudo: &[u8]) -> Vec<u8> {
    let mut message = [&kind[..], &[0, 0], &word.to_be_bytes(), body].concat();
    let check = internet_checksum(&[pseudo, &message].concat());
    message[2..4].copy_from_slice(&check.to_be_bytes());
    message
}

/// RFC 1071, over an even number of bytes.
pub fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !sum as u16
}

/// Length of the packet by its own header.
fn packet_len(packet: &[u8]) -> usize {
    match packet[0] >> 4 {
        4 => usize::from(u16::from_be_bytes([packet[2], packet[3]])),
        _ => 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]])),
    }
}

fn octets4(bytes: &[u8]) -> [u8; 4] {
    bytes.try_into().expect("four bytes")
}

/// `frame`, routed already, with its packet inside another one from `source` to `destination`.
pub fn tunnelled(frame: &[u8], source: TunnelSource, destination: IpAddr) -> Vec<u8> {
    let flow = flow_hash(&frame[ip_offset(frame)..]);
    tunnelled_as(frame, flow, source, destination)
}

/// The same, as of the flow with this hash.
pub fn tunnelled_as(frame: &[u8], flow: u32, source: TunnelSource, destination: IpAddr) -> Vec<u8> {
    let ip = ip_offset(frame);
    let packet = &frame[ip..];
    let len = packet_len(packet) as u16;
    let is_v4 = packet[0] >> 4 == 4;
    let (protocol, class) = match is_v4 {
        true => (4, packet[1]),
        false => (41, packet[0] << 4 | packet[1] >> 4),
    };
    let (ether_type, outer) = match (source.address, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            // "Don't fragment" and the identification are the inner packet's, where it has any.
            let (identification, flags) = match is_v4 {
                true => ([packet[4], packet[5]], packet[6] & 0x40),
                false => ([0, 0], 0x40),
            };
            let mut header = vec![0x45, class];
            header.extend((20 + len).to_be_bytes());
            header.extend(identification);
            header.extend([flags, 0, 64, protocol, 0, 0]);
            header.extend(varied(&from.octets(), source.varying_bits, flow));
            header.extend(to.octets());
            set_ipv4_checksum(&mut header);
            (IPV4, header)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let start = 6 << 28 | u32::from(class) << 20 | flow & 0xf_ffff;
            let mut header = start.to_be_bytes().to_vec();
            header.extend(len.to_be_bytes());
            header.extend([protocol, 64]);
            header.extend(varied(&from.octets(), source.varying_bits, flow));
            header.extend(to.octets());
            (IPV6, header)
        }
        _ => panic!("a tunnel between two families"),
    };
    [&frame[..ip - 2], &ether_type.to_be_bytes(), &outer, packet].concat()
}

/// `address` with as many of its last bits from the hash as laid in memory.
fn varied(address: &[u8], bits: u8, flow: u32) -> Vec<u8> {
    let (front, last) = address.split_at(address.len() - 4);
    let word = u32::from_be_bytes(octets4(last));
    let mask = (1_u64 << bits) as u32;
    let mask = mask.wrapping_sub(1);
    let flow = u32::from_be_bytes(flow.to_ne_bytes());
    [front, &(word | flow & mask).to_be_bytes()].concat()
}

/// The hash of the packet's flow, as both sides compute it: TCP or UDP behind no extension header.
pub fn flow_hash(packet: &[u8]) -> u32 {
    let word = |at: usize| u32::from_ne_bytes(octets4(&packet[at..at + 4]));
    match packet[0] >> 4 {
        4 => {
            let transport = usize::from(packet[0] & 0xf) * 4;
            hash::flow4(word(12), word(16), word(transport), packet[9])
        }
        _ => {
            let address = |at| [0_usize, 4, 8, 12].map(|word_at| word(at + word_at));
            hash::flow6(&address(8), &address(24), word(40), packet[6])
        }
    }
}

/// An end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Source,
    Destination,
}

/// `frame`, routed already, with another address and port at one end, every checksum computed anew. UDP over IPv4 without a
/// checksum stays so.
pub fn translated(frame: &[u8], end: End, to: SocketAddr) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let ip = ip_offset(&frame);
    let packet = &mut frame[ip..];
    let len = packet_len(packet);
    let (protocol, transport, pseudo) = match to.ip() {
        IpAddr::V4(address) => {
            let at = if end == End::Source { 12 } else { 16 };
            packet[at..at + 4].copy_from_slice(&address.octets());
            set_ipv4_checksum(packet);
            let header_len = usize::from(packet[0] & 0xf) * 4;
            (packet[9], header_len, packet[12..20].to_vec())
        }
        IpAddr::V6(address) => {
            let at = if end == End::Source { 8 } else { 24 };
            packet[at..at + 16].copy_from_slice(&address.octets());
            let (protocol, offset) = behind_extensions(packet);
            (protocol, offset, packet[8..40].to_vec())
        }
    };
    let segment = &mut packet[transport..len];
    let port = if end == End::Source { 0 } else { 2 };
    segment[port..port + 2].copy_from_slice(&to.port().to_be_bytes());
    let at = if protocol == TCP { 16 } else { 6 };
    if protocol == UDP && segment[at..at + 2] == [0, 0] {
        return frame;
    }
    segment[at..at + 2].fill(0);
    let len = segment.len() as u32;
    let mut summed = [
        &pseudo[..],
        &len.to_be_bytes(),
        &[0, 0, 0, protocol],
        segment,
    ]
    .concat();
    summed.resize(summed.len().next_multiple_of(2), 0);
    let check = match internet_checksum(&summed) {
        0 if protocol == UDP => 0xffff,
        check => check,
    };
    segment[at..at + 2].copy_from_slice(&check.to_be_bytes());
    frame
}

/// The fragments of the packet in `frame`, which has no options, extension headers or padding, with at most `room` bytes of
/// its data in each.
pub fn fragmented(frame: &[u8], identification: u16, room: usize) -> Vec<Vec<u8>> {
    let ip = ip_offset(frame);
    let is_v4 = frame[ip] >> 4 == 4;
    let (header, data) = frame[ip..].split_at(if is_v4 { 20 } else { 40 });
    let pieces = data.chunks(room / 8 * 8).enumerate();
    let last = data.len().div_ceil(room / 8 * 8) - 1;
    pieces
        .map(|(number, piece)| {
            let offset = (number * room / 8) as u16;
            let more = u16::from(number < last);
            let mut header = header.to_vec();
            if is_v4 {
                header[2..4].copy_from_slice(&(20 + piece.len() as u16).to_be_bytes());
                header[4..6].copy_from_slice(&identification.to_be_bytes());
                header[6..8].copy_from_slice(&(offset | more << 13).to_be_bytes());
                set_ipv4_checksum(&mut header);
            } else {
                header[4..6].copy_from_slice(&(8 + piece.len() as u16).to_be_bytes());
                let next = std::mem::replace(&mut header[6], FRAGMENT);
                header.extend([next, 0]);
                header.extend((offset << 3 | more).to_be_bytes());
                header.extend(u32::from(identification).to_be_bytes());
            }
            [&frame[..ip], &header, piece].concat()
        })
        .collect()
}

/// An ICMP message of `kind` (type and code) with `body` behind its header, whose second word is `word`.
pub fn icmp_message(
    source: IpAddr,
    destination: IpAddr,
    kind: [u8; 2],
    word: u32,
    body: &[u8],
) -> Frame {
    let (protocol, pseudo) = match (source, destination) {
        (IpAddr::V4(_), IpAddr::V4(_)) => (ICMP, Vec::new()),
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let len = 8 + body.len() as u32;
            let end = [0, 0, 0, ICMP6];
            let pseudo = [&from.octets()[..], &to.octets(), &len.to_be_bytes(), &end];
            (ICMP6, pseudo.concat())
        }
        _ => panic!("two families in one packet"),
    };
    let mut message = [&kind[..], &[0, 0], &word.to_be_bytes(), body].concat();
    let mut summed = [&pseudo[..], &message].concat();
    summed.resize(summed.len().next_multiple_of(2), 0);
    message[2..4].copy_from_slice(&internet_checksum(&summed).to_be_bytes());
    raw(source, destination, protocol, message)
}

/// Protocol and offset of what lies behind the extension headers of an IPv6 packet.
fn behind_extensions(packet: &[u8]) -> (u8, usize) {
    let (mut next, mut at) = (packet[6], 40);
    while [HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS, MOBILITY].contains(&next) {
        let units = if next == FRAGMENT { 0 } else { packet[at + 1] };
        next = packet[at];
        at += (usize::from(units) + 1) * 8;
    }
    (next, at)
}
