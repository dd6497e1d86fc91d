//! The decision for every state a neighbour entry can be in, and for every way a link can be unfit.

use rtnetlink::packet_route::neighbour::NeighbourState;

use super::*;
use crate::network::addresses::HostAddress;
use crate::network::links::Link;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x21];

fn eth0() -> Link {
    Link {
        index: 2,
        name: "eth0".into(),
        mac: Some([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        up: true,
        admin_up: true,
        arp: true,
        kind: None,
        xdp: None,
        master: None,
        vlan: None,
    }
}

fn via(address: &str) -> Route {
    Route::Neighbour {
        address: address.parse().unwrap(),
        interface: 2,
        mtu: None,
        source: None,
    }
}

fn entry(state: NeighbourState) -> Neighbour {
    Neighbour {
        state,
        mac: Some(MAC),
        managed: true,
        marked: true,
        external: false,
    }
}

fn on(link: Link, neighbour: Option<&Neighbour>, trouble: &Trouble) -> NextHop {
    decide(
        &via("192.0.2.21"),
        &[link].into_iter().collect(),
        &HostAddresses::default(),
        neighbour,
        trouble,
    )
}

fn reason(hop: NextHop) -> String {
    match hop {
        NextHop::Unresolved { reason } => reason,
        other => panic!("expected unresolved, got {other}"),
    }
}

#[test]
fn each_state_the_kernel_would_send_in_is_resolved_and_no_other() {
    let cases = [
        (NeighbourState::Reachable, None),
        (NeighbourState::Stale, None),
        (NeighbourState::Delay, None),
        (NeighbourState::Probe, None),
        (NeighbourState::Permanent, None),
        (NeighbourState::Noarp, None),
        (
            NeighbourState::None,
            Some("neighbour 192.0.2.21 on eth0 is being resolved"),
        ),
        (
            NeighbourState::Incomplete,
            Some("neighbour 192.0.2.21 on eth0 is being resolved"),
        ),
        (
            NeighbourState::Failed,
            Some("neighbour 192.0.2.21 on eth0 does not answer"),
        ),
        (
            NeighbourState::Other(0x200),
            Some("neighbour 192.0.2.21 on eth0 is being resolved"),
        ),
    ];
    for (state, unresolved) in cases {
        let hop = on(eth0(), Some(&entry(state)), &Trouble::None);
        match unresolved {
            None => assert_eq!(
                hop,
                NextHop::Resolved {
                    mac: MAC,
                    ifindex: 2,
                    mtu: 1500,
                    source: None
                },
                "{state}"
            ),
            Some(text) => assert_eq!(reason(hop), text, "{state}"),
        }
    }
}

#[test]
fn a_mac_that_no_frame_can_be_addressed_to_is_not_used() {
    for mac in [
        None,
        Some([0; 6]),
        Some([0xff; 6]),
        Some([1, 0, 0x5e, 0, 0, 1]),
    ] {
        let permanent = Neighbour {
            mac,
            ..entry(NeighbourState::Permanent)
        };
        assert_eq!(
            reason(on(eth0(), Some(&permanent), &Trouble::None)),
            "neighbour 192.0.2.21 on eth0 is permanent without a usable MAC address"
        );
    }
}

#[test]
fn a_link_that_cannot_carry_says_so_whatever_the_neighbour_is() {
    let cases = [
        (
            Link {
                admin_up: false,
                up: false,
                ..eth0()
            },
            "interface eth0 is down",
        ),
        (
            Link {
                up: false,
                ..eth0()
            },
            "interface eth0 has no carrier",
        ),
        (
            Link {
                mac: None,
                ..eth0()
            },
            "interface eth0 is not Ethernet",
        ),
        (
            Link { index: 3, ..eth0() },
            "interface 2, which does not exist",
        ),
    ];
    for (link, text) in cases {
        let got = reason(on(
            link,
            Some(&entry(NeighbourState::Reachable)),
            &Trouble::None,
        ));
        assert!(got.contains(text), "{got}");
    }
}

#[test]
fn without_arp_only_a_permanent_entry_counts() {
    let link = Link {
        arp: false,
        ..eth0()
    };
    let got = reason(on(
        link.clone(),
        Some(&entry(NeighbourState::Noarp)),
        &Trouble::None,
    ));
    assert!(
        got.contains("add a permanent neighbour entry for 192.0.2.21"),
        "{got}"
    );
    let hop = on(
        link,
        Some(&entry(NeighbourState::Permanent)),
        &Trouble::None,
    );
    assert!(matches!(hop, NextHop::Resolved { .. }), "{hop}");
}

#[test]
fn a_silent_neighbour_stays_so_named_while_the_kernel_tries_again() {
    let incomplete = Neighbour {
        mac: None,
        ..entry(NeighbourState::Incomplete)
    };
    for neighbour in [None, Some(&incomplete)] {
        assert_eq!(
            reason(on(eth0(), neighbour, &Trouble::Silent)),
            "neighbour 192.0.2.21 on eth0 does not answer"
        );
    }
}

#[test]
fn a_refusal_is_the_reason_unless_the_entry_works_anyway() {
    let refused = Trouble::Refused {
        reason: "keep the neighbour entry: not permitted".into(),
    };
    assert_eq!(
        reason(on(eth0(), None, &refused)),
        "keep the neighbour entry: not permitted"
    );
    assert!(matches!(
        on(eth0(), Some(&entry(NeighbourState::Stale)), &refused),
        NextHop::Resolved { .. }
    ));
}

#[test]
fn an_entry_of_a_control_plane_is_named_as_such() {
    let failed = Neighbour {
        external: true,
        ..entry(NeighbourState::Failed)
    };
    let got = reason(on(eth0(), Some(&failed), &Trouble::None));
    assert!(got.contains("kept by another program"), "{got}");
}

#[test]
fn an_ipv6_neighbour_needs_a_link_local_address_to_be_asked_but_not_to_be_used() {
    let links: Links = [eth0()].into_iter().collect();
    let (none, route) = (HostAddresses::default(), via("2001:db8::21"));
    let got = reason(decide(&route, &links, &none, None, &Trouble::None));
    assert!(
        got.contains("eth0 has no usable IPv6 link-local address"),
        "{got}"
    );
    let reachable = entry(NeighbourState::Reachable);
    assert!(matches!(
        decide(&route, &links, &none, Some(&reachable), &Trouble::None),
        NextHop::Resolved { .. }
    ));
    let link_local = HostAddress {
        address: "fe80::1".parse().unwrap(),
        network: "fe80::/64".parse().unwrap(),
        interface: 2,
        ready: true,
    };
    let got = reason(decide(
        &route,
        &links,
        &[link_local].into_iter().collect(),
        None,
        &Trouble::None,
    ));
    assert!(got.contains("is being resolved"), "{got}");
}

#[test]
fn local_and_unreachable_need_no_neighbour() {
    let (links, addresses) = (Links::default(), HostAddresses::default());
    assert_eq!(
        decide(&Route::Local, &links, &addresses, None, &Trouble::None),
        NextHop::Local
    );
    let unreachable = Route::Unreachable {
        reason: "no route to 192.0.2.21".into(),
    };
    assert_eq!(
        reason(decide(
            &unreachable,
            &links,
            &addresses,
            None,
            &Trouble::None
        )),
        "no route to 192.0.2.21"
    );
}

#[test]
fn the_smaller_mtu_counts() {
    for (route_mtu, expected) in [(None, 1500), (Some(1400), 1400), (Some(9000), 1500)] {
        let route = Route::Neighbour {
            address: "192.0.2.21".parse().unwrap(),
            interface: 2,
            mtu: route_mtu,
            source: None,
        };
        let hop = decide(
            &route,
            &[eth0()].into_iter().collect(),
            &HostAddresses::default(),
            Some(&entry(NeighbourState::Reachable)),
            &Trouble::None,
        );
        assert!(
            matches!(hop, NextHop::Resolved { mtu, .. } if mtu == expected),
            "{hop}"
        );
    }
}

#[test]
fn a_missing_route_names_the_interface_that_took_it_away() {
    let route = Route::Unreachable {
        reason: "no route to 192.0.2.21".into(),
    };
    let explain = |last: Option<&Link>| {
        let hop = NextHop::unresolved("no route to 192.0.2.21");
        reason(with_likely_cause(hop, &route, last))
    };
    let down = Link {
        up: false,
        admin_up: false,
        ..eth0()
    };
    assert_eq!(
        explain(Some(&down)),
        "no route to 192.0.2.21 (interface eth0, where it was, is down)"
    );
    assert_eq!(explain(Some(&eth0())), "no route to 192.0.2.21");
    assert_eq!(explain(None), "no route to 192.0.2.21");
}
