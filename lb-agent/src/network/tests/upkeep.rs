//! How entries are kept, adopted and given up, as `ip neigh` shows it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::lab::*;
use crate::network::engine::{Engine, Outputs};
use crate::network::monitor::{Event, Monitor};
use crate::network::{Keeping, NextHop, NextHops, OWNER_PROTOCOL, Resolver, ResolverOptions};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x21];
const TARGETS: [&str; 2] = ["10.1.0.21", "fd00:1::21"];

fn on_one_link(lab: &Lab) {
    lab.cable("front0", "peer0");
    lab.peer("link set peer0 address 02:00:00:00:00:21");
    lab.host_address("front0", "10.1.0.1/24");
    lab.host_address("front0", "fd00:1::1/64");
    lab.peer_address("peer0", "10.1.0.21/24");
    lab.peer_address("peer0", "fd00:1::21/64");
}

fn our_mark() -> String {
    format!("proto {OWNER_PROTOCOL}")
}

/// Whether the entry is one the kernel keeps for us.
fn is_kept(entry: &str) -> bool {
    entry.contains("managed") && entry.contains(&our_mark())
}

#[test]
fn entries_are_kept_by_the_kernel_and_removed_with_their_target_and_at_the_end() {
    in_lab(
        "entries_are_kept_by_the_kernel_and_removed_with_their_target_and_at_the_end",
        async |lab| {
            on_one_link(&lab);
            let resolver = resolver(&TARGETS).await;
            for target in TARGETS {
                wait_mac(&resolver, target, MAC).await;
                let entry = lab.neighbour("front0", target);
                assert!(is_kept(&entry), "{entry}");
            }
            resolver.set_targets(ips(&TARGETS[1..]));
            poll(
                "the entry of the dropped target",
                || lab.neighbour("front0", TARGETS[0]),
                str::is_empty,
            )
            .await;
            assert!(!resolver.next_hops().borrow().contains_key(&ip(TARGETS[0])));
            assert!(is_kept(&lab.neighbour("front0", TARGETS[1])));
            resolver.shutdown().await.expect("shut down");
            assert_eq!(lab.neighbour("front0", TARGETS[1]), "");
        },
    );
}

#[test]
fn an_end_without_shutdown_leaves_the_entries_and_the_next_start_adopts_them() {
    in_lab(
        "an_end_without_shutdown_leaves_the_entries_and_the_next_start_adopts_them",
        async |lab| {
            on_one_link(&lab);
            let first = resolver(&TARGETS).await;
            for target in TARGETS {
                wait_mac(&first, target, MAC).await;
            }
            drop(first);
            let second = Resolver::start(ResolverOptions::default())
                .await
                .expect("start again");
            for target in TARGETS {
                assert!(
                    is_kept(&lab.neighbour("front0", target)),
                    "before anybody has said what is wanted"
                );
            }
            second.set_targets(ips(&TARGETS[..1]));
            wait_mac(&second, TARGETS[0], MAC).await;
            poll(
                "the entry that nobody wants any more",
                || lab.neighbour("front0", TARGETS[1]),
                str::is_empty,
            )
            .await;
            second.shutdown().await.expect("shut down");
            assert_eq!(lab.neighbour("front0", TARGETS[0]), "");
        },
    );
}

#[test]
fn a_permanent_entry_is_used_and_left_alone() {
    in_lab("a_permanent_entry_is_used_and_left_alone", async |lab| {
        on_one_link(&lab);
        lab.host("neigh add 10.1.0.77 dev front0 lladdr 02:00:00:00:00:77 nud permanent");
        let resolver = resolver(&["10.1.0.77"]).await;
        wait_mac(&resolver, "10.1.0.77", [2, 0, 0, 0, 0, 0x77]).await;
        resolver.shutdown().await.expect("shut down");
        let entry = lab.neighbour("front0", "10.1.0.77");
        assert!(
            entry.contains("PERMANENT")
                && !entry.contains("managed")
                && !entry.contains(&our_mark()),
            "{entry}"
        );
    });
}

#[test]
fn an_entry_made_permanent_while_we_keep_it_is_not_ours_any_more() {
    in_lab(
        "an_entry_made_permanent_while_we_keep_it_is_not_ours_any_more",
        async |lab| {
            on_one_link(&lab);
            let resolver = resolver(&TARGETS[..1]).await;
            wait_mac(&resolver, TARGETS[0], MAC).await;
            lab.host("neigh replace 10.1.0.21 dev front0 lladdr 02:00:00:00:00:77 nud permanent");
            wait_mac(&resolver, TARGETS[0], [2, 0, 0, 0, 0, 0x77]).await;
            resolver.shutdown().await.expect("shut down");
            assert!(lab.neighbour("front0", TARGETS[0]).contains("PERMANENT"));
        },
    );
}

#[test]
fn an_entry_that_somebody_deletes_is_put_back() {
    in_lab("an_entry_that_somebody_deletes_is_put_back", async |lab| {
        on_one_link(&lab);
        let resolver = resolver(&TARGETS).await;
        for target in TARGETS {
            wait_mac(&resolver, target, MAC).await;
            lab.host(&format!("neigh del {target} dev front0"));
            poll(
                "the entry after its deletion",
                || lab.neighbour("front0", target),
                |entry| is_kept(entry) && entry.contains("REACHABLE"),
            )
            .await;
            wait_mac(&resolver, target, MAC).await;
        }
    });
}

/// Shortens the kernel's times so that an entry ages within a second or two.
fn age_quickly(lab: &Lab) {
    for family in ["ipv4", "ipv6"] {
        lab.host_sysctl(
            &format!("{family}/neigh/front0/base_reachable_time_ms"),
            "500",
        );
        lab.host_sysctl(
            &format!("{family}/neigh/front0/delay_first_probe_time"),
            "1",
        );
    }
}

/// Sees each entry age and be confirmed again, twice, while its next hop never falters.
async fn stays_fresh(lab: &Lab, options: ResolverOptions) {
    let resolver = Resolver::start(options).await.expect("start the resolver");
    resolver.set_targets(ips(&TARGETS));
    for target in TARGETS {
        wait_mac(&resolver, target, MAC).await;
    }
    let mut changes = resolver.next_hops();
    changes.borrow_and_update();
    for _ in 0..2 {
        for target in TARGETS {
            poll(
                "the entry ages",
                || lab.neighbour("front0", target),
                |entry| !entry.contains("REACHABLE"),
            )
            .await;
            poll(
                "the entry is confirmed",
                || lab.neighbour("front0", target),
                |entry| entry.contains("REACHABLE"),
            )
            .await;
        }
    }
    let now = changes.borrow().clone();
    assert!(
        !changes.has_changed().expect("the resolver is alive"),
        "the next hops changed meanwhile, to {now:?}"
    );
    resolver.shutdown().await.expect("shut down");
    for target in TARGETS {
        assert_eq!(lab.neighbour("front0", target), "");
    }
}

#[test]
fn a_managed_entry_stays_fresh_without_traffic() {
    in_lab("a_managed_entry_stays_fresh_without_traffic", async |lab| {
        on_one_link(&lab);
        age_quickly(&lab);
        stays_fresh(&lab, ResolverOptions::default()).await;
    });
}

#[test]
fn a_probed_entry_stays_fresh_without_traffic() {
    in_lab("a_probed_entry_stays_fresh_without_traffic", async |lab| {
        on_one_link(&lab);
        age_quickly(&lab);
        let refresh = Duration::from_millis(300);
        stays_fresh(
            &lab,
            ResolverOptions {
                keeping: Keeping::Probed,
                refresh,
                ..ResolverOptions::default()
            },
        )
        .await;
    });
}

#[test]
fn a_server_that_falls_silent_is_unresolved_and_comes_back() {
    in_lab(
        "a_server_that_falls_silent_is_unresolved_and_comes_back",
        async |lab| {
            on_one_link(&lab);
            age_quickly(&lab);
            let resolver = resolver(&TARGETS).await;
            for target in TARGETS {
                wait_mac(&resolver, target, MAC).await;
            }
            lab.peer("address flush dev peer0");
            for target in TARGETS {
                wait_reason(&resolver, target, "does not answer").await;
            }
            lab.peer_address("peer0", "10.1.0.21/24");
            lab.peer_address("peer0", "fd00:1::21/64");
            for target in TARGETS {
                wait_mac(&resolver, target, MAC).await;
            }
        },
    );
}

#[test]
fn a_new_mac_that_nobody_announced_is_found_when_the_old_one_is_silent() {
    in_lab(
        "a_new_mac_that_nobody_announced_is_found_when_the_old_one_is_silent",
        async |lab| {
            on_one_link(&lab);
            age_quickly(&lab);
            let resolver = resolver(&TARGETS).await;
            for target in TARGETS {
                wait_mac(&resolver, target, MAC).await;
            }
            lab.peer("link set peer0 address 02:00:00:00:00:22");
            for target in TARGETS {
                wait_mac(&resolver, target, [2, 0, 0, 0, 0, 0x22]).await;
            }
        },
    );
}

/// `ip` commands that add and delete many neighbours, none of which is a target.
fn flood() -> String {
    let mut lines = String::new();
    for action in ["replace", "del"] {
        for host in 0..2000 {
            lines += &format!(
                "neigh {action} 10.8.{}.{} dev front0 lladdr 02:00:00:00:08:00 nud permanent\n",
                host / 250,
                host % 250 + 1
            );
        }
    }
    lines
}

#[test]
fn lost_notifications_are_reported_as_such() {
    in_lab("lost_notifications_are_reported_as_such", async |lab| {
        on_one_link(&lab);
        let mut monitor = Monitor::open(4096).expect("open the monitor");
        // This thread runs the monitor's task too: nobody reads while the flood comes.
        lab.host_batch(&flood());
        let lost = async {
            while !matches!(monitor.next().await.expect("the socket lives"), Event::Lost) {}
        };
        tokio::time::timeout(PATIENCE, lost)
            .await
            .expect("the loss is reported");
    });
}

#[test]
fn after_a_loss_of_notifications_the_truth_is_read_anew() {
    in_lab(
        "after_a_loss_of_notifications_the_truth_is_read_anew",
        async |lab| {
            on_one_link(&lab);
            lab.host("route add 10.9.1.0/24 via 10.1.0.21");
            // The engine runs on this thread, so it is certain that nobody reads while the flood
            // comes.
            let (targets, wanted) = watch::channel(None);
            let (next_hops, mut published) = watch::channel(Arc::default());
            let outputs = Outputs {
                next_hops,
                links: watch::Sender::default(),
                addresses: watch::Sender::default(),
            };
            let options = ResolverOptions {
                notification_buffer_bytes: 4096,
                ..ResolverOptions::default()
            };
            let mut engine = Engine::open(options, wanted, outputs)
                .await
                .expect("open the engine");
            targets.send_replace(Some(ips(&["10.1.0.21", "10.9.1.1"])));
            let (_stop, stopped) = oneshot::channel::<()>();
            let test = async {
                let resolved = |hops: &Arc<NextHops>, target| {
                    matches!(hops.get(&ip(target)), Some(NextHop::Resolved { .. }))
                };
                published
                    .wait_for(|hops| resolved(hops, "10.9.1.1"))
                    .await
                    .expect("the engine lives");
                // The deletion of the route comes when the buffer is full: its notification is
                // lost.
                lab.host_batch(&(flood() + "route del 10.9.1.0/24\n"));
                let routeless = |hops: &Arc<NextHops>| {
                    matches!(hops.get(&ip("10.9.1.1")), Some(NextHop::Unresolved { .. }))
                };
                published
                    .wait_for(|hops| routeless(hops) && resolved(hops, "10.1.0.21"))
                    .await
                    .expect("the engine lives");
            };
            let test = tokio::time::timeout(PATIENCE, test);
            tokio::select! {
                _ = engine.run(stopped) => panic!("the engine ended by itself"),
                seen = test => seen.expect("the truth is published in time"),
            }
        },
    );
}

#[test]
fn an_interface_without_arp_needs_a_permanent_entry() {
    in_lab(
        "an_interface_without_arp_needs_a_permanent_entry",
        async |lab| {
            on_one_link(&lab);
            lab.host("link set front0 arp off");
            let resolver = resolver(&TARGETS[..1]).await;
            wait_reason(
                &resolver,
                TARGETS[0],
                "interface front0 resolves no addresses",
            )
            .await;
            lab.host("neigh replace 10.1.0.21 dev front0 lladdr 02:00:00:00:00:21 nud permanent");
            let found = wait_mac(&resolver, TARGETS[0], MAC).await;
            assert!(
                matches!(found, NextHop::Resolved { mtu: 1500, .. }),
                "{found:?}"
            );
        },
    );
}
