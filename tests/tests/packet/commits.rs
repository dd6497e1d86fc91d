//! What a commit does to the real maps: the bank that packets read is never touched, and what an id counts is its own.

use crate::{
    packets::{tcp, tcp_from, udp},
    rig::{Blank, DROP, PASS, TX, blank},
    world::{DIRECTOR, Mac},
};
use lb_agent::datapath::{
    Desired, Device, NextHop, RealServer, Service,
    xdp::{CommitError, Maps, Snapshot, Writer},
};
use lb_common::{
    Backend, BackendState, Control, Live, Mode, Reason, ServiceKey, filter, hash, key,
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use std::{
    collections::{BTreeMap, HashMap},
    mem::offset_of,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

const LOOPBACK: u32 = 1;

fn vip(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 1, number).into()
}

fn service_key(number: u8) -> ServiceKey {
    ServiceKey::v4([10, 0, 1, number], 80, key::TCP)
}

fn mac(number: u8) -> Mac {
    [2, 0, 0, 2, 0, number]
}

fn real_server(number: u8) -> RealServer {
    RealServer {
        address: Ipv4Addr::new(10, 2, 0, number).into(),
        port: 0,
        mode: Mode::Dr,
        weight: 1,
        state: BackendState::Up,
        next_hop: NextHop::Via {
            mac: mac(number),
            device: LOOPBACK,
        },
    }
}

/// A service whose slots its real servers own in turn.
fn service(number: u8, real_servers: &[u8], slots: u32) -> Service {
    let count = real_servers.len() as u32;
    Service {
        name: format!("service {number}"),
        keys: vec![service_key(number)],
        owner: 0,
        table: (0..if count == 0 { 0 } else { slots })
            .map(|slot| slot % count)
            .collect(),
        real_servers: real_servers.iter().copied().map(real_server).collect(),
    }
}

fn desired(services: impl IntoIterator<Item = Service>) -> Desired {
    Desired {
        services: services.into_iter().collect(),
        devices: vec![Device {
            index: LOOPBACK,
            frames: LOOPBACK,
            vlans: 0,
            mac: DIRECTOR,
            transmits: true,
        }],
    }
}

/// Everything that a packet which reads `bank` can meet.
#[derive(Debug, PartialEq)]
struct Bank {
    services: Vec<lb_common::Service>,
    backends: Vec<Backend>,
    slots: Vec<(u32, u64)>,
    seed: u32,
}

impl Bank {
    fn read(maps: &Maps, bank: u32) -> Self {
        let capacity = maps.capacity();
        let services: Vec<lb_common::Service> = (0..capacity.services)
            .filter_map(|place| maps.services.read(bank * capacity.services + place))
            .collect();
        let slots = services
            .iter()
            .flat_map(|entry| entry.slots_start..entry.slots_start + entry.slots_len)
            .filter_map(|slot| Some((slot, maps.slots.read(slot)?.0)))
            .collect();
        let backends = (0..capacity.backends)
            .filter_map(|id| maps.backends.read(bank * capacity.backends + id))
            .collect();
        let seeds = maps.control.load_word(0, offset_of!(Control, service_seed));
        Self {
            services,
            backends,
            slots,
            seed: (seeds >> (32 * bank)) as u32,
        }
    }
}

fn live(maps: &Maps) -> Live {
    Live(maps.control.load_word(0, offset_of!(Control, live)))
}

fn in_filter(maps: &Maps, number: u8) -> bool {
    let (word, bit) = filter::position(hash::fold(&service_key(number).address));
    maps.control
        .load_word(0, offset_of!(Control, filter) + word * 8)
        >> bit
        & 1
        == 1
}

/// Who gets a segment to service `number`: the real server's number, or the verdict that it was not forwarded with.
fn who(rig: &mut Blank, number: u8) -> Result<u8, u32> {
    let outcome = rig.run(&tcp(vip(number), 80, 4).build());
    if outcome.verdict == TX {
        Ok(outcome.frame[5])
    } else {
        Err(outcome.verdict)
    }
}

#[test]
fn the_bank_that_was_live_stays_whole_until_the_grace_period_has_passed() {
    let mut rig = blank();
    rig.commit(&desired([service(1, &[1, 2], 11), service(2, &[3], 11)]));
    let bank = live(rig.maps()).bank();
    let before = Bank::read(rig.maps(), bank);
    let old = live(rig.maps());
    // Everything changes at once.
    rig.commit_owing_grace(&desired([service(1, &[4], 13), service(3, &[5], 11)]));
    assert_eq!(live(rig.maps()).bank(), 1 - bank);
    assert_eq!(Bank::read(rig.maps(), bank), before);
    assert_eq!(
        (who(&mut rig, 1), who(&mut rig, 2), who(&mut rig, 3)),
        (Ok(4), Err(PASS), Ok(5))
    );
    // A packet that had read the live word before it was stored goes on in the old bank.
    let new = live(rig.maps());
    rig.maps()
        .control
        .store_word(0, offset_of!(Control, live), old.0);
    assert_eq!((who(&mut rig, 2), who(&mut rig, 3)), (Ok(3), Err(PASS)));
    assert!(matches!(who(&mut rig, 1), Ok(1 | 2)));
    rig.maps()
        .control
        .store_word(0, offset_of!(Control, live), new.0);
}

#[test]
fn each_commit_is_one_generation_and_turns_the_bank() {
    let mut rig = blank();
    for round in 0..4 {
        let before = live(rig.maps());
        let generation = rig.commit(&desired([service(1, &[1 + round], 11)]));
        assert_eq!(generation, before.generation() + 1);
        assert_eq!(
            (live(rig.maps()).generation(), live(rig.maps()).bank()),
            (generation, 1 - before.bank())
        );
        assert_eq!(rig.snapshot().generation, generation);
        assert_eq!(who(&mut rig, 1), Ok(1 + round));
    }
}

#[test]
fn a_commit_that_owes_a_grace_period_is_refused_and_changes_nothing() {
    let mut rig = blank();
    rig.commit_owing_grace(&desired([service(1, &[1], 11)]));
    let before = (
        live(rig.maps()),
        Bank::read(rig.maps(), 0),
        Bank::read(rig.maps(), 1),
    );
    let refused = rig.writer().commit(&desired([service(2, &[2], 11)]));
    assert!(
        matches!(refused, Err(CommitError::OwesGrace)),
        "{refused:?}"
    );
    assert!(rig.writer().owes_grace());
    assert_eq!(
        (
            live(rig.maps()),
            Bank::read(rig.maps(), 0),
            Bank::read(rig.maps(), 1)
        ),
        before
    );
    rig.writer().grace_passed();
    assert!(!rig.writer().owes_grace());
    rig.commit(&desired([service(2, &[2], 11)]));
    assert_eq!((who(&mut rig, 1), who(&mut rig, 2)), (Err(PASS), Ok(2)));
}

#[test]
fn a_commit_without_room_is_refused_and_changes_nothing() {
    let mut rig = blank();
    rig.commit(&desired([service(1, &[1], 11)]));
    let before = (
        live(rig.maps()),
        Bank::read(rig.maps(), 0),
        Bank::read(rig.maps(), 1),
    );
    let slots = rig.maps().capacity().slots;
    let too_many = desired([service(1, &[1, 2], 11), service(2, &[2], slots)]);
    let refused = rig.writer().commit(&too_many);
    assert!(
        matches!(refused, Err(CommitError::NoRoom(_))),
        "{refused:?}"
    );
    assert_eq!(
        (
            live(rig.maps()),
            Bank::read(rig.maps(), 0),
            Bank::read(rig.maps(), 1)
        ),
        before
    );
    assert!(!rig.writer().owes_grace(), "nothing was left behind");
    assert_eq!(who(&mut rig, 1), Ok(1));
    rig.commit(&desired([service(1, &[2], 11)]));
    assert_eq!(who(&mut rig, 1), Ok(2));
}

#[test]
fn counters_go_on_while_a_backend_lives() {
    let mut rig = blank();
    rig.commit(&desired([service(1, &[1], 11), service(2, &[2], 11)]));
    assert_eq!(who(&mut rig, 1), Ok(1));
    rig.commit(&desired([service(3, &[2], 11), service(1, &[7, 1], 13)]));
    rig.commit(&desired([service(1, &[1], 11)]));
    assert_eq!(who(&mut rig, 1), Ok(1));
    let snapshot = rig.snapshot();
    let frame = tcp(vip(1), 80, 4).build().len() as u64;
    let backend = &snapshot.by_id[&snapshot.services[&service_key(1)]].backends[0];
    assert_eq!(
        (backend.counter.packets, backend.counter.bytes),
        (2, 2 * frame)
    );
}

#[test]
fn a_reused_id_begins_with_counters_of_zero() {
    let mut rig = blank();
    rig.commit(&desired([service(1, &[1], 11)]));
    assert_eq!(who(&mut rig, 1), Ok(1));
    assert_eq!(rig.run(&tcp(vip(1), 80, 4).ttl(1).build()).verdict, DROP);
    let before = rig.snapshot();
    let (id, first) = before.by_id.first_key_value().expect("one service");
    assert_eq!(
        (
            first.backends[0].counter.packets,
            first.drops[&Reason::TtlExpired]
        ),
        (1, 1)
    );
    rig.commit(&desired([]));
    rig.commit(&desired([service(2, &[2], 11)]));
    let after = rig.snapshot();
    let (new_id, second) = after.by_id.first_key_value().expect("one service");
    assert_eq!(
        (new_id, second.backends[0].id),
        (id, first.backends[0].id),
        "the free ids are taken again"
    );
    assert_eq!(
        (
            second.backends[0].counter.packets,
            second.backends[0].counter.bytes
        ),
        (0, 0)
    );
    assert_eq!(second.drops, BTreeMap::new());
}

#[test]
fn a_reused_id_is_of_another_generation() {
    let mut rig = blank();
    let generation = |rig: &Blank| {
        let maps = rig.maps();
        let snapshot = Snapshot::read(maps).expect("read the maps");
        let id = snapshot
            .by_id
            .first_key_value()
            .expect("one service")
            .1
            .backends[0]
            .id;
        let at = live(maps).bank() * maps.capacity().backends + id;
        (id, maps.backends.read(at).expect("in the map").generation)
    };
    rig.commit(&desired([service(1, &[1], 11)]));
    let first = generation(&rig);
    rig.commit(&desired([service(1, &[1], 13)]));
    assert_eq!(generation(&rig), first);
    rig.commit(&desired([]));
    rig.commit(&desired([]));
    rig.commit(&desired([service(2, &[2], 11)]));
    assert_eq!(generation(&rig), (first.0, first.1.wrapping_add(1)));
}

#[test]
fn next_hops_change_in_both_banks_without_a_commit() {
    let mut rig = blank();
    let mut state = desired([service(1, &[1], 11), service(2, &[1], 11)]);
    rig.commit(&state);
    rig.commit_owing_grace(&state);
    let before = live(rig.maps());
    state.services[0].real_servers[0].next_hop = NextHop::Via {
        mac: mac(99),
        device: LOOPBACK,
    };
    assert_eq!(
        rig.writer()
            .update_next_hops(&state)
            .expect("the interface has a place"),
        1
    );
    assert_eq!(live(rig.maps()), before);
    assert_eq!((who(&mut rig, 1), who(&mut rig, 2)), (Ok(99), Ok(1)));
    // A packet that began before the last commit sees it too.
    let other = Live(before.0 ^ 1);
    rig.maps()
        .control
        .store_word(0, offset_of!(Control, live), other.0);
    assert_eq!((who(&mut rig, 1), who(&mut rig, 2)), (Ok(99), Ok(1)));
    rig.maps()
        .control
        .store_word(0, offset_of!(Control, live), before.0);
    assert_eq!(
        rig.writer()
            .update_next_hops(&state)
            .expect("the interface has a place"),
        0,
        "nothing is left to change"
    );
    state.services[1].real_servers[0].next_hop = NextHop::Unresolved;
    assert_eq!(
        rig.writer()
            .update_next_hops(&state)
            .expect("the interface has a place"),
        1
    );
    assert_eq!((who(&mut rig, 1), who(&mut rig, 2)), (Ok(99), Err(DROP)));
}

#[test]
fn next_hops_of_what_is_not_committed_change_nothing() {
    let mut rig = blank();
    rig.commit(&desired([service(1, &[1], 11)]));
    let strangers = desired([service(1, &[2], 11), service(3, &[1], 11)]);
    assert_eq!(
        rig.writer()
            .update_next_hops(&strangers)
            .expect("the interface has a place"),
        0
    );
    assert_eq!((who(&mut rig, 1), who(&mut rig, 3)), (Ok(1), Err(PASS)));
}

#[test]
fn a_next_hop_by_an_unknown_interface_is_unresolved() {
    let mut rig = blank();
    let mut state = desired([service(1, &[1], 11)]);
    state.services[0].real_servers[0].next_hop = NextHop::Via {
        mac: mac(1),
        device: 77,
    };
    rig.commit(&state);
    assert_eq!(who(&mut rig, 1), Err(DROP));
    assert_eq!(
        rig.snapshot().drops.get(&Reason::NextHopUnresolved),
        Some(&1)
    );
}

#[test]
fn a_removed_address_leaves_the_filter_after_the_grace_period() {
    let mut rig = blank();
    rig.commit(&desired([service(1, &[1], 11), service(2, &[2], 11)]));
    assert!(in_filter(rig.maps(), 1) && in_filter(rig.maps(), 2));
    rig.commit_owing_grace(&desired([service(2, &[2], 11), service(3, &[3], 11)]));
    assert!(
        in_filter(rig.maps(), 1),
        "packets in the old bank still need it"
    );
    assert!(in_filter(rig.maps(), 2) && in_filter(rig.maps(), 3));
    assert_eq!(who(&mut rig, 1), Err(PASS));
    rig.writer().grace_passed();
    assert!(!in_filter(rig.maps(), 1));
    assert!(in_filter(rig.maps(), 2) && in_filter(rig.maps(), 3));
}

#[test]
fn the_snapshot_shows_what_was_changed_behind_the_writers_back() {
    let mut rig = blank();
    rig.commit(&desired([service(1, &[1, 2], 10)]));
    let maps = Arc::clone(rig.maps());
    let before = rig.snapshot();
    let id = before.services[&service_key(1)];
    let [one, two] = [0, 1].map(|at| before.by_id[&id].backends[at].clone());
    assert_eq!(
        (one.slots, two.slots, one.weight, two.next_hop),
        (5, 5, 1, Some(mac(2)))
    );
    let at = live(&maps).bank() * maps.capacity().backends + two.id;
    let backend = maps.backends.read(at).expect("in the map");
    maps.backends.write(
        at,
        Backend {
            weight: 9,
            state: 77,
            next_hop: 0,
            ..backend
        },
    );
    let bank = Bank::read(&maps, live(&maps).bank());
    maps.slots
        .write(bank.slots[0].0, lb_common::Slot::settled(two.id));
    let after = rig.snapshot();
    let [one, two] = [0, 1].map(|at| after.by_id[&id].backends[at].clone());
    assert_eq!((one.slots, two.slots), (4, 6));
    assert_eq!((two.weight, two.state, two.next_hop), (9, 77, None));
    let place = (0..maps.services.len())
        .find(|&place| {
            maps.services.read(place).is_some_and(|entry| {
                entry.id == id && place / maps.capacity().services == live(&maps).bank()
            })
        })
        .expect("the service has an entry");
    maps.services.write(place, lb_common::Service::default());
    assert!(!rig.snapshot().services.contains_key(&service_key(1)));
}

/// The agent is restarted: its next life finds the maps as they are.
#[test]
fn another_writer_takes_over_ids_tables_and_counters() {
    let mut rig = blank();
    let state = desired([service(1, &[1, 2], 11), service(2, &[3], 11)]);
    rig.commit(&state);
    assert_eq!(who(&mut rig, 2), Ok(3));
    let before = rig.snapshot();
    let slots = Bank::read(rig.maps(), live(rig.maps()).bank()).slots;
    let mut next = Writer::new(Arc::clone(rig.maps()));
    assert!(
        matches!(next.commit(&state), Err(CommitError::OwesGrace)),
        "packets may read either bank"
    );
    next.grace_passed();
    // Equal, but made anew from the configuration.
    let again = desired([service(2, &[3], 11), service(1, &[1, 2], 11)]);
    assert_eq!(next.commit(&again).expect("room"), before.generation + 1);
    next.grace_passed();
    let after = rig.snapshot();
    assert_eq!(after.services, before.services);
    let ids = |snapshot: &Snapshot| -> Vec<(u32, u64)> {
        snapshot
            .by_id
            .values()
            .flat_map(|service| &service.backends)
            .map(|backend| (backend.id, backend.counter.packets))
            .collect()
    };
    assert_eq!(ids(&after), ids(&before));
    let mut kept = Bank::read(rig.maps(), live(rig.maps()).bank()).slots;
    kept.sort_unstable();
    let mut slots = slots;
    slots.sort_unstable();
    assert_eq!(kept, slots, "unchanged tables stay where they are");
    assert_eq!(who(&mut rig, 2), Ok(3));
}

#[test]
fn interfaces_beyond_the_places_near_their_number_are_refused() {
    let mut rig = blank();
    let mut state = desired([service(1, &[1], 11)]);
    rig.commit(&state);
    // A number of its own for this test: places once given stay.
    let alike = (0..5).map(|lap| Device {
        index: 50 + lap * 256,
        frames: 50 + lap * 256,
        vlans: 0,
        mac: DIRECTOR,
        transmits: true,
    });
    state.devices.extend(alike);
    let refused = rig.writer().commit(&state);
    assert!(
        matches!(refused, Err(CommitError::Interfaces { ifindex: 1074 })),
        "{refused:?}"
    );
    assert_eq!(who(&mut rig, 1), Ok(1));
}

/// A service and who is up of its real servers.
fn states() -> impl Strategy<Value = Vec<Desired>> {
    let numbers = proptest::collection::btree_set(1_u8..9, 0..4);
    let one = (
        1_u8..6,
        numbers,
        prop_oneof![Just(11_u32), Just(251), Just(1_021)],
    );
    let state = proptest::collection::vec(one, 0..5).prop_map(|parts| {
        let services: BTreeMap<u8, Service> = parts
            .into_iter()
            .map(|(number, real_servers, slots)| {
                (
                    number,
                    service(
                        number,
                        &real_servers.into_iter().collect::<Vec<u8>>(),
                        slots,
                    ),
                )
            })
            .collect();
        desired(services.into_values())
    });
    proptest::collection::vec(state, 1..12)
}

/// Packets and status must both see exactly what was asked for.
fn check_committed(rig: &mut Blank, state: &Desired, flows: u16) {
    let snapshot = rig.snapshot();
    assert_eq!(snapshot.services.len(), state.services.len());
    for number in 1..6 {
        let Some(service) = state
            .services
            .iter()
            .find(|service| service.keys == [service_key(number)])
        else {
            assert_eq!(who(rig, number), Err(PASS), "service {number} is not there");
            continue;
        };
        let seen = &snapshot.by_id[&snapshot.services[&service_key(number)]];
        assert_eq!(
            (seen.slots, seen.backends.len()),
            (service.table.len() as u32, service.real_servers.len())
        );
        let mut slots: HashMap<IpAddr, u32> = HashMap::new();
        for &owner in service.table.iter() {
            *slots
                .entry(service.real_servers[owner as usize].address)
                .or_insert(0) += 1;
        }
        for backend in &seen.backends {
            assert_eq!(
                backend.slots,
                slots.get(&backend.address).copied().unwrap_or(0),
                "{}",
                service.name
            );
        }
        if service.table.is_empty() {
            assert_eq!(who(rig, number), Err(DROP), "nobody serves");
            continue;
        }
        for port in 0..flows {
            let source = Ipv4Addr::new(10, 9, 8, 7);
            let outcome =
                rig.run(&tcp_from(source.into(), 40_000 + port, vip(number), 80, 0).build());
            let IpAddr::V4(destination) = vip(number) else {
                panic!("an IPv4 address")
            };
            let [source, destination] =
                [source, destination].map(|address| u32::from_ne_bytes(address.octets()));
            let ports = u32::from((40_000 + port).to_be()) | u32::from(80_u16.to_be()) << 16;
            let slot = hash::spread(
                hash::flow4(source, destination, ports, key::TCP),
                service.table.len() as u32,
            );
            let RealServer { next_hop, .. } =
                service.real_servers[service.table[slot as usize] as usize];
            let NextHop::Via { mac, .. } = next_hop else {
                panic!("every next hop is resolved")
            };
            assert_eq!(
                (outcome.verdict, &outcome.frame[..6]),
                (TX, &mac[..]),
                "{}, port {port}",
                service.name
            );
        }
    }
    assert_eq!(
        rig.run(&udp(vip(1), 80, 4).build()).verdict,
        PASS,
        "UDP is nobody's"
    );
}

#[test]
fn after_any_sequence_of_commits_packets_and_status_meet_what_was_desired() {
    let mut rig = blank();
    let config = Config {
        cases: 24,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let rig = std::cell::RefCell::new(&mut rig);
    runner
        .run(&states(), |states| {
            let mut rig = rig.borrow_mut();
            for state in &states {
                rig.commit(state);
                check_committed(&mut rig, state, 4);
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}
