//! What befalls hosts and networks, done to the world.

use lb_agent::vrrp::fsm::State;
use lb_agent::vrrp::tracking::Condition;

use crate::plan::{Disturbance, Ns, ROUTERS, fault_source, weight_source};
use crate::promise::Broken;
use crate::world::{Event, Router, World};

impl World<'_> {
    /// Disturbances end.
    pub fn calm_down(&mut self) -> Result<(), Broken> {
        self.note(|| "--- calm".to_owned());
        let count = self.hosts.len();
        for network in 0..ROUTERS {
            for from in 0..count {
                for to in 0..count {
                    self.cut[network][from][to] = !self.plan.together(from, to);
                }
            }
        }
        for host in 0..count {
            self.resume(host)?;
        }
        Ok(())
    }

    /// Switches a host off.
    pub fn crash(&mut self, host: usize) {
        self.note(|| format!("host {host} crashes"));
        let now = self.now;
        let found = &mut self.hosts[host];
        found.node = None;
        found.waiting.clear();
        found.stalled = None;
        for router in &mut found.routers {
            let was_master = router.was_master;
            *router = Router {
                master_until: if was_master {
                    Some(now)
                } else {
                    router.master_until
                },
                clients_send_to: router.clients_send_to,
                promotions: router.promotions,
                ..Router::default()
            };
        }
    }

    /// Ends an agent without a word, and leaves its addresses where they are.
    fn kill(&mut self, host: usize) {
        let left = self.hosts[host].routers.map(|router| router.has_addresses);
        self.crash(host);
        for (router, left) in self.hosts[host].routers.iter_mut().zip(left) {
            (router.has_addresses, router.is_owner) = (left, left);
        }
    }

    pub fn stop(&mut self, host: usize) -> Result<(), Broken> {
        self.note(|| format!("host {host} stops"));
        self.tell(host, |node, now| node.stop(now))?;
        for router in &mut self.hosts[host].routers {
            router.released = false;
        }
        self.hosts[host].node = None;
        Ok(())
    }

    pub fn release(&mut self, host: usize, router: usize) -> Result<(), Broken> {
        self.note(|| format!("host {host} releases router {router}"));
        let states = self.states(host);
        let together = 0..self.plan.routers;
        for other in together.filter(|other| *other == router || self.plan.grouped) {
            if states[other] != Some(State::Init) {
                self.hosts[host].routers[other].released = true;
            }
        }
        self.tell(host, |node, now| node.release(router, now))
    }

    pub fn condition(&mut self, host: usize, weighted: bool, up: bool) -> Result<(), Broken> {
        self.note(|| format!("host {host}: weighted {weighted} is up: {up}"));
        self.hosts[host].up[usize::from(weighted)] = up;
        let source = if weighted {
            weight_source()
        } else {
            fault_source()
        };
        let condition = if up { Condition::Up } else { Condition::Down };
        self.tell(host, |node, now| node.on_condition(source, condition, now))
    }

    pub fn disturb(&mut self, disturbance: Disturbance) -> Result<(), Broken> {
        self.note(|| format!("{disturbance:?}"));
        let count = self.hosts.len();
        let networks = |network: Option<usize>| match network {
            Some(one) => one..one + 1,
            None => 0..ROUTERS,
        };
        match disturbance {
            Disturbance::CutOneWay { from, to, network } => {
                networks(network).for_each(|network| self.cut[network][from][to] = true);
            }
            Disturbance::Cut {
                one,
                other,
                network,
            } => networks(network).for_each(|network| {
                self.cut[network][one][other] = true;
                self.cut[network][other][one] = true;
            }),
            Disturbance::Partition { side, network } => {
                let apart = |one: usize, other: usize| (side >> one ^ side >> other) & 1 == 1;
                for network in networks(network) {
                    for from in 0..count {
                        for to in 0..count {
                            self.cut[network][from][to] = apart(from, to);
                        }
                    }
                }
            }
            Disturbance::Heal => self.cut = Default::default(),
            Disturbance::Stall { node, time } => {
                let until = self.now + time;
                if self.hosts[node].node.is_some() && self.hosts[node].stalled.is_none() {
                    self.hosts[node].stalled = Some(until);
                    self.schedule(until, Event::Resume { host: node, until });
                }
            }
            Disturbance::Crash { node, back_after } => {
                if self.hosts[node].node.is_some() {
                    self.crash(node);
                    if let Some(time) = back_after {
                        self.come_back(node, time);
                    }
                }
            }
            Disturbance::Kill { node, back_after } => {
                if self.hosts[node].node.is_some() {
                    self.kill(node);
                    self.come_back(node, back_after);
                }
            }
            Disturbance::Restart { node, back_after } => {
                if self.is_awake(node) {
                    self.stop(node)?;
                    self.come_back(node, back_after);
                }
            }
            Disturbance::Condition { node, weighted, up } => {
                if self.is_awake(node) {
                    self.condition(node, weighted, up)?;
                }
            }
            Disturbance::Release { node, router } => {
                if self.is_awake(node) {
                    self.release(node, router)?;
                }
            }
            Disturbance::Claim { node, router } => {
                if self.is_awake(node) {
                    self.tell(node, |node, now| node.claim(router, now))?;
                }
            }
        }
        Ok(())
    }

    /// When it is calm, all are back that ever will be.
    fn come_back(&mut self, host: usize, after: Ns) {
        let at = (self.now + after).min(self.plan.calm);
        self.schedule(at, Event::Back { host });
    }

    fn is_awake(&self, host: usize) -> bool {
        self.hosts[host].node.is_some() && self.hosts[host].stalled.is_none()
    }
}
