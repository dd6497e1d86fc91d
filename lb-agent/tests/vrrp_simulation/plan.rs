//! What a seed stands for: the routers, how they are configured, and what befalls them.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use lb_agent::vrrp::fsm::{Parameters, Preempt, Promotion};
use lb_agent::vrrp::node::{GroupSetup, Setup};
use lb_agent::vrrp::packet::Version;
use lb_agent::vrrp::timers;
use lb_agent::vrrp::tracking::{Source, Tracked};

use crate::random::Random;

/// Nanoseconds of the simulation.
pub type Ns = u64;

/// Most virtual routers of a schedule.
pub const ROUTERS: usize = 3;

/// A schedule.
#[derive(Clone, Debug)]
pub struct Plan {
    pub version: Version,
    pub nodes: Vec<NodePlan>,
    /// Virtual routers, each on a network of its own.
    pub routers: usize,
    /// All of them move together.
    pub grouped: bool,
    pub disturbances: Vec<(Ns, Disturbance)>,
    /// When disturbances end: lasting cuts stay, all else heals.
    pub calm: Ns,
    /// When the election must have settled.
    pub settled: Ns,
    /// What befalls one master then.
    pub drill: Drill,
    /// When the election must have settled again.
    pub end: Ns,
    /// Networks that stay apart, by node.
    pub component: Vec<u8>,
    /// While it is not calm, in percent.
    pub loss: u64,
    pub duplication: u64,
    /// Greatest delay of an advert while it is not calm.
    pub rough_delay: Ns,
    /// And while it is.
    pub calm_delay: Ns,
    /// Greatest delay of a timer while it is not calm.
    pub rough_lateness: Ns,
    /// The greatest interval of all.
    pub interval: Ns,
}

/// One host.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// The last octet of its addresses, the same on all networks.
    pub host: u8,
    pub priority: u8,
    pub interval: Ns,
    pub down_adverts: u8,
    pub preempt: Preempt,
    pub announce_delay: Ns,
    pub announce_refresh: Ns,
    /// What it depends on: nothing, or one thing that makes a fault, or one with a weight, or both.
    pub tracked: Vec<Tracked>,
    /// How much faster its clock is than others, in millionths.
    pub drift_ppm: i64,
}

/// What befalls a schedule. Networks are numbered as virtual routers; `None`: all.
#[derive(Clone, Copy, Debug)]
pub enum Disturbance {
    /// Nothing gets from one node to another.
    CutOneWay {
        from: usize,
        to: usize,
        network: Option<usize>,
    },
    /// Nothing gets from one to the other or back.
    Cut {
        one: usize,
        other: usize,
        network: Option<usize>,
    },
    /// Nodes of which the bit is set hear nothing of the others and the others nothing of them.
    Partition {
        side: u8,
        network: Option<usize>,
    },
    /// All get through.
    Heal,
    /// The host stands still.
    Stall {
        node: usize,
        time: Ns,
    },
    /// The host is gone, with its addresses, and comes back, unless it stays away for good.
    Crash {
        node: usize,
        back_after: Option<Ns>,
    },
    /// The agent is gone, its addresses stay, and it comes back.
    Kill {
        node: usize,
        back_after: Ns,
    },
    /// The agent is stopped in order, and started.
    Restart {
        node: usize,
        back_after: Ns,
    },
    /// Something that a node depends on goes up or down.
    Condition {
        node: usize,
        weighted: bool,
        up: bool,
    },
    Release {
        node: usize,
        router: usize,
    },
    Claim {
        node: usize,
        router: usize,
    },
}

/// What befalls the master when all is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drill {
    Stop,
    Crash,
    Fault,
    Release,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let version = match random.percent(25) {
            true => Version::V2,
            false => Version::V3,
        };
        let interval = match version {
            Version::V2 => random.between(1, 3) * 1_000_000_000,
            Version::V3 => random.pick(&[10_000_000, 100_000_000, 1_000_000_000]),
        };
        let count = random.pick(&[2, 2, 2, 3, 3, 4, 5]);
        let routers = random.pick(&[1, 1, 1, 2, 2, ROUTERS]);
        let grouped = routers > 1 && random.percent(75);
        let unlike_intervals = version == Version::V3 && random.percent(10);
        let nodes = nodes(random, count, interval, unlike_intervals, grouped);
        let greatest = nodes
            .iter()
            .map(|node| node.interval)
            .max()
            .unwrap_or(interval);
        let least = nodes
            .iter()
            .map(|node| node.interval)
            .min()
            .unwrap_or(interval);

        let calm = random.between(4, 24) * greatest;
        let rough_delay = random.pick(&[least / 1000, least / 10, greatest, 2 * greatest]);
        let patience = nodes
            .iter()
            .map(|node| node.patience(version, greatest))
            .max();
        let patience = patience.unwrap_or_default();
        let delays = nodes.iter().map(NodePlan::preempt_delay).max();
        // What was delayed arrives; who lost time listens; silence; preemption, delayed or not.
        let settled = calm + rough_delay + 4 * greatest + 3 * patience + delays.unwrap_or_default();
        let end = settled + 4 * greatest + 2 * patience + delays.unwrap_or_default();
        let lasting_cut = random.percent(30);
        let component = |random: &mut Random| match lasting_cut {
            true => random.below(2) as u8,
            false => 0,
        };
        Self {
            version,
            routers,
            grouped,
            disturbances: disturbances(random, count, routers, calm, greatest),
            calm,
            settled,
            drill: random.pick(&[Drill::Stop, Drill::Crash, Drill::Fault, Drill::Release]),
            end,
            component: (0..count).map(|_| component(random)).collect(),
            loss: random.pick(&[0, 0, 5, 20, 50]),
            duplication: random.pick(&[0, 0, 10, 50]),
            rough_delay,
            calm_delay: least / 2000,
            rough_lateness: random.pick(&[0, least / 100, least / 3]),
            interval: greatest,
            nodes,
        }
    }

    /// What a node is configured with.
    pub fn setups(&self, node: usize) -> Vec<Setup> {
        let plan = &self.nodes[node];
        let setup = |router: usize| Setup {
            name: format!("VI_{router}"),
            parameters: Parameters {
                version: self.version,
                source: self.source(node, router),
                priority: NonZeroU8::new(plan.priority).expect("priorities are above zero"),
                advert_interval: Duration::from_nanos(plan.interval),
                down_adverts: NonZeroU8::new(plan.down_adverts).expect("it is above zero"),
                preempt: plan.preempt,
                announce_delay: Duration::from_nanos(plan.announce_delay),
                announce_refresh: Duration::from_nanos(plan.announce_refresh),
                promotion: Promotion::AtOnce,
            },
            tracked: match router {
                0 => plan.tracked.clone(),
                _ => Vec::new(),
            },
        };
        (0..self.routers).map(setup).collect()
    }

    /// The group of all virtual routers, if they move together.
    pub fn groups(&self) -> Vec<GroupSetup> {
        let group = GroupSetup {
            name: "VG".to_owned(),
            members: (0..self.routers).collect(),
            tracked: Vec::new(),
        };
        self.grouped.then_some(group).into_iter().collect()
    }

    /// Where a node's adverts come from.
    pub fn source(&self, node: usize, router: usize) -> IpAddr {
        IpAddr::from([192, 0, 2 + router as u8, self.nodes[node].host])
    }

    /// Whether two nodes hear each other when it is calm.
    pub fn together(&self, one: usize, other: usize) -> bool {
        self.component[one] == self.component[other]
    }
}

impl NodePlan {
    /// How long it waits at most for an advert, with the weakest priority it may have.
    fn patience(&self, version: Version, interval: Ns) -> Ns {
        let interval = Duration::from_nanos(interval);
        let patience = timers::master_down(version, 1, interval, self.down_adverts);
        patience.as_nanos() as Ns
    }

    fn preempt_delay(&self) -> Ns {
        match self.preempt {
            Preempt::Never => 0,
            Preempt::After(delay) => delay.as_nanos() as Ns,
        }
    }
}

/// What makes a fault.
pub fn fault_source() -> Source {
    Source::Script("check".to_owned())
}

/// What has a weight.
pub fn weight_source() -> Source {
    Source::Interface("uplink".to_owned())
}

fn nodes(
    random: &mut Random,
    count: usize,
    interval: Ns,
    unlike_intervals: bool,
    grouped: bool,
) -> Vec<NodePlan> {
    let owner = random.percent(10).then(|| random.index(count));
    // Equal priorities are left to addresses to decide.
    let equal = !grouped && random.percent(20);
    let step = random.pick(&[1, 10, 40]);
    let down_adverts = random.pick(&[3, 3, 3, 2, 5]);
    let announce_delay = random.pick(&[0, interval * 3 / 2, interval * 5]);
    let announce_refresh = random.pick(&[0, 0, 0, interval * 4]);
    let shift = random.index(count);
    let one = |place: usize| {
        let priority = match owner {
            Some(owner) if owner == place => 255,
            _ if equal => 100,
            _ => (50 + place as u64 * step) as u8,
        };
        let interval = match unlike_intervals {
            true => random.pick(&[interval, interval * 2, interval * 5]),
            false => interval,
        };
        let mut tracked = Vec::new();
        if random.percent(50) {
            tracked.push(Tracked {
                source: fault_source(),
                weight: 0,
            });
        }
        if random.percent(30) {
            let weight = random.pick(&[-253, -45, -15, 15, 45]);
            tracked.push(Tracked {
                source: weight_source(),
                weight,
            });
        }
        NodePlan {
            host: 1 + ((place + shift) % count) as u8,
            priority,
            interval,
            down_adverts,
            preempt: match random.below(4) {
                0 => Preempt::Never,
                1 => Preempt::After(Duration::from_nanos(random.between(1, 6) * interval)),
                _ => Preempt::After(Duration::ZERO),
            },
            announce_delay,
            announce_refresh,
            tracked,
            drift_ppm: random.between(0, 200) as i64 - 100,
        }
    };
    (0..count).map(one).collect()
}

fn disturbances(
    random: &mut Random,
    nodes: usize,
    routers: usize,
    calm: Ns,
    interval: Ns,
) -> Vec<(Ns, Disturbance)> {
    let count = random.between(1, 12);
    let one = |_| {
        let at = random.below(calm);
        let node = random.index(nodes);
        let other = (node + 1 + random.index(nodes - 1)) % nodes;
        let network = match random.percent(30) {
            true => Some(random.index(routers)),
            false => None,
        };
        let router = random.index(routers);
        let time = random.between(1, 100) * interval / 10;
        let disturbance = match random.below(16) {
            0 => Disturbance::CutOneWay {
                from: node,
                to: other,
                network,
            },
            1 => Disturbance::Cut {
                one: node,
                other,
                network,
            },
            2 | 3 => Disturbance::Partition {
                side: random.next() as u8,
                network,
            },
            4 | 5 => Disturbance::Heal,
            6 | 7 => Disturbance::Stall { node, time },
            8 => Disturbance::Crash {
                node,
                back_after: random.percent(80).then_some(time),
            },
            9 => Disturbance::Restart {
                node,
                back_after: time,
            },
            10 | 11 => Disturbance::Condition {
                node,
                weighted: random.percent(50),
                up: random.percent(60),
            },
            12 | 13 => Disturbance::Kill {
                node,
                back_after: time,
            },
            14 => Disturbance::Release { node, router },
            _ => Disturbance::Claim { node, router },
        };
        (at, disturbance)
    };
    let mut all: Vec<_> = (0..count).map(one).collect();
    all.sort_by_key(|(at, _)| *at);
    all
}
