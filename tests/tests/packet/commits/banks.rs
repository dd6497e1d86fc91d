//! The bank that packets read, the one that is written, and what is read back of them.

use super::*;

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
    let refused = rig.writer().commit(&desired([service(2, &[2], 11)]), 0);
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
    let refused = rig.writer().commit(&too_many, 0);
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
    let at = live(&maps).place(two.id);
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
    let place = (0..maps.capacity().services)
        .map(|place| live(&maps).place(place))
        .find(|&place| {
            maps.services
                .read(place)
                .is_some_and(|entry| entry.id == id)
        })
        .expect("the service has an entry");
    maps.services.write(place, lb_common::Service::default());
    assert!(!rig.snapshot().services.contains_key(&service_key(1)));
}
