//! One service: who of its real servers serves, whether that is enough, and who stands in.

use super::{
    PoolError,
    change::{Change, Commands, History, UpDown},
    forwarding::{Forwarding, Receiver},
    real_server::PoolRealServer,
    targets::Targets,
};
use crate::{
    agent::ownership::{self, Held},
    balance::{self, Member, Quorum, TableSize, ramp, term::Term},
    config::{self, Endpoint, Listen, Protocol, Scheduler},
    control::status::PersistenceStatus,
    datapath::{FlowRules, RealServer, Service, Share},
    model::Idle,
    network::NextHops,
};
use lb_common::{
    BackendState, Method, Scheduling, ServiceKey, control::ALWAYS_OWNED, key, load::Limits,
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

/// A service.
#[derive(Debug)]
pub struct PoolService {
    /// Its name.
    pub name: String,
    /// Listen addresses.
    pub listen: Vec<SocketAddr>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// How a real server is chosen.
    pub scheduler: Scheduler,
    /// How its entries are found in the maps.
    pub keys: Vec<ServiceKey>,
    /// The ownership words that govern them, in the same order.
    pub owners: Vec<u16>,
    /// The ownership words of its addresses.
    governed_by: BTreeSet<u16>,
    suspends_checks: bool,
    /// Its real servers, in the configuration's order.
    pub real_servers: Vec<PoolRealServer>,
    /// When it was up and down.
    pub history: History,
    /// Who serves while it is down.
    pub sorry_server: Option<Endpoint>,
    pub(super) table_size: TableSize,
    /// `None`: it is checked and counted, and never forwarded.
    forwarding: Option<Forwarding>,
    flows: FlowRules,
    limits: Vec<Limits>,
    quorum: Quorum,
    commands: UpDown,
    table: CachedTable,
}

/// The last table that was built, and from what.
#[derive(Debug, Default)]
struct CachedTable {
    members: Vec<Member>,
    slots: Arc<[u32]>,
}

impl PoolService {
    pub(super) fn new(
        service: &config::Service,
        vrrp: &[config::Vrrp],
        targets: &mut Targets,
        commands: &Commands<'_>,
    ) -> Result<Self, PoolError> {
        let listen = match &service.listen {
            Listen::Addresses(addresses) => addresses.clone(),
            Listen::Fwmark(_) => Vec::new(),
        };
        let governed = |&address: &SocketAddr| {
            let key = service_key(address, service.protocol)?;
            Some((key, ownership::owner_of(address.ip(), service, vrrp)))
        };
        let forwarding = Forwarding::of(service);
        let (keys, owners) = match forwarding {
            Some(_) => listen.iter().filter_map(governed).unzip(),
            None => (Vec::new(), Vec::new()),
        };
        let owner_of = |address: &SocketAddr| ownership::owner_of(address.ip(), service, vrrp);
        let governed_by = listen.iter().map(owner_of).collect();
        let table_size =
            TableSize::try_from(service.table_size).map_err(|source| PoolError::TableSize {
                service: service.name.clone(),
                source,
            })?;
        let real_servers = service
            .real_servers
            .iter()
            .map(|real_server| PoolRealServer::new(service, real_server, targets, commands));
        let whole = service
            .real_servers
            .iter()
            .map(|real_server| u32::from(real_server.weight));
        let own_commands = commands.of_service(&service.notify);
        Ok(Self {
            name: service.name.clone(),
            keys,
            owners,
            listen,
            protocol: service.protocol,
            scheduler: service.scheduler,
            real_servers: real_servers.collect::<Result<_, _>>()?,
            history: History::default(),
            sorry_server: service.sorry_server,
            table_size,
            forwarding,
            governed_by,
            suspends_checks: service.suspend_checks_in_backup,
            flows: flow_rules(service),
            limits: service
                .real_servers
                .iter()
                .map(|own| Limits::new(own.max_connections, own.min_connections))
                .collect(),
            quorum: Quorum::new(service.quorum, service.hysteresis, whole.sum()),
            commands: own_commands.map_err(|source| PoolError::Notify {
                service: service.name.clone(),
                source,
            })?,
            table: CachedTable::default(),
        })
    }

    /// One of its real servers, by the name that the status has for it.
    pub fn real_server(&self, name: &str) -> Option<&PoolRealServer> {
        let mut real_servers = self.real_servers.iter();
        real_servers.find(|known| known.display_address() == name)
    }

    /// Whether packets are forwarded for it.
    pub fn is_forwarded(&self) -> bool {
        self.forwarding.is_some()
    }

    /// Whether it is checked while these ownership words are held here.
    pub fn is_checked(&self, held: &Held) -> bool {
        let is_here = |word: &u16| *word == ALWAYS_OWNED || held.contains(word);
        !self.suspends_checks || self.governed_by.iter().any(is_here)
    }

    /// Whether enough of it lives.
    pub fn is_up(&self) -> bool {
        self.quorum.is_met()
    }

    /// Whether the sorry server serves in place of its own ones.
    pub fn is_sorry(&self) -> bool {
        self.sorry_server.is_some() && !self.is_up()
    }

    /// The weight that lives.
    fn live_weight(&self) -> u32 {
        self.real_servers
            .iter()
            .map(|real_server| u32::from(real_server.live_weight()))
            .sum()
    }

    /// How that compares with what it takes, in words.
    pub fn quorum_in_words(&self) -> String {
        self.quorum.in_words(self.live_weight())
    }

    /// Judges as if for the first time: what was judged before more was known is of no interest.
    pub(super) fn judge_anew(&mut self) {
        self.quorum.forget();
        self.quorum.judge(self.live_weight());
    }

    /// Judges whether enough of it lives now.
    pub(super) fn judge(&mut self, now: Instant) -> Option<Change> {
        let is_up = self.quorum.judge(self.live_weight())?;
        let (old, new) = if is_up {
            ("down", "up")
        } else {
            ("up", "down")
        };
        let stands_in = match self.sorry_server {
            Some(sorry) if is_up => format!("; the sorry server {sorry} is relieved"),
            Some(sorry) => format!("; the sorry server {sorry} stands in"),
            None => String::new(),
        };
        let change = Change {
            service: self.name.clone(),
            real_server: None,
            old,
            new,
            weight: None,
            reason: self.quorum_in_words() + &stands_in,
            commands: self.commands.when(is_up),
        };
        self.history.push(now, change.clone());
        Some(change)
    }

    /// When something changes by itself.
    pub fn next_step(&self, now: Instant) -> Option<Instant> {
        self.real_servers
            .iter()
            .filter_map(|real_server| real_server.next_step(now))
            .min()
    }

    /// Addresses that packets may be sent to.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let own = self
            .real_servers
            .iter()
            .map(|real_server| real_server.address);
        own.chain(self.sorry_server.map(|sorry| sorry.address))
    }

    /// Slots that its table takes at most.
    pub(super) fn most_slots(&self) -> u32 {
        let all = self.addresses().count() as u32;
        match self.flows.scheduling.method() {
            Method::BySlot | Method::BySource | Method::ByDestination => self.table_size.slots(),
            Method::InTurn if self.scheduler == Scheduler::Rr => all,
            Method::InTurn => balance::table::LONGEST as u32 + all,
            Method::Least | Method::LeastByWeight | Method::ShortestDelay | Method::NeverQueue => {
                all
            }
        }
    }

    /// Who takes new flows, by their places in what [`Self::desired`] lists.
    fn members(&self, now: Instant) -> Vec<Member> {
        let sorry_place = self.real_servers.len() as u32;
        if let Some(sorry) = self.sorry_server.filter(|_| self.is_sorry()) {
            return vec![Member {
                address: sorry.address,
                port: sorry.port.unwrap_or(0),
                weight: 1,
                backend: sorry_place,
            }];
        }
        let is_ramping = self
            .real_servers
            .iter()
            .any(|own| own.ramp_step(now).is_some());
        let heaviest = self
            .real_servers
            .iter()
            .map(PoolRealServer::live_weight)
            .max();
        let scale = if is_ramping {
            ramp::scale(heaviest.unwrap_or(1))
        } else {
            1
        };
        (0..)
            .zip(&self.real_servers)
            .filter(|(_, real_server)| real_server.live_weight() > 0)
            .map(|(place, real_server)| Member {
                address: real_server.address,
                port: real_server.port.unwrap_or(0),
                weight: match real_server.share(scale, now) {
                    weight if self.scheduler == Scheduler::Rr => weight.min(1),
                    weight => weight,
                },
                backend: place,
            })
            .collect()
    }

    /// How its clients stay with their real servers, of whom `clients` are known.
    pub fn persistence(&self, clients: u64) -> Option<PersistenceStatus> {
        let [prefix_v4, prefix_v6] = self.flows.prefixes;
        let persists = self.flows.scheduling.is_persistent();
        persists.then_some(PersistenceStatus {
            timeout_s: self.flows.persistence_s,
            prefix_v4,
            prefix_v6,
            clients,
        })
    }

    /// What each of those that [`Self::desired`] lists is to get, once the table is made.
    fn shares(&self) -> Vec<Share> {
        let sorry = self.sorry_server.map(|_| Limits::default());
        let limits = self.limits.iter().copied().chain(sorry);
        let mut shares: Vec<Share> = limits.map(|limits| Share { weight: 0, limits }).collect();
        for member in &self.table.members {
            if let Some(share) = shares.get_mut(member.backend as usize) {
                share.weight = member.weight;
            }
        }
        shares
    }

    /// Whether replies of its real servers pass here.
    pub(super) fn translates(&self) -> bool {
        matches!(self.forwarding, Some(Forwarding::Translation))
    }

    /// Entries of the service table that it takes: its listen addresses, each address by itself, and what replies are
    /// known by.
    pub(super) fn entries(&self) -> u32 {
        let replies = match self.translates() {
            true => self.keys.len() * self.addresses().count(),
            false => 0,
        };
        (self.keys.len() * 2 + replies) as u32
    }

    /// How packets would go to a real server at `address`, whether it has that one still or not.
    pub(super) fn way_to(&self, address: IpAddr, next_hops: &NextHops) -> RealServer {
        let receiver = Receiver {
            address,
            port: None,
            weight: 0,
            state: BackendState::Up,
            term: Term::default(),
        };
        self.way(receiver, next_hops)
    }

    fn way(&self, to: Receiver, next_hops: &NextHops) -> RealServer {
        let forwarding = self.forwarding.unwrap_or(Forwarding::Direct);
        forwarding.desired(to, next_hops)
    }

    pub(super) fn desired(&mut self, next_hops: &NextHops, now: Instant) -> Service {
        let members = self.members(now);
        if members != self.table.members {
            let is_limited = self.limits.iter().any(|limits| !limits.is_none());
            let method = self.flows.scheduling.method();
            let slots = balance::table::table(method, &members, self.table_size, is_limited).into();
            self.table = CachedTable { members, slots };
        }
        let own = self.real_servers.iter().map(PoolRealServer::receiver);
        // Always there, so that the way to it is known when it is needed.
        let sorry = self.sorry_server.map(|sorry| Receiver {
            address: sorry.address,
            port: sorry.port,
            weight: 1,
            state: BackendState::Up,
            term: Term::default(),
        });
        Service {
            name: self.name.clone(),
            keys: self.keys.clone(),
            owners: self.owners.clone(),
            table: Arc::clone(&self.table.slots),
            shares: self.shares(),
            flows: self.flows,
            real_servers: own
                .chain(sorry)
                .map(|receiver| self.way(receiver, next_hops))
                .collect(),
        }
    }
}

/// Where flows of the service go, and how long they are known, in whole seconds.
fn flow_rules(service: &config::Service) -> FlowRules {
    let seconds = |duration: Duration| duration.as_millis().div_ceil(1000) as u64;
    let scheduling = scheduling(service);
    let window = match service.protocol {
        // Every flow is remembered: there is nothing to tell apart.
        _ if scheduling.is_stateful() || service.one_packet => Duration::ZERO,
        Protocol::Udp => service.udp_learn,
        Protocol::Tcp | Protocol::Sctp => service.transition,
    };
    let idle = service.idle_timeout;
    let persistence = service.persistence;
    FlowRules {
        scheduling,
        prefixes: persistence.map_or([32, 128], |client| [client.prefix_v4, client.prefix_v6]),
        persistence_s: persistence.map_or(0, |client| seconds(client.timeout) as u32),
        window_s: seconds(window),
        idle: Idle {
            tcp_s: seconds(idle.tcp) as u32,
            tcp_fin_s: seconds(idle.tcp_fin) as u32,
            udp_s: seconds(idle.udp) as u32,
        },
    }
}

/// How new flows are given to real servers.
fn scheduling(service: &config::Service) -> Scheduling {
    let method = match service.scheduler {
        // The locality-based ones are IPVS's alone, and refused.
        Scheduler::Mh | Scheduler::Lblc | Scheduler::Lblcr => Method::BySlot,
        Scheduler::Sh => Method::BySource,
        Scheduler::Dh => Method::ByDestination,
        Scheduler::Rr | Scheduler::Wrr => Method::InTurn,
        Scheduler::Lc => Method::Least,
        Scheduler::Wlc => Method::LeastByWeight,
        Scheduler::Sed => Method::ShortestDelay,
        Scheduler::Nq => Method::NeverQueue,
    };
    let mut scheduling = Scheduling::new(method);
    if let Some(persistence) = service.persistence {
        scheduling = scheduling.persistent(persistence.prefix_v4);
    }
    if !scheduling.is_stateful() {
        // All packets of a flow go to one real server by the flow's hash, one by one or not.
        return scheduling;
    }
    let one_packet = match service.one_packet {
        true => Scheduling::ONE_PACKET,
        false => 0,
    };
    let sloppy = match service.sloppy_tcp {
        true => Scheduling::SLOPPY,
        false => 0,
    };
    scheduling.with(one_packet | sloppy)
}

/// The key of a listen address; `None` for what the data plane does not balance.
fn service_key(address: SocketAddr, protocol: Protocol) -> Option<ServiceKey> {
    let protocol = match protocol {
        Protocol::Tcp => key::TCP,
        Protocol::Udp => key::UDP,
        Protocol::Sctp => return None,
    };
    Some(match address {
        SocketAddr::V4(v4) => ServiceKey::v4(v4.ip().octets(), v4.port(), protocol),
        SocketAddr::V6(v6) => ServiceKey::v6(v6.ip().octets(), v6.port(), protocol),
    })
}
