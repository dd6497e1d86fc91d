//! Maps that contradict each other: what no writer of ours leaves behind, written by hand. The packet is dropped and
//! counted, and nothing else happens.

use crate::{
    case::{Case, check_on},
    packets::tcp,
    rig::{self, Rig},
    world::WEB,
};
use lb_common::{Backend, Reason, Service, Slot};

pub fn cases() -> Vec<Case> {
    refused(Reason::Inconsistent)
}

fn refused(reason: Reason) -> Vec<Case> {
    vec![
        Case::refused("IPv4", tcp(WEB.v4(), 80, 9).build(), reason, WEB),
        Case::refused("IPv6", tcp(WEB.v6(), 80, 9).build(), reason, WEB),
    ]
}

/// Entries of the web service in the live bank, by their place in the map.
fn entries(rig: &Rig) -> Vec<(u32, Service)> {
    let maps = rig.datapath.maps();
    let id = rig.service_id(&WEB.a_key());
    (0..maps.services.len())
        .filter_map(|place| maps.services.read(place).map(|entry| (place, entry)))
        .filter(|(_, entry)| entry.id == id)
        .collect()
}

/// Runs the cases with every entry of the web service changed, and puts them back.
fn check_with_entries(change: impl Fn(&mut Service)) {
    let mut rig = rig::world();
    let original = entries(&rig);
    assert!(!original.is_empty());
    for &(place, mut entry) in &original {
        change(&mut entry);
        rig.datapath.maps().services.write(place, entry);
    }
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        check_on(&mut rig, &cases())
    }));
    for (place, entry) in original {
        rig.datapath.maps().services.write(place, entry);
    }
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Runs `cases` with every slot of the web service changed, and puts them back.
fn check_with_slots(slot: Slot, cases: &[Case]) {
    let mut rig = rig::world();
    let (_, entry) = entries(&rig)[0];
    let range = entry.slots_start..entry.slots_start + entry.slots_len;
    let original: Vec<(u32, Slot)> = range
        .filter_map(|at| Some((at, rig.datapath.maps().slots.read(at)?)))
        .collect();
    for &(at, _) in &original {
        rig.datapath.maps().slots.write(at, slot);
    }
    let result =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check_on(&mut rig, cases)));
    for (at, slot) in original {
        rig.datapath.maps().slots.write(at, slot);
    }
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
fn a_table_beyond_the_slots_is_inconsistent() {
    check_with_entries(|entry| entry.slots_start = u32::MAX - 1_000);
    check_with_entries(|entry| entry.slots_start = 8 * 65_537);
}

#[test]
fn a_slot_of_nobody_serves_nobody() {
    check_with_slots(Slot(0), &refused(Reason::NoRealServer));
    // The one who had its flows is no more.
    let gone = u64::from(rig::world().datapath.maps().capacity().backends - 1);
    check_with_slots(Slot(gone << 24), &refused(Reason::NoRealServer));
}

#[test]
fn a_slot_of_a_backend_that_cannot_be_is_inconsistent() {
    check_with_slots(Slot::settled(lb_common::slot::MAX_BACKEND), &cases());
}

#[test]
fn a_backend_of_an_unknown_mode_is_inconsistent() {
    let mut rig = rig::world();
    let id = rig.service_id(&WEB.a_key());
    let maps = rig.datapath.maps().clone();
    let original: Vec<(u32, Backend)> = (0..maps.backends.len())
        .filter_map(|place| maps.backends.read(place).map(|backend| (place, backend)))
        .filter(|(_, backend)| backend.service == id)
        .collect();
    let mut failure = None;
    for mode in [0, 200, 255] {
        for &(place, backend) in &original {
            maps.backends.write(place, Backend { mode, ..backend });
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            check_on(&mut rig, &cases())
        }));
        failure = failure.or(result.err());
    }
    for (place, backend) in original {
        maps.backends.write(place, backend);
    }
    if let Some(failure) = failure {
        std::panic::resume_unwind(failure);
    }
}
