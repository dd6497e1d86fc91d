use super::*;
use crate::{
    config,
    datapath::NextHop,
    health::{State, Timing},
    network,
};
use lb_common::Mode;
use std::{
    collections::BTreeMap,
    io::Write as _,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

mod life;

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
    pool_of(CONFIG)
}

pub fn pool_of(text: &str) -> Pool {
    let directory = std::env::temp_dir().join(format!(
        "lb-pool-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&directory).expect("a folder for the test");
    let path = directory.join("lb.toml");
    std::fs::File::create(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .expect("a file for the test");
    let loaded = config::load(&path);
    std::fs::remove_dir_all(&directory).expect("the test's own folder");
    let config = loaded.unwrap_or_else(|report| panic!("{report}")).config;
    Pool::new(&config, &Runner::default()).expect("a valid configuration")
}

fn event(target: &Target, state: State) -> Event {
    Event {
        target: target.id,
        state,
        weight: None,
        reason: "the test says so".to_owned(),
        at: Instant::now(),
    }
}

/// How many slots each real server of the first service owns.
fn shares(pool: &mut Pool) -> Vec<usize> {
    let desired = pool.desired(
        &NextHops::new(),
        Vec::new(),
        &HostAddresses::default(),
        Instant::now(),
    );
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
        .desired(
            &NextHops::new(),
            Vec::new(),
            &HostAddresses::default(),
            Instant::now(),
        )
        .services[0]
        .table
        .clone();

    assert_eq!(
        pool.on_health(&event(&target, State::Down), Instant::now())
            .len(),
        1
    );
    assert_eq!(shares(&mut pool), [251, 0, 0]);
    assert!(
        pool.on_health(&event(&target, State::Down), Instant::now())
            .is_empty(),
        "nothing new"
    );

    assert_eq!(
        pool.on_health(&event(&target, State::Up), Instant::now())
            .len(),
        1
    );
    assert_eq!(
        pool.desired(
            &NextHops::new(),
            Vec::new(),
            &HostAddresses::default(),
            Instant::now()
        )
        .services[0]
            .table,
        before
    );
}

#[test]
fn with_every_real_server_dead_the_table_is_empty() {
    let mut pool = pool();
    for target in pool.targets() {
        let _ = pool.on_health(&event(&target, State::Down), Instant::now());
    }
    assert!(
        pool.desired(
            &NextHops::new(),
            Vec::new(),
            &HostAddresses::default(),
            Instant::now()
        )
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
    assert!(
        pool.on_health(&event(&stranger, State::Down), Instant::now())
            .is_empty()
    );
}

#[test]
fn an_unchanged_table_is_the_same_memory() {
    let mut pool = pool();
    let first = pool.desired(
        &NextHops::new(),
        Vec::new(),
        &HostAddresses::default(),
        Instant::now(),
    );
    let second = pool.desired(
        &NextHops::new(),
        Vec::new(),
        &HostAddresses::default(),
        Instant::now(),
    );
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
    let desired = pool.desired(
        &next_hops,
        Vec::new(),
        &HostAddresses::default(),
        Instant::now(),
    );
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

#[test]
fn a_real_server_that_two_services_check_in_the_same_way_is_checked_once() {
    let text = CONFIG.replace(
        "address = \"192.0.2.21\"\n",
        "address = \"192.0.2.21\"\ncheck = { tcp = {}, port = 80 }\n",
    );
    let mut pool = pool_of(&text);
    let targets = pool.targets();
    assert_eq!(targets.len(), 3, "the three of `web`");
    let services = |changes: Vec<Change>| -> Vec<String> {
        let changed = changes.iter().filter_map(|change| {
            let real_server = change.real_server.as_ref()?;
            Some(format!("{} {real_server}", change.service))
        });
        changed.collect()
    };
    let down = event(&targets[0], State::Down);
    assert_eq!(
        services(pool.on_health(&down, Instant::now())),
        ["web 192.0.2.21:80", "dns 192.0.2.21"]
    );
    assert!(
        pool.desired(
            &NextHops::new(),
            Vec::new(),
            &HostAddresses::default(),
            Instant::now()
        )
        .services[1]
            .table
            .is_empty()
    );
}

#[test]
fn checks_that_differ_in_anything_are_made_apart() {
    for other in [
        "interval = \"3s\"",
        "port = 81",
        "address = \"192.0.2.99\"",
        "source_address = \"192.0.2.1\"",
        "http = [{}]",
    ] {
        let text = CONFIG.replace(
            "address = \"192.0.2.21\"\n",
            &format!(
                "address = \"192.0.2.21\"\ncheck.tcp = {{}}\ncheck.{other}\n{}",
                if other.starts_with("port") {
                    ""
                } else {
                    "check.port = 80\n"
                }
            ),
        );
        assert_eq!(pool_of(&text).targets().len(), 4, "{other}");
    }
}

#[test]
fn every_key_of_a_check_reaches_what_is_made_of_it() {
    let keys = "check = { tcp = {}, interval = \"7s\", timeout = \"3s\", fall = 4, rise = 5, retry_interval = \"2s\", \
        address = \"192.0.2.99\", port = 81, source_address = \"192.0.2.1\" }\n";
    let text = CONFIG.replace(
        "address = \"192.0.2.21\"\n",
        &format!("address = \"192.0.2.21\"\n{keys}"),
    );
    let pool = pool_of(&text);
    let target = pool.services()[1].real_servers[0].target.clone();
    let spec = target.expect("it is checked").spec;
    let seconds = Duration::from_secs;
    let count = |count| NonZeroU32::new(count).expect("a count");
    let timing = Timing {
        interval: seconds(7),
        timeout: seconds(3),
        fall: count(4),
        rise: count(5),
        retry_interval: seconds(2),
    };
    assert_eq!(spec.timing, timing);
    let address = |last| IpAddr::from([192, 0, 2, last]);
    assert_eq!(
        (
            spec.probe.address,
            spec.probe.port,
            spec.probe.origin.address
        ),
        (address(99), 81, Some(address(1)))
    );
}

#[test]
fn a_local_service_is_checked_and_counted_and_the_data_plane_knows_nothing_of_it() {
    let text = CONFIG.replacen("mode = \"dr\"", "mode = \"local\"", 1);
    let mut pool = pool_of(&text);
    assert_eq!(pool.targets().len(), 3);
    let desired = pool.desired(
        &NextHops::new(),
        Vec::new(),
        &HostAddresses::default(),
        Instant::now(),
    );
    let names: Vec<&str> = desired.services.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["dns"]);
    assert_eq!(pool.addresses(), [IpAddr::from([192, 0, 2, 21])]);
    assert_eq!(pool.demand().backends, 1);
    assert!(pool.services()[0].keys.is_empty());
    assert!(pool.enough()["web"]);
    for target in pool.targets() {
        let _ = pool.on_health(&event(&target, State::Down), Instant::now());
    }
    assert!(!pool.enough()["web"]);
    let history: Vec<&str> = pool.services()[0]
        .history
        .iter()
        .map(|(_, change)| change.new)
        .collect();
    assert_eq!(history, ["down"]);
}

#[test]
fn checks_are_suspended_where_no_address_of_the_service_is_held_and_go_on_from_what_they_found() {
    let vrrp = "[[vrrp]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvirtual_router_id = 51\naddresses = [\"192.0.2.10/24\"]\n";
    let text = CONFIG.replacen(
        "mode = \"dr\"",
        "mode = \"dr\"\nvrrp = \"VI_1\"\nsuspend_checks_in_backup = true",
        1,
    );
    let mut pool = pool_of(&format!("{vrrp}{text}"));
    let held = Held::from([super::super::ownership::owner_number(0)]);
    assert_eq!(pool.targets_while(&Held::new()).len(), 0);
    assert_eq!(pool.targets_while(&held).len(), 3);
    let target = pool.targets()[0].clone();
    let _ = pool.on_health(&event(&target, State::Down), Instant::now());
    let states: Vec<State> = pool
        .targets_while(&held)
        .iter()
        .map(|target| target.initial)
        .collect();
    assert_eq!(states, [State::Down, State::Up, State::Up]);
}

#[test]
fn a_weight_that_a_check_finds_goes_before_the_configured_one() {
    let mut pool = pool();
    let target = pool.targets()[0].clone();
    let found = |weight| Event {
        weight,
        ..event(&target, State::Up)
    };
    assert_eq!(pool.on_health(&found(Some(3)), Instant::now()).len(), 1);
    let now = shares(&mut pool);
    assert!(now[0].abs_diff(now[1]) < 10, "{now:?}");
    assert!(
        pool.on_health(&found(Some(3)), Instant::now()).is_empty(),
        "nothing new"
    );
    assert_eq!(pool.on_health(&found(Some(0)), Instant::now()).len(), 1);
    assert_eq!(shares(&mut pool), [0, 251, 0]);
    assert_eq!(pool.on_health(&found(None), Instant::now()).len(), 1);
    assert!((60..=66).contains(&shares(&mut pool)[0]));
}
