//! What an id counts, over its lives and over the agent's.

use super::*;

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
    assert_eq!(rig.run(&tcp(vip(1), 80, 4).ttl(1).build()).verdict, TX);
    let before = rig.snapshot();
    let (id, first) = before.by_id.first_key_value().expect("one service");
    assert_eq!(
        (
            first.backends[0].counter.packets,
            before.answers[&Reason::AnsweredTtlExpired]
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
        let at = live(maps).place(id);
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
        matches!(next.commit(&state, 0), Err(CommitError::OwesGrace)),
        "packets may read either bank"
    );
    next.grace_passed();
    // Equal, but made anew from the configuration.
    let again = desired([service(2, &[3], 11), service(1, &[1, 2], 11)]);
    assert_eq!(next.commit(&again, 0).expect("room"), before.generation + 1);
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
