//! Direct routing: the packet goes to the real server as it came, in a new Ethernet header.

use crate::{Packet, network::Network, verdict::Verdict, way::Way};

/// Sends the packet on its way.
#[inline(always)]
pub fn forward<N: Network>(packet: &Packet<N>, way: Way) -> Verdict {
    packet.header.decrement_ttl();
    packet.ethernet.readdress(way.destination, way.source);
    Verdict::transmit(packet.ingress, way.ifindex)
}
