//! Ids, tables and refusals of single changes.

use super::*;

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
