//! Any sequence of changes.

use super::*;

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
        let mut model = Model::new(Capacity { services: 32, backends: 14, slots: 40, flow_buckets: 1 });
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
            flow_buckets: 1,
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
