//! The way to a client: asked of the kernel's routes and neighbours, and remembered for a moment.

use crate::{
    Packet,
    ethernet::MAX_PAYLOAD,
    frame::Frame,
    maps::ROUTES,
    network::Network,
    refusal,
    verdict::Verdict,
    vip::{self, ControlBlock},
    way::Way,
};
use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_NOT_FWDED,
        BPF_FIB_LKUP_RET_SUCCESS,
    },
    helpers::generated::{bpf_fib_lookup, bpf_jiffies64},
};
use lb_common::{Address, Reason, Route, Service, key, route};

/// How long a way is remembered, jiffies: a second where CONFIG_HZ is 250, as Debian has it; a quarter of one to two and a
/// half elsewhere. A changed route or neighbour is followed as late.
const LIFETIME: u64 = 250;

/// The way to the client that a reply is for.
#[inline(always)]
pub fn to<N: Network>(packet: &Packet<N>) -> Result<Way, Verdict> {
    let header = &packet.header;
    if header.ttl() <= 1 {
        return Err(refusal::ttl_expired(packet));
    }
    let client = header.destination();
    let Some(place) = ROUTES.get_ptr_mut(route::place(header.folded_destination())) else {
        return Err(packet.refused(Reason::Inconsistent));
    };
    // SAFETY: a map value of this CPU, which nothing else on this CPU uses meanwhile; a helper without arguments.
    let (remembered, now) = unsafe { (&mut *place, bpf_jiffies64()) };
    if remembered.client != client
        || remembered.family != N::FAMILY as u32
        || remembered.until < now
    {
        let at = packet.ethernet.payload;
        let refused = ask::<N>(packet.frame, at, packet.control, packet.service, remembered);
        if refused != 0 {
            return Err(packet.refused(reason(refused)));
        }
        remembered.until = now + LIFETIME;
    }
    if remembered.vlans != packet.ethernet.vlans {
        return Err(packet.refused(Reason::VlanMismatch));
    }
    if header.packet_len() > remembered.mtu as usize && remembered.mtu != 0 {
        return Err(refusal::too_large(packet, remembered.mtu));
    }
    Ok(Way {
        destination: remembered.destination,
        source: remembered.source,
        ifindex: remembered.ifindex,
    })
}

/// The reasons that [`ask`] gives.
#[inline(always)]
fn reason(number: u32) -> Reason {
    const UNRESOLVED: u32 = Reason::ClientUnresolved as u32;
    const DISABLED: u32 = Reason::ForwardingDisabled as u32;
    const UNUSABLE: u32 = Reason::EgressUnusable as u32;
    const HOST: u32 = Reason::NotAService as u32;
    match number {
        UNRESOLVED => Reason::ClientUnresolved,
        DISABLED => Reason::ForwardingDisabled,
        UNUSABLE => Reason::EgressUnusable,
        HOST => Reason::NotAService,
        _ => Reason::ClientUnreachable,
    }
}

/// `struct bpf_fib_lookup` (include/uapi/linux/bpf.h), its unions by their meaning here. In words: halves of them on the
/// stack would be written at places that no verifier allows.
#[repr(C)]
#[derive(Default)]
struct Lookup {
    /// The lowest byte; above it protocol and source port, unused.
    family: u32,
    /// The upper half. In: length of the packet, 0: not to be compared. Out: what the way takes. Below it the destination
    /// port, unused.
    mtu: u32,
    /// In: where the packet came from. Out: where it leaves.
    ifindex: u32,
    traffic_class: u32,
    source: Address,
    destination: Address,
    vlan: u32,
    /// Six bytes of the source's, six of the destination's.
    macs: [u32; 3],
}

const _: () = assert!(size_of::<Lookup>() == 64);

/// Asks the kernel. 0: `route` is it, but for `until`. Else the number of a [`Reason`].
#[cold]
#[inline(never)]
fn ask<N: Network>(
    frame: Frame,
    at: usize,
    control: ControlBlock,
    mapping: &'static Service,
    route: &mut Route,
) -> u32 {
    route.until = 0;
    // The verifier of 6.1 does not know what a constant on the stack is.
    if at > MAX_PAYLOAD {
        return Reason::Inconsistent as u32;
    }
    let Some(header) = N::parse(frame, at) else {
        return Reason::Inconsistent as u32;
    };
    let client = header.destination();
    let mut lookup = Lookup {
        // AF_INET, AF_INET6 (include/linux/socket.h).
        family: if N::FAMILY == key::IPV4 { 2 } else { 10 },
        ifindex: frame.ingress_ifindex(),
        // Policy routing sees the packet as it leaves.
        source: mapping.reply_address,
        destination: client,
        ..Lookup::default()
    };
    let found = frame.look_up_route(&mut lookup);
    if found == BPF_FIB_LKUP_RET_NO_NEIGH {
        return Reason::ClientUnresolved as u32;
    }
    if found == BPF_FIB_LKUP_RET_FWD_DISABLED {
        return Reason::ForwardingDisabled as u32;
    }
    if found == BPF_FIB_LKUP_RET_NOT_FWDED {
        return Reason::NotAService as u32;
    }
    if found != BPF_FIB_LKUP_RET_SUCCESS {
        return Reason::ClientUnreachable as u32;
    }
    let Some(egress) =
        vip::interface(control, lookup.ifindex).filter(|egress| egress.station.transmits())
    else {
        return Reason::EgressUnusable as u32;
    };
    route.client = client;
    route.family = N::FAMILY as u32;
    route.destination = (lookup.macs[1] >> 16) as u64 | (lookup.macs[2] as u64) << 16;
    route.source = egress.station.mac();
    route.ifindex = lookup.ifindex;
    route.vlans = egress.vlans;
    route.mtu = lookup.mtu >> 16;
    0
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
