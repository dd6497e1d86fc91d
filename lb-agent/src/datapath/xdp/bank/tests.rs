//! Plans: what they keep, what they never touch, and when there is no room.

use super::*;
use crate::balance::term::Term;
use crate::datapath::{
    desired::{FlowRules, NextHop, RealServer, Service as DesiredService},
    xdp::Demand,
};
use lb_common::{BackendState, Mode};
use proptest::prelude::*;

/// Small enough that a test can fill it.
const CAPACITY: Capacity = Capacity {
    services: 64,
    backends: 32,
    slots: 100,
    flow_buckets: 1,
};

fn real_server(number: u32) -> RealServer {
    RealServer {
        address: IpAddr::from((0x0a01_0000 | number).to_be_bytes()),
        port: 0,
        mode: Mode::Dr,
        tunnel_source: None,
        weight: 1,
        state: BackendState::Up,
        term: Term::default(),
        next_hop: NextHop::Unresolved,
    }
}

fn key(number: u32) -> ServiceKey {
    ServiceKey::v4((0x0a00_0000 | number).to_be_bytes(), 80, key::TCP)
}

/// A service with one key, whose table of `slots` slots names the `real_servers` in turn.
fn service(number: u32, real_servers: &[u32], slots: u32) -> DesiredService {
    let count = real_servers.len().max(1) as u32;
    DesiredService {
        name: format!("service {number}"),
        keys: vec![key(number)],
        owners: Vec::new(),
        table: (0..slots).map(|slot| slot % count).collect(),
        real_servers: real_servers
            .iter()
            .map(|&number| real_server(number))
            .collect(),
        shares: Vec::new(),
        flows: FlowRules {
            window_s: 0,
            ..FlowRules::default()
        },
    }
}

fn desired(services: impl IntoIterator<Item = DesiredService>) -> Desired {
    Desired {
        local: Default::default(),
        services: services.into_iter().collect(),
        devices: Vec::new(),
    }
}

/// The program's look-up (`vip::entry` in lb-ebpf), written again.
fn look_up(table: &[Service], seed: u32, key: ServiceKey) -> Option<Service> {
    let mask = table.len() - 1;
    let home = hash::service(hash::fold(&key.address), key.tuple, seed) as usize;
    for probe in 0..MAX_PROBES as usize {
        let entry = table[home.wrapping_add(probe) & mask];
        if entry.key() == key {
            return Some(entry);
        }
        if entry.tuple == 0 {
            return None;
        }
    }
    None
}

/// The maps of a writer, and its commits, in plain memory: whatever was once written stays until it is written again.
struct Model {
    capacity: Capacity,
    slots: Vec<u32>,
    live: Occupied,
    live_seed: u32,
    live_table: Vec<Service>,
    written: HashMap<u16, WrittenTable>,
}

impl Model {
    fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            slots: vec![0; capacity.slots as usize],
            live: Occupied::default(),
            live_seed: 0,
            live_table: vec![Service::default(); capacity.services as usize],
            written: HashMap::new(),
        }
    }

    /// Plans and writes as the writer does, and checks that nothing the live bank refers to was touched.
    fn commit(&mut self, desired: &Desired) -> Result<Plan, NoRoom> {
        let plan = plan(desired, &self.live, &self.written, self.capacity)?;
        let before: Vec<Vec<u32>> = self
            .live
            .services
            .iter()
            .map(|entry| self.table(entry))
            .collect();
        for id in &plan.unwritten {
            let table = &plan.tables[id];
            for (&owner, slot) in table.table.iter().zip(table.start..) {
                self.slots[slot as usize] = table.ids[owner as usize];
            }
        }
        let after: Vec<Vec<u32>> = self
            .live
            .services
            .iter()
            .map(|entry| self.table(entry))
            .collect();
        assert_eq!(
            before, after,
            "packets that read the live bank see another table"
        );
        for &id in &plan.new_backends {
            assert!(
                !self.live.backends.contains_key(&id),
                "backend id {id} is in use in the live bank"
            );
        }
        for (id, backend) in &plan.backends {
            if let Some(there) = self.live.backends.get(id) {
                assert_eq!(
                    BackendKey::of(there),
                    BackendKey::of(backend),
                    "id {id} means two backends"
                );
            }
        }
        self.live = Occupied {
            services: plan
                .services
                .iter()
                .copied()
                .filter(|entry| entry.tuple != 0)
                .collect(),
            backends: plan.backends.iter().copied().collect(),
        };
        self.live_seed = plan.seed;
        self.live_table = plan.services.clone();
        self.written = plan.tables.clone();
        self.check(desired);
        Ok(plan)
    }

    fn table(&self, entry: &Service) -> Vec<u32> {
        self.slots[entry.slots_start as usize..][..entry.slots_len as usize].to_vec()
    }

    /// Reads the live bank as packets do: every key leads to its service, every slot to the real server desired.
    fn check(&self, desired: &Desired) {
        let mut ids = HashSet::new();
        for service in &desired.services {
            let mut id = None;
            let owners = service.owners.iter().copied().chain(std::iter::repeat(0));
            for (&key, owner) in service.keys.iter().zip(owners) {
                let entry =
                    look_up(&self.live_table, self.live_seed, key).expect("every key is found");
                assert_eq!((entry.owner, entry.flags), (owner, 0), "{key:?}");
                assert_eq!(
                    *id.get_or_insert(entry.id),
                    entry.id,
                    "one service has two ids"
                );
                let alone = look_up(&self.live_table, self.live_seed, key.address_only())
                    .expect("every address is found");
                assert_eq!(
                    (alone.id, alone.slots_len, alone.flags),
                    (0, 0, FLAG_ADDRESS_ONLY)
                );
                let table: Vec<IpAddr> = self
                    .table(&entry)
                    .iter()
                    .map(|id| {
                        let backend = self.live.backends[id];
                        assert_eq!(
                            backend.service, entry.id,
                            "a slot names another service's backend"
                        );
                        ip_address(backend.address, backend.family)
                            .expect("a backend has an address")
                    })
                    .collect();
                let wanted: Vec<IpAddr> = service
                    .table
                    .iter()
                    .map(|&owner| service.real_servers[owner as usize].address)
                    .collect();
                assert_eq!(table, wanted, "{}", service.name);
            }
            let id = id.expect("a service has a key");
            assert!(
                id != 0 && u32::from(id) < self.capacity.services,
                "service id {id}"
            );
            assert!(ids.insert(id), "two services have the id {id}");
        }
        for &id in self.live.backends.keys() {
            assert!(id != 0 && id < self.capacity.backends, "backend id {id}");
        }
    }

    fn id(&self, key: ServiceKey) -> u16 {
        look_up(&self.live_table, self.live_seed, key)
            .expect("the service is there")
            .id
    }

    fn start(&self, key: ServiceKey) -> u32 {
        look_up(&self.live_table, self.live_seed, key)
            .expect("the service is there")
            .slots_start
    }

    fn backend(&self, service: u16, number: u32) -> u32 {
        let address = wire_address(real_server(number).address).0;
        let found = self
            .live
            .backends
            .iter()
            .find(|(_, there)| there.service == service && there.address == address);
        *found.expect("the backend is there").0
    }
}

fn entries(keys: &[ServiceKey]) -> Vec<Service> {
    keys.iter()
        .map(|key| Service {
            address: key.address,
            tuple: key.tuple,
            id: 1,
            ..Service::default()
        })
        .collect()
}

mod layout;
mod plans;
mod properties;
mod ranges;
