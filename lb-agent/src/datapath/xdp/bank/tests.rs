//! Plans: what they keep, what they never touch, and when there is no room.

use super::*;
use crate::datapath::{
    desired::{NextHop, RealServer, Service as DesiredService},
    xdp::Demand,
};
use lb_common::{BackendState, Mode};
use proptest::prelude::*;

/// Small enough that a test can fill it.
const CAPACITY: Capacity = Capacity {
    services: 64,
    backends: 32,
    slots: 100,
};

fn real_server(number: u32) -> RealServer {
    RealServer {
        address: IpAddr::from((0x0a01_0000 | number).to_be_bytes()),
        port: 0,
        mode: Mode::Dr,
        weight: 1,
        state: BackendState::Up,
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
        owner: 0,
        table: (0..slots).map(|slot| slot % count).collect(),
        real_servers: real_servers
            .iter()
            .map(|&number| real_server(number))
            .collect(),
    }
}

fn desired(services: impl IntoIterator<Item = DesiredService>) -> Desired {
    Desired {
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
            for &key in &service.keys {
                let entry =
                    look_up(&self.live_table, self.live_seed, key).expect("every key is found");
                assert_eq!((entry.owner, entry.flags), (service.owner, 0), "{key:?}");
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
        for (&id, _) in &self.live.backends {
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

#[test]
fn ids_stay_while_other_services_and_real_servers_come_and_go() {
    let mut model = Model::new(CAPACITY);
    model
        .commit(&desired([service(1, &[1, 2], 7), service(2, &[3], 7)]))
        .expect("room");
    let (id, two) = (model.id(key(2)), model.backend(model.id(key(1)), 2));
    model
        .commit(&desired([
            service(3, &[9], 7),
            service(2, &[4, 3], 7),
            service(1, &[2, 5], 7),
        ]))
        .expect("room");
    assert_eq!(model.id(key(2)), id);
    assert_eq!(model.backend(model.id(key(1)), 2), two);
    model.commit(&desired([service(2, &[3], 7)])).expect("room");
    assert_eq!(model.id(key(2)), id);
}

#[test]
fn a_service_keeps_its_id_by_any_of_its_keys() {
    let mut model = Model::new(CAPACITY);
    let mut both = service(1, &[1], 7);
    both.keys.push(key(2));
    model
        .commit(&desired([both.clone(), service(5, &[1], 7)]))
        .expect("room");
    let id = model.id(key(1));
    both.keys = vec![key(9), key(2)];
    model
        .commit(&desired([service(5, &[1], 7), both]))
        .expect("room");
    assert_eq!(model.id(key(2)), id);
    assert_eq!(model.id(key(9)), id);
}

#[test]
fn a_service_that_is_split_gives_its_id_to_one_part() {
    let mut model = Model::new(CAPACITY);
    let mut both = service(1, &[1], 7);
    both.keys.push(key(2));
    model.commit(&desired([both])).expect("room");
    let id = model.id(key(1));
    model
        .commit(&desired([service(2, &[1], 7), service(1, &[1], 7)]))
        .expect("room");
    assert_eq!(model.id(key(2)), id);
    assert_ne!(model.id(key(1)), id);
}

#[test]
fn an_unchanged_table_is_not_written_again() {
    let mut model = Model::new(CAPACITY);
    let state = desired([service(1, &[1, 2], 7), service(2, &[3], 9)]);
    assert_eq!(model.commit(&state).expect("room").unwritten.len(), 2);
    let starts = [model.start(key(1)), model.start(key(2))];
    assert!(model.commit(&state).expect("room").unwritten.is_empty());
    assert_eq!([model.start(key(1)), model.start(key(2))], starts);
    // The same content at another address in memory, as after a reload.
    let again = desired([service(2, &[3], 9), service(1, &[1, 2], 7)]);
    assert!(model.commit(&again).expect("room").unwritten.is_empty());
}

#[test]
fn an_equal_table_of_other_real_servers_is_written() {
    let mut model = Model::new(CAPACITY);
    model
        .commit(&desired([service(1, &[1, 2], 7)]))
        .expect("room");
    let plan = model
        .commit(&desired([service(1, &[1, 3], 7)]))
        .expect("room");
    assert_eq!(plan.unwritten, [model.id(key(1))]);
}

#[test]
fn a_changed_table_goes_to_slots_that_nobody_reads() {
    let mut model = Model::new(CAPACITY);
    model
        .commit(&desired([service(1, &[1, 2], 40), service(2, &[3], 10)]))
        .expect("room");
    let before = model.start(key(1));
    model
        .commit(&desired([service(1, &[2], 40), service(2, &[3], 10)]))
        .expect("room");
    assert_ne!(model.start(key(1)), before);
}

#[test]
fn a_service_without_live_real_servers_takes_no_slot() {
    let mut model = Model::new(CAPACITY);
    model
        .commit(&desired([service(1, &[1], 100)]))
        .expect("room");
    let mut down = service(1, &[1], 0);
    down.real_servers[0].state = BackendState::Down;
    let plan = model
        .commit(&desired([down, service(2, &[], 0)]))
        .expect("room");
    assert!(plan.unwritten.is_empty());
    // The slots of the bank before may be read no more, so all of them are free.
    model
        .commit(&desired([service(1, &[1], 100)]))
        .expect("room for a table of every slot");
}

#[test]
fn a_real_server_of_two_services_is_two_backends() {
    let mut model = Model::new(CAPACITY);
    model
        .commit(&desired([service(1, &[1], 7), service(2, &[1], 7)]))
        .expect("room");
    assert_ne!(
        model.backend(model.id(key(1)), 1),
        model.backend(model.id(key(2)), 1)
    );
}

#[test]
fn the_plan_does_not_depend_on_the_order_of_keys() {
    let mut one = service(1, &[1, 2], 7);
    one.keys = (1..=16).map(key).collect();
    let mut other = one.clone();
    other.keys.reverse();
    let empty = Occupied::default();
    let plan =
        |service| plan(&desired([service]), &empty, &HashMap::new(), CAPACITY).expect("room");
    let (one, other) = (plan(one), plan(other));
    assert_eq!((one.seed, one.services), (other.seed, other.services));
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let what = |desired: Desired| {
        Model::new(CAPACITY)
            .commit(&desired)
            .expect_err("there is no room")
    };
    let many: Vec<u32> = (1..=32).collect();
    assert_eq!(
        what(desired([service(1, &many, 7)])),
        NoRoom {
            what: "real servers",
            needed: 32,
            available: 31
        }
    );
    assert_eq!(
        what(desired([service(1, &[1], 101)])),
        NoRoom {
            what: "slots",
            needed: 101,
            available: 100
        }
    );
    let two = what(desired([service(1, &[1], 60), service(2, &[1], 41)]));
    assert_eq!(
        two,
        NoRoom {
            what: "slots",
            needed: 101,
            available: 100
        }
    );
    let mut keys = service(1, &[1], 7);
    keys.keys = (1..=17).map(key).collect();
    let entries = "entries of the service table";
    assert_eq!(
        what(desired([keys])),
        NoRoom {
            what: entries,
            needed: 34,
            available: 32
        }
    );
    let capacity = Capacity {
        services: 4,
        ..CAPACITY
    };
    let services = (1..=4).map(|number| service(number, &[], 0));
    let error = Model::new(capacity)
        .commit(&desired(services))
        .expect_err("there is no room");
    assert_eq!(
        error,
        NoRoom {
            what: "services",
            needed: 4,
            available: 3
        }
    );
}

#[test]
fn a_change_that_does_not_fit_beside_the_live_bank_is_refused() {
    let mut model = Model::new(CAPACITY);
    model
        .commit(&desired([service(1, &[1, 2], 60)]))
        .expect("room");
    let error = model
        .commit(&desired([service(1, &[1], 60)]))
        .expect_err("only 40 slots are free");
    assert_eq!(
        error,
        NoRoom {
            what: "slots",
            needed: 120,
            available: 100
        }
    );
    model
        .commit(&desired([service(1, &[1, 2], 60)]))
        .expect("what is live still fits");
}

#[test]
fn the_last_ids_are_used() {
    let many: Vec<u32> = (1..=31).collect();
    Model::new(CAPACITY)
        .commit(&desired([service(1, &many, 7)]))
        .expect("31 of 32, for 0 is nobody");
}

#[test]
fn slots_that_a_written_table_has_are_not_given_to_another() {
    let table = WrittenTable {
        start: 5,
        table: vec![0; 10].into(),
        ids: vec![1],
    };
    let mut ranges = Ranges::new(&Occupied::default(), &HashMap::from([(1, table)]), 100);
    assert_eq!(
        [5, 85, 1].map(|len| ranges.take(len).ok()),
        [Some(0), Some(15), None]
    );
}

/// Maps that another process wrote into may hold anything.
#[test]
fn ranges_that_overlap_or_leave_the_map_are_planned_around() {
    let entry = |slots_start, slots_len| Service {
        tuple: 1,
        id: 1,
        slots_start,
        slots_len,
        ..Service::default()
    };
    let cases = [
        vec![entry(0, 50), entry(10, 20)],
        vec![entry(0, 50), entry(0, 20)],
        vec![entry(5, 5), entry(5, 50)],
        vec![entry(90, 50)],
        vec![entry(u32::MAX, u32::MAX)],
        vec![entry(3, u32::MAX)],
    ];
    for services in cases {
        let mut ranges = Ranges::new(
            &Occupied {
                services: services.clone(),
                backends: HashMap::new(),
            },
            &HashMap::new(),
            100,
        );
        while let Ok(start) = ranges.take(3) {
            let taken = u64::from(start)..u64::from(start) + 3;
            assert!(taken.end <= 100, "{taken:?} of {services:?}");
            for entry in &services {
                let used = u64::from(entry.slots_start)
                    ..u64::from(entry.slots_start) + u64::from(entry.slots_len);
                assert!(
                    taken.end <= used.start || used.end <= taken.start,
                    "{taken:?} of {services:?}"
                );
            }
        }
    }
}

#[test]
fn ranges_are_taken_from_the_narrowest_gap_that_is_wide_enough() {
    let entry = |slots_start, slots_len| Service {
        tuple: 1,
        id: 1,
        slots_start,
        slots_len,
        ..Service::default()
    };
    let occupied = Occupied {
        services: vec![entry(50, 10), entry(10, 5), entry(10, 5)],
        backends: HashMap::new(),
    };
    let mut ranges = Ranges::new(&occupied, &HashMap::new(), 100);
    // Free are 0..10, 15..50 and 60..100.
    assert_eq!(
        [11, 10, 35, 1].map(|len| ranges.take(len).ok()),
        [Some(15), Some(0), Some(60), Some(95)]
    );
    assert_eq!(ranges.take(0), Ok(0));
    // Now 26..50 and 96..100.
    assert_eq!(
        ranges.take(25),
        Err(NoRoom {
            what: "slots in one piece",
            needed: 25,
            available: 24
        })
    );
    assert_eq!(
        ranges.take(29),
        Err(NoRoom {
            what: "slots",
            needed: 101,
            available: 100
        })
    );
    assert_eq!(ranges.take(24), Ok(26));
    assert!(ranges.take(u32::MAX).is_err());
}

/// Sets of keys as networks really have them.
fn key_sets(count: u32) -> Vec<(&'static str, Vec<ServiceKey>)> {
    let v6 = |groups: [u32; 8]| {
        let mut bytes = [0; 16];
        for (pair, group) in bytes.chunks_mut(2).zip(groups) {
            pair.copy_from_slice(&(group as u16).to_be_bytes());
        }
        bytes
    };
    let each = |make: &dyn Fn(u32) -> ServiceKey| (1..=count).map(make).collect();
    vec![
        (
            "hosts of one IPv4 network",
            each(&|n| ServiceKey::v4((0x0a00_0000 | n).to_be_bytes(), 443, key::TCP)),
        ),
        (
            "one host of many IPv4 networks",
            each(&|n| ServiceKey::v4((0x0a00_0001 | n << 8).to_be_bytes(), 443, key::TCP)),
        ),
        (
            "IPv4 hosts numbered as their network",
            each(&|n| {
                ServiceKey::v4(
                    (0x0a00_0000 | (n & 0xff) << 16 | n).to_be_bytes(),
                    443,
                    key::TCP,
                )
            }),
        ),
        (
            "ports of one IPv4 address",
            each(&|n| ServiceKey::v4([10, 0, 0, 1], n as u16, key::TCP)),
        ),
        (
            "both protocols of IPv4 hosts",
            each(&|n| {
                ServiceKey::v4(
                    (0x0a00_0000 | n / 2).to_be_bytes(),
                    53,
                    [key::TCP, key::UDP][n as usize % 2],
                )
            }),
        ),
        (
            "hosts of one IPv6 network",
            each(&|n| ServiceKey::v6(v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]), 443, key::TCP)),
        ),
        (
            "one host of many IPv6 networks",
            each(&|n| ServiceKey::v6(v6([0x2001, 0xdb8, 0, n, 0, 0, 0, 1]), 443, key::TCP)),
        ),
        (
            "IPv6 hosts numbered as their network",
            each(&|n| ServiceKey::v6(v6([0x2001, 0xdb8, 0, n, 0, 0, 0, n]), 443, key::TCP)),
        ),
        (
            "ports of one IPv6 address",
            each(&|n| ServiceKey::v6(v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]), n as u16, key::UDP)),
        ),
    ]
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

#[test]
fn tables_of_every_usual_set_of_keys_are_laid_out_up_to_half_full() {
    for capacity in [16, 64, 256, 1_024, 8_192] {
        for (name, keys) in key_sets(capacity / 2) {
            let laid_out = lay_out(entries(&keys), capacity);
            let (table, seed) =
                laid_out.unwrap_or_else(|error| panic!("{name}, {} keys: {error}", keys.len()));
            assert!(
                keys.iter().all(|&key| look_up(&table, seed, key).is_some()),
                "{name}, {capacity} places"
            );
            assert_eq!(
                table.iter().filter(|entry| entry.tuple != 0).count(),
                keys.len(),
                "{name}"
            );
        }
    }
}

fn random_keys(count: usize) -> impl Strategy<Value = HashSet<ServiceKey>> {
    let protocol = prop_oneof![Just(key::TCP), Just(key::UDP)];
    let v4 = (any::<[u8; 4]>(), any::<u16>(), protocol.clone())
        .prop_map(|(address, port, protocol)| ServiceKey::v4(address, port, protocol));
    let v6 = (any::<[u8; 16]>(), any::<u16>(), protocol)
        .prop_map(|(address, port, protocol)| ServiceKey::v6(address, port, protocol));
    proptest::collection::hash_set(prop_oneof![v4, v6], 0..=count)
}

/// What `state` takes.
fn demand(state: &Desired) -> Demand {
    Demand {
        services: state
            .services
            .iter()
            .map(|service| service.keys.len() as u32 * 2)
            .sum(),
        backends: state
            .services
            .iter()
            .map(|service| service.real_servers.len() as u32)
            .sum(),
        slots: state
            .services
            .iter()
            .map(|service| service.table.len() as u32)
            .sum(),
    }
}

/// What may be asked for: some services, each with some real servers and a table over those that are up.
fn states() -> impl Strategy<Value = Vec<Desired>> {
    let parts = (
        1_u32..8,
        proptest::collection::vec((1_u32..6, any::<bool>()), 0..4),
        1_u32..12,
        any::<u32>(),
    );
    let services = parts.prop_map(|(number, mut members, slots, salt)| {
        members.sort_unstable();
        members.dedup_by_key(|(number, _)| *number);
        let up: Vec<u32> = (0..)
            .zip(&members)
            .filter(|(_, (_, up))| *up)
            .map(|(at, _)| at)
            .collect();
        let numbers: Vec<u32> = members.iter().map(|(number, _)| *number).collect();
        let mut service = service(number, &numbers, 0);
        if number % 3 == 0 {
            service.keys.push(key(100 + number));
        }
        if !up.is_empty() {
            service.table = (0..slots)
                .map(|slot| up[(slot.wrapping_mul(salt | 1) >> 3) as usize % up.len()])
                .collect();
        }
        service
    });
    let state = proptest::collection::vec(services, 0..6).prop_map(|mut services| {
        let mut numbers = HashSet::new();
        services.retain(|service| numbers.insert(service.name.clone()));
        desired(services)
    });
    proptest::collection::vec(state, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn every_key_is_found_within_reach_of_its_home(keys in random_keys(128)) {
        let keys: Vec<ServiceKey> = keys.into_iter().collect();
        let (table, seed) = lay_out(entries(&keys), 256).expect("half of the table is room enough");
        for &key in &keys {
            prop_assert_eq!(look_up(&table, seed, key).map(|entry| entry.key()), Some(key));
        }
        prop_assert_eq!(table.iter().filter(|entry| entry.tuple != 0).count(), keys.len());
    }

    #[test]
    fn the_layout_does_not_depend_on_the_order_of_entries(keys in random_keys(60), by in 0_usize..60) {
        let mut keys: Vec<ServiceKey> = keys.into_iter().collect();
        let one = lay_out(entries(&keys), 128);
        let middle = by.min(keys.len());
        keys.rotate_left(middle);
        keys.reverse();
        prop_assert_eq!(one, lay_out(entries(&keys), 128));
    }

    /// At most 6 services of 11 slots, twice: old and new lie side by side whatever the gaps between them.
    #[test]
    fn after_any_sequence_of_commits_packets_meet_what_was_desired(states in states()) {
        let mut model = Model::new(Capacity { slots: 300, ..CAPACITY });
        for state in &states {
            prop_assert!(model.commit(state).is_ok());
        }
    }

    /// Where room runs out, the live bank goes on as it was.
    #[test]
    fn with_too_little_room_each_commit_is_made_or_refused_whole(states in states()) {
        let mut model = Model::new(Capacity { services: 32, backends: 14, slots: 40 });
        let mut last = Desired::default();
        for state in states {
            if model.commit(&state).is_ok() {
                last = state;
            }
            model.check(&last);
        }
    }

    /// Services that keep their tables' size, as they do while only health and weights change, and capacity as it is
    /// chosen for them: any subset can follow any other, whatever the gaps.
    #[test]
    fn a_capacity_chosen_for_the_demand_never_refuses_a_change(
        sizes in proptest::collection::vec(1_u32..20, 1..8),
        changes in proptest::collection::vec(proptest::collection::vec(any::<bool>(), 8), 1..60),
    ) {
        let slots: u32 = sizes.iter().sum();
        let capacity = Capacity { slots: slots * 3, ..CAPACITY };
        let mut model = Model::new(capacity);
        let mut members: Vec<u32> = vec![1; sizes.len()];
        for change in changes {
            for (member, _) in members.iter_mut().zip(&change).filter(|(_, changed)| **changed) {
                *member = *member % 2 + 1;
            }
            let services = (1..).zip(&sizes).zip(&members).map(|((number, &size), &member)| service(number, &[member], size));
            if let Err(error) = model.commit(&desired(services)) {
                return Err(TestCaseError::fail(error.to_string()));
            }
        }
    }

    /// With tables of one size, room for the old and the new state is enough: what an adopting start counts on.
    #[test]
    fn a_capacity_that_suffices_never_refuses_tables_of_one_size(states in states(), size in 1_u32..12) {
        let states: Vec<Desired> = states.into_iter().map(|mut state| {
            for service in &mut state.services {
                service.table = service.table.iter().copied().cycle().take(if service.table.is_empty() { 0 } else { size as usize }).collect();
            }
            state
        }).collect();
        let demands = states.iter().map(demand);
        let most = demands.reduce(|a, b| Demand {
            services: a.services.max(b.services),
            backends: a.backends.max(b.backends),
            slots: a.slots.max(b.slots),
        }).expect("one state at least");
        let capacity = Capacity {
            services: (most.services * 2).next_power_of_two().max(16),
            backends: most.backends * 2 + 1,
            slots: most.slots * 2,
        };
        prop_assert!(capacity.suffices(most));
        let mut model = Model::new(capacity);
        for state in &states {
            if let Err(error) = model.commit(state) {
                return Err(TestCaseError::fail(error.to_string()));
            }
        }
    }
}
