//! The way to a client: asked of the kernel's routes and neighbours, and remembered for a moment.

use crate::{
    Packet, frame::Frame, maps::ROUTES, network::Network, refusal::Obstacle, scratch, vip, way::Way,
};
use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_NOT_FWDED,
        BPF_FIB_LKUP_RET_SUCCESS,
    },
    helpers::generated::{bpf_fib_lookup, bpf_jiffies64},
};
use lb_common::{
    Address, Reason, Route, hash,
    key::{self, Wide},
    route,
};

/// How long a way is remembered, jiffies: a second where CONFIG_HZ is 250, as Debian has it; a quarter of one to two and a
/// half elsewhere. A changed route or neighbour is followed as late.
const LIFETIME: u64 = 250;

/// The way to the client at `client` for a packet that is to come from `source`.
#[inline(always)]
pub fn to<N: Network>(
    packet: &Packet<N>,
    source: &Address,
    client: &Address,
) -> Result<Way, Obstacle> {
    let header = &packet.header;
    if header.ttl() <= 1 {
        return Err(Obstacle::TtlExpired);
    }
    let Some(place) = ROUTES.get_ptr_mut(route::place(hash::fold(client))) else {
        return Err(Obstacle::Refused(Reason::Inconsistent));
    };
    // SAFETY: a map value of this CPU, which nothing else on this CPU uses meanwhile; a helper without arguments.
    let (remembered, now) = unsafe { (&mut *place, bpf_jiffies64()) };
    if remembered.client != *client
        || remembered.family != N::FAMILY as u32
        || remembered.until < now
    {
        ask::<N>(packet, source, client, remembered).map_err(Obstacle::Refused)?;
        remembered.until = now + LIFETIME;
    }
    if remembered.vlans != packet.ethernet.vlans {
        return Err(Obstacle::Refused(Reason::VlanMismatch));
    }
    if header.packet_len() > remembered.mtu as usize && remembered.mtu != 0 {
        return Err(Obstacle::TooLarge {
            mtu: remembered.mtu,
        });
    }
    Ok(Way {
        destination: remembered.destination,
        source: remembered.source,
        ifindex: remembered.ifindex,
    })
}

/// `struct bpf_fib_lookup` (include/uapi/linux/bpf.h), its unions by their meaning here. In words: halves of them on the
/// stack would be written at places that no verifier allows.
#[repr(C)]
pub struct Lookup {
    /// The lowest byte; above it protocol and source port, unused.
    family: u32,
    /// The upper half. In: length of the packet, 0: not to be compared. Out: what the way takes. Below it the destination
    /// port, unused.
    mtu: u32,
    /// In: where the packet came from. Out: where it leaves.
    ifindex: u32,
    traffic_class: u32,
    source: Wide,
    destination: Wide,
    vlan: u32,
    /// Six bytes of the source's, six of the destination's.
    macs: [u32; 3],
}

const _: () = assert!(size_of::<Lookup>() == 64);

/// Asks the kernel, and makes `route` its answer, but for `until`.
#[inline(always)]
fn ask<N: Network>(
    packet: &Packet<N>,
    source: &Address,
    client: &Address,
    route: &mut Route,
) -> Result<(), Reason> {
    route.until = 0;
    let room = scratch::get().ok_or(Reason::Inconsistent)?;
    // SAFETY: this CPU's own, and all of it is filled.
    let lookup = unsafe { &mut (*room).lookup };
    // AF_INET, AF_INET6 (include/linux/socket.h).
    lookup.family = if N::FAMILY == key::IPV4 { 2 } else { 10 };
    lookup.mtu = 0;
    lookup.ifindex = packet.ingress;
    lookup.traffic_class = 0;
    // Policy routing sees the packet as it leaves.
    lookup.source = key::wide(source);
    lookup.destination = key::wide(client);
    lookup.vlan = 0;
    lookup.macs = [0; 3];
    let found = packet.frame.look_up_route(lookup);
    if found == BPF_FIB_LKUP_RET_NO_NEIGH {
        return Err(Reason::ClientUnresolved);
    }
    if found == BPF_FIB_LKUP_RET_FWD_DISABLED {
        return Err(Reason::ForwardingDisabled);
    }
    if found == BPF_FIB_LKUP_RET_NOT_FWDED {
        return Err(Reason::NotAService);
    }
    if found != BPF_FIB_LKUP_RET_SUCCESS {
        return Err(Reason::ClientUnreachable);
    }
    let Some(egress) =
        vip::interface(packet.control, lookup.ifindex).filter(|egress| egress.station.transmits())
    else {
        return Err(Reason::EgressUnusable);
    };
    route.client = *client;
    route.family = N::FAMILY as u32;
    route.destination = (lookup.macs[1] >> 16) as u64 | (lookup.macs[2] as u64) << 16;
    route.source = egress.station.mac();
    route.ifindex = lookup.ifindex;
    route.vlans = egress.vlans;
    route.mtu = lookup.mtu >> 16;
    Ok(())
}

impl Frame {
    /// `BPF_FIB_LKUP_RET_*` (include/uapi/linux/bpf.h).
    #[inline(always)]
    fn look_up_route(self, lookup: &mut Lookup) -> u32 {
        // SAFETY: the context is the kernel's, the struct has the layout and the size that it is told.
        unsafe {
            bpf_fib_lookup(
                self.context().cast(),
                (&raw mut *lookup).cast(),
                size_of::<Lookup>() as i32,
                0,
            ) as u32
        }
    }
}
