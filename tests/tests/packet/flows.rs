//! Which real server a flow goes to: both sides compute the same.

use crate::{
    packets::{TCP, UDP, tcp_from, udp_from},
    rig::{self, Rig, TX},
    world::{MANY, Named},
};
use lb_common::{hash, key};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Flows of each family.
const FLOWS: u32 = 1_000;

#[derive(Clone, Debug)]
struct Flow {
    source: IpAddr,
    port: u16,
    protocol: u8,
}

/// The real server's number, computed as the agent's side would.
fn expected(flow: &Flow, service: Named) -> u32 {
    let mut ports = [0; 4];
    ports[..2].copy_from_slice(&flow.port.to_be_bytes());
    ports[2..].copy_from_slice(&80_u16.to_be_bytes());
    let ports = u32::from_ne_bytes(ports);
    let hash = match (flow.source, service.v4(), service.v6()) {
        (IpAddr::V4(source), IpAddr::V4(destination), _) => {
            let [source, destination] =
                [source, destination].map(|address| u32::from_ne_bytes(address.octets()));
            hash::flow4(source, destination, ports, flow.protocol)
        }
        (IpAddr::V6(source), _, IpAddr::V6(destination)) => {
            let [source, destination] =
                [source, destination].map(|address| key::words(address.octets()));
            hash::flow6(&source, &destination, ports, flow.protocol)
        }
        _ => panic!("the service has an address of each family"),
    };
    let table = service.table();
    table[hash::spread(hash, table.len() as u32) as usize]
}

/// The real server's number, by the frame's new destination.
fn chosen(rig: &mut Rig, flow: &Flow, service: Named) -> u32 {
    let destination = if flow.source.is_ipv4() {
        service.v4()
    } else {
        service.v6()
    };
    let build = if flow.protocol == TCP {
        tcp_from
    } else {
        udp_from
    };
    let outcome = rig.run(&build(flow.source, flow.port, destination, 80, 3).build());
    assert_eq!(outcome.verdict, TX, "{flow:?}");
    let mac = &outcome.frame[..6];
    assert_eq!(
        mac[..5],
        service.real_server_mac(0)[..5],
        "{flow:?} went to a station of another service"
    );
    u32::from(mac[5])
}

/// Others are refused.
fn is_somebody(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[0] != 0 && !v4.is_loopback() && v4.octets()[0] < 224,
        IpAddr::V6(v6) => !v6.is_multicast() && v6.segments()[..6] != [0; 6],
    }
}

fn flow(source: impl Strategy<Value = IpAddr>) -> impl Strategy<Value = Flow> {
    let protocol = prop_oneof![Just(TCP), Just(UDP)];
    let source = source.prop_filter("stands for a host", is_somebody);
    (source, any::<u16>(), protocol).prop_map(|(source, port, protocol)| Flow {
        source,
        port,
        protocol,
    })
}

/// The same flows in every run: a failure found elsewhere is found here.
fn runner() -> TestRunner {
    let config = Config {
        cases: FLOWS,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// Runs many flows and returns how many each real server got.
fn check(source: impl Strategy<Value = IpAddr>) -> HashMap<u32, u32> {
    let shares = std::cell::RefCell::new(HashMap::new());
    let rig = std::cell::RefCell::new(rig::world());
    runner()
        .run(&flow(source), |flow| {
            let chosen = chosen(&mut rig.borrow_mut(), &flow, MANY);
            prop_assert_eq!(chosen, expected(&flow, MANY));
            *shares.borrow_mut().entry(chosen).or_insert(0) += 1;
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    shares.into_inner()
}

/// Each real server's part of the flows is its part of the slots, but for chance: five standard deviations.
fn check_shares(shares: &HashMap<u32, u32>) {
    let table = MANY.table();
    let owners: std::collections::BTreeSet<u32> = table.iter().copied().collect();
    for owner in owners {
        let part = table.iter().filter(|&&slot| slot == owner).count() as f64 / table.len() as f64;
        let mean = part * f64::from(FLOWS);
        let got = f64::from(shares.get(&owner).copied().unwrap_or(0));
        assert!(
            (got - mean).abs() < 5.0 * (mean * (1.0 - part)).sqrt(),
            "real server {owner}: {got} flows, not {mean:.0}"
        );
    }
}

#[test]
fn ipv4_flows_go_where_the_agent_computes() {
    check_shares(&check(
        any::<[u8; 4]>().prop_map(|octets| Ipv4Addr::from(octets).into()),
    ));
}

#[test]
fn ipv6_flows_go_where_the_agent_computes() {
    check_shares(&check(
        any::<[u8; 16]>().prop_map(|octets| Ipv6Addr::from(octets).into()),
    ));
}

#[test]
fn clients_of_one_network_are_spread_as_well() {
    check_shares(&check(
        any::<u8>().prop_map(|host| Ipv4Addr::new(192, 0, 2, host).into()),
    ));
    check_shares(&check(any::<u64>().prop_map(|host| {
        Ipv6Addr::from((0x2001_0db8_u128 << 96) | u128::from(host)).into()
    })));
    check_shares(&check(any::<u32>().prop_map(|net| {
        Ipv6Addr::from((0x2001_0db8_u128 << 96) | (u128::from(net) << 64) | 1).into()
    })));
}

#[test]
fn packets_of_one_flow_stay_together() {
    let mut rig = rig::world();
    for source in [
        Ipv4Addr::new(192, 0, 2, 1).into(),
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    ] {
        for protocol in [TCP, UDP] {
            let flow = Flow {
                source,
                port: 1_024,
                protocol,
            };
            let first = chosen(&mut rig, &flow, MANY);
            let destination = if source.is_ipv4() {
                MANY.v4()
            } else {
                MANY.v6()
            };
            let build = if protocol == TCP { tcp_from } else { udp_from };
            for len in [0, 1, 2, 100, 1_400] {
                for ttl in [2, 64, 255] {
                    let frame = build(source, 1_024, destination, 80, len)
                        .ttl(ttl)
                        .identification(len as u16)
                        .build();
                    assert_eq!(
                        u32::from(rig.run(&frame).frame[5]),
                        first,
                        "{flow:?} with {len} bytes, TTL {ttl}"
                    );
                }
            }
        }
    }
}
