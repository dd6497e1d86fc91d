//! Which slots a table gets.

use super::*;

#[test]
fn slots_that_a_written_table_has_are_not_given_to_another() {
    let table = WrittenTable {
        start: 5,
        len: 10,
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
