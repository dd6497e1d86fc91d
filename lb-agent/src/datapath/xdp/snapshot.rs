//! What the data plane does right now, read back from the maps.

use super::{
    bank,
    maps::{Maps, MapsError},
};
use lb_common::{
    Backend, Control, Counter, Live, Load, Method, Mode, NextHop, Reason, Scheduling, Service,
    ServiceKey, Slot, backend::mac_octets, reason::Fate,
};
use std::{
    collections::{BTreeMap, HashMap},
    mem::offset_of,
    net::IpAddr,
};

/// The live bank and the counters.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Number of commits.
    pub generation: u64,
    /// Services by the entries of the service table.
    pub services: HashMap<ServiceKey, u16>,
    /// What is known of each service id.
    pub by_id: BTreeMap<u16, ServiceSnapshot>,
    /// Packets that were dropped, by reason, over all services; reasons never met are left out.
    pub drops: BTreeMap<Reason, u64>,
    /// Packets that were passed to the host though they were for a virtual address, likewise.
    pub passes: BTreeMap<Reason, u64>,
    /// Packets that were made into an answer, likewise.
    pub answers: BTreeMap<Reason, u64>,
}

/// One service.
#[derive(Clone, Debug, Default)]
pub struct ServiceSnapshot {
    /// Slots in its table that somebody owns; 0: nobody serves.
    pub slots: u32,
    /// Slots with an open window: flows are told apart by their age.
    pub open: u32,
    /// Slots without, some of whose flows are remembered.
    pub remembering: u32,
    /// How its new flows are given to backends.
    pub scheduling: Scheduling,
    /// Its backends.
    pub backends: Vec<BackendSnapshot>,
    /// Replies of its NAT real servers that were sent to clients.
    pub replies: u64,
    /// Its own share of drops.
    pub drops: BTreeMap<Reason, u64>,
}

/// One backend.
#[derive(Clone, Debug)]
pub struct BackendSnapshot {
    /// Backend id.
    pub id: u32,
    /// The real server's address.
    pub address: IpAddr,
    /// The real server's port; 0: the one the client asked for.
    pub port: u16,
    /// Raw [`lb_common::BackendState`]: another process may have written anything.
    pub state: u8,
    /// Raw [`Mode`].
    pub mode: u8,
    /// Configured weight.
    pub weight: u16,
    /// Raw [`lb_common::Tenure`].
    pub tenure: u8,
    /// When that ends, seconds of boot time; 0: never.
    pub until_s: u32,
    /// Slots it owns.
    pub slots: u32,
    /// The next hop's MAC; `None`: not resolved.
    pub next_hop: Option<[u8; 6]>,
    /// What it was sent.
    pub counter: Counter,
    /// Its connections, and how many it may have.
    pub load: Load,
    /// Its weight among those that take new flows.
    pub share: u32,
}

impl Snapshot {
    /// Reads the live bank and all counters that belong to it.
    ///
    /// # Errors
    /// Where a counter cannot be read.
    pub fn read(maps: &Maps) -> Result<Self, MapsError> {
        let capacity = maps.capacity();
        let live = Live(maps.control.load_word(0, offset_of!(Control, live)));
        let mut snapshot = Self {
            generation: live.generation(),
            ..Self::default()
        };
        let entries =
            (0..capacity.services).filter_map(|place| maps.services.read(live.place(place)));
        let mut tables: BTreeMap<u16, Service> = BTreeMap::new();
        for entry in entries.filter(|entry| entry.listens() && entry.id != 0) {
            snapshot.services.insert(entry.key(), entry.id);
            snapshot.by_id.entry(entry.id).or_default();
            tables.insert(entry.id, entry);
        }
        let mut owned: HashMap<u32, u32> = HashMap::new();
        for (id, table) in &tables {
            let service = snapshot.by_id.entry(*id).or_default();
            service.scheduling = Scheduling(table.scheduling);
            for slot in table.slots_start..table.slots_start.saturating_add(table.slots_len) {
                let Some(slot) = maps.slots.read(slot) else {
                    break;
                };
                service.slots += u32::from(slot.current() != 0);
                service.open += u32::from(slot.is_open());
                service.remembering += u32::from(!slot.is_open() && slot.remembers());
                *owned.entry(Slot::current(slot)).or_insert(0) += 1;
            }
        }
        for id in 0..capacity.backends {
            let Some(backend) = maps.backends.read(live.place(id)) else {
                break;
            };
            let Some(service) = snapshot.by_id.get_mut(&backend.service) else {
                continue;
            };
            if let Some(backend) =
                Self::backend(maps, id, &backend, owned.get(&id).copied().unwrap_or(0))?
            {
                service.backends.push(backend);
            }
        }
        snapshot.count_reasons(maps)?;
        Ok(snapshot)
    }

    fn backend(
        maps: &Maps,
        id: u32,
        backend: &Backend,
        slots: u32,
    ) -> Result<Option<BackendSnapshot>, MapsError> {
        let Some(address) = bank::ip_address(backend.address, backend.family) else {
            return Ok(None);
        };
        let next_hop = NextHop(backend.next_hop);
        let live = Live(maps.control.load_word(0, offset_of!(Control, live)));
        let load = maps.loads.read(id).unwrap_or_default();
        Ok(Some(BackendSnapshot {
            id,
            address,
            port: u16::from_be(backend.port_be),
            state: backend.state,
            mode: backend.mode,
            weight: backend.weight,
            tenure: backend.tenure,
            until_s: backend.until_s,
            slots,
            next_hop: (next_hop != NextHop::UNRESOLVED).then(|| mac_octets(next_hop.0)),
            counter: maps.backend_counter(id)?,
            load,
            share: Load::share(load.shares, live.bank()),
        }))
    }

    fn count_reasons(&mut self, maps: &Maps) -> Result<(), MapsError> {
        let ids: Vec<u16> = std::iter::once(0)
            .chain(self.by_id.keys().copied())
            .collect();
        for id in ids {
            for &reason in Reason::ALL.iter().filter(|reason| reason.counted()) {
                let count = maps.reason_counter(id, reason)?;
                if count == 0 {
                    continue;
                }
                if reason == Reason::Replied {
                    if let Some(service) = self.by_id.get_mut(&id) {
                        service.replies = count;
                    }
                    continue;
                }
                let sums = match reason.fate() {
                    Fate::Dropped => &mut self.drops,
                    Fate::Answered => &mut self.answers,
                    Fate::Passed | Fate::Forwarded => &mut self.passes,
                };
                *sums.entry(reason).or_insert(0) += count;
                if let Some(service) = self
                    .by_id
                    .get_mut(&id)
                    .filter(|_| reason.fate() == Fate::Dropped)
                {
                    service.drops.insert(reason, count);
                }
            }
        }
        Ok(())
    }
}

impl ServiceSnapshot {
    /// A backend's share of new flows, percent: of the slots or turns, or of the weights where connections are compared.
    pub fn share_percent(&self, backend: &BackendSnapshot) -> f64 {
        let (own, all) = match self.scheduling.method() {
            Method::BySlot | Method::BySource | Method::ByDestination | Method::InTurn => {
                (backend.slots, self.slots)
            }
            Method::Least => (u32::from(backend.share > 0), self.slots),
            Method::LeastByWeight | Method::ShortestDelay | Method::NeverQueue => {
                let all = self.backends.iter().map(|backend| backend.share);
                (backend.share, all.fold(0, u32::saturating_add))
            }
        };
        f64::from(own) / f64::from(all.max(1)) * 100.0
    }
}

impl BackendSnapshot {
    /// True for a real server that is this host.
    pub fn is_local(&self) -> bool {
        self.mode == Mode::Local as u8
    }
}
