//! The loaded program, shared by all tests of this binary: loading it is what takes the time.

use crate::world;
use aya::{
    maps::{Array, PerCpuArray, PerCpuValues},
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use lb_agent::datapath::{
    Desired,
    xdp::{Capacity, Datapath, Maps, Snapshot, Writer},
};
use lb_common::{
    Counter, Reason, Route, hash, key,
    layout::{PROGRAM, map},
    route,
};
use nix::unistd::geteuid;
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// `enum xdp_action` (include/uapi/linux/bpf.h).
pub const DROP: u32 = 1;
pub const PASS: u32 = 2;
pub const TX: u32 = 3;
pub const REDIRECT: u32 = 4;

/// Room for the world's services.
const CAPACITY: Capacity = Capacity {
    services: 1024,
    ..Capacity::SMALLEST
};

/// Whether packets may be answered by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    Due,
    /// As many were given as may be, on every CPU.
    Exhausted,
}

/// What the program did to a frame.
#[derive(Debug)]
pub struct Outcome {
    pub verdict: u32,
    pub frame: Vec<u8>,
}

/// Counters, or how they moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// By service id and reason.
    pub reasons: BTreeMap<(u16, Reason), u64>,
    /// Packets and bytes by backend id.
    pub backends: BTreeMap<u32, (u64, u64)>,
}

impl Counters {
    /// What came on top of `before`.
    pub fn since(&self, before: &Self) -> Self {
        let reasons = self
            .reasons
            .iter()
            .map(|(&key, &now)| (key, now - before.reasons.get(&key).unwrap_or(&0)));
        let backends = self.backends.iter().map(|(&id, &now)| {
            let (packets, bytes) = before.backends.get(&id).copied().unwrap_or_default();
            (id, (now.0 - packets, now.1 - bytes))
        });
        Self {
            reasons: reasons.filter(|&(_, moved)| moved != 0).collect(),
            backends: backends.filter(|&(_, moved)| moved != (0, 0)).collect(),
        }
    }
}

/// The program, and who its ids stand for.
pub struct Rig {
    pub datapath: Datapath,
    /// What is live, as it was when last looked at.
    pub snapshot: Snapshot,
}

/// The program configured with [`world::desired`], which no test changes for longer than it holds the lock.
pub fn world() -> MutexGuard<'static, Rig> {
    static RIG: OnceLock<Mutex<Rig>> = OnceLock::new();
    let rig = RIG.get_or_init(|| {
        let mut rig = Rig::load();
        rig.datapath.writer().grace_passed();
        rig.datapath
            .writer()
            .commit(&world::desired(), 0)
            .expect("the world fits into the smallest maps");
        rig.datapath.writer().grace_passed();
        world::set_owners(rig.datapath.maps());
        for (client, way) in world::routes() {
            rig.set_route(client, Some(way));
        }
        rig.look();
        Mutex::new(rig)
    });
    rig.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The program with nothing configured, for tests that commit.
pub struct Blank(Rig);

/// A second program, emptied of what the last test left; its generation, and the lives of its ids, go on.
pub fn blank() -> MutexGuard<'static, Blank> {
    static RIG: OnceLock<Mutex<Blank>> = OnceLock::new();
    let rig = RIG.get_or_init(|| Mutex::new(Blank(Rig::load())));
    let mut rig = rig.lock().unwrap_or_else(PoisonError::into_inner);
    rig.writer().grace_passed();
    // Twice, so that neither bank holds anything of the last test.
    for _ in 0..2 {
        rig.commit(&Desired::default());
    }
    rig
}

impl Blank {
    /// Runs the program once over `frame`.
    pub fn run(&mut self, frame: &[u8]) -> Outcome {
        self.0.run(frame)
    }

    pub fn writer(&mut self) -> &mut Writer {
        self.0.datapath.writer()
    }

    pub fn maps(&self) -> &Arc<Maps> {
        self.0.datapath.maps()
    }

    /// What status would show.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::read(self.maps()).expect("read the maps")
    }

    /// Commits, and says that the grace period has passed: no program runs between two test runs.
    pub fn commit(&mut self, desired: &Desired) -> u64 {
        let generation = self.commit_owing_grace(desired);
        self.writer().grace_passed();
        generation
    }

    /// Commits. Until the writer is told that a grace period has passed it refuses the next commit.
    pub fn commit_owing_grace(&mut self, desired: &Desired) -> u64 {
        self.writer()
            .commit(desired, 0)
            .expect("the maps have room for it")
    }
}

impl Rig {
    /// Loads the program with maps of its own.
    pub fn load() -> Self {
        assert!(
            geteuid().is_root(),
            "the packet tests load an XDP program, which takes root: run them as root"
        );
        let datapath = Datapath::unpinned(CAPACITY).expect("load the XDP program into this kernel");
        Self {
            datapath,
            snapshot: Snapshot::default(),
        }
    }

    /// Learns which ids services and backends have now.
    pub fn look(&mut self) {
        self.snapshot = Snapshot::read(self.datapath.maps()).expect("read the maps");
    }

    /// Says whether packets may be answered from now on.
    pub fn set_answers(&mut self, answers: Answers) {
        let due = match answers {
            Answers::Due => 0,
            // Centuries ahead, and far from an overflow.
            Answers::Exhausted => u64::MAX / 2,
        };
        let map = self
            .datapath
            .object()
            .map_mut("LIMITS")
            .expect("the object has the map");
        let mut limits: PerCpuArray<_, u64> =
            PerCpuArray::try_from(map).expect("the map is an array for each CPU");
        for kind in 0..limits.len() {
            let cpus = limits.get(&kind, 0).expect("read a limit").len();
            let values = PerCpuValues::try_from(vec![due; cpus]).expect("a value for each CPU");
            limits.set(kind, values, 0).expect("write a limit");
        }
    }

    /// Has every CPU remember the way to a client for ever, or ask for it again with the next packet.
    pub fn set_route(&mut self, client: IpAddr, way: Option<Route>) {
        let (client, family) = match client {
            IpAddr::V4(v4) => ([u32::from_ne_bytes(v4.octets()), 0, 0, 0], key::IPV4),
            IpAddr::V6(v6) => (key::words(v6.octets()), key::IPV6),
        };
        let route = way.map_or(Route::default(), |way| Route {
            client,
            family: family.into(),
            until: u64::MAX,
            ..way
        });
        let map = self
            .datapath
            .object()
            .map_mut("ROUTES")
            .expect("the object has the map");
        let mut routes: PerCpuArray<_, Route> =
            PerCpuArray::try_from(map).expect("the map is an array for each CPU");
        let place = route::place(hash::fold(&client));
        let cpus = routes.get(&place, 0).expect("read a route").len();
        let values = PerCpuValues::try_from(vec![route; cpus]).expect("a value for each CPU");
        routes.set(place, values, 0).expect("write a route");
    }

    /// Every service's turns begin anew.
    pub fn begin_turns(&mut self) {
        let map = self.datapath.object().map_mut(map::TURNS);
        let map = map.expect("the object has the map");
        let mut turns: Array<_, u64> = Array::try_from(map).expect("the map is an array");
        for service in 0..turns.len() {
            turns.set(service, 0, 0).expect("write a turn");
        }
    }

    /// Runs the program once over `frame`.
    pub fn run(&mut self, frame: &[u8]) -> Outcome {
        let program: &mut Xdp = self
            .datapath
            .object()
            .program_mut(PROGRAM)
            .and_then(|program| program.try_into().ok())
            .expect("the object has the program");
        let mut output = vec![0; frame.len() + 128];
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut output),
                ..TestRunOptions::default()
            })
            .unwrap_or_else(|error| {
                panic!("run the program over {} bytes: {error:?}", frame.len())
            });
        output.truncate(result.data_size_out as usize);
        Outcome {
            verdict: result.return_value,
            frame: output,
        }
    }

    /// Every counter that a packet could move.
    pub fn counters(&self) -> Counters {
        let maps = self.datapath.maps();
        let mut counters = Counters::default();
        for service in std::iter::once(0).chain(self.snapshot.by_id.keys().copied()) {
            for &reason in Reason::ALL {
                let count = maps
                    .reason_counter(service, reason)
                    .expect("read a counter of reasons");
                counters.reasons.insert((service, reason), count);
            }
        }
        for backend in self
            .snapshot
            .by_id
            .values()
            .flat_map(|service| &service.backends)
        {
            let Counter { packets, bytes } = maps
                .backend_counter(backend.id)
                .expect("read a backend's counter");
            counters.backends.insert(backend.id, (packets, bytes));
        }
        counters
    }

    /// The id of the service that has `key`.
    pub fn service_id(&self, key: &lb_common::ServiceKey) -> u16 {
        *self
            .snapshot
            .services
            .get(key)
            .unwrap_or_else(|| panic!("no service has the key {key:?}"))
    }

    /// The id of the backend with `address` in service `service`.
    pub fn backend_id(&self, service: u16, address: IpAddr) -> u32 {
        let backends = &self.snapshot.by_id[&service].backends;
        backends
            .iter()
            .find(|backend| backend.address == address)
            .unwrap_or_else(|| panic!("service {service} has no real server {address}"))
            .id
    }
}
