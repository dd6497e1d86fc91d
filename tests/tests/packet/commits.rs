//! What a commit does to the real maps: the bank that packets read is never touched, and what an id counts is its own.

use crate::{
    packets::{tcp, tcp_from, udp},
    rig::{Blank, DROP, PASS, TX, blank},
    world::{DIRECTOR, Mac},
};
use lb_agent::datapath::{
    Desired, Device, FlowRules, NextHop, RealServer, Service,
    xdp::{CommitError, Maps, Snapshot, Writer},
};
use lb_agent::{balance::term::Term, model::Idle};
use lb_common::{
    Backend, BackendState, Control, Live, Mode, Reason, Scheduling, ServiceKey, control::banked,
    filter, hash, key,
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use std::{
    collections::{BTreeMap, HashMap},
    mem::offset_of,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

const LOOPBACK: u32 = 1;

/// A change moves every flow at once.
const NO_WINDOW: FlowRules = FlowRules {
    scheduling: Scheduling(0),
    prefixes: [32, 128],
    persistence_s: 0,
    window_s: 0,
    idle: Idle {
        tcp_s: 900,
        tcp_fin_s: 120,
        udp_s: 300,
    },
};

fn vip(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 1, number).into()
}

fn service_key(number: u8) -> ServiceKey {
    ServiceKey::v4([10, 0, 1, number], 80, key::TCP)
}

fn mac(number: u8) -> Mac {
    [2, 0, 0, 2, 0, number]
}

fn real_server(number: u8) -> RealServer {
    RealServer {
        address: Ipv4Addr::new(10, 2, 0, number).into(),
        port: 0,
        mode: Mode::Dr,
        tunnel_source: None,
        weight: 1,
        state: BackendState::Up,
        term: Term::default(),
        next_hop: NextHop::Via {
            mac: mac(number),
            device: LOOPBACK,
            mtu: 0,
        },
    }
}

/// A service whose slots its real servers own in turn.
fn service(number: u8, real_servers: &[u8], slots: u32) -> Service {
    let count = real_servers.len() as u32;
    Service {
        name: format!("service {number}"),
        keys: vec![service_key(number)],
        owners: Vec::new(),
        table: (0..if count == 0 { 0 } else { slots })
            .map(|slot| slot % count)
            .collect(),
        real_servers: real_servers.iter().copied().map(real_server).collect(),
        flows: NO_WINDOW,
        shares: Vec::new(),
    }
}

fn desired(services: impl IntoIterator<Item = Service>) -> Desired {
    Desired {
        local: Default::default(),
        services: services.into_iter().collect(),
        devices: vec![Device {
            index: LOOPBACK,
            frames: LOOPBACK,
            vlans: 0,
            mac: DIRECTOR,
            transmits: true,
        }],
    }
}

/// Everything that a packet which reads `bank` can meet.
#[derive(Debug, PartialEq)]
struct Bank {
    services: Vec<lb_common::Service>,
    backends: Vec<Backend>,
    slots: Vec<(u32, u64)>,
    seed: u32,
}

impl Bank {
    fn read(maps: &Maps, bank: u32) -> Self {
        let capacity = maps.capacity();
        let services: Vec<lb_common::Service> = (0..capacity.services)
            .filter_map(|place| maps.services.read(banked(bank, place)))
            .collect();
        let slots = services
            .iter()
            .flat_map(|entry| entry.slots_start..entry.slots_start + entry.slots_len)
            .filter_map(|slot| Some((slot, maps.slots.read(slot)?.0)))
            .collect();
        let backends = (0..capacity.backends)
            .filter_map(|id| maps.backends.read(banked(bank, id)))
            .collect();
        let seeds = maps.control.load_word(0, offset_of!(Control, service_seed));
        Self {
            services,
            backends,
            slots,
            seed: (seeds >> (32 * bank)) as u32,
        }
    }
}

fn live(maps: &Maps) -> Live {
    Live(maps.control.load_word(0, offset_of!(Control, live)))
}

fn in_filter(maps: &Maps, number: u8) -> bool {
    let (word, bit) = filter::position(hash::fold(&service_key(number).address));
    maps.control
        .load_word(0, offset_of!(Control, filter) + word * 8)
        >> bit
        & 1
        == 1
}

/// Who gets a segment to service `number`: the real server's number, or the verdict that it was not forwarded with.
fn who(rig: &mut Blank, number: u8) -> Result<u8, u32> {
    let outcome = rig.run(&tcp(vip(number), 80, 4).build());
    if outcome.verdict == TX {
        Ok(outcome.frame[5])
    } else {
        Err(outcome.verdict)
    }
}

mod banks;
mod ids;
mod next_hops;
mod sequences;
