//! Direct routing: the packet goes to the real server as it came, in a new Ethernet header.

use crate::{
    ethernet::Ethernet, maps::BACKEND_COUNTERS, network::Network, select::Selected, stats,
    verdict::Verdict, vip::ControlBlock,
};
use lb_common::{NextHop, Reason, Service};

/// Sends the packet, in a frame of `len` bytes, to the real server's next hop. Until every question is answered nothing is written.
#[inline(always)]
pub fn forward<N: Network>(
    control: ControlBlock,
    len: usize,
    ethernet: &Ethernet,
    ingress: u32,
    header: &N,
    service: &Service,
    selected: Selected,
) -> Result<Verdict, Verdict> {
    let refuse = |reason| Err(Verdict::of_service(reason, service.id));
    if header.ttl() <= 1 {
        return refuse(Reason::TtlExpired);
    }
    // SAFETY: an aligned word of a map value; volatile because the agent stores to it at any time.
    let next_hop = NextHop(unsafe { (&raw const selected.backend.next_hop).read_volatile() });
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
    stats::count(BACKEND_COUNTERS.get_ptr_mut(selected.id), len);
    header.decrement_ttl();
    ethernet.readdress(next_hop.mac(), egress.station.mac());
    Ok(Verdict::transmit(ingress, egress.ifindex))
}
