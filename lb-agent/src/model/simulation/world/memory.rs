//! Worlds whose service remembers every flow: what its scheduler may choose, and what clients expect.

use super::{Connection, Random, Standing, World};
use crate::model::{Backend, Count, Member};
use lb_common::{FlowState, Method, Scheduling, Segment, Tag, Tenure};
use std::collections::BTreeMap;

/// How long a client is known.
pub const PERSISTENCE_S: u64 = 40;
/// The lower limit of those that have one.
const MIN_CONNECTIONS: u32 = 2;

/// Half of the worlds compute their choice.
pub fn scheduling(random: &mut Random) -> Scheduling {
    let method = match random.below(12) {
        0..6 => Method::BySlot,
        6 => Method::BySource,
        7 | 8 => Method::InTurn,
        9 => Method::Least,
        10 => Method::LeastByWeight,
        _ => Method::NeverQueue,
    };
    let plain = Scheduling::new(method);
    let may_persist = method != Method::BySlot || random.one_in(6);
    match random.below(4) {
        0 if may_persist => plain.persistent(32),
        1 if plain.is_stateful() => plain.with(Scheduling::SLOPPY),
        _ => plain,
    }
}

/// How many connections a server may have.
pub fn limit(random: &mut Random, scheduling: Scheduling) -> u32 {
    let counts = scheduling.is_stateful() && scheduling.method() as u8 >= Method::InTurn as u8;
    if counts && !scheduling.is_persistent() && random.one_in(3) {
        3 + random.below(3) as u32
    } else {
        0
    }
}

/// What the clients know of their servers.
#[derive(Debug, Default)]
pub struct Clients(BTreeMap<u64, (u32, u64)>);

impl Clients {
    /// A connection was opened.
    pub fn uses(&mut self, client: Tag, server: u32, now_s: u64) {
        self.0.insert(client.0, (server, now_s));
    }

    /// A connection was used. One that was opened while its client had another server says nothing of it, unless that was
    /// long ago: then nobody knows which the client has.
    pub fn goes_on(&mut self, connection: &Connection, segment: Segment, now_s: u64) {
        let is_confirmed = FlowState::Established.after(segment).eviction().is_none();
        let Some((server, seen)) = self.0.get_mut(&connection.client.0) else {
            return;
        };
        if *server != connection.server && now_s - *seen >= PERSISTENCE_S {
            self.0.remove(&connection.client.0);
        } else if *server == connection.server && is_confirmed && !connection.is_over {
            *seen = now_s;
        }
    }

    /// A server that was removed and had its time is forgotten.
    pub fn forget_those_not_of(&mut self, backends: &BTreeMap<u32, Backend>) {
        self.0
            .retain(|_, (server, _)| backends.contains_key(server));
    }

    fn server(&self, client: Tag, now_s: u64) -> Option<u32> {
        let &(server, seen) = self.0.get(&client.0)?;
        (now_s - seen < PERSISTENCE_S).then_some(server)
    }
}

/// What is known before a new flow is given to a server.
#[derive(Debug)]
pub struct Choice {
    method: Method,
    /// Where the client must go.
    bound_to: Option<u32>,
    /// Servers that take new flows: weight, limit, connections.
    candidates: BTreeMap<u32, (u32, u32, Count)>,
    /// Those that were full when they were last looked at.
    was_full: Vec<u32>,
    is_persistent: bool,
}

impl Choice {
    /// Whether nobody may have one more.
    pub fn has_no_room(&self) -> bool {
        self.candidates.keys().all(|&id| !self.has_room(id))
    }

    fn has_room(&self, id: u32) -> bool {
        let Some(&(_, limit, count)) = self.candidates.get(&id) else {
            return false;
        };
        let limit = match self.was_full.contains(&id) {
            true => limit.min(MIN_CONNECTIONS),
            false => limit,
        };
        limit == 0 || count.all() < limit
    }

    /// What is wrong with the choice of `server`.
    pub fn fault_of(&self, server: u32) -> Option<String> {
        if let Some(bound_to) = self.bound_to {
            let is_wrong = server != bound_to;
            return is_wrong.then(|| format!("a client of {bound_to} was sent elsewhere"));
        }
        let Some(&(weight, _, count)) = self.candidates.get(&server) else {
            return Some(format!("{server} takes no new flows"));
        };
        // A client that this world has given up may be known a moment longer.
        if self.is_persistent {
            return None;
        }
        if !self.has_room(server) {
            return Some(format!("{server} is full"));
        }
        let cost = |weight: u32, count: Count| {
            let overhead = f64::from(count.active * 256 + count.inactive);
            match self.method {
                Method::Least => overhead,
                Method::LeastByWeight => overhead / f64::from(weight),
                _ => 0.0,
            }
        };
        let own = cost(weight, count);
        let better = self.candidates.iter().find(|&(&id, &(weight, _, count))| {
            self.has_room(id) && cost(weight, count) < own - 1e-9
        });
        better.map(|(better, _)| format!("{server} was chosen, though {better} has less to do"))
    }
}

impl World {
    /// What the agent hands to a service that remembers every flow.
    pub(super) fn enlist(&mut self, standings: &BTreeMap<u32, Standing>) {
        let serving: Vec<Member> = standings
            .iter()
            .filter(|(_, standing)| **standing == Standing::Serving)
            .map(|(&id, _)| Member {
                id,
                weight: u32::from(self.servers[&id].weight),
                max_connections: self.servers[&id].max_connections,
                min_connections: MIN_CONNECTIONS,
            })
            .collect();
        let table: Vec<u32> = match self.scheduling.method() {
            Method::BySlot | Method::BySource | Method::ByDestination => (0..super::SLOTS)
                .filter_map(|place| serving.get(place % serving.len().max(1)))
                .map(|member| member.id)
                .collect(),
            Method::InTurn => serving
                .iter()
                .flat_map(|member| (0..member.weight).map(|_| member.id))
                .collect(),
            _ => serving.iter().map(|member| member.id).collect(),
        };
        self.service.enlist(standings, serving, &table, self.now_s);
    }

    /// Whether the slot says where the flow goes.
    pub(super) fn is_computed(&self, tag: Tag) -> bool {
        let slot = self.service.slot(tag);
        !self.scheduling.is_stateful() && slot.is_some_and(|slot| !slot.is_open())
    }

    /// What a scheduler that keeps state may choose from; `None`: it is not asked.
    pub(super) fn before_choice(&self, client: Tag, is_known: bool) -> Option<Choice> {
        if !self.scheduling.is_stateful() || is_known {
            return None;
        }
        let board = &self.service.memory.board;
        let candidates = board.members.iter().map(|member| {
            let count = self.service.count(member.id);
            (member.id, (member.weight, member.max_connections, count))
        });
        let is_persistent = self.scheduling.is_persistent();
        let server = self.clients.server(client, self.now_s);
        let is_kept = |&id: &u32| self.is_serving(id) && self.tenure(id) == Tenure::Keeps;
        Some(Choice {
            method: self.scheduling.method(),
            bound_to: server.filter(|id| is_persistent && is_kept(id)),
            candidates: candidates.collect(),
            was_full: board.full.iter().copied().collect(),
            is_persistent,
        })
    }
}
