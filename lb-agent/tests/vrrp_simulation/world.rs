//! The hosts and the networks between them, moved along by events in order of time.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use lb_agent::vrrp::fsm::{Action, Advert, Ownership, State};
use lb_agent::vrrp::node::{Node, Step};
use lb_agent::vrrp::tracking::Condition;

use crate::fault::{Fault, Heard};
use crate::plan::{Ns, Plan, ROUTERS, fault_source, weight_source};
use crate::promise::{self, Broken};
use crate::random::Random;

/// As many adverts as a socket keeps for a host that stands still.
const WAITING: usize = 64;
/// More events than any schedule has that does not run in circles.
const EVENTS: u64 = 100_000;

/// All of it.
pub struct World<'a> {
    pub plan: &'a Plan,
    pub hosts: Vec<Host>,
    pub now: Ns,
    pub counts: Counts,
    /// What happened, if anybody wants to read it.
    pub trace: Option<Vec<String>>,
    /// By router: since when it has had more than one master that hear each other.
    pub many_since: [Option<Ns>; ROUTERS],
    fault: Fault,
    random: Random,
    events: BinaryHeap<Reverse<(Ns, u64, Event)>>,
    sequence: u64,
    /// By network, from, to: whether nothing gets through.
    pub cut: [[[bool; 5]; 5]; ROUTERS],
    /// The same: when the last advert arrives. What is calm keeps the order.
    arrival: [[[Ns; 5]; 5]; ROUTERS],
}

/// What a schedule amounted to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub events: u64,
    pub adverts: u64,
    pub promotions: u64,
}

/// One host.
pub struct Host {
    /// `None`: it is switched off.
    pub node: Option<Node>,
    pub routers: [Router; ROUTERS],
    /// It stands still until then.
    pub stalled: Option<Ns>,
    pub waiting: VecDeque<(usize, Advert)>,
    /// The wake-up that counts.
    wake: u64,
    wake_at: Option<Instant>,
    pub up: [bool; 2],
}

/// What a host has of a virtual router.
#[derive(Clone, Copy, Debug, Default)]
pub struct Router {
    pub has_addresses: bool,
    pub is_owner: bool,
    /// When it was master last; while it is, `None`.
    pub master_until: Option<Ns>,
    pub was_master: bool,
    /// The operator has released it.
    pub released: bool,
    pub promotions: u32,
    /// Whom the clients beside this host send to.
    pub clients_send_to: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    Deliver {
        to: usize,
        router: usize,
        from: usize,
        priority: u8,
        interval: Ns,
    },
    Wake {
        host: usize,
        wake: u64,
    },
    Disturb(usize),
    Back {
        host: usize,
    },
    Resume {
        host: usize,
        until: Ns,
    },
}

impl<'a> World<'a> {
    pub fn new(plan: &'a Plan, seed: u64, fault: Fault, trace: bool) -> Self {
        let host = || Host {
            node: None,
            routers: Default::default(),
            stalled: None,
            waiting: VecDeque::new(),
            wake: 0,
            wake_at: None,
            up: [true, true],
        };
        let mut world = Self {
            plan,
            hosts: (0..plan.nodes.len()).map(|_| host()).collect(),
            now: 0,
            counts: Counts::default(),
            trace: trace.then(Vec::new),
            many_since: Default::default(),
            fault,
            random: Random::new(!seed),
            events: BinaryHeap::new(),
            sequence: 0,
            cut: Default::default(),
            arrival: Default::default(),
        };
        for (at, (time, _)) in plan.disturbances.iter().enumerate() {
            world.schedule(*time, Event::Disturb(at));
        }
        for host in 0..plan.nodes.len() {
            let start = world.random.below(plan.interval * 2);
            world.schedule(start, Event::Back { host });
        }
        world
    }

    /// Moves on to `end`, and looks at the promises after each event.
    pub fn run_until(&mut self, end: Ns) -> Result<(), Broken> {
        while let Some(Reverse((time, _, _))) = self.events.peek() {
            if *time > end {
                break;
            }
            let Some(Reverse((time, _, event))) = self.events.pop() else {
                break;
            };
            self.now = time;
            self.counts.events += 1;
            if self.counts.events > EVENTS {
                return Err(Broken::new("it runs in circles", self.now));
            }
            self.happen(event)?;
        }
        self.now = end;
        Ok(())
    }

    pub fn states(&self, host: usize) -> [Option<State>; ROUTERS] {
        let node = self.hosts[host].node.as_ref();
        std::array::from_fn(|router| Some(node?.machine(router)?.state()))
    }

    fn happen(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Deliver {
                to,
                router,
                from,
                priority,
                interval,
            } => {
                let advert = Advert {
                    source: self.plan.source(from, router),
                    priority,
                    interval: Duration::from_nanos(interval),
                };
                let host = &mut self.hosts[to];
                match (&host.node, host.stalled) {
                    (None, _) => Ok(()),
                    (Some(_), Some(_)) => {
                        if host.waiting.len() < WAITING {
                            host.waiting.push_back((router, advert));
                        }
                        Ok(())
                    }
                    (Some(_), None) => self.hear(to, router, advert),
                }
            }
            Event::Wake { host, wake } => {
                let found = &self.hosts[host];
                match found.wake == wake && found.stalled.is_none() {
                    true => self.turn(host),
                    false => Ok(()),
                }
            }
            Event::Disturb(at) => self.disturb(self.plan.disturbances[at].1),
            Event::Back { host } => self.start(host),
            Event::Resume { host, until } => match self.hosts[host].stalled == Some(until) {
                true => self.resume(host),
                false => Ok(()),
            },
        }
    }

    fn start(&mut self, host: usize) -> Result<(), Broken> {
        if self.hosts[host].node.is_some() {
            return Ok(());
        }
        self.note(|| format!("host {host} starts"));
        let groups = match self.fault {
            Fault::GroupForgotten => Vec::new(),
            _ => self.plan.groups(),
        };
        let now = self.instant(host);
        let mut node = Node::new(self.plan.setups(host), groups, now);
        for (place, source) in [fault_source(), weight_source()].into_iter().enumerate() {
            let condition = if self.hosts[host].up[place] {
                Condition::Up
            } else {
                Condition::Down
            };
            // Before the start there is nothing to do.
            let _ = node.on_condition(source, condition, now);
        }
        self.hosts[host].node = Some(node);
        let routers = self.hosts[host].routers.iter().enumerate();
        let left_behind = routers.filter(|(_, router)| router.has_addresses);
        let left_behind: BTreeSet<usize> = left_behind.map(|(place, _)| place).collect();
        // What is not adopted is taken away, as the shell does.
        for router in &mut self.hosts[host].routers {
            (router.has_addresses, router.is_owner) = (false, false);
        }
        self.tell(host, |node, now| node.start(&left_behind, now))
    }

    pub fn resume(&mut self, host: usize) -> Result<(), Broken> {
        if self.hosts[host].stalled.take().is_none() {
            return Ok(());
        }
        self.note(|| format!("host {host} goes on"));
        while let Some((router, advert)) = self.hosts[host].waiting.pop_front() {
            self.hear(host, router, advert)?;
        }
        self.turn(host)
    }

    fn turn(&mut self, host: usize) -> Result<(), Broken> {
        self.hosts[host].wake_at = None;
        self.tell(host, |node, now| node.on_timer(now))
    }

    fn hear(&mut self, host: usize, router: usize, mut advert: Advert) -> Result<(), Broken> {
        let Some(machine) = self.hosts[host]
            .node
            .as_ref()
            .and_then(|node| node.machine(router))
        else {
            return Ok(());
        };
        let parameters = machine.parameters();
        let was = machine.state();
        let own = (was, parameters.priority.get(), parameters.advert_interval);
        let heard = self.fault.distort(&mut advert, self.plan.version, own);
        if heard == Heard::Nothing {
            return Ok(());
        }
        let fault = self.fault;
        self.tell(host, |node, now| {
            let mut steps = node.on_packet(router, &advert, now);
            fault.curtail(&mut steps, was);
            if heard == Heard::AndClaims {
                steps.extend(node.claim(router, now));
            }
            steps
        })
    }

    /// Tells a host something, and does what it says.
    pub fn tell(
        &mut self,
        host: usize,
        something: impl FnOnce(&mut Node, Instant) -> Vec<Step>,
    ) -> Result<(), Broken> {
        let now = self.instant(host);
        let before = self.states(host);
        let Some(node) = self.hosts[host].node.as_mut() else {
            return Ok(());
        };
        let steps = something(node, now);
        promise::order(&before, &steps).map_err(|what| Broken::new(what, self.now))?;
        for step in &steps {
            self.carry_out(host, step);
        }
        self.note_states(host, &before);
        promise::addresses(self, host)?;
        promise::groups(self, host)?;
        promise::calm_promotions(self, host)?;
        promise::few_masters(self)?;
        self.wake_up(host);
        Ok(())
    }

    fn carry_out(&mut self, host: usize, step: &Step) {
        let router = step.instance;
        match &step.action {
            Action::SendAdvert { priority } => self.send(host, router, *priority),
            Action::SetOwnership(ownership) => {
                self.hosts[host].routers[router].is_owner = *ownership == Ownership::Ours;
            }
            Action::AddAddresses => self.hosts[host].routers[router].has_addresses = true,
            Action::RemoveAddresses => self.hosts[host].routers[router].has_addresses = false,
            Action::Announce(burst) => {
                self.note(|| format!("host {host} announces router {router}: {burst:?}"));
                for to in 0..self.hosts.len() {
                    if to == host || !self.cut[router][host][to] {
                        self.hosts[to].routers[router].clients_send_to = Some(host);
                    }
                }
            }
            Action::LogTransition(transition) => self.note(|| {
                let (old, new) = (transition.old.name(), transition.new.name());
                format!(
                    "host {host} router {router}: {old} -> {new}: {}",
                    transition.cause
                )
            }),
            Action::Report(notice) => {
                self.note(|| format!("host {host} router {router}: {notice}"));
            }
            Action::Notify { .. } => {}
        }
    }

    fn send(&mut self, from: usize, router: usize, priority: u8) {
        self.note(|| format!("host {from} router {router} sends {priority}"));
        self.counts.adverts += 1;
        let interval = self.plan.nodes[from].interval;
        let is_calm = self.now >= self.plan.calm;
        for to in 0..self.hosts.len() {
            if to == from || self.cut[router][from][to] {
                continue;
            }
            if !is_calm && self.random.percent(self.plan.loss) {
                continue;
            }
            let delay = match is_calm {
                true => self.plan.calm_delay,
                false => self.plan.rough_delay,
            };
            let copies = 1 + u64::from(self.random.percent(self.plan.duplication));
            for _ in 0..copies {
                let mut at = self.now + self.random.between(1, delay);
                if is_calm {
                    at = at.max(self.arrival[router][from][to] + 1);
                    self.arrival[router][from][to] = at;
                }
                self.schedule(
                    at,
                    Event::Deliver {
                        to,
                        router,
                        from,
                        priority,
                        interval,
                    },
                );
            }
        }
    }

    fn note_states(&mut self, host: usize, before: &[Option<State>; ROUTERS]) {
        let after = self.states(host);
        let now = self.now;
        for (router, (before, after)) in before.iter().zip(after).enumerate() {
            let found = &mut self.hosts[host].routers[router];
            let (was, is) = (*before == Some(State::Master), after == Some(State::Master));
            if is && !was {
                found.master_until = None;
                found.was_master = true;
                found.released = false;
                found.promotions += 1;
                self.counts.promotions += 1;
            }
            if was && !is {
                found.was_master = false;
                found.master_until = Some(now);
            }
        }
    }

    /// Has the host wake up at its next deadline, or somewhat later.
    fn wake_up(&mut self, host: usize) {
        let deadline = self.hosts[host].node.as_ref().and_then(Node::next_deadline);
        let found = &mut self.hosts[host];
        if deadline == found.wake_at {
            return;
        }
        found.wake_at = deadline;
        found.wake += 1;
        let wake = found.wake;
        let Some(deadline) = deadline else { return };
        let lateness = match self.now >= self.plan.calm {
            true => self.plan.calm_delay,
            false => self.plan.rough_lateness,
        };
        let late = self.random.below(lateness + 1);
        let at = self.true_time(host, deadline).max(self.now) + late;
        self.schedule(at, Event::Wake { host, wake });
    }

    pub fn schedule(&mut self, at: Ns, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at, self.sequence, event)));
    }

    /// The time on a host's clock. Every clock has an origin and a rate of its own; none of them can be set.
    fn instant(&self, host: usize) -> Instant {
        let drift = self.now as i64 / 1_000_000 * self.plan.nodes[host].drift_ppm;
        origin(host) + Duration::from_nanos(self.now.saturating_add_signed(drift))
    }

    /// When a host's clock will show `instant`, or just after.
    fn true_time(&self, host: usize, instant: Instant) -> Ns {
        let shown = instant.saturating_duration_since(origin(host)).as_nanos() as i64;
        let drift = shown / 1_000_000 * self.plan.nodes[host].drift_ppm;
        // Late by no more than a millionth of a millionth of the schedule and two steps of the drift.
        (shown - drift + shown / 50_000_000 + 200) as Ns
    }

    pub fn note(&mut self, words: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let seconds = self.now as f64 / 1e9;
            trace.push(format!("{seconds:12.6}  {}", words()));
        }
    }
}

/// When a host's clock began.
fn origin(host: usize) -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(|| Instant::now() + Duration::from_secs(3600));
    start + Duration::from_secs(1000 * host as u64)
}
