//! Next hops and interfaces, which change without a commit.

use super::*;

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
        mtu: 0,
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
        mtu: 0,
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
    let refused = rig.writer().commit(&state, 0);
    assert!(
        matches!(refused, Err(CommitError::Interfaces { ifindex: 1074 })),
        "{refused:?}"
    );
    assert_eq!(who(&mut rig, 1), Ok(1));
}
