//! Writes a desired state into the maps: prepared in the dead bank, made live by one store.
//!
//! One writer at a time, the agent's. After a commit the other bank may still be read by packets that began before;
//! it is written again only after a grace period: [`Writer::commit`] refuses until [`Writer::grace_passed`].

mod flows;

use super::{
    bank::{self, BackendKey, Occupied, Plan, WrittenTable},
    capacity::NoRoom,
    maps::{Maps, MapsError},
    windows::Windows,
};
use crate::datapath::{
    Desired, Device, FlowRules,
    desired::{self, NextHop},
};
use lb_common::{
    Backend, Control, Counter, Interface, Live, Load, Owner, Service, Slot, Station,
    backend::mac_word,
    control::{ALWAYS_OWNED, INTERFACE_PROBES, INTERFACES, OWNERS, banked},
    filter, hash,
    service::FLAG_LOCAL,
};
use std::{collections::HashMap, mem::offset_of, sync::Arc};

/// The writer of the maps.
#[derive(Debug)]
pub struct Writer {
    maps: Arc<Maps>,
    written: HashMap<u16, WrittenTable>,
    windows: Windows,
    /// By service id, of the last commit.
    flow_rules: HashMap<u16, FlowRules>,
    /// The last desired state that was committed.
    committed: Option<Desired>,
    /// A bank was left and no grace period has passed since.
    owes_grace: bool,
}

/// Why a commit did not happen. The live bank is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The maps are too small.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// A map cannot be written.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// The last commit's grace period has not passed.
    #[error("commit before the last one's grace period has passed")]
    OwesGrace,
    /// Too many interfaces, or too unlucky numbers.
    #[error("no place for interface number {ifindex} in the interface table ({INTERFACES} places)")]
    Interfaces {
        /// The kernel's index.
        ifindex: u32,
    },
}

impl Writer {
    /// A writer for maps that hold what an earlier life of the agent left, or nothing. Packets of a moment ago may
    /// read either bank: it begins by owing a grace period.
    pub fn new(maps: Arc<Maps>) -> Self {
        flows::draw_flow_key(&maps);
        maps.control
            .store_word(0, owner_offset(ALWAYS_OWNED), Owner::FORWARDS);
        Self {
            maps,
            written: HashMap::new(),
            windows: Windows::default(),
            flow_rules: HashMap::new(),
            committed: None,
            owes_grace: true,
        }
    }

    /// Whether a grace period must pass before the next commit.
    pub fn owes_grace(&self) -> bool {
        self.owes_grace
    }

    /// Whether packets meet `desired` already, but for next hops.
    pub fn is_committed(&self, desired: &Desired) -> bool {
        self.committed.as_ref().is_some_and(|committed| {
            committed.local == desired.local
                && committed.services.len() == desired.services.len()
                && committed
                    .services
                    .iter()
                    .zip(&desired.services)
                    .all(|(old, new)| old.equals_but_for_next_hops(new))
        })
    }

    /// Says that a grace period has passed since the last commit. What only the old bank needed is given up.
    pub fn grace_passed(&mut self) {
        self.owes_grace = false;
        self.narrow_filter();
    }

    /// Makes `desired` what packets meet, and returns the new generation. `now_s`: seconds of boot time.
    ///
    /// # Errors
    /// Nothing has changed for packets then.
    pub fn commit(&mut self, desired: &Desired, now_s: u64) -> Result<u64, CommitError> {
        if self.owes_grace {
            return Err(CommitError::OwesGrace);
        }
        let live = self.live();
        let occupied = self.occupied(live.bank());
        if self.written.is_empty() {
            self.written = self.recall(desired, &occupied);
        }
        let plan = bank::plan(desired, &occupied, &self.written, self.maps.capacity())?;
        let places = self.write_devices(&desired.devices)?;
        for &id in &plan.new_backends {
            self.maps.set_backend_counter(id, Counter::default())?;
            self.maps.loads.write(id, Load::default());
        }
        for &id in &plan.new_services {
            self.maps.clear_reasons(id)?;
        }
        let next = live.flipped();
        self.write_slots(desired, &plan, &occupied, now_s);
        self.write_bank(next.bank(), &plan, &places);
        self.write_loads(next.bank(), &plan);
        self.widen_filter(&plan.services);
        self.maps
            .control
            .store_word(0, offset_of!(Control, live), next.0);
        self.owes_grace = true;
        self.windows.follow(&self.maps, &plan, now_s);
        let rules = desired.services.iter().map(|service| service.flows);
        self.flow_rules = plan.ids.iter().copied().zip(rules).collect();
        self.written = plan.tables;
        self.committed = Some(desired.clone());
        Ok(next.generation())
    }

    /// Stores the next hops of `desired` where they differ, in both banks: no commit, no grace period. Returns how many
    /// changed.
    ///
    /// # Errors
    /// Where an interface finds no place.
    pub fn update_next_hops(&self, desired: &Desired) -> Result<usize, CommitError> {
        let places = self.write_devices(&desired.devices)?;
        let ids: HashMap<BackendKey, u32> = self
            .occupied(self.live().bank())
            .backends
            .iter()
            .map(|(&id, backend)| (BackendKey::of(backend), id))
            .collect();
        let service_ids = self.service_ids();
        let mut changed = 0;
        for service in &desired.services {
            let Some(&service_id) = service.keys.iter().find_map(|key| service_ids.get(key)) else {
                continue;
            };
            for real_server in &service.real_servers {
                let (address, family) = bank::wire_address(real_server.address);
                let key = BackendKey {
                    service: service_id,
                    address,
                    family,
                    port_be: real_server.port.to_be(),
                };
                let Some(&id) = ids.get(&key) else { continue };
                changed += usize::from(self.store_next_hop(id, real_server.next_hop, &places));
            }
        }
        Ok(changed)
    }

    /// Stores a backend's next hop in both banks; returns whether anything changed.
    fn store_next_hop(&self, id: u32, next_hop: NextHop, places: &HashMap<u32, u16>) -> bool {
        let backends = &self.maps.backends;
        let (hop, mtu) = next_hop_words(next_hop, places);
        let mut changed = false;
        for bank in [0, 1] {
            let here = banked(bank, id);
            let beside_mtu =
                backends.load_word(here, MTU_WORD) & u64::from(u32::MAX) | u64::from(mtu) << 32;
            let words = [(offset_of!(Backend, next_hop), hop), (MTU_WORD, beside_mtu)];
            for (offset, word) in words {
                if backends.load_word(here, offset) != word {
                    changed |= bank == self.live().bank();
                    backends.store_word(here, offset, word);
                }
            }
        }
        changed
    }

    /// Which bank is live, and how often there was a commit.
    pub fn live(&self) -> Live {
        Live(self.maps.control.load_word(0, offset_of!(Control, live)))
    }

    /// The maps, for reading.
    pub fn maps(&self) -> &Arc<Maps> {
        &self.maps
    }

    /// The id of the service with one of these keys, if packets meet it.
    pub fn service_id(&self, keys: &[lb_common::ServiceKey]) -> Option<u16> {
        let live = self.live();
        let places = 0..self.maps.capacity().services;
        let mut entries = places.filter_map(|place| self.maps.services.read(live.place(place)));
        entries
            .find(|entry: &Service| entry.id != 0 && keys.contains(&entry.key()))
            .map(|entry| entry.id)
    }

    fn service_ids(&self) -> HashMap<lb_common::ServiceKey, u16> {
        self.occupied(self.live().bank())
            .services
            .iter()
            .filter(|entry| entry.listens())
            .map(|s| (s.key(), s.id))
            .collect()
    }

    fn occupied(&self, bank: u32) -> Occupied {
        let capacity = self.maps.capacity();
        let services =
            (0..capacity.services).filter_map(|place| self.maps.services.read(banked(bank, place)));
        let backends = (0..capacity.backends).filter_map(|id| {
            self.maps
                .backends
                .read(banked(bank, id))
                .map(|backend| (id, backend))
        });
        Occupied {
            services: services.filter(|entry| entry.tuple != 0).collect(),
            backends: backends
                .filter(|(_, backend)| backend.family != 0)
                .collect(),
        }
    }

    /// Finds out which of the tables wanted are in the maps already: an earlier life's, which need not be written again.
    fn recall(&self, desired: &Desired, occupied: &Occupied) -> HashMap<u16, WrittenTable> {
        let ids: HashMap<BackendKey, u32> = occupied
            .backends
            .iter()
            .map(|(&id, backend)| (BackendKey::of(backend), id))
            .collect();
        let mut tables = HashMap::new();
        for service in &desired.services {
            let Some(entry) = occupied
                .services
                .iter()
                .find(|entry| entry.listens() && service.keys.contains(&entry.key()))
            else {
                continue;
            };
            let backend_id = |real_server: &desired::RealServer| {
                let (address, family) = bank::wire_address(real_server.address);
                ids.get(&BackendKey {
                    service: entry.id,
                    address,
                    family,
                    port_be: real_server.port.to_be(),
                })
                .copied()
            };
            let Some(ids) = service
                .real_servers
                .iter()
                .map(backend_id)
                .collect::<Option<Vec<u32>>>()
            else {
                continue;
            };
            let table = WrittenTable {
                start: entry.slots_start,
                len: entry.slots_len,
                table: Arc::clone(&service.table),
                ids,
            };
            let fits = service.table.is_empty() || service.table.len() == table.len as usize;
            let current = |slot| self.maps.slots.read(slot).map(Slot::current);
            let written = fits
                && table
                    .owners()
                    .zip(table.start..)
                    .all(|(owner, slot)| current(slot) == Some(owner));
            if written {
                tables.insert(entry.id, table);
            }
        }
        tables
    }

    fn write_bank(&self, bank: u32, plan: &Plan, places: &HashMap<u32, u16>) {
        let capacity = self.maps.capacity();
        for (place, &entry) in (0..).zip(&plan.services) {
            self.maps.services.write(banked(bank, place), entry);
        }
        let mut backends: HashMap<u32, (Backend, NextHop)> = plan
            .backends
            .iter()
            .zip(&plan.next_hops)
            .map(|(&(id, backend), &next_hop)| (id, (backend, next_hop)))
            .collect();
        for id in 0..capacity.backends {
            let here = banked(bank, id);
            let there = banked(bank ^ 1, id);
            let lives =
                [here, there].map(|at| self.maps.backends.read(at).map_or(0, |old| old.generation));
            let generation = lives[0].max(lives[1]);
            let entry = match backends.remove(&id) {
                Some((backend, next_hop)) => Backend {
                    next_hop: next_hop_words(next_hop, places).0,
                    mtu: next_hop_words(next_hop, places).1,
                    generation: if plan.new_backends.contains(&id) {
                        generation.wrapping_add(1)
                    } else {
                        generation
                    },
                    ..backend
                },
                None => Backend {
                    generation,
                    ..Backend::default()
                },
            };
            self.maps.backends.write(here, entry);
        }
        let offset = offset_of!(Control, service_seed);
        let seeds = self.maps.control.load_word(0, offset);
        let shift = bank * 32;
        let seeds = seeds & !(u64::from(u32::MAX) << shift) | u64::from(plan.seed) << shift;
        self.maps.control.store_word(0, offset, seeds);
    }

    /// Enters the interfaces, and returns each one's place by its index. Places once given stay: next hops refer to them.
    fn write_devices(&self, devices: &[Device]) -> Result<HashMap<u32, u16>, CommitError> {
        let mut places = HashMap::new();
        for device in devices {
            // Tagged ones live elsewhere, so that the look-up by ifindex finds the untagged one.
            let home = if device.vlans == 0 {
                device.frames
            } else {
                device.frames.wrapping_add(INTERFACES as u32 / 2)
            };
            let place = (0..INTERFACE_PROBES as u32)
                .map(|probe| home.wrapping_add(probe) as usize % INTERFACES)
                .find(|&place| {
                    let [_, identity] = self.interface_words(place);
                    identity == 0 || identity == interface_identity(device)
                })
                .ok_or(CommitError::Interfaces {
                    ifindex: device.index,
                })?;
            let flags = if device.transmits {
                Station::TRANSMITS
            } else {
                0
            };
            let wanted = [mac_word(device.mac) | flags, interface_identity(device)];
            let there = self.interface_words(place);
            // The identity last: until then no packet finds the entry.
            for word in [0, 1] {
                if there[word] != wanted[word] {
                    self.maps.control.store_word(
                        0,
                        interface_offset(place) + word * 8,
                        wanted[word],
                    );
                }
            }
            places.insert(device.index, place as u16);
        }
        Ok(places)
    }

    fn interface_words(&self, place: usize) -> [u64; 2] {
        [0, 1].map(|word| {
            self.maps
                .control
                .load_word(0, interface_offset(place) + word * 8)
        })
    }

    /// Sets the filter's bits for `services`, and leaves those that the live bank needs.
    fn widen_filter(&self, services: &[Service]) {
        for (word, bits) in filter_words(services) {
            let old = self.maps.control.load_word(0, filter_offset(word));
            self.maps
                .control
                .store_word(0, filter_offset(word), old | bits);
        }
    }

    /// Clears the filter's bits that the live bank does not need.
    fn narrow_filter(&self) {
        let wanted = filter_words(&self.occupied(self.live().bank()).services);
        for word in 0..filter::WORDS {
            let bits = wanted.get(&word).copied().unwrap_or(0);
            if self.maps.control.load_word(0, filter_offset(word)) != bits {
                self.maps.control.store_word(0, filter_offset(word), bits);
            }
        }
    }
}

fn filter_words(services: &[Service]) -> HashMap<usize, u64> {
    let mut words = HashMap::new();
    // Addresses of the host itself are looked for only where a real server replies.
    let wanted = |entry: &&Service| entry.tuple != 0 && entry.flags & FLAG_LOCAL == 0;
    for entry in services.iter().filter(wanted) {
        let (word, bit) = filter::position(hash::fold(&entry.address));
        *words.entry(word).or_insert(0) |= 1 << bit;
    }
    words
}

/// A backend's `next_hop` and `mtu`.
fn next_hop_words(next_hop: NextHop, places: &HashMap<u32, u16>) -> (u64, u32) {
    let unresolved = (lb_common::NextHop::UNRESOLVED.0, 0);
    match next_hop {
        NextHop::Unresolved => unresolved,
        NextHop::Via { mac, device, mtu } => places.get(&device).map_or(unresolved, |&place| {
            (lb_common::NextHop::new(mac, place).0, mtu)
        }),
    }
}

/// The word of a [`Backend`] whose upper half is `mtu`. The lower one does not change while the backend lives.
const MTU_WORD: usize = offset_of!(Backend, mtu) - 4;
const _: () = assert!(MTU_WORD.is_multiple_of(8));

/// The word of an [`Interface`] that holds `ifindex` and `vlans`.
fn interface_identity(device: &Device) -> u64 {
    u64::from(device.frames) | u64::from(device.vlans) << 32
}

const _: () = assert!(
    offset_of!(Interface, station) == 0
        && offset_of!(Interface, ifindex) == 8
        && offset_of!(Interface, vlans) == 12
);

fn interface_offset(place: usize) -> usize {
    offset_of!(Control, interfaces) + place % INTERFACES * size_of::<Interface>()
}

fn filter_offset(word: usize) -> usize {
    offset_of!(Control, filter) + word % filter::WORDS * 8
}

/// Where the control block has the word of owner number `owner`.
pub(super) fn owner_offset(owner: u16) -> usize {
    offset_of!(Control, owners) + usize::from(owner) % OWNERS * 8
}
