//! When the kernel is asked, on a clock that the test moves.

use super::*;

const REFRESH: Duration = Duration::from_secs(10);

fn key() -> NeighbourKey {
    NeighbourKey {
        interface: 2,
        address: "192.0.2.21".parse().unwrap(),
    }
}

fn entry(state: NeighbourState) -> Neighbour {
    Neighbour {
        state,
        mac: Some([2, 0, 0, 0, 0, 0x21]),
        managed: true,
        marked: true,
        external: false,
    }
}

fn upkeep(keeping: Keeping) -> Upkeep {
    let mut upkeep = Upkeep::new(keeping, REFRESH);
    upkeep.want([key()]);
    upkeep
}

fn is_due(upkeep: &mut Upkeep, now: Instant, entry: Option<&Neighbour>) -> bool {
    !upkeep.due(now, |_| entry, |_| true).is_empty()
}

#[test]
fn an_absent_entry_is_asked_for_at_once_and_then_with_growing_gaps() {
    let start = Instant::now();
    let mut upkeep = upkeep(Keeping::Managed);
    let mut asked = Vec::new();
    for tenths in 0..400 {
        if is_due(
            &mut upkeep,
            start + Duration::from_millis(tenths * 100),
            None,
        ) {
            asked.push(tenths / 10);
        }
    }
    assert_eq!(asked, [0, 1, 3, 7, 15, 23, 31, 39]);
}

#[test]
fn an_entry_the_kernel_keeps_needs_nothing_and_sets_no_deadline() {
    let now = Instant::now();
    for state in [
        NeighbourState::Reachable,
        NeighbourState::Stale,
        NeighbourState::Delay,
        NeighbourState::Probe,
        NeighbourState::Incomplete,
    ] {
        let mut upkeep = upkeep(Keeping::Managed);
        assert!(!is_due(&mut upkeep, now, Some(&entry(state))), "{state}");
        assert_eq!(upkeep.next_deadline(), None, "{state}");
    }
}

#[test]
fn an_entry_that_somebody_else_decides_about_is_never_touched() {
    let foreign = [
        Neighbour {
            managed: false,
            marked: false,
            ..entry(NeighbourState::Permanent)
        },
        entry(NeighbourState::Permanent),
        entry(NeighbourState::Noarp),
        Neighbour {
            marked: false,
            ..entry(NeighbourState::Failed)
        },
        Neighbour {
            external: true,
            ..entry(NeighbourState::Failed)
        },
    ];
    for keeping in [Keeping::Managed, Keeping::Probed] {
        for entry in &foreign {
            assert!(
                !is_due(&mut upkeep(keeping), Instant::now(), Some(entry)),
                "{entry:?}"
            );
            assert!(!entry.is_ours(), "{entry:?}");
        }
    }
}

#[test]
fn a_working_entry_that_is_not_kept_is_used_at_the_interval() {
    let start = Instant::now();
    let stale = Neighbour {
        managed: false,
        ..entry(NeighbourState::Stale)
    };
    for keeping in [Keeping::Managed, Keeping::Probed] {
        let mut upkeep = upkeep(keeping);
        assert!(is_due(&mut upkeep, start, Some(&stale)));
        assert!(!is_due(&mut upkeep, start + REFRESH / 2, Some(&stale)));
        assert_eq!(upkeep.next_deadline(), Some(start + REFRESH));
        assert!(is_due(&mut upkeep, start + REFRESH, Some(&stale)));
    }
}

#[test]
fn silence_is_remembered_until_the_neighbour_works_again() {
    let now = Instant::now();
    let mut upkeep = upkeep(Keeping::Managed);
    assert!(is_due(
        &mut upkeep,
        now,
        Some(&entry(NeighbourState::Failed))
    ));
    assert_eq!(*upkeep.trouble(&key()), Trouble::Silent);
    is_due(
        &mut upkeep,
        now,
        Some(&Neighbour {
            mac: None,
            ..entry(NeighbourState::Incomplete)
        }),
    );
    assert_eq!(*upkeep.trouble(&key()), Trouble::Silent);
    is_due(&mut upkeep, now, Some(&entry(NeighbourState::Reachable)));
    assert_eq!(*upkeep.trouble(&key()), Trouble::None);
}

#[test]
fn a_neighbour_that_worked_in_between_is_asked_for_soon_again() {
    let start = Instant::now();
    let mut upkeep = upkeep(Keeping::Managed);
    let mut now = start;
    for _ in 0..5 {
        now += LAST_RETRY;
        assert!(is_due(&mut upkeep, now, None));
    }
    is_due(&mut upkeep, now, Some(&entry(NeighbourState::Reachable)));
    now += LAST_RETRY;
    assert!(is_due(&mut upkeep, now, None));
    assert!(is_due(&mut upkeep, now + FIRST_RETRY, None));
}

#[test]
fn an_interface_that_comes_up_makes_its_neighbours_due_at_once() {
    let now = Instant::now();
    let mut upkeep = upkeep(Keeping::Managed);
    assert!(is_due(&mut upkeep, now, None));
    upkeep.interface_up(3);
    assert!(!is_due(&mut upkeep, now, None));
    upkeep.interface_up(2);
    assert!(is_due(&mut upkeep, now, None));
}

#[test]
fn a_neighbour_that_cannot_be_asked_for_waits_without_a_deadline() {
    let mut upkeep = upkeep(Keeping::Managed);
    assert!(upkeep.due(Instant::now(), |_| None, |_| false).is_empty());
    assert_eq!(upkeep.next_deadline(), None);
}

#[test]
fn a_refusal_is_remembered_until_the_kernel_agrees() {
    let mut upkeep = upkeep(Keeping::Managed);
    assert_eq!(upkeep.answered(&key(), Some("no".into())), Some("no"));
    assert_eq!(
        upkeep.answered(&key(), Some("no".into())),
        None,
        "known already"
    );
    assert_eq!(
        *upkeep.trouble(&key()),
        Trouble::Refused {
            reason: "no".into()
        }
    );
    assert_eq!(upkeep.answered(&key(), None), None);
    assert_eq!(*upkeep.trouble(&key()), Trouble::None);
}

#[test]
fn what_is_not_wanted_any_more_is_forgotten_and_the_rest_keeps_its_gaps() {
    let now = Instant::now();
    let other = NeighbourKey {
        interface: 3,
        ..key()
    };
    let mut upkeep = upkeep(Keeping::Managed);
    assert!(is_due(&mut upkeep, now, None));
    upkeep.want([key(), other]);
    assert_eq!(upkeep.due(now, |_| None, |_| true), [other]);
    upkeep.want([other]);
    assert!(!upkeep.is_wanted(&key()));
}
