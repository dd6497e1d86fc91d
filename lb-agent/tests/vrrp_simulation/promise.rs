//! What must be so, whatever happens.

use lb_agent::vrrp::fsm::{Action, Cause, Ownership, Preempt, State, Transition};
use lb_agent::vrrp::node::Step;

use crate::plan::{Ns, ROUTERS};
use crate::world::World;

/// A promise that was not kept.
#[derive(Clone, Debug)]
pub struct Broken {
    pub what: String,
    pub at: Ns,
}

impl Broken {
    pub fn new(what: impl Into<String>, at: Ns) -> Self {
        Self {
            what: what.into(),
            at,
        }
    }
}

/// Promotion: advert, ownership, addresses, announcement. Demotion: addresses, ownership. Adverts and announcements are a
/// master's alone.
pub fn order(before: &[Option<State>; ROUTERS], steps: &[Step]) -> Result<(), String> {
    for (router, before) in before.iter().enumerate() {
        let mut is_master = *before == Some(State::Master);
        // Who goes on where an earlier life was cut off listens first.
        let adopts = |step: &Step| {
            let adopted = |transition: &Transition| transition.cause == Cause::Adopted;
            step.instance == router
                && matches!(&step.action, Action::LogTransition(transition) if adopted(transition))
        };
        let mut advertised = is_master || steps.iter().any(adopts);
        let mut owns = is_master;
        let mut has_addresses = is_master;
        for step in steps.iter().filter(|step| step.instance == router) {
            let right = match &step.action {
                Action::SendAdvert { priority: 0 } => is_master,
                Action::SendAdvert { .. } => {
                    advertised = true;
                    true
                }
                Action::SetOwnership(Ownership::Ours) => {
                    owns = true;
                    advertised
                }
                Action::AddAddresses => {
                    has_addresses = true;
                    owns
                }
                Action::Announce(_) => has_addresses,
                Action::RemoveAddresses => {
                    has_addresses = false;
                    owns
                }
                Action::SetOwnership(Ownership::NotOurs) => {
                    (owns, advertised) = (false, false);
                    !has_addresses
                }
                Action::LogTransition(transition) => {
                    is_master = transition.new == State::Master;
                    (owns, has_addresses) == (is_master, is_master)
                }
                Action::Notify { .. } | Action::Report(_) => true,
            };
            if !right {
                return Err(format!(
                    "router {router}: {:?} out of order in {steps:?}",
                    step.action
                ));
            }
        }
    }
    Ok(())
}

/// Addresses and ownership are where the master is.
pub fn addresses(world: &World<'_>, host: usize) -> Result<(), Broken> {
    let states = world.states(host);
    for (router, found) in world.hosts[host].routers.iter().enumerate() {
        let is_master = states[router] == Some(State::Master);
        if (found.has_addresses, found.is_owner) != (is_master, is_master) {
            let what = format!(
                "host {host} router {router}: {:?} with {found:?}",
                states[router]
            );
            return Err(Broken::new(what, world.now));
        }
    }
    Ok(())
}

/// Members of a group are master together or not at all.
pub fn groups(world: &World<'_>, host: usize) -> Result<(), Broken> {
    if !world.plan.grouped {
        return Ok(());
    }
    let states = &world.states(host)[..world.plan.routers];
    let masters = states
        .iter()
        .filter(|state| **state == Some(State::Master))
        .count();
    if masters != 0 && masters != states.len() {
        return Err(Broken::new(
            format!("host {host} is half master: {states:?}"),
            world.now,
        ));
    }
    Ok(())
}

/// Once it is calm, nobody is promoted again and again.
pub fn calm_promotions(world: &World<'_>, host: usize) -> Result<(), Broken> {
    const MOST: u32 = 4;
    if world.now <= world.plan.calm {
        return Ok(());
    }
    for (router, found) in world.hosts[host].routers.iter().enumerate() {
        if found.promotions > MOST {
            let what = format!(
                "host {host} router {router} was promoted {} times",
                found.promotions
            );
            return Err(Broken::new(what, world.now));
        }
    }
    Ok(())
}

/// Once it is calm, two masters that hear each other are soon one: who lost time listens for one interval and a half, and
/// then speaks in turn.
pub fn few_masters(world: &mut World<'_>) -> Result<(), Broken> {
    if world.now <= world.plan.calm {
        return Ok(());
    }
    let longest = 3 * world.plan.interval;
    let count = world.hosts.len();
    for router in 0..world.plan.routers {
        let is_master = |host: &usize| world.hosts[*host].routers[router].was_master;
        let masters = |host: usize| {
            let all = (0..count).filter(is_master);
            all.filter(|other| world.plan.together(host, *other))
                .count()
        };
        let most = (0..count)
            .filter(is_master)
            .map(masters)
            .max()
            .unwrap_or_default();
        match (most, world.many_since[router]) {
            (0 | 1, _) => world.many_since[router] = None,
            (_, None) => world.many_since[router] = Some(world.now),
            (_, Some(since)) if world.now - since <= longest => {}
            (_, Some(_)) => {
                let what = format!("router {router} has {most} masters for three intervals");
                return Err(Broken::new(what, world.now));
            }
        }
    }
    Ok(())
}

/// Every part of a network has one master, the right one, and its clients know it.
pub fn settled(world: &World<'_>) -> Result<(), Broken> {
    for router in 0..world.plan.routers {
        for host in 0..world.hosts.len() {
            settled_around(world, router, host)
                .map_err(|what| Broken::new(format!("router {router}: {what}"), world.now))?;
        }
    }
    Ok(())
}

/// The master among those that hear `host`.
pub fn master_near(world: &World<'_>, router: usize, host: usize) -> Option<usize> {
    (0..world.hosts.len())
        .filter(|other| world.plan.together(host, *other))
        .find(|other| world.states(*other)[router] == Some(State::Master))
}

fn settled_around(world: &World<'_>, router: usize, host: usize) -> Result<(), String> {
    let state = |host: usize| world.states(host)[router];
    let together = || (0..world.hosts.len()).filter(|other| world.plan.together(host, *other));
    let masters: Vec<_> = together()
        .filter(|&other| state(other) == Some(State::Master))
        .collect();
    let able = together()
        .filter(|&other| matches!(state(other), Some(State::Backup | State::Master)))
        .count();
    let master = match (masters.as_slice(), able) {
        ([], 0) => return Ok(()),
        ([master], _) => *master,
        (masters, _) => {
            return Err(format!(
                "{} masters near host {host}: {masters:?}",
                masters.len()
            ));
        }
    };
    let priority = |host: usize| {
        let machine = world.hosts[host]
            .node
            .as_ref()
            .and_then(|node| node.machine(router));
        machine.map_or(0, |machine| machine.parameters().priority.get())
    };
    for other in together().filter(|&other| state(other) == Some(State::Backup)) {
        let is_owner = priority(other) == 255;
        let preempts = is_owner || world.plan.nodes[other].preempt != Preempt::Never;
        let stronger = priority(other) > priority(master);
        // With a group, each member has its say.
        let released = world.hosts[other]
            .routers
            .iter()
            .any(|router| router.released);
        if stronger && preempts && !released {
            return Err(format!("host {other} does not preempt host {master}"));
        }
    }
    for client in together() {
        let Some(told) = world.hosts[client].routers[router].clients_send_to else {
            continue;
        };
        let until = world.hosts[told].routers[router].master_until;
        let lost_it_lately = until.is_some_and(|until| until >= world.plan.calm);
        if told != master && world.plan.together(told, master) && lost_it_lately {
            return Err(format!(
                "clients beside host {client} send to {told}, not to {master}"
            ));
        }
    }
    Ok(())
}
