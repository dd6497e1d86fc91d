use super::*;
use std::{collections::BTreeMap, io::Write as _, time::Instant};

const CONFIG: &str = r#"
[[service]]
name = "web"
listen = ["192.0.2.10:80", "[2001:db8::10]:80"]
mode = "dr"
table_size = 251

[service.check]
tcp = {}

[[service.real_server]]
address = "192.0.2.21:80"

[[service.real_server]]
address = "192.0.2.22:80"
weight = 3

[[service.real_server]]
address = "192.0.2.23:80"
weight = 0

[[service]]
name = "dns"
listen = ["192.0.2.10:53"]
protocol = "udp"
mode = "dr"
table_size = 251

[[service.real_server]]
address = "192.0.2.21"
"#;

fn pool() -> Pool {
    let directory = std::env::temp_dir().join(format!(
        "lb-pool-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&directory).expect("a folder for the test");
    let path = directory.join("lb.toml");
    std::fs::File::create(&path)
        .and_then(|mut file| file.write_all(CONFIG.as_bytes()))
        .expect("a file for the test");
    let loaded = config::load(&path);
    std::fs::remove_dir_all(&directory).expect("the test's own folder");
    Pool::new(&loaded.unwrap_or_else(|report| panic!("{report}")).config)
        .expect("a valid configuration")
}

fn event(target: &Target, state: State) -> Event {
    Event {
        target: target.id,
        state,
        reason: "the test says so".to_owned(),
        at: Instant::now(),
    }
}

/// How many slots each real server of the first service owns.
fn shares(pool: &mut Pool) -> Vec<usize> {
    let desired = pool.desired(&NextHops::new(), Vec::new(), &HostAddresses::default());
    let web = &desired.services[0];
    (0..web.real_servers.len() as u32)
        .map(|owner| web.table.iter().filter(|&&slot| slot == owner).count())
        .collect()
}

#[test]
fn shares_follow_the_weights_and_weight_0_has_none() {
    let shares = shares(&mut pool());
    assert_eq!(shares.iter().sum::<usize>(), 251);
    assert!((60..=66).contains(&shares[0]), "{shares:?}");
    assert_eq!(shares[2], 0);
}

#[test]
fn a_dead_real_server_leaves_the_table_and_comes_back_with_the_same_slots() {
    let mut pool = pool();
    let target = pool.targets()[1].clone();
    let before = pool
        .desired(&NextHops::new(), Vec::new(), &HostAddresses::default())
        .services[0]
        .table
        .clone();

    assert!(pool.on_health(&event(&target, State::Down)).is_some());
    assert_eq!(shares(&mut pool), [251, 0, 0]);
    assert!(
        pool.on_health(&event(&target, State::Down)).is_none(),
        "nothing new"
    );

    assert!(pool.on_health(&event(&target, State::Up)).is_some());
    assert_eq!(
        pool.desired(&NextHops::new(), Vec::new(), &HostAddresses::default())
            .services[0]
            .table,
        before
    );
}

#[test]
fn with_every_real_server_dead_the_table_is_empty() {
    let mut pool = pool();
    for target in pool.targets() {
        let _ = pool.on_health(&event(&target, State::Down));
    }
    assert!(
        pool.desired(&NextHops::new(), Vec::new(), &HostAddresses::default())
            .services[0]
            .table
            .is_empty()
    );
}

#[test]
fn a_result_of_a_target_that_is_gone_changes_nothing() {
    let mut pool = pool();
    let mut stranger = pool.targets()[0].clone();
    stranger.id = TargetId(4711);
    assert!(pool.on_health(&event(&stranger, State::Down)).is_none());
}

#[test]
fn an_unchanged_table_is_the_same_memory() {
    let mut pool = pool();
    let first = pool.desired(&NextHops::new(), Vec::new(), &HostAddresses::default());
    let second = pool.desired(&NextHops::new(), Vec::new(), &HostAddresses::default());
    assert!(Arc::ptr_eq(
        &first.services[0].table,
        &second.services[0].table
    ));
}

#[test]
fn a_real_server_without_a_check_is_up_and_not_checked() {
    let pool = pool();
    assert_eq!(pool.targets().len(), 3, "the three of `web`");
    assert_eq!(pool.services()[1].real_servers[0].state, BackendState::Up);
}

#[test]
fn next_hops_become_frames_or_the_host_itself_or_nothing_yet() {
    let mut pool = pool();
    let mac = [2, 0, 0, 0, 0, 1];
    let address = |last| IpAddr::from([192, 0, 2, last]);
    let next_hops = BTreeMap::from([
        (
            address(21),
            network::NextHop::Resolved {
                mac,
                ifindex: 7,
                mtu: 1500,
                source: None,
            },
        ),
        (address(22), network::NextHop::Local),
        (
            address(23),
            network::NextHop::Unresolved {
                reason: "no route to host".to_owned(),
            },
        ),
    ]);
    let desired = pool.desired(&next_hops, Vec::new(), &HostAddresses::default());
    let ways: Vec<_> = desired.services[0]
        .real_servers
        .iter()
        .map(|server| (server.mode, server.next_hop))
        .collect();
    assert_eq!(
        ways,
        [
            (
                Mode::Dr,
                NextHop::Via {
                    mac,
                    device: 7,
                    mtu: 1500
                }
            ),
            (Mode::Local, NextHop::Unresolved),
            (Mode::Dr, NextHop::Unresolved)
        ]
    );
}

#[test]
fn each_real_server_is_resolved_once_and_demand_counts_all() {
    let pool = pool();
    assert_eq!(pool.addresses().len(), 3);
    let demand = pool.demand();
    assert_eq!((demand.backends, demand.slots), (4, 502));
    assert!(
        demand.services >= 5,
        "three listen addresses, and two addresses by themselves"
    );
}
