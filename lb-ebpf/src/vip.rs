//! Is the packet for a virtual address of ours, for which service, and is this host to forward it?

use crate::{
    ethernet::Ethernet,
    maps::{CONTROL, SERVICE_CAPACITY, SERVICES},
    network::Network,
    verdict::Verdict,
};
use core::ops::Range;
use lb_common::{
    Control, Flow, Interface, Live, Owner, Reason, Service,
    control::{INTERFACE_PROBES, INTERFACES, OWNERS},
    filter, hash, key, service,
};

/// The control block, read word by word: the agent writes it while packets pass.
#[derive(Clone, Copy)]
pub struct ControlBlock(*const Control);

impl ControlBlock {
    /// The map's one element.
    #[inline(always)]
    pub fn get() -> Option<Self> {
        CONTROL.get_ptr(0).map(Self)
    }

    /// Which bank is live. Read once for each packet: all it meets is of that bank.
    #[inline(always)]
    pub fn live(self) -> Live {
        // SAFETY: in bounds, aligned; volatile because the agent stores to it.
        Live(unsafe { (&raw const (*self.0).live).read_volatile() })
    }

    /// Ticks of the agents' lives, what flows are dated by.
    #[inline(always)]
    pub fn clock(self) -> u32 {
        // SAFETY: in bounds, aligned; volatile because the agent stores to it.
        let ticks = unsafe { (&raw const (*self.0).clock).read_volatile() };
        ticks as u32 & ((1 << Flow::SEEN_BITS) - 1)
    }

    /// The secret key of flows' tags.
    #[inline(always)]
    pub fn flow_key(self) -> u64 {
        // SAFETY: in bounds, aligned; set once, before the first packet.
        unsafe { (*self.0).flow_key }
    }

    #[inline(always)]
    fn seed(self, bank: u32) -> u32 {
        // SAFETY: bank is 0 or 1; the live bank's seed is not written.
        unsafe {
            *(&raw const (*self.0).service_seed)
                .cast::<u32>()
                .add(bank as usize & 1)
        }
    }

    #[inline(always)]
    fn filter_word(self, word: usize) -> u64 {
        // SAFETY: the mask keeps it in bounds.
        unsafe {
            *(&raw const (*self.0).filter)
                .cast::<u64>()
                .add(word & (filter::WORDS - 1))
        }
    }

    #[inline(always)]
    fn owner(self, index: u16) -> Owner {
        // SAFETY: the mask keeps it in bounds; volatile because the agent stores to it.
        Owner(unsafe {
            (&raw const (*self.0).owners)
                .cast::<u64>()
                .add(index as usize & (OWNERS - 1))
                .read_volatile()
        })
    }

    /// The interface at a place of the interface table.
    #[inline(always)]
    pub fn interface(self, place: u32) -> &'static Interface {
        // SAFETY: the mask keeps it in bounds; the map outlives the program.
        unsafe {
            &*(&raw const (*self.0).interfaces)
                .cast::<Interface>()
                .add(place as usize & (INTERFACES - 1))
        }
    }
}

/// Lets the host's own traffic go, at the price of one look into a bitmap.
#[inline(always)]
pub fn filter<N: Network>(control: ControlBlock, header: &N) -> Result<(), Verdict> {
    let (word, bit) = filter::position(header.folded_destination());
    if control.filter_word(word) >> bit & 1 == 0 {
        return Err(Verdict::of(Reason::NotAService));
    }
    Ok(())
}

/// The service of this destination and `tuple`: its own port's, else that of every port.
#[inline(always)]
pub fn service<N: Network>(
    control: ControlBlock,
    live: Live,
    header: &N,
    tuple: u32,
) -> Result<&'static Service, Verdict> {
    if let Some(service) = entry(control, live, header, tuple) {
        return Ok(service);
    }
    entry(control, live, header, key::any_port(tuple)).ok_or(Verdict::of(Reason::NotAService))
}

/// The verdict on a packet whose transport header cannot be found: a reason to drop holds only for an address that is
/// ours for certain, which the filter alone cannot tell.
#[inline(always)]
pub fn opaque<N: Network>(control: ControlBlock, header: &N, reason: Reason) -> Verdict {
    Verdict::of(if has_entry(control, *header) {
        reason
    } else {
        Reason::NotAService
    })
}

/// Whether the destination is an address of ours. A function of its own, off the way of the packets that count.
#[cold]
#[inline(never)]
fn has_entry<N: Network>(control: ControlBlock, header: N) -> bool {
    entry(
        control,
        control.live(),
        &header,
        key::address_only(N::FAMILY),
    )
    .is_some()
}

/// Places of the service table that are tried at once; most keys lie there. The others are tried behind a call, so that
/// the verifier follows the packet's way from two places instead of eight.
const NEAR: Range<u32> = 0..2;
const FAR: Range<u32> = NEAR.end..service::MAX_PROBES;

/// Probes the service table; the agent keeps every key within [`service::MAX_PROBES`] places of its home.
#[inline(always)]
fn entry<N: Network>(
    control: ControlBlock,
    live: Live,
    header: &N,
    tuple: u32,
) -> Option<&'static Service> {
    let home = hash::service(
        header.folded_destination(),
        tuple,
        control.seed(live.bank()),
    );
    match probe(live, header, tuple, home, NEAR) {
        Probe::Found(service) => Some(service),
        Probe::Free => None,
        Probe::Full => far_entry(live, *header, tuple, home),
    }
}

#[cold]
#[inline(never)]
fn far_entry<N: Network>(live: Live, header: N, tuple: u32, home: u32) -> Option<&'static Service> {
    match probe(live, &header, tuple, home, FAR) {
        Probe::Found(service) => Some(service),
        Probe::Free | Probe::Full => None,
    }
}

/// What a look at some places of the service table brought.
enum Probe {
    Found(&'static Service),
    /// A free place: the key is not in the table.
    Free,
    /// Other keys in all of them.
    Full,
}

#[inline(always)]
fn probe<N: Network>(live: Live, header: &N, tuple: u32, home: u32, places: Range<u32>) -> Probe {
    for place in places {
        let Some(found) = at(live, home.wrapping_add(place)) else {
            return Probe::Free;
        };
        if found.tuple == tuple && header.is_for(found) {
            return Probe::Found(found);
        }
        if found.tuple == 0 {
            return Probe::Free;
        }
    }
    Probe::Full
}

/// The entry at a place of the live service table, which is a ring.
#[inline(always)]
fn at(live: Live, place: u32) -> Option<&'static Service> {
    // SAFETY: in bounds by the look-up; the map outlives the program; the live bank is not written.
    SERVICES
        .get_ptr(live.place(place & (SERVICE_CAPACITY.load() - 1)))
        .map(|entry| unsafe { &*entry })
}

/// Checks that the frame was sent to this station and that this host owns the service's address.
#[inline(always)]
pub fn ownership(
    control: ControlBlock,
    ethernet: &Ethernet,
    ingress: u32,
    service: &Service,
) -> Result<(), Verdict> {
    let owner = control.owner(service.owner);
    let destination = ethernet.destination();
    // A virtual MAC of 0 means none; a frame can bear that address all the same.
    let is_virtual = || destination != 0 && destination == owner.virtual_mac() && owner.forwards();
    if destination != station(control, ingress) && !is_virtual() {
        return Err(Verdict::of_service(Reason::ForeignMac, service.id));
    }
    if !owner.forwards() {
        let reason = if owner.still_local() {
            Reason::NotOwnerStillLocal
        } else {
            Reason::NotOwner
        };
        return Err(Verdict::of_service(reason, service.id));
    }
    Ok(())
}

/// The MAC address of the interface with this index; for one that the agent did not enter, an address that no frame
/// could bear.
#[inline(always)]
fn station(control: ControlBlock, ifindex: u32) -> u64 {
    for probe in 0..INTERFACE_PROBES as u32 {
        let interface = control.interface(ifindex.wrapping_add(probe));
        if interface.ifindex == ifindex {
            return interface.station.mac();
        }
    }
    u64::MAX
}
