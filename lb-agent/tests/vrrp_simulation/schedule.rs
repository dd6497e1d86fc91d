//! One schedule from beginning to end.

use lb_agent::vrrp::fsm::State;
use lb_agent::vrrp::packet::Version;

use crate::fault::Fault;
use crate::plan::{Drill, Plan, fault_source};
use crate::promise::{self, Broken};
use crate::world::{Counts, World};

/// A schedule in which a promise was not kept.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub broken: Broken,
    /// What led to it.
    pub trace: Vec<String>,
}

/// Whether what happens is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    Off,
    On,
}

/// Runs the schedule of a seed. A failure is run once more to be written down.
pub fn run(seed: u64, fault: Fault) -> Result<Counts, Failure> {
    match attempt(seed, fault, Trace::Off) {
        (Ok(counts), _) => Ok(counts),
        (Err(_), _) => {
            let (again, trace) = attempt(seed, fault, Trace::On);
            let broken = again.expect_err("a schedule follows from its seed");
            Err(Failure {
                seed,
                broken,
                trace,
            })
        }
    }
}

/// Runs the schedule of a seed, and says what happened.
pub fn attempt(seed: u64, fault: Fault, trace: Trace) -> (Result<Counts, Broken>, Vec<String>) {
    let plan = Plan::new(seed);
    let mut world = World::new(&plan, seed, fault, trace == Trace::On);
    let outcome = live(&mut world);
    let trace = world.trace.take().unwrap_or_default();
    (outcome.map(|()| world.counts), trace)
}

fn live(world: &mut World<'_>) -> Result<(), Broken> {
    let plan = world.plan;
    world.run_until(plan.calm)?;
    for host in &mut world.hosts {
        host.routers
            .iter_mut()
            .for_each(|router| router.promotions = 0);
    }
    world.calm_down()?;
    world.run_until(plan.settled)?;
    promise::settled(world)?;
    drill(world)
}

/// The master goes, and whoever should take over does, once, and nobody else.
fn drill(world: &mut World<'_>) -> Result<(), Broken> {
    let plan = world.plan;
    let fails_alone = |host: usize| {
        let tracked = &plan.nodes[host].tracked;
        tracked
            .iter()
            .any(|tracked| tracked.weight == 0 && tracked.source == fault_source())
    };
    let count = world.hosts.len();
    let found = (0..count).find(|&host| promise::master_near(world, 0, host) == Some(host));
    let Some(master) = found else { return Ok(()) };
    for host in &mut world.hosts {
        host.routers
            .iter_mut()
            .for_each(|router| router.promotions = 0);
    }
    match plan.drill {
        Drill::Fault if fails_alone(master) => world.condition(master, false, false)?,
        Drill::Fault | Drill::Stop => world.stop(master)?,
        Drill::Crash => world.crash(master),
        Drill::Release => world.release(master, 0)?,
    }
    let left = heirs(world, master);
    world.run_until(plan.end)?;
    promise::settled(world)?;
    let promoted = |host: usize| world.hosts[host].routers[0].promotions > 0;
    let others = (0..count).filter(|&host| promoted(host) && plan.together(host, master));
    let others: Vec<_> = others.collect();
    match left {
        Heirs::Anyone => Ok(()),
        Heirs::Only(heir) if others == [heir] => Ok(()),
        Heirs::Only(heir) => {
            let what = format!(
                "host {heir} was to follow host {master}, but these were promoted: {others:?}"
            );
            Err(Broken::new(what, world.now))
        }
    }
}

/// Who is to follow a master.
enum Heirs {
    /// The strongest, alone: it is quicker than the others by more than adverts take.
    Only(usize),
    /// It cannot be said.
    Anyone,
}

fn heirs(world: &World<'_>, master: usize) -> Heirs {
    let plan = world.plan;
    let unlike = plan.nodes.iter().any(|node| node.interval != plan.interval);
    if unlike {
        return Heirs::Anyone;
    }
    let backups = (0..world.hosts.len()).filter(|&host| {
        host != master
            && plan.together(host, master)
            && world.states(host)[0] == Some(State::Backup)
    });
    let priority = |host: usize| {
        let machine = world.hosts[host]
            .node
            .as_ref()
            .and_then(|node| node.machine(0));
        machine.map_or(0, |machine| machine.parameters().priority.get())
    };
    let mut ranked: Vec<(u8, usize)> = backups.map(|host| (priority(host), host)).collect();
    ranked.sort_unstable();
    let Some((best, heir)) = ranked.pop() else {
        return Heirs::Anyone;
    };
    let next = ranked.last().map_or(0, |(priority, _)| *priority);
    // One step of priority, in the time of skew.
    let step = match plan.version {
        Version::V2 => 1_000_000_000 / 256,
        Version::V3 => plan.interval / 256,
    };
    let ahead = u64::from(best.saturating_sub(next)) * step;
    // An advert there, one timer late, and one advert back, on clocks that differ by 200 ppm over five intervals.
    let needed = 4 * plan.calm_delay + plan.interval / 500;
    match ahead > needed && !ranked.is_empty() || ranked.is_empty() {
        true => Heirs::Only(heir),
        false => Heirs::Anyone,
    }
}
