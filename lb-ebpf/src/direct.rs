//! Direct routing: the packet goes to the real server as it came, in a new Ethernet header.

use crate::{ethernet::Ethernet, network::Network, verdict::Verdict, way::Way};

/// Sends the packet on its way.
#[inline(always)]
pub fn forward<N: Network>(ethernet: &Ethernet, ingress: u32, header: &N, way: Way) -> Verdict {
    header.decrement_ttl();
    ethernet.readdress(way.destination, way.source);
    Verdict::transmit(ingress, way.ifindex)
}
