//! One small world: a service, its servers as they really are, and clients who know what they have opened.

use super::{Fault, random::Random};
use crate::{
    balance::term::{Limits, Standing},
    model::{Idle, Protocol, Rules, Service, Verdict},
};
use lb_common::{Reason, Scheduling, Segment, Tag, Tenure};
use memory::Clients;
use std::{collections::BTreeMap, fmt::Write as _};

mod memory;

const SLOTS: usize = 8;
const SERVERS: u32 = 5;
const IDLE_S: u64 = 60;
const FIN_S: u64 = 20;
const UDP_LEARN_S: u64 = 8;

/// A server as it really is; what the agent believes follows at its next commit.
#[derive(Clone, Copy, Debug)]
struct Server {
    is_configured: bool,
    is_up: bool,
    weight: u16,
    max_connections: u32,
}

/// A connection as its client knows it.
#[derive(Clone, Copy, Debug)]
struct Connection {
    tag: Tag,
    client: Tag,
    server: u32,
    /// Only SYNs were sent, the first while it was remembered where it went.
    opening: Option<Opening>,
    is_over: bool,
    used_s: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    Remembered,
    Computed,
}

pub struct World {
    random: Random,
    service: Service,
    protocol: Protocol,
    scheduling: Scheduling,
    servers: BTreeMap<u32, Server>,
    connections: Vec<Connection>,
    clients: Clients,
    now_s: u64,
    agent_is_alive: bool,
    story: String,
}

impl World {
    pub fn new(seed: u64, fault: Fault) -> Self {
        let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let protocol = if random.one_in(3) {
            Protocol::Udp
        } else {
            Protocol::Tcp
        };
        let scheduling = memory::scheduling(&mut random);
        let rules = Rules {
            protocol,
            scheduling,
            persistence_s: memory::PERSISTENCE_S as u32,
            window_s: match protocol {
                Protocol::Tcp => IDLE_S + random.below(20),
                Protocol::Udp => UDP_LEARN_S,
            },
            idle: Idle {
                tcp_s: IDLE_S as u32,
                tcp_fin_s: FIN_S as u32,
                udp_s: IDLE_S as u32,
            },
            limits: Limits {
                drain_s: 10 + random.below(100),
                dead_hold_s: random.below(8),
            },
        };
        let mut service = Service::new(rules, SLOTS);
        service.fault = fault;
        let servers = (1..=SERVERS)
            .map(|id| {
                let server = Server {
                    is_configured: id <= 3,
                    is_up: true,
                    weight: 1 + random.below(3) as u16,
                    max_connections: memory::limit(&mut random, scheduling),
                };
                (id, server)
            })
            .collect();
        let mut world = Self {
            now_s: 1_000 + random.below(1 << 20),
            random,
            service,
            protocol,
            scheduling,
            servers,
            connections: Vec::new(),
            clients: Clients::default(),
            agent_is_alive: true,
            story: String::new(),
        };
        world.commit();
        world
    }

    /// Something happens.
    pub fn step(&mut self) -> Result<(), String> {
        match self.random.below(100) {
            0..20 => self.open(),
            20..55 => self.send(),
            55..60 => self.repeat_syn(),
            60..64 => self.finish(),
            64..67 => self.reuse(),
            67..70 => self.stray(),
            70..84 => self.change(),
            84..86 => self.restart(),
            _ => {
                let most = if self.random.one_in(6) { 50 } else { 6 };
                let seconds = 1 + self.random.below(most);
                self.pass(seconds);
                Ok(())
            }
        }
    }

    /// Everything comes to rest: nothing is remembered for longer than it is needed.
    pub fn end(mut self) -> Result<(), String> {
        self.agent_is_alive = true;
        self.commit();
        self.connections.clear();
        self.pass(300);
        let unsettled = self
            .service
            .slots()
            .iter()
            .filter(|slot| !slot.is_settled())
            .count();
        let is_known = !self.service.clients().is_empty();
        if unsettled > 0 || is_known || !self.service.flows().is_empty() {
            let flows = self.service.flows().len();
            return self.fail(&format!(
                "at rest {unsettled} slots are not settled, {flows} flows remembered"
            ));
        }
        Ok(())
    }

    fn tell(&mut self, what: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.story, "{:8} {what}", self.now_s);
    }

    fn fail<T>(&mut self, what: &str) -> Result<T, String> {
        self.tell(format_args!("{what}"));
        for slot in self.service.slots() {
            let _ = writeln!(self.story, "         {slot:?}");
        }
        Err(std::mem::take(&mut self.story))
    }

    /// What the agent believes, and what follows for each slot (rendezvous hashing, weighted).
    fn commit(&mut self) {
        if !self.agent_is_alive {
            return;
        }
        let standings: BTreeMap<u32, Standing> = self
            .servers
            .iter()
            .filter(|(_, server)| server.is_configured)
            .map(|(&id, server)| {
                let standing = match server {
                    Server { is_up: false, .. } => Standing::Dead,
                    Server { weight: 0, .. } => Standing::Drained,
                    _ => Standing::Serving,
                };
                (id, standing)
            })
            .collect();
        if self.scheduling.is_stateful() {
            self.enlist(&standings);
            return;
        }
        let servers = &self.servers;
        let owner = |place: usize| {
            let serving = standings
                .iter()
                .filter(|(_, standing)| **standing == Standing::Serving);
            serving
                .map(|(&id, _)| {
                    let draw = Random((place as u64) << 32 | u64::from(id)).next() >> 11;
                    let unit = (draw as f64 + 0.5) / (1_u64 << 53) as f64;
                    (id, -unit.ln() / f64::from(servers[&id].weight))
                })
                .min_by(|a, b| a.1.total_cmp(&b.1))
                .map(|(id, _)| id)
        };
        self.service.commit(&standings, owner, self.now_s);
    }

    fn change(&mut self) -> Result<(), String> {
        let id = 1 + self.random.below(SERVERS.into()) as u32;
        let kind = self.random.below(4);
        let weight = self.random.below(4) as u16;
        let flaps = self.random.one_in(3);
        let Some(server) = self.servers.get_mut(&id) else {
            return Ok(());
        };
        let before = *server;
        match kind {
            0 => server.is_configured = !server.is_configured,
            1 => server.weight = weight,
            _ => server.is_up = !server.is_up,
        }
        let after = *server;
        self.tell(format_args!("server {id}: {after:?}"));
        self.commit();
        if flaps {
            let seconds = self.random.below(4);
            self.pass(seconds);
            self.servers.insert(id, before);
            self.tell(format_args!("server {id}: {before:?}"));
            self.commit();
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), String> {
        if self.agent_is_alive {
            self.tell(format_args!("the agent dies"));
            self.agent_is_alive = false;
        } else {
            self.tell(format_args!("the agent is back"));
            self.agent_is_alive = true;
            self.service.restart(self.now_s);
            let fault = self.service.fault;
            fault.after_restart(&mut self.service, self.now_s);
            self.commit();
        }
        Ok(())
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now_s += 1;
            if self.agent_is_alive {
                self.service.tick(self.now_s);
                // Who was removed and has had its time is forgotten with its connections.
                let backends = self.service.backends();
                self.connections
                    .retain(|connection| backends.contains_key(&connection.server));
                self.clients.forget_those_not_of(backends);
            }
        }
    }

    fn tenure(&self, id: u32) -> Tenure {
        self.service
            .backends()
            .get(&id)
            .map_or(Tenure::Released, |backend| backend.term.tenure)
    }

    fn is_serving(&self, id: u32) -> bool {
        self.service
            .backends()
            .get(&id)
            .is_some_and(|backend| backend.standing == Standing::Serving)
    }

    fn decide(&mut self, tag: Tag, client: Tag, segment: Segment) -> Verdict {
        let verdict = self.service.decide_for(tag, client, segment);
        self.tell(format_args!(
            "{:x} of {:x} {segment:?}: {verdict:?}",
            tag.0, client.0
        ));
        verdict
    }

    fn open(&mut self) -> Result<(), String> {
        let tag = Tag(self.random.next());
        let client = Tag(self.random.below(6));
        self.open_with(tag, client)
    }

    /// A client opens a connection; nothing else may have the same addresses and ports.
    fn open_with(&mut self, tag: Tag, client: Tag) -> Result<(), String> {
        self.connections.retain(|connection| connection.tag != tag);
        let is_computed = self.is_computed(tag);
        // Its end was not seen: it ended before the window began.
        let is_known = self
            .service
            .flows()
            .get(tag)
            .is_some_and(|flow| !flow.state.is_over());
        let segment = match self.protocol {
            Protocol::Tcp => Segment::Syn,
            Protocol::Udp => Segment::Datagram,
        };
        let choice = self.before_choice(client, is_known);
        match self.decide(tag, client, segment) {
            Verdict::To(server) => {
                if let Some(fault) = choice.and_then(|choice| choice.fault_of(server)) {
                    return self.fail(&fault);
                }
                // Datagrams of an unknown flow count as an old one's while that is learnt.
                let is_learnt = self.protocol == Protocol::Udp && !self.scheduling.is_stateful();
                let may_be_old = is_known || is_learnt;
                let is_kept = may_be_old && self.tenure(server) == Tenure::Keeps;
                if !(self.is_serving(server) || is_kept) {
                    return self.fail(&format!(
                        "a new connection went to {server}, which takes none"
                    ));
                }
                let opening = (self.protocol == Protocol::Tcp).then_some(if is_computed {
                    Opening::Computed
                } else {
                    Opening::Remembered
                });
                self.clients.uses(client, server, self.now_s);
                self.connections.push(Connection {
                    tag,
                    client,
                    server,
                    opening,
                    is_over: false,
                    used_s: self.now_s,
                });
            }
            Verdict::Dropped(Reason::NoRealServer)
                if !self.servers.keys().any(|&id| self.is_serving(id)) => {}
            Verdict::Dropped(Reason::AllFull)
                if choice.is_some_and(|choice| choice.has_no_room()) => {}
            Verdict::Dropped(reason) => {
                return self.fail(&format!("a new connection was dropped: {reason:?}"));
            }
        }
        Ok(())
    }

    /// One that was not silent for longer than it may be.
    fn pick(&mut self, wanted: impl Fn(&Connection) -> bool) -> Option<usize> {
        let (now_s, protocol) = (self.now_s, self.protocol);
        let is_stateful = self.scheduling.is_stateful();
        self.connections.retain(|connection| {
            let limit = match protocol {
                Protocol::Udp if !is_stateful => UDP_LEARN_S,
                Protocol::Udp => IDLE_S,
                Protocol::Tcp if connection.is_over => FIN_S,
                Protocol::Tcp => IDLE_S,
            };
            now_s - connection.used_s < limit
        });
        let candidates: Vec<usize> = (0..self.connections.len())
            .filter(|&at| wanted(&self.connections[at]))
            .collect();
        let pick = self.random.below(candidates.len().max(1) as u64) as usize;
        candidates.get(pick).copied()
    }

    fn send(&mut self) -> Result<(), String> {
        let Some(at) = self.pick(|_| true) else {
            return Ok(());
        };
        let segment = match self.protocol {
            Protocol::Tcp => Segment::Data,
            Protocol::Udp => Segment::Datagram,
        };
        self.use_connection(at, segment).map(drop)
    }

    fn finish(&mut self) -> Result<(), String> {
        if self.protocol == Protocol::Udp {
            return Ok(());
        }
        let Some(at) = self.pick(|connection| connection.opening.is_none()) else {
            return Ok(());
        };
        if self.random.one_in(3) {
            if self.use_connection(at, Segment::Rst)? {
                self.connections.swap_remove(at);
            }
        } else if self.use_connection(at, Segment::Fin)? {
            self.connections[at].is_over = true;
        }
        Ok(())
    }

    /// A packet of a connection must reach its server. False: the connection is no more.
    fn use_connection(&mut self, at: usize, segment: Segment) -> Result<bool, String> {
        let connection = self.connections[at];
        let server = connection.server;
        let tenure = self.tenure(server);
        // Without an entry, flows of one that was removed count as the next settled owner's, also where it was added again.
        let is_gone =
            tenure == Tenure::Released && self.service.flows().get(connection.tag).is_none();
        let verdict = self.decide(connection.tag, connection.client, segment);
        match (tenure, verdict) {
            (Tenure::Keeps, Verdict::To(to)) if to == server => {
                self.clients.goes_on(&connection, segment, self.now_s);
                self.connections[at].used_s = self.now_s;
                self.connections[at].opening = None;
                Ok(true)
            }
            (Tenure::Keeps, _) => self.fail(&format!(
                "a connection to {server}, which keeps its flows, was broken"
            )),
            (Tenure::Holds, Verdict::Dropped(Reason::RealServerDead))
                if self.protocol == Protocol::Tcp =>
            {
                // The client repeats it; the server may have come back until then.
                Ok(true)
            }
            (Tenure::Holds, _) if self.protocol == Protocol::Tcp => {
                self.fail(&format!("a connection to {server} was not held"))
            }
            (_, Verdict::To(to))
                if !(self.is_serving(to) || is_gone && self.tenure(to) == Tenure::Keeps) =>
            {
                self.fail(&format!("a flow was moved to {to}, which takes none"))
            }
            (_, Verdict::To(to)) if self.protocol == Protocol::Udp => {
                self.clients.uses(connection.client, to, self.now_s);
                self.connections[at].server = to;
                self.connections[at].used_s = self.now_s;
                Ok(true)
            }
            // Reset by another server, or nobody is there.
            (Tenure::Holds | Tenure::Released, Verdict::To(_) | Verdict::Dropped(_)) => {
                self.connections.swap_remove(at);
                Ok(false)
            }
        }
    }

    /// The client has had no answer yet.
    fn repeat_syn(&mut self) -> Result<(), String> {
        let Some(at) = self.pick(|connection| connection.opening.is_some()) else {
            return Ok(());
        };
        let connection = self.connections[at];
        let is_computed = self.is_computed(connection.tag);
        let is_kept = self.tenure(connection.server) == Tenure::Keeps;
        // One whose first SYN was not remembered cannot be told from a new one: it may go elsewhere after a change.
        let is_bound = is_kept
            && connection.opening == Some(Opening::Remembered)
            && self.service.flows().get(connection.tag).is_some();
        match self.decide(connection.tag, connection.client, Segment::Syn) {
            Verdict::To(to) if to == connection.server => {
                self.connections[at].used_s = self.now_s;
            }
            _ if is_bound => {
                return self.fail(&format!(
                    "a repeated SYN did not reach {}",
                    connection.server
                ));
            }
            Verdict::To(to) => {
                let client = connection.client;
                self.clients.uses(client, to, self.now_s);
                let connection = &mut self.connections[at];
                connection.server = to;
                connection.used_s = self.now_s;
                connection.opening = Some(if is_computed {
                    Opening::Computed
                } else {
                    Opening::Remembered
                });
            }
            Verdict::Dropped(_) => {
                self.connections.swap_remove(at);
            }
        }
        Ok(())
    }

    /// The client uses the addresses and ports of a connection that is over for a new one.
    fn reuse(&mut self) -> Result<(), String> {
        match self.pick(|connection| connection.is_over) {
            Some(at) => {
                let Connection { tag, client, .. } = self.connections[at];
                self.open_with(tag, client)
            }
            None => Ok(()),
        }
    }

    /// A packet of no connection.
    fn stray(&mut self) -> Result<(), String> {
        let tag = Tag(self.random.next());
        let segment = match (self.protocol, self.random.below(3)) {
            (Protocol::Udp, _) => Segment::Related,
            (Protocol::Tcp, 0) => Segment::Rst,
            (Protocol::Tcp, 1) => Segment::Fin,
            (Protocol::Tcp, _) => Segment::Data,
        };
        let client = Tag(u64::MAX);
        match self.decide(tag, client, segment) {
            Verdict::To(_) if self.scheduling.is_stateful() && !self.scheduling.is_sloppy() => {
                self.fail("a segment of no connection was forwarded")
            }
            Verdict::To(_) | Verdict::Dropped(_) => Ok(()),
        }
    }
}
