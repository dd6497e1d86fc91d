//! Is the packet for a virtual address of ours, for which service, and is this host to forward it?

use crate::{
    ethernet::Ethernet,
    maps::{CONTROL, SERVICE_CAPACITY, SERVICES},
    network::Network,
    verdict::Verdict,
};
use lb_common::{
    Control, Interface, Live, Owner, Reason, Service,
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

    #[inline(always)]
    fn seed(self, bank: u32) -> u32 {
        // SAFETY: bank is 0 or 1; the live bank's seed is not written.
        unsafe { *(&raw const (*self.0).service_seed).cast::<u32>().add(bank as usize & 1) }
    }

    #[inline(always)]
    fn filter_word(self, word: usize) -> u64 {
        // SAFETY: the mask keeps it in bounds.
        unsafe { *(&raw const (*self.0).filter).cast::<u64>().add(word & (filter::WORDS - 1)) }
    }

    #[inline(always)]
    fn owner(self, index: u16) -> Owner {
        // SAFETY: the mask keeps it in bounds; volatile because the agent stores to it.
        Owner(unsafe {
            (&raw const (*self.0).owners).cast::<u64>().add(index as usize & (OWNERS - 1)).read_volatile()
        })
    }

    /// The interface at a place of the interface table.
    #[inline(always)]
    pub fn interface(self, place: u32) -> &'static Interface {
        // SAFETY: the mask keeps it in bounds; the map outlives the program.
        unsafe { &*(&raw const (*self.0).interfaces).cast::<Interface>().add(place as usize & (INTERFACES - 1)) }
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
pub fn service<N: Network>(control: ControlBlock, bank: u32, header: &N, tuple: u32) -> Result<&'static Service, Verdict> {
    if let Some(service) = entry(control, bank, header, tuple) {
        return Ok(service);
    }
    entry(control, bank, header, key::any_port(tuple)).ok_or(Verdict::of(Reason::NotAService))
}

/// The verdict on a packet whose transport header cannot be found: a reason to drop holds only for an address that is
/// ours for certain, which the filter alone cannot tell.
#[inline(always)]
pub fn opaque<N: Network>(control: ControlBlock, header: &N, reason: Reason) -> Verdict {
    match entry(control, control.live().bank(), header, key::address_only(N::FAMILY)) {
        Some(_) => Verdict::of(reason),
        None => Verdict::of(Reason::NotAService),
    }
}

/// Probes the service table; the agent keeps every key within [`service::MAX_PROBES`] places of its home.
#[inline(always)]
fn entry<N: Network>(control: ControlBlock, bank: u32, header: &N, tuple: u32) -> Option<&'static Service> {
    let capacity = SERVICE_CAPACITY.load();
    let home = hash::service(header.folded_destination(), tuple, control.seed(bank));
    for probe in 0..service::MAX_PROBES {
        let place = home.wrapping_add(probe) & (capacity - 1);
        // SAFETY: the map outlives the program; the live bank is not written.
        let found: &'static Service = unsafe { &*SERVICES.get_ptr(bank * capacity + place)? };
        if found.tuple == tuple && header.is_for(found) {
            return Some(found);
        }
        if found.tuple == 0 {
            return None;
        }
    }
    None
}

/// Checks that the frame was sent to this station and that this host owns the service's address.
#[inline(always)]
pub fn ownership(control: ControlBlock, ethernet: &Ethernet, ingress: &Interface, service: &Service) -> Result<(), Verdict> {
    let owner = control.owner(service.owner);
    let destination = ethernet.destination();
    // A virtual MAC of 0 means none; a frame can bear that address all the same.
    let is_virtual = || destination != 0 && destination == owner.virtual_mac() && owner.forwards();
    if destination != ingress.mac && !is_virtual() {
        return Err(Verdict::of_service(Reason::ForeignMac, service.id));
    }
    if !owner.forwards() {
        let reason = if owner.still_local() { Reason::NotOwnerStillLocal } else { Reason::NotOwner };
        return Err(Verdict::of_service(reason, service.id));
    }
    Ok(())
}

/// The interface that has this index; one that the agent did not enter has no MAC address that a frame could bear.
#[inline(always)]
pub fn ingress(control: ControlBlock, ifindex: u32) -> &'static Interface {
    for probe in 0..INTERFACE_PROBES as u32 {
        let interface = control.interface(ifindex.wrapping_add(probe));
        if interface.ifindex == ifindex {
            return interface;
        }
    }
    &UNKNOWN_INTERFACE
}

/// Stands for an interface that is not in the table: all ones is no station's address.
static UNKNOWN_INTERFACE: Interface = Interface { mac: u64::MAX, ifindex: 0, vlans: 0, flags: 0, pad: 0 };
