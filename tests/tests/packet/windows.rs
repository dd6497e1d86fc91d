//! Changes of a table while flows are under way: the program and the agent's writer against the model, packet by packet.

use crate::{
    packets::{tcp_from, udp_from},
    rig::{DROP, Outcome, Rig, TX},
    world::DIRECTOR,
};
use lb_agent::{
    balance::term::{Limits, Standing},
    datapath::{
        Desired, Device, FlowRules, NextHop, RealServer, Service, Share,
        xdp::{Capacity, Datapath, Snapshot, Writer, sweep},
    },
    model::{self, Idle, Protocol, Rules, Verdict},
};
use lb_common::{
    BackendState, Method, Mode, Reason, Scheduling, Segment, ServiceKey, Slot, Tag, hash, key,
    scheduling::FLOW_BITS,
};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

const LOOPBACK: u32 = 1;
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
const SERVERS: u32 = 5;
const SLOTS: usize = 11;
/// Entries of the flow table.
const ENTRIES: usize = 64 * 8;
/// Worlds that are compared.
const WORLDS: u64 = 40;
/// Steps in each.
const STEPS: usize = 150;

/// Length of the clients' prefixes.
const PREFIX: u8 = 24;

mod flood;
mod scenes;
mod schedulers;

/// A world in the kernel, and the same in the model.
struct Both {
    rig: MutexGuard<'static, Rig>,
    model: model::Service,
    rules: Rules,
    owners: Vec<Option<u32>>,
    /// Weight and limits by server.
    shares: BTreeMap<u32, Share>,
    now_s: u64,
}

impl Both {
    /// Nobody serves yet.
    fn new(rules: Rules) -> Self {
        static RIG: OnceLock<Mutex<Rig>> = OnceLock::new();
        let rig = RIG.get_or_init(|| {
            let capacity = Capacity {
                flow_buckets: (ENTRIES / 8) as u32,
                ..Capacity::SMALLEST
            };
            Mutex::new(Rig {
                datapath: Datapath::unpinned(capacity).expect("load the XDP program"),
                snapshot: Snapshot::default(),
            })
        });
        let mut both = Self {
            rig: rig.lock().unwrap_or_else(PoisonError::into_inner),
            model: model::Service::new(rules, SLOTS),
            rules,
            owners: vec![None; SLOTS],
            shares: BTreeMap::new(),
            now_s: 5_000,
        };
        both.rig.datapath.writer().grace_passed();
        // Twice, so that neither bank holds anything of the last world; then its flows are nobody's.
        for _ in 0..2 {
            both.write(&Desired::default());
        }
        let _ = sweep(both.rig.datapath.maps(), &[]);
        both.rig.begin_turns();
        both
    }

    fn write(&mut self, desired: &Desired) {
        let now_s = self.now_s;
        let writer = self.rig.datapath.writer();
        writer.commit(desired, now_s).expect("the maps have room");
        writer.grace_passed();
    }

    /// What the agent would ask for, given how the model's backends stand.
    fn desired(&self) -> Desired {
        let backends = self.model.backends();
        let numbers: Vec<u32> = backends.keys().copied().collect();
        let position = |number: u32| numbers.iter().position(|&other| other == number);
        let real_servers = backends.iter().map(|(&number, backend)| RealServer {
            address: Ipv4Addr::new(10, 2, 0, number as u8).into(),
            port: 0,
            mode: Mode::Dr,
            tunnel_source: None,
            weight: u16::from(backend.standing == Standing::Serving),
            state: match backend.standing {
                Standing::Dead => BackendState::Down,
                _ => BackendState::Up,
            },
            term: backend.term,
            next_hop: NextHop::Via {
                mac: [2, 0, 0, 2, 0, number as u8],
                device: LOOPBACK,
                mtu: 1500,
            },
        });
        let table: Option<Vec<u32>> = self
            .owners
            .iter()
            .map(|owner| Some(position((*owner)?)? as u32))
            .collect();
        let protocol = match self.rules.protocol {
            Protocol::Tcp => key::TCP,
            Protocol::Udp => key::UDP,
        };
        Desired {
            local: Default::default(),
            services: vec![Service {
                name: "one".to_owned(),
                keys: vec![ServiceKey::v4(VIP.octets(), 80, protocol)],
                owners: vec![0],
                table: table.unwrap_or_default().into(),
                shares: self.shares_of(&numbers),
                real_servers: real_servers.collect(),
                flows: FlowRules {
                    scheduling: self.rules.scheduling,
                    prefixes: [PREFIX, 128],
                    persistence_s: self.rules.persistence_s,
                    window_s: match self.rules.scheduling.is_stateful() {
                        true => 0,
                        false => self.rules.window_s,
                    },
                    idle: self.rules.idle,
                },
            }],
            devices: vec![Device {
                index: LOOPBACK,
                frames: LOOPBACK,
                vlans: 0,
                mac: DIRECTOR,
                transmits: true,
            }],
        }
    }

    /// How each server stands now; the slots are spread over those that serve.
    fn stand(&mut self, standings: &BTreeMap<u32, Standing>) {
        if self.rules.scheduling.is_stateful() {
            self.enlist(standings);
            return;
        }
        let owner = |place: usize| {
            let serving = standings
                .iter()
                .filter(|(_, standing)| **standing == Standing::Serving);
            serving
                .map(|(&number, _)| number)
                .max_by_key(|&number| hash::flow4(place as u32, number, 7, 7))
        };
        self.owners = (0..SLOTS).map(owner).collect();
        self.model.commit(standings, owner, self.now_s);
        let desired = self.desired();
        self.write(&desired);
        self.compare_slots();
    }

    /// A second passes.
    fn tick(&mut self) {
        self.now_s += 1;
        let now_s = self.now_s;
        let before = self.desired();
        self.model.tick(now_s);
        let maps = Arc::clone(self.rig.datapath.maps());
        let writer = self.rig.datapath.writer();
        writer.tick();
        writer.end_windows(now_s);
        let desired = self.desired();
        if desired != before {
            self.write(&desired);
        }
        let writer = self.rig.datapath.writer();
        let assignments = writer.assignments();
        let swept = sweep(&maps, &assignments);
        writer.forget(&assignments, &swept, now_s);
        let flows: u64 = swept.services.values().map(|service| service.flows).sum();
        assert_eq!(flows, self.model.flows().len() as u64, "flows at {now_s}");
        let clients: u64 = swept.services.values().map(|service| service.clients).sum();
        let known = self.model.clients().len() as u64;
        assert_eq!(clients, known, "clients at {now_s}");
        self.compare_slots();
        self.compare_loads();
    }

    /// A second passes for the program alone.
    fn tick_in_program(&mut self) {
        let maps = Arc::clone(self.rig.datapath.maps());
        let writer = self.rig.datapath.writer();
        writer.tick();
        let _ = sweep(&maps, &writer.assignments());
    }

    /// The agent is killed, and another one starts.
    fn restart(&mut self) {
        let maps = Arc::clone(self.rig.datapath.maps());
        *self.rig.datapath.writer() = Writer::new(maps);
        self.rig.datapath.writer().grace_passed();
        self.model.restart(self.now_s);
        let desired = self.desired();
        self.write(&desired);
        self.compare_slots();
    }

    /// The slots' words are what the model says, with the kernel's ids in the place of numbers.
    fn compare_slots(&mut self) {
        self.rig.look();
        let Some((_, service)) = self.rig.snapshot.by_id.first_key_value() else {
            return;
        };
        let numbers: BTreeMap<u32, u32> = service
            .backends
            .iter()
            .filter_map(|backend| match backend.address {
                IpAddr::V4(address) => Some((backend.id, u32::from(address.octets()[3]))),
                IpAddr::V6(_) => None,
            })
            .collect();
        let number = |id: u32| u64::from(numbers.get(&id).copied().unwrap_or(0));
        let views = self.rig.datapath.writer().windows().views();
        let view = views.first().expect("one table");
        for (place, slot) in self
            .model
            .slots()
            .iter()
            .enumerate()
            .take(view.len as usize)
        {
            let word = self
                .rig
                .datapath
                .maps()
                .slots
                .read(view.start + place as u32)
                .expect("a slot of the table");
            let high = word.0 >> 48 << 48;
            let word = Slot(number(word.current()) | number(word.previous()) << 24 | high);
            assert_eq!(
                word,
                Slot::from(*slot),
                "slot {place} at {}: {slot:?}",
                self.now_s
            );
        }
    }

    /// A packet of flow `number`, through both.
    fn packet(&mut self, number: u16, segment: Segment) -> Verdict {
        let source = source(number);
        let frame = frame(source, number, segment);
        let protocol = match segment {
            Segment::Datagram => key::UDP,
            _ => key::TCP,
        };
        let ports = u32::from(number.to_be()) | u32::from(80_u16.to_be()) << 16;
        let [from, to] = [source, VIP].map(|address| u32::from_ne_bytes(address.octets()));
        let flow = hash::flow4(from, to, ports, protocol);
        let by_address =
            |address| hash::address(&[address, 0, 0, 0]) & !FLOW_BITS | flow & FLOW_BITS;
        let flow = match self.rules.scheduling.method() {
            Method::BySource => by_address(from),
            Method::ByDestination => by_address(to),
            _ => flow,
        };
        let tag = Tag::new(flow, u32::from(number));
        let client = Tag(u64::from(u32::from(source) >> (32 - PREFIX)));
        let expected = self.model.decide_for(tag, client, segment);
        let got = verdict(&self.rig.run(&frame));
        let wanted = match expected {
            Verdict::To(number) => Some(number),
            Verdict::Dropped(_) => None,
        };
        assert_eq!(
            got,
            wanted,
            "{segment:?} of flow {number} at {}: {expected:?}, slot {:?}, entry {:?}",
            self.now_s,
            self.model.slot(tag),
            self.model.flows().get(tag)
        );
        expected
    }

    fn dropped(&mut self, reason: Reason) -> u64 {
        self.rig.look();
        let services = self.rig.snapshot.by_id.keys().copied();
        let counts = services.map(|id| self.rig.datapath.maps().reason_counter(id, reason));
        counts.map(|count| count.expect("read a counter")).sum()
    }
}

fn frame(source: Ipv4Addr, port: u16, segment: Segment) -> Vec<u8> {
    let flags = match segment {
        Segment::Syn => 0x02,
        Segment::Data | Segment::Related => 0x10,
        Segment::Fin => 0x11,
        Segment::Rst => 0x04,
        Segment::Datagram => return udp_from(source.into(), port, VIP.into(), 80, 3).build(),
    };
    let mut frame = tcp_from(source.into(), port, VIP.into(), 80, 0).build();
    // Ethernet, IPv4, and thirteen bytes of TCP before the flags.
    frame[14 + 20 + 13] = flags;
    frame
}

/// The number of the real server it went to; `None`: dropped.
fn verdict(outcome: &Outcome) -> Option<u32> {
    match outcome.verdict {
        TX => Some(u32::from(outcome.frame[5])),
        DROP => None,
        other => panic!("verdict {other}"),
    }
}

/// Flows of a few clients of two prefixes.
fn source(number: u16) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 8 + (number % 2) as u8, 7 + (number % 3) as u8)
}

fn rules(protocol: Protocol) -> Rules {
    Rules {
        protocol,
        scheduling: Scheduling::default(),
        persistence_s: 12,
        window_s: 20,
        idle: Idle {
            tcp_s: 20,
            tcp_fin_s: 6,
            udp_s: 15,
        },
        limits: Limits {
            drain_s: 15,
            dead_hold_s: 4,
        },
    }
}

fn all(standing: Standing) -> BTreeMap<u32, Standing> {
    (1..=3).map(|number| (number, standing)).collect()
}

/// One world; what happens in it comes of its seed.
fn run(seed: u64) {
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &{
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes
    });
    let mut below = move |limit: u32| random.next_u32() % limit;
    let protocol = if below(3) == 0 {
        Protocol::Udp
    } else {
        Protocol::Tcp
    };
    let scheduling = match below(2) {
        0 => Scheduling::default(),
        _ => schedulers::any(&mut below),
    };
    let mut both = Both::new(Rules {
        scheduling,
        ..rules(protocol)
    });
    let limit = schedulers::limit(scheduling, &mut below);
    both.shares = (1..=SERVERS)
        .map(|number| (number, schedulers::share(number, limit)))
        .collect();
    let mut standings = all(Standing::Serving);
    both.stand(&standings);
    for _ in 0..STEPS {
        match below(100) {
            0..70 => {
                let segment = match (protocol, below(10)) {
                    (Protocol::Udp, _) => Segment::Datagram,
                    (Protocol::Tcp, 0..4) => Segment::Syn,
                    (Protocol::Tcp, 4..8) => Segment::Data,
                    (Protocol::Tcp, 8) => Segment::Fin,
                    (Protocol::Tcp, _) => Segment::Rst,
                };
                let number = 1_000 + below(40) as u16;
                both.packet(number, segment);
            }
            70..84 => {
                let number = 1 + below(SERVERS);
                match below(4) {
                    0 => standings.remove(&number),
                    1 => standings.insert(number, Standing::Drained),
                    2 => standings.insert(number, Standing::Dead),
                    _ => standings.insert(number, Standing::Serving),
                };
                both.stand(&standings);
            }
            84..87 => both.restart(),
            _ => {
                for _ in 0..1 + below(7) {
                    both.tick();
                }
            }
        }
    }
}

/// Replay one by `LB_SEED=<seed>`; compare more by `LB_SEEDS=<number>`.
#[test]
fn the_program_decides_as_the_model_does() {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds = match number("LB_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LB_SEEDS").unwrap_or(WORLDS),
    };
    for seed in seeds {
        eprintln!("LB_SEED={seed}");
        run(seed);
    }
}
