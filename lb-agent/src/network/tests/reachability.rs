//! What the resolver says about each way to reach, or not to reach, a real server.

use super::lab::*;
use crate::network::{Netlink, NextHop, Route};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x21];
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x22];

/// Host 10.1.0.1 and fd00:1::1 on `front0`; the peer with [`MAC`] has .21 and ::21.
fn on_one_link(lab: &Lab) {
    lab.cable("front0", "peer0");
    lab.peer("link set peer0 address 02:00:00:00:00:21");
    lab.host_address("front0", "10.1.0.1/24");
    lab.host_address("front0", "fd00:1::1/64");
    lab.peer_address("peer0", "10.1.0.21/24");
    lab.peer_address("peer0", "fd00:1::21/64");
}

/// A second link `back0`, with the peer's [`OTHER_MAC`] at 10.2.0.22 and fd00:2::22.
fn and_a_second_link(lab: &Lab) {
    lab.cable("back0", "peer1");
    lab.peer("link set peer1 address 02:00:00:00:00:22");
    lab.host_address("back0", "10.2.0.1/24");
    lab.host_address("back0", "fd00:2::1/64");
    lab.peer_address("peer1", "10.2.0.22/24");
    lab.peer_address("peer1", "fd00:2::22/64");
}

#[test]
fn a_neighbour_on_the_link_is_resolved_in_both_families() {
    in_lab(
        "a_neighbour_on_the_link_is_resolved_in_both_families",
        async |lab| {
            on_one_link(&lab);
            let resolver = resolver(&["10.1.0.21", "fd00:1::21"]).await;
            let ifindex = resolver
                .links()
                .borrow()
                .by_name("front0")
                .expect("front0 is listed")
                .index;
            for (target, source) in [("10.1.0.21", "10.1.0.1"), ("fd00:1::21", "fd00:1::1")] {
                let found = wait_mac(&resolver, target, MAC).await;
                assert_eq!(
                    found,
                    NextHop::Resolved {
                        mac: MAC,
                        ifindex,
                        mtu: 1500,
                        source: Some(ip(source))
                    }
                );
            }
            resolver.shutdown().await.expect("shut down");
        },
    );
}

#[test]
fn a_server_behind_a_router_has_the_routers_mac() {
    in_lab(
        "a_server_behind_a_router_has_the_routers_mac",
        async |lab| {
            on_one_link(&lab);
            lab.peer("address add fe80::21/64 dev peer0 nodad");
            lab.host("route add 10.9.1.0/24 via 10.1.0.21");
            lab.host("route add fd00:91::/64 via fd00:1::21");
            lab.host("route add fd00:92::/64 via fe80::21 dev front0");
            lab.host("route add 10.9.2.0/24 via inet6 fe80::21 dev front0");
            let targets = ["10.9.1.1", "fd00:91::1", "fd00:92::1", "10.9.2.1"];
            let resolver = resolver(&targets).await;
            for target in targets {
                wait_mac(&resolver, target, MAC).await;
            }
            resolver.shutdown().await.expect("shut down");
        },
    );
}

#[test]
fn own_addresses_are_local_and_become_so_when_added() {
    in_lab(
        "own_addresses_are_local_and_become_so_when_added",
        async |lab| {
            on_one_link(&lab);
            let targets = ["10.1.0.1", "fd00:1::1", "127.0.0.1", "::1", "10.7.0.80"];
            let resolver = resolver(&targets).await;
            for target in &targets[..4] {
                wait(&resolver, target, |hop| *hop == NextHop::Local).await;
            }
            wait_reason(&resolver, "10.7.0.80", "no route to 10.7.0.80").await;
            lab.host_address("front0", "10.7.0.80/32");
            wait(&resolver, "10.7.0.80", |hop| *hop == NextHop::Local).await;
            // Told apart from the next hops, and perhaps a moment later.
            let mut addresses = resolver.addresses();
            let told = addresses.wait_for(|addresses| addresses.is_local(ip("10.7.0.80")));
            tokio::time::timeout(PATIENCE, told)
                .await
                .expect("in time")
                .expect("the resolver lives");
            let front0 = resolver
                .links()
                .borrow()
                .by_name("front0")
                .expect("front0 is listed")
                .index;
            assert!(
                addresses
                    .borrow()
                    .interfaces_reaching(ip("10.1.0.80"))
                    .contains(&front0)
            );
            lab.host("address del 10.7.0.80/32 dev front0");
            wait_reason(&resolver, "10.7.0.80", "no route to 10.7.0.80").await;
        },
    );
}

#[test]
fn a_destination_without_a_way_says_why() {
    in_lab("a_destination_without_a_way_says_why", async |lab| {
        on_one_link(&lab);
        let mut cases = vec![
            ("192.0.2.1", "no route to 192.0.2.1"),
            ("2001:db8::1", "no route to 2001:db8::1"),
            ("10.1.0.255", "broadcast"),
            ("224.0.0.18", "multicast"),
            ("ff02::1", "multicast"),
            ("fe80::1", "link-local"),
        ];
        for (kind, v4, v6) in [
            ("blackhole", "10.31.0.1", "fd00:31::1"),
            ("unreachable", "10.32.0.1", "fd00:32::1"),
            ("prohibit", "10.33.0.1", "fd00:33::1"),
        ] {
            lab.host(&format!("route add {kind} {v4}"));
            lab.host(&format!("-6 route add {kind} {v6}"));
            cases.push((v4, kind));
            cases.push((v6, kind));
        }
        let resolver = resolver(&cases.iter().map(|(target, _)| *target).collect::<Vec<_>>()).await;
        for (target, reason) in cases {
            wait_reason(&resolver, target, reason).await;
        }
    });
}

#[test]
fn a_policy_rule_decides_the_way() {
    in_lab("a_policy_rule_decides_the_way", async |lab| {
        on_one_link(&lab);
        lab.host("route add 10.9.1.0/24 via 10.1.0.21 table 77");
        let resolver = resolver(&["10.9.1.1"]).await;
        wait_reason(&resolver, "10.9.1.1", "no route").await;
        lab.host("rule add to 10.9.1.0/24 lookup 77");
        wait_mac(&resolver, "10.9.1.1", MAC).await;
    });
}

#[test]
fn a_silent_neighbour_is_named_and_found_when_it_answers() {
    in_lab(
        "a_silent_neighbour_is_named_and_found_when_it_answers",
        async |lab| {
            on_one_link(&lab);
            let resolver = resolver(&["10.1.0.22", "fd00:1::22"]).await;
            wait_reason(
                &resolver,
                "10.1.0.22",
                "neighbour 10.1.0.22 on front0 does not answer",
            )
            .await;
            wait_reason(
                &resolver,
                "fd00:1::22",
                "neighbour fd00:1::22 on front0 does not answer",
            )
            .await;
            lab.peer_address("peer0", "10.1.0.22/24");
            lab.peer_address("peer0", "fd00:1::22/64");
            wait_mac(&resolver, "10.1.0.22", MAC).await;
            wait_mac(&resolver, "fd00:1::22", MAC).await;
        },
    );
}

#[test]
fn a_new_mac_of_the_neighbour_is_taken_from_its_announcement() {
    in_lab(
        "a_new_mac_of_the_neighbour_is_taken_from_its_announcement",
        async |lab| {
            on_one_link(&lab);
            lab.peer_sysctl("ipv4/conf/peer0/arp_notify", "1");
            lab.peer_sysctl("ipv6/conf/peer0/ndisc_notify", "1");
            let resolver = resolver(&["10.1.0.21", "fd00:1::21"]).await;
            wait_mac(&resolver, "10.1.0.21", MAC).await;
            wait_mac(&resolver, "fd00:1::21", MAC).await;
            lab.peer("link set peer0 address 02:00:00:00:00:22");
            wait_mac(&resolver, "10.1.0.21", OTHER_MAC).await;
            wait_mac(&resolver, "fd00:1::21", OTHER_MAC).await;
        },
    );
}

#[test]
fn a_link_that_goes_down_and_up_is_followed() {
    in_lab("a_link_that_goes_down_and_up_is_followed", async |lab| {
        on_one_link(&lab);
        lab.host_sysctl("ipv6/conf/front0/keep_addr_on_down", "1");
        let resolver = resolver(&["10.1.0.21", "fd00:1::21"]).await;
        for round in 0..3 {
            println!("round {round}");
            wait_mac(&resolver, "10.1.0.21", MAC).await;
            wait_mac(&resolver, "fd00:1::21", MAC).await;
            lab.host("link set front0 down");
            wait_reason(
                &resolver,
                "10.1.0.21",
                "interface front0, where it was, is down",
            )
            .await;
            wait_reason(
                &resolver,
                "fd00:1::21",
                "interface front0, where it was, is down",
            )
            .await;
            lab.host("link set front0 up");
            wait_mac(&resolver, "10.1.0.21", MAC).await;
            wait_mac(&resolver, "fd00:1::21", MAC).await;
            lab.peer("link set peer0 down");
            wait_reason(&resolver, "10.1.0.21", "interface front0 has no carrier").await;
            lab.peer("link set peer0 up");
            lab.peer("address replace fd00:1::21/64 dev peer0 nodad");
        }
    });
}

#[test]
fn a_route_that_moves_to_another_link_takes_the_target_along() {
    in_lab(
        "a_route_that_moves_to_another_link_takes_the_target_along",
        async |lab| {
            on_one_link(&lab);
            and_a_second_link(&lab);
            lab.host("route add 10.9.1.0/24 via 10.1.0.21");
            lab.host("route add fd00:91::/64 via fd00:1::21");
            let resolver = resolver(&["10.9.1.1", "fd00:91::1"]).await;
            wait_mac(&resolver, "10.9.1.1", MAC).await;
            wait_mac(&resolver, "fd00:91::1", MAC).await;
            lab.host("route replace 10.9.1.0/24 via 10.2.0.22");
            lab.host("route replace fd00:91::/64 via fd00:2::22");
            let back0 = resolver
                .links()
                .borrow()
                .by_name("back0")
                .expect("back0 is listed")
                .index;
            for target in ["10.9.1.1", "fd00:91::1"] {
                let moved = wait_mac(&resolver, target, OTHER_MAC).await;
                assert!(
                    matches!(moved, NextHop::Resolved { ifindex, .. } if ifindex == back0),
                    "{moved:?}"
                );
            }
            // The neighbour on the link it has left is not needed any more.
            poll(
                "the entry on front0",
                || lab.neighbour("front0", "10.1.0.21"),
                str::is_empty,
            )
            .await;
            lab.host("route del 10.9.1.0/24");
            wait_reason(&resolver, "10.9.1.1", "no route to 10.9.1.1").await;
            lab.host("link del back0");
            wait_reason(&resolver, "fd00:91::1", "no route to fd00:91::1").await;
        },
    );
}

#[test]
fn the_mtu_is_the_smaller_of_link_and_route() {
    in_lab("the_mtu_is_the_smaller_of_link_and_route", async |lab| {
        on_one_link(&lab);
        lab.host("route add 10.9.1.0/24 via 10.1.0.21 mtu 1400");
        lab.host("route add 10.9.2.0/24 via 10.1.0.21 mtu 9000");
        let resolver = resolver(&["10.9.1.1", "10.9.2.1"]).await;
        let with_mtu = |bytes| move |hop: &NextHop| matches!(hop, NextHop::Resolved { mtu, .. } if *mtu == bytes);
        wait(&resolver, "10.9.1.1", with_mtu(1400)).await;
        wait(&resolver, "10.9.2.1", with_mtu(1500)).await;
        lab.host("link set front0 mtu 1300");
        wait(&resolver, "10.9.1.1", with_mtu(1300)).await;
        wait(&resolver, "10.9.2.1", with_mtu(1300)).await;
    });
}

#[test]
fn links_and_addresses_are_listed_and_followed() {
    in_lab("links_and_addresses_are_listed_and_followed", async |lab| {
        on_one_link(&lab);
        lab.host("link add br0 type bridge");
        let netlink = Netlink::open().expect("open netlink");
        let links = netlink.links().await.expect("list links");
        let front0 = links.by_name("front0").expect("front0 is listed").clone();
        assert_eq!(
            (front0.up, front0.admin_up, front0.arp, front0.mtu),
            (true, true, true, 1500)
        );
        assert_eq!(
            (front0.kind.as_deref(), front0.master, front0.xdp),
            (Some("veth"), None, None)
        );
        assert_eq!(links.by_name("lo").and_then(|lo| lo.mac), None);
        assert!(
            netlink
                .addresses()
                .await
                .expect("list addresses")
                .is_local(ip("10.1.0.1"))
        );
        assert_eq!(
            netlink
                .route(ip("10.1.0.1"))
                .await
                .expect("look up a route"),
            Route::Local
        );

        let resolver = resolver(&[]).await;
        let mut watched = resolver.links();
        lab.host("link set front0 master br0");
        let br0 = links.by_name("br0").expect("br0 is listed").index;
        let follow = watched.wait_for(|links| {
            links
                .by_name("front0")
                .is_some_and(|link| link.master == Some(br0))
        });
        tokio::time::timeout(PATIENCE, follow)
            .await
            .expect("front0 joins the bridge in time")
            .expect("the resolver is alive");
        lab.host("link set front0 nomaster");
        let follow = watched.wait_for(|links| {
            links
                .by_name("front0")
                .is_some_and(|link| link.master.is_none())
        });
        tokio::time::timeout(PATIENCE, follow)
            .await
            .expect("front0 leaves the bridge in time")
            .expect("the resolver is alive");
    });
}

#[test]
fn an_ipv6_neighbour_waits_for_the_interfaces_link_local_address() {
    in_lab(
        "an_ipv6_neighbour_waits_for_the_interfaces_link_local_address",
        async |lab| {
            lab.host_sysctl("ipv6/conf/default/addr_gen_mode", "1");
            on_one_link(&lab);
            let resolver = resolver(&["fd00:1::21"]).await;
            wait_reason(
                &resolver,
                "fd00:1::21",
                "interface front0 has no usable IPv6 link-local address",
            )
            .await;
            assert_eq!(lab.neighbour("front0", "fd00:1::21"), "");
            lab.host_address("front0", "fe80::1/64");
            wait_mac(&resolver, "fd00:1::21", MAC).await;
        },
    );
}
