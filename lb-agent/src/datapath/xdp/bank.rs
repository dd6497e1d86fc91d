//! What a bank is to hold: ids, slot ranges and places in the service table, worked out before anything is written.
//!
//! Pure: from a desired state and what the live bank holds to a [`Plan`].

use super::capacity::{Capacity, NoRoom};
use crate::datapath::{Desired, desired};
use lb_common::{
    Address, Backend, Mode, Scheduling, Service, ServiceKey, hash, key,
    service::{FLAG_ADDRESS_ONLY, FLAG_LOCAL, FLAG_REPLY, MAX_PROBES},
    slot::MAX_BACKEND,
};
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    ops::Range,
    sync::Arc,
};

/// Seeds tried until every key lies within reach of its home.
const SEEDS: u32 = 64;

/// What makes a backend the same in two banks: its service's id, its address and its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendKey {
    /// The service's id.
    pub service: u16,
    /// Address, wire order.
    pub address: Address,
    /// Family mark, see [`lb_common::key`].
    pub family: u8,
    /// Port, network order.
    pub port_be: u16,
}

/// What the live bank holds.
#[derive(Clone, Debug, Default)]
pub struct Occupied {
    /// Entries of the service table.
    pub services: Vec<Service>,
    /// Backends by id.
    pub backends: HashMap<u32, Backend>,
}

/// A slot table that is in the maps.
#[derive(Clone, Debug)]
pub struct WrittenTable {
    /// First slot.
    pub start: u32,
    /// Slots. More than `table` has where nobody is left to serve: the slots keep who did.
    pub len: u32,
    /// Its owners as positions in the list of real servers.
    pub table: Arc<[u32]>,
    /// The backend id of each position.
    pub ids: Vec<u32>,
}

impl WrittenTable {
    /// The id of the owner of each slot; 0: nobody.
    pub fn owners(&self) -> impl Iterator<Item = u32> {
        (0..self.len as usize).map(|slot| {
            let position = self.table.get(slot).map(|&position| position as usize);
            position
                .and_then(|position| self.ids.get(position).copied())
                .unwrap_or(0)
        })
    }
}

impl Occupied {
    /// How new flows of the service with this id are given to real servers.
    pub fn scheduling(&self, service: u16) -> Scheduling {
        let entry = self.services.iter().find(|entry| entry.id == service);
        Scheduling(entry.map_or(0, |entry| entry.scheduling))
    }

    /// The slots of the service with this id: the first, and how many.
    pub fn slots(&self, service: u16) -> Option<(u32, u32)> {
        let entry = self.services.iter().find(|entry| entry.id == service)?;
        Some((entry.slots_start, entry.slots_len))
    }
}

/// What is to be written.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The whole service table of the bank.
    pub services: Vec<Service>,
    /// Seed under which the table was laid out.
    pub seed: u32,
    /// Backends by id, without `next_hop`, `mtu` and `generation`.
    pub backends: Vec<(u32, Backend)>,
    /// Next hop of each of `backends`.
    pub next_hops: Vec<desired::NextHop>,
    /// Share and limits of each of `backends`.
    pub shares: Vec<desired::Share>,
    /// Ids that did not exist in the live bank.
    pub new_backends: Vec<u32>,
    /// Ids of services that did not exist in the live bank.
    pub new_services: Vec<u16>,
    /// Tables of each service id; those whose `start` the live bank does not have are to be written.
    pub tables: HashMap<u16, WrittenTable>,
    /// Service ids whose table is to be written.
    pub unwritten: Vec<u16>,
    /// The id of each service, in the order of the desired state.
    pub ids: Vec<u16>,
}

impl BackendKey {
    /// The key of a backend entry.
    pub fn of(backend: &Backend) -> Self {
        Self {
            service: backend.service,
            address: backend.address,
            family: backend.family,
            port_be: backend.port_be,
        }
    }
}

/// An address and its family as the maps hold them.
pub fn wire_address(address: IpAddr) -> (Address, u8) {
    match address {
        IpAddr::V4(v4) => ([u32::from_ne_bytes(v4.octets()), 0, 0, 0], key::IPV4),
        IpAddr::V6(v6) => (key::words(v6.octets()), key::IPV6),
    }
}

/// A service's scheduling for clients of a key's family.
fn scheduling_for(service: &desired::Service, key: ServiceKey) -> Scheduling {
    let desired::FlowRules {
        scheduling,
        prefixes: [v4, v6],
        ..
    } = service.flows;
    let is_v4 = (key.tuple >> 24) as u8 == key::IPV4;
    match scheduling.is_persistent() {
        true if is_v4 => scheduling.persistent(v4),
        true => scheduling.persistent(v6),
        false => scheduling,
    }
}

/// The bits of a tunnel source's last word that vary, wire order.
fn varying_mask(source: desired::TunnelSource) -> u32 {
    u32::MAX
        .checked_shr(32 - u32::from(source.varying_bits.min(32)))
        .unwrap_or(0)
        .to_be()
}

/// The address of a backend entry; `None` for a free one.
pub fn ip_address(address: Address, family: u8) -> Option<IpAddr> {
    match family {
        key::IPV4 => Some(IpAddr::from(address[0].to_ne_bytes())),
        key::IPV6 => {
            let bytes: Vec<u8> = address.iter().flat_map(|word| word.to_ne_bytes()).collect();
            <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
        }
        _ => None,
    }
}

/// Works out the next bank.
///
/// # Errors
/// Where something does not fit; nothing was written.
pub fn plan(
    desired: &Desired,
    occupied: &Occupied,
    written: &HashMap<u16, WrittenTable>,
    capacity: Capacity,
) -> Result<Plan, NoRoom> {
    let mut plan = Plan::default();
    let mut ids = Ids::new(occupied, capacity);
    let mut ranges = Ranges::new(occupied, written, capacity.slots);
    let mut entries: HashMap<ServiceKey, Service> = HashMap::new();
    for service in &desired.services {
        let (id, is_new) = ids.service(service)?;
        if is_new {
            plan.new_services.push(id);
        }
        plan.ids.push(id);
        let mut backend_ids = Vec::with_capacity(service.real_servers.len());
        for real_server in &service.real_servers {
            let (address, family) = wire_address(real_server.address);
            let port_be = real_server.port.to_be();
            let (backend_id, is_new) = ids.backend(BackendKey {
                service: id,
                address,
                family,
                port_be,
            })?;
            if is_new {
                plan.new_backends.push(backend_id);
            }
            backend_ids.push(backend_id);
            plan.next_hops.push(real_server.next_hop);
            let (tunnel_source, tunnel_vary) = real_server
                .tunnel_source
                .map(|source| (wire_address(source.address).0, varying_mask(source)))
                .unwrap_or_default();
            plan.backends.push((
                backend_id,
                Backend {
                    address,
                    port_be,
                    family,
                    mode: real_server.mode as u8,
                    state: real_server.state as u8,
                    tenure: real_server.term.tenure as u8,
                    until_s: real_server
                        .term
                        .until_s
                        .unwrap_or(0)
                        .min(u64::from(u32::MAX)) as u32,
                    weight: real_server.weight,
                    service: id,
                    tunnel_source,
                    tunnel_vary,
                    ..Backend::default()
                },
            ));
        }
        let shares = service.shares.iter().copied();
        let shares = shares.chain(std::iter::repeat(desired::Share::default()));
        plan.shares.extend(shares.take(service.real_servers.len()));
        let len = match occupied.slots(id) {
            Some((_, len)) if service.table.is_empty() && service.flows.window_s > 0 => len,
            _ => service.table.len() as u32,
        };
        let unchanged = written.get(&id).filter(|written| {
            (Arc::ptr_eq(&written.table, &service.table) || written.table == service.table)
                && written.ids == backend_ids
                && written.len == len
        });
        let start = match unchanged {
            Some(written) => written.start,
            None => {
                if len > 0 {
                    plan.unwritten.push(id);
                }
                ranges.take(len)?
            }
        };
        plan.tables.insert(
            id,
            WrittenTable {
                start,
                len,
                table: Arc::clone(&service.table),
                ids: backend_ids,
            },
        );
        for (key, owner) in service.governed_keys() {
            let entry = Service {
                address: key.address,
                tuple: key.tuple,
                slots_start: start,
                slots_len: len,
                id,
                owner,
                scheduling: scheduling_for(service, key).0,
                ..Service::default()
            };
            entries.insert(key, entry);
            let alone = key.address_only();
            entries.entry(alone).or_insert(Service {
                address: alone.address,
                tuple: alone.tuple,
                owner,
                flags: FLAG_ADDRESS_ONLY,
                ..Service::default()
            });
        }
    }
    let replies = replies(desired, &plan);
    if !replies.is_empty() {
        let local = desired.local.iter().map(|&address| local(address));
        entries.extend(
            replies
                .into_iter()
                .chain(local)
                .map(|entry| (entry.key(), entry)),
        );
    }
    (plan.services, plan.seed) = lay_out(entries.into_values().collect(), capacity.services)?;
    Ok(plan)
}

/// Entries by which replies of NAT real servers are known. Where two listen addresses of one family share a real server's
/// port, the first has the replies: [`crate::config`] accepts no such configuration.
fn replies(desired: &Desired, plan: &Plan) -> Vec<Service> {
    let mut replies: HashMap<ServiceKey, Service> = HashMap::new();
    // The backends of the plan are those of the services, in their order.
    let mut backends = plan.backends.iter();
    for service in &desired.services {
        let own: Vec<Backend> = backends
            .by_ref()
            .take(service.real_servers.len())
            .map(|&(_, backend)| backend)
            .collect();
        let pairs = own.iter().filter(|backend| backend.mode == Mode::Nat as u8);
        for (backend, (key, owner)) in
            pairs.flat_map(|backend| service.governed_keys().map(move |key| (backend, key)))
        {
            if key.family() != backend.family {
                continue;
            }
            let port_be = match backend.port_be {
                0 => key.port().to_be(),
                port_be => port_be,
            };
            let entry = Service {
                address: backend.address,
                tuple: key::reply(port_be, key.protocol(), backend.family),
                id: backend.service,
                owner,
                flags: FLAG_REPLY,
                reply_address: key.address,
                reply_port_be: key.port().to_be(),
                ..Service::default()
            };
            replies.entry(entry.key()).or_insert(entry);
        }
    }
    replies.into_values().collect()
}

/// The entry of an address of the host itself.
fn local(address: IpAddr) -> Service {
    let (address, family) = wire_address(address);
    Service {
        address,
        tuple: key::local(family),
        flags: FLAG_LOCAL,
        ..Service::default()
    }
}

/// Lays the entries out so that each lies within [`MAX_PROBES`] of its home (Robin Hood hashing: the poorer, further
/// from home, takes the place). Returns the table and its seed.
fn lay_out(mut entries: Vec<Service>, capacity: u32) -> Result<(Vec<Service>, u32), NoRoom> {
    let no_room = NoRoom {
        what: "entries of the service table",
        needed: entries.len() as u64,
        available: u64::from(capacity / 2),
    };
    if entries.len() as u32 > capacity / 2 {
        return Err(no_room);
    }
    entries.sort_by_key(Service::key);
    (0..SEEDS)
        .find_map(|seed| {
            let mut table = vec![Service::default(); capacity as usize];
            entries
                .iter()
                .all(|&entry| place(&mut table, entry, seed))
                .then_some((table, seed))
        })
        .ok_or(no_room)
}

/// How far a place is from an entry's home.
fn distance(table_len: usize, entry: &Service, seed: u32, place: usize) -> usize {
    let home =
        hash::service(hash::fold(&entry.address), entry.tuple, seed) as usize & (table_len - 1);
    place.wrapping_sub(home) & (table_len - 1)
}

fn place(table: &mut [Service], mut entry: Service, seed: u32) -> bool {
    let len = table.len();
    let mut place =
        hash::service(hash::fold(&entry.address), entry.tuple, seed) as usize & (len - 1);
    loop {
        let far = distance(len, &entry, seed, place);
        if far >= MAX_PROBES as usize {
            return false;
        }
        let there = &mut table[place];
        if there.tuple == 0 {
            *there = entry;
            return true;
        }
        if distance(len, there, seed, place) < far {
            std::mem::swap(there, &mut entry);
        }
        place = (place + 1) & (len - 1);
    }
}

/// Ids of services and backends: those of the live bank are kept, new ones are free in it.
struct Ids {
    services: HashMap<ServiceKey, u16>,
    used_services: HashSet<u16>,
    taken_services: HashSet<u16>,
    backends: HashMap<BackendKey, u32>,
    used_backends: HashSet<u32>,
    next_service: u32,
    next_backend: u32,
    capacity: Capacity,
}

impl Ids {
    fn new(occupied: &Occupied, capacity: Capacity) -> Self {
        let services = occupied.services.iter().filter(|entry| entry.listens());
        let backends = occupied.backends.iter();
        Self {
            used_services: services.clone().map(|entry| entry.id).collect(),
            services: services.map(|entry| (entry.key(), entry.id)).collect(),
            taken_services: HashSet::new(),
            used_backends: backends.clone().map(|(&id, _)| id).collect(),
            backends: backends
                .map(|(&id, backend)| (BackendKey::of(backend), id))
                .collect(),
            next_service: 1,
            next_backend: 1,
            capacity,
        }
    }

    /// The id the service has by any of its keys, else a free one; and whether it is new.
    fn service(&mut self, service: &desired::Service) -> Result<(u16, bool), NoRoom> {
        let known = service
            .keys
            .iter()
            .filter_map(|key| self.services.get(key).copied());
        let known = { known }.find(|id| !self.taken_services.contains(id));
        let id = match known {
            Some(id) => id,
            None => {
                let limit = self.capacity.services.min(u32::from(u16::MAX));
                while self.used_services.contains(&(self.next_service as u16))
                    && self.next_service < limit
                {
                    self.next_service += 1;
                }
                if self.next_service >= limit {
                    return Err(NoRoom {
                        what: "services",
                        needed: self.used_services.len() as u64 + 1,
                        available: u64::from(limit) - 1,
                    });
                }
                self.next_service as u16
            }
        };
        self.used_services.insert(id);
        self.taken_services.insert(id);
        Ok((id, known.is_none()))
    }

    /// The id of the backend, and whether it is new.
    fn backend(&mut self, key: BackendKey) -> Result<(u32, bool), NoRoom> {
        if let Some(&id) = self.backends.get(&key) {
            return Ok((id, false));
        }
        let limit = self.capacity.backends.min(MAX_BACKEND);
        while self.used_backends.contains(&self.next_backend) {
            self.next_backend += 1;
        }
        if self.next_backend >= limit {
            return Err(NoRoom {
                what: "real servers",
                needed: self.used_backends.len() as u64 + 1,
                available: u64::from(limit) - 1,
            });
        }
        self.used_backends.insert(self.next_backend);
        self.backends.insert(key, self.next_backend);
        Ok((self.next_backend, true))
    }
}

/// Free ranges of slots: what neither an entry of the live bank refers to nor a table that may be used again.
struct Ranges {
    /// In the order of their starts; they may overlap where somebody else wrote into the maps.
    used: Vec<Range<u32>>,
    slots: u32,
}

impl Ranges {
    fn new(occupied: &Occupied, written: &HashMap<u16, WrittenTable>, slots: u32) -> Self {
        let live = occupied
            .services
            .iter()
            .map(|entry| (entry.slots_start, entry.slots_len));
        let written = written.values().map(|table| (table.start, table.len));
        let ranges = live
            .chain(written)
            .map(|(start, len)| start..start.saturating_add(len));
        let mut used: Vec<_> = ranges.filter(|range| !range.is_empty()).collect();
        used.sort_by_key(|range| (range.start, range.end));
        used.dedup();
        Self { used, slots }
    }

    /// The narrowest free range that has room for `len` slots: wide ones are kept for large tables.
    fn take(&mut self, len: u32) -> Result<u32, NoRoom> {
        if len == 0 {
            return Ok(0);
        }
        let gaps = self.gaps();
        let Some(gap) = gaps
            .iter()
            .filter(|gap| gap.end - gap.start >= len)
            .min_by_key(|gap| gap.end - gap.start)
        else {
            let free: u32 = gaps.iter().map(|gap| gap.end - gap.start).sum();
            return Err(if free < len {
                let needed = u64::from(self.slots - free) + u64::from(len);
                NoRoom {
                    what: "slots",
                    needed,
                    available: u64::from(self.slots),
                }
            } else {
                let widest = gaps
                    .iter()
                    .map(|gap| gap.end - gap.start)
                    .max()
                    .unwrap_or(0);
                NoRoom {
                    what: "slots in one piece",
                    needed: u64::from(len),
                    available: u64::from(widest),
                }
            });
        };
        let start = gap.start;
        let position = self.used.partition_point(|range| range.start < start);
        self.used.insert(position, start..start + len);
        Ok(start)
    }

    /// What is between the used ranges.
    fn gaps(&self) -> Vec<Range<u32>> {
        let mut gaps = Vec::new();
        let mut end = 0;
        for range in &self.used {
            gaps.push(end..range.start.min(self.slots));
            end = end.max(range.end);
        }
        gaps.push(end..self.slots);
        gaps.retain(|gap| !gap.is_empty());
        gaps
    }
}

#[cfg(test)]
mod tests;
