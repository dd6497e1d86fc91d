//! Frames that tell the neighbours where an address is: gratuitous ARP and unsolicited neighbour advertisements.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a neighbour advertisement says that its sender forwards packets of others. RFC 4861 §4.4, the R flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// It does.
    On,
    /// It does not.
    Off,
}

/// The frame that announces `address` at `mac`, to all stations of the link.
pub fn frame(address: IpAddr, mac: [u8; 6], forwarding: Forwarding) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => gratuitous_arp(address, mac),
        IpAddr::V6(address) => neighbour_advertisement(address, mac, forwarding),
    }
}

/// RFC 5227 §3 and RFC 9568 §6.4.2: a request in which both addresses are the one announced.
fn gratuitous_arp(address: Ipv4Addr, mac: [u8; 6]) -> Vec<u8> {
    const BROADCAST: [u8; 6] = [0xff; 6];
    let mut frame = ethernet(BROADCAST, mac, 0x0806);
    // Ethernet, IPv4, their lengths, request.
    frame.extend([0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(address.octets());
    // As keepalived has it. Nobody looks at it in a request.
    frame.extend(BROADCAST);
    frame.extend(address.octets());
    frame
}

/// RFC 9568 §6.4.2 and RFC 4861 §4.4, §7.2.6: to all nodes, overriding what they know.
fn neighbour_advertisement(address: Ipv6Addr, mac: [u8; 6], forwarding: Forwarding) -> Vec<u8> {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    const ICMPV6: u8 = 58;
    const HOP_LIMIT: u8 = 255;
    const OVERRIDE: u8 = 0x20;
    const ROUTER: u8 = 0x80;
    let flags = match forwarding {
        Forwarding::On => ROUTER | OVERRIDE,
        Forwarding::Off => OVERRIDE,
    };
    let mut message = vec![136, 0, 0, 0, flags, 0, 0, 0];
    message.extend(address.octets());
    // The target's link-layer address, 8 bytes.
    message.extend([2, 1]);
    message.extend(mac);
    let length = message.len() as u16;
    let pseudo = [
        address.octets().as_slice(),
        ALL_NODES.octets().as_slice(),
        &[0, 0],
        &length.to_be_bytes(),
        &[0, 0, 0, ICMPV6],
        &message,
    ]
    .concat();
    let checksum = checksum(&pseudo);
    if let Some(place) = message.get_mut(2..4) {
        place.copy_from_slice(&checksum.to_be_bytes());
    }
    let mut frame = ethernet([0x33, 0x33, 0, 0, 0, 1], mac, 0x86dd);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([ICMPV6, HOP_LIMIT]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(message);
    frame
}

fn ethernet(destination: [u8; 6], source: [u8; 6], kind: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(86);
    frame.extend(destination);
    frame.extend(source);
    frame.extend(kind.to_be_bytes());
    frame
}

/// Of an even number of bytes. RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.as_chunks::<2>().0.iter();
    lb_common::checksum::of(words.map(|word| u16::from_be_bytes(*word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0x0a, 1, 0, 0x0b];

    // V79
    #[test]
    fn a_gratuitous_arp_is_a_broadcast_request_for_ones_own_address() {
        let expected = "ffffffffffff 02000a01000b 0806 0001 0800 06 04 0001 \
             02000a01000b 0a010064 ffffffffffff 0a010064";
        let frame = frame("10.1.0.100".parse().unwrap(), MAC, Forwarding::Off);
        assert_eq!(hex(&frame), expected.replace(' ', ""));
    }

    // V83
    #[test]
    fn an_unsolicited_advertisement_goes_to_all_nodes_from_the_address_and_overrides() {
        for (forwarding, flags) in [(Forwarding::Off, "20000000"), (Forwarding::On, "a0000000")] {
            let frame = frame("fd00:1::100".parse().unwrap(), MAC, forwarding);
            let text = hex(&frame);
            let (ethernet, rest) = text.split_at(28);
            assert_eq!(ethernet, "33330000000102000a01000b86dd");
            let (ip, icmp) = rest.split_at(80);
            assert_eq!(
                ip,
                "6000000000203aff fd000001000000000000000000000100 ff020000000000000000000000000001"
                    .replace(' ', "")
            );
            let expected =
                format!("8800 ???? {flags} fd000001000000000000000000000100 0201 02000a01000b");
            let expected = expected.replace(' ', "");
            assert_eq!(icmp[..4], expected[..4]);
            assert_eq!(icmp[8..], expected[8..]);
            let message = &frame[54..];
            let pseudo = [&frame[22..54], &[0, 0, 0, 32, 0, 0, 0, 58], message].concat();
            let words = pseudo
                .chunks(2)
                .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
            let sum: u32 = words.sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
