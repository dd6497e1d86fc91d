//! What the resolver says about each way to reach, or not to reach, a real server.

use super::lab::*;
use crate::network::NextHop;

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
