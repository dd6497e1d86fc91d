//! The way to a real server, the same in every mode: next hop, interface, and whether the packet fits.

use crate::{
    ethernet::Ethernet, frame::Frame, network::Network, refusal, verdict::Verdict,
    vip::ControlBlock,
};
use lb_common::{Backend, NextHop, Reason, Service};

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
    control: ControlBlock,
    frame: Frame,
    ethernet: &Ethernet,
    header: &N,
    service: &Service,
    backend: &Backend,
    overhead: usize,
) -> Result<Way, Verdict> {
    let refuse = |reason| Err(Verdict::of_service(reason, service.id));
    if header.ttl() <= 1 {
        return Err(refusal::ttl_expired::<N>(frame, ethernet, service));
    }
    // SAFETY: aligned words of a map value; volatile because the agent stores to them at any time.
    let (next_hop, mtu) = unsafe {
        (
            NextHop((&raw const backend.next_hop).read_volatile()),
            (&raw const backend.mtu).read_volatile(),
        )
    };
    if next_hop == NextHop::UNRESOLVED {
        return refuse(Reason::NextHopUnresolved);
    }
    let egress = control.interface(next_hop.interface() as u32);
    if !egress.station.transmits() {
        return refuse(Reason::EgressUnusable);
    }
    if egress.vlans != ethernet.vlans {
        return refuse(Reason::VlanMismatch);
    }
    if header.packet_len() + overhead > mtu as usize && mtu != 0 {
        let mtu = mtu.saturating_sub(overhead as u32);
        return Err(refusal::too_large::<N>(frame, ethernet, service, mtu));
    }
    Ok(Way {
        destination: next_hop.mac(),
        source: egress.station.mac(),
        ifindex: egress.ifindex,
    })
}
