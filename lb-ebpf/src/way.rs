//! The way to a real server, the same in every mode: next hop, interface, and whether the packet fits.

use crate::{Packet, network::Network, refusal::Obstacle};
use lb_common::{Backend, NextHop, Reason};

/// Where a frame goes.
#[derive(Clone, Copy)]
pub struct Way {
    /// MAC addresses as words.
    pub destination: u64,
    pub source: u64,
    /// The kernel's index of the interface.
    pub ifindex: u32,
}

/// The way to `backend` for a packet that grows by `overhead` bytes. Nothing is written before every question is
/// answered.
#[inline(always)]
pub fn to<N: Network>(
    packet: &Packet<N>,
    backend: &Backend,
    overhead: usize,
) -> Result<Way, Obstacle> {
    if packet.header.ttl() <= 1 {
        return Err(Obstacle::TtlExpired);
    }
    // SAFETY: aligned words of a map value; volatile because the agent stores to them at any time.
    let (next_hop, mtu) = unsafe {
        (
            NextHop((&raw const backend.next_hop).read_volatile()),
            (&raw const backend.mtu).read_volatile(),
        )
    };
    if next_hop == NextHop::UNRESOLVED {
        return Err(Obstacle::Refused(Reason::NextHopUnresolved));
    }
    let egress = packet.control.interface(next_hop.interface() as u32);
    if !egress.station.transmits() {
        return Err(Obstacle::Refused(Reason::EgressUnusable));
    }
    if egress.vlans != packet.ethernet.vlans {
        return Err(Obstacle::Refused(Reason::VlanMismatch));
    }
    if packet.header.packet_len() + overhead > mtu as usize && mtu != 0 {
        return Err(Obstacle::TooLarge {
            mtu: mtu.saturating_sub(overhead as u32),
        });
    }
    Ok(Way {
        destination: next_hop.mac(),
        source: egress.station.mac(),
        ifindex: egress.ifindex,
    })
}
