//! Any sequence of commits.

use super::*;

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
