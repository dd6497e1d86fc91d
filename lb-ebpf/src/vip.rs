//! Is the packet for a virtual address of ours, for which service, and is this host to forward it?

use crate::{
    ethernet::Ethernet,
    maps::{CONTROL, SERVICE_CAPACITY, SERVICES},
    network::Network,
    parts, scratch,
    verdict::Verdict,
};
use core::ops::Range;
use lb_common::{
    Address, Control, Flow, Interface, Live, Owner, Reason, Service,
    control::{INTERFACE_PROBES, INTERFACES, OWNERS},
    filter, hash,
    key::{self, Wide},
    service,
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

/// Whether an address, given folded, may be one of ours, or one of a NAT real server's: one look into a bitmap lets the
/// host's own traffic go.
#[inline(always)]
pub fn may_be_ours(control: ControlBlock, folded: u32) -> bool {
    let (word, bit) = filter::position(folded);
    control.filter_word(word) >> bit & 1 != 0
}

/// The service of this destination and `tuple`: its own port's, else that of every port.
#[inline(always)]
pub fn service<N: Network>(
    control: ControlBlock,
    live: Live,
    header: &N,
    tuple: u32,
) -> Option<&'static Service> {
    entry::<N, Destination>(control, live, header, tuple)
        .or_else(|| entry::<N, Destination>(control, live, header, key::any_port(tuple)))
}

/// Which virtual address and port replies from this source are to come from.
#[inline(always)]
pub fn mapping<N: Network>(
    control: ControlBlock,
    live: Live,
    header: &N,
    tuple: u32,
) -> Option<&'static Service> {
    entry::<N, Source>(control, live, header, tuple)
}

/// The service of this source and `tuple`, likewise: of a packet that an ICMP error quotes.
#[inline(always)]
pub fn answering_service<N: Network>(
    control: ControlBlock,
    live: Live,
    quoted: &N,
    tuple: u32,
) -> Option<&'static Service> {
    entry::<N, Source>(control, live, quoted, tuple)
        .or_else(|| entry::<N, Source>(control, live, quoted, key::any_port(tuple)))
}

/// Which virtual address and port a client knows this destination by: of a packet that an ICMP error quotes.
#[inline(always)]
pub fn asked_mapping<N: Network>(
    control: ControlBlock,
    live: Live,
    quoted: &N,
    tuple: u32,
) -> Option<&'static Service> {
    entry::<N, Destination>(control, live, quoted, tuple)
}

/// Whether the destination is an address of the host itself.
#[inline(always)]
pub fn is_local<N: Network>(control: ControlBlock, live: Live, header: &N) -> bool {
    entry::<N, Destination>(control, live, header, key::local(N::FAMILY)).is_some()
}

/// The end of a packet's way by which an entry is looked up.
trait End<N: Network> {
    fn folded(header: &N) -> u32;
    fn address(header: &N) -> Address;
    fn is_of(header: &N, entry: &Service) -> bool;
}

struct Destination;

impl<N: Network> End<N> for Destination {
    #[inline(always)]
    fn folded(header: &N) -> u32 {
        header.folded_destination()
    }

    #[inline(always)]
    fn address(header: &N) -> Address {
        header.destination()
    }

    #[inline(always)]
    fn is_of(header: &N, entry: &Service) -> bool {
        header.is_for(entry)
    }
}

struct Source;

impl<N: Network> End<N> for Source {
    #[inline(always)]
    fn folded(header: &N) -> u32 {
        header.folded_source()
    }

    #[inline(always)]
    fn address(header: &N) -> Address {
        header.source()
    }

    #[inline(always)]
    fn is_of(header: &N, entry: &Service) -> bool {
        header.is_from(entry)
    }
}

/// The entry of the destination itself, whatever its services are.
#[inline(always)]
pub fn address<N: Network>(
    control: ControlBlock,
    live: Live,
    header: &N,
) -> Option<&'static Service> {
    entry::<N, Destination>(control, live, header, key::address_only(N::FAMILY))
}

/// Places of the service table that are tried at once; most keys lie there. The others are tried behind a call, so that
/// the verifier follows the packet's way from three places instead of eight.
const NEAR: Range<u32> = 0..2;
const FAR: Range<u32> = NEAR.end..service::MAX_PROBES;

/// Probes the service table; the agent keeps every key within [`service::MAX_PROBES`] places of its home.
#[inline(always)]
fn entry<N: Network, E: End<N>>(
    control: ControlBlock,
    live: Live,
    header: &N,
    tuple: u32,
) -> Option<&'static Service> {
    let home = hash::service(E::folded(header), tuple, control.seed(live.bank()));
    match probe::<N, E>(live, header, tuple, home, NEAR) {
        Probe::Found(service) => Some(service),
        Probe::Free => None,
        Probe::Full => {
            let room = scratch::get()?;
            // SAFETY: this CPU's own; in bounds by the look-ups; the map outlives the program; the live bank is not written.
            unsafe {
                let sought = &raw mut (*room).sought;
                (*sought).address = key::wide(&E::address(header));
                (*sought).tuple = tuple;
                (*sought).home = home;
                (*sought).live = live;
                let place = parts::lb_probe_far(sought);
                SERVICES.get_ptr(place).map(|entry| &*entry)
            }
        }
    }
}

/// What [`probe_far`] looks for.
#[repr(C)]
pub struct Sought {
    live: Live,
    address: Wide,
    tuple: u32,
    home: u32,
}

/// No place of the service table.
pub const NOWHERE: u32 = u32::MAX;

/// Where in the map the entry lies that is far from its home, or [`NOWHERE`].
#[inline(always)]
pub fn probe_far(sought: &Sought) -> u32 {
    for place in FAR {
        let place = place_of(sought.live, sought.home.wrapping_add(place));
        // SAFETY: as in `entry`.
        let Some(found) = SERVICES.get_ptr(place).map(|entry| unsafe { &*entry }) else {
            return NOWHERE;
        };
        if found.tuple == sought.tuple && key::wide(&found.address) == sought.address {
            return place;
        }
        if found.tuple == 0 {
            return NOWHERE;
        }
    }
    NOWHERE
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
fn probe<N: Network, E: End<N>>(
    live: Live,
    header: &N,
    tuple: u32,
    home: u32,
    places: Range<u32>,
) -> Probe {
    for place in places {
        let Some(found) = at(live, home.wrapping_add(place)) else {
            return Probe::Free;
        };
        if found.tuple == tuple && E::is_of(header, found) {
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
        .get_ptr(place_of(live, place))
        .map(|entry| unsafe { &*entry })
}

/// Where in the map a place of the live service table lies.
#[inline(always)]
fn place_of(live: Live, place: u32) -> u32 {
    live.place(place & (SERVICE_CAPACITY.load() - 1))
}

/// Checks that the frame was sent to this station and that this host owns the addresses that ownership word number `owner`
/// governs. `service`: the number that a refusal is counted for.
#[inline(always)]
pub fn ownership(
    control: ControlBlock,
    ethernet: &Ethernet,
    ingress: u32,
    owner: u16,
    service: u16,
) -> Result<(), Verdict> {
    let owner = control.owner(owner);
    let destination = ethernet.destination();
    // A virtual MAC of 0 means none; a frame can bear that address all the same.
    let is_virtual = || destination != 0 && destination == owner.virtual_mac() && owner.forwards();
    if destination != station(control, ingress) && !is_virtual() {
        return Err(Verdict::of_service(Reason::ForeignMac, service));
    }
    if !owner.forwards() {
        let reason = if owner.still_local() {
            Reason::NotOwnerStillLocal
        } else {
            Reason::NotOwner
        };
        return Err(Verdict::of_service(reason, service));
    }
    Ok(())
}

/// The MAC address of the interface with this index; for one that the agent did not enter, an address that no frame
/// could bear.
#[inline(always)]
fn station(control: ControlBlock, ifindex: u32) -> u64 {
    interface(control, ifindex).map_or(u64::MAX, |interface| interface.station.mac())
}

/// The interface with this index, if the agent entered it.
#[inline(always)]
pub fn interface(control: ControlBlock, ifindex: u32) -> Option<&'static Interface> {
    for probe in 0..INTERFACE_PROBES as u32 {
        let interface = control.interface(ifindex.wrapping_add(probe));
        if interface.ifindex == ifindex {
            return Some(interface);
        }
    }
    None
}
