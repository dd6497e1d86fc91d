//! Services that remember every flow: their choice depends on what went before, or on who the client is.

use super::{
    Count, Service, Verdict,
    load::{Board, Member},
    service::{is_established, to},
};
use crate::balance::term::Standing;
use lb_common::{Method, Reason, Segment, Tag, Tenure};
use std::collections::{BTreeMap, HashMap};

/// What is known of all clients and servers of such a service.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Turns and limits.
    pub board: Board,
    /// Clients of a persistent service.
    pub clients: HashMap<Tag, Client>,
}

/// A client of a persistent service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its backend.
    pub backend: u32,
    /// When it was last seen, ticks.
    pub seen: u32,
}

impl Service {
    /// The agent commits, for a service whose scheduler keeps state or whose clients persist: how each backend stands,
    /// who takes new flows, and the table: turns, slots, or the members themselves.
    pub fn enlist(
        &mut self,
        standings: &BTreeMap<u32, Standing>,
        members: Vec<Member>,
        table: &[u32],
        now_s: u64,
    ) {
        self.set_slots(table);
        self.commit(standings, |place| table.get(place).copied(), now_s);
        let board = &mut self.memory.board;
        board.members = members;
        board.turns = table.to_vec();
        if board.next >= board.turns.len() {
            board.next = 0;
        }
    }

    /// Connections of a backend, by what is remembered.
    pub fn count(&self, id: u32) -> Count {
        let mut count = Count::default();
        for flow in self.flows().iter().filter(|flow| flow.backend == id) {
            match flow.state.is_active() {
                true => count.active += 1,
                false => count.inactive += 1,
            }
        }
        count
    }

    /// The clients of a persistent service.
    pub fn clients(&self) -> &HashMap<Tag, Client> {
        &self.memory.clients
    }

    /// A packet of the flow with this tag, from the client with that one.
    pub(super) fn decide_by_memory(&mut self, tag: Tag, client: Tag, segment: Segment) -> Verdict {
        let scheduling = self.rules().scheduling;
        if scheduling.is_one_packet() && segment == Segment::Datagram {
            return to(self.pick(tag, client, segment));
        }
        let Some(flow) = self.flows().get(tag) else {
            return match segment {
                Segment::Syn | Segment::Datagram => self.open(tag, client, segment),
                Segment::Data if scheduling.is_sloppy() => self.open(tag, client, segment),
                Segment::Data | Segment::Fin | Segment::Rst | Segment::Related => {
                    Verdict::Dropped(Reason::UnknownConnection)
                }
            };
        };
        let is_new = segment == Segment::Syn && flow.state.is_over();
        match self.tenure(flow.backend) {
            Tenure::Keeps if !is_new => {
                self.follow(tag, client, segment);
                Verdict::To(flow.backend)
            }
            Tenure::Holds if is_established(segment) => {
                self.touch(tag, segment);
                Verdict::Dropped(Reason::RealServerDead)
            }
            // The reset that another server answers with ends the connection; which one does not matter.
            Tenure::Released if is_established(segment) => {
                to(self.slot(tag).and_then(|slot| slot.current))
            }
            Tenure::Keeps | Tenure::Holds | Tenure::Released => self.open(tag, client, segment),
        }
    }

    /// One more packet of a flow that stays where it is. A flow that was confirmed vouches for its client, also for one that
    /// was forgotten: as long as a client has a connection, its next one goes there too.
    fn follow(&mut self, tag: Tag, client: Tag, segment: Segment) {
        let before = self.flows().get(tag);
        self.touch(tag, segment);
        let after = self.flows().get(tag);
        let clock = self.clock();
        let confirmed = after.filter(|flow| before != after && flow.state.eviction().is_none());
        let Some(flow) = confirmed.filter(|_| self.rules().scheduling.is_persistent()) else {
            return;
        };
        let new = Client {
            backend: flow.backend,
            seen: clock,
        };
        let known = self.memory.clients.entry(client).or_insert(new);
        if known.backend == flow.backend {
            known.seen = clock;
        }
    }

    /// A new flow.
    fn open(&mut self, tag: Tag, client: Tag, segment: Segment) -> Verdict {
        if segment == Segment::Related {
            return to(self.slot(tag).and_then(|slot| slot.current));
        }
        let Some(id) = self.pick(tag, client, segment) else {
            let nobody = self.memory.board.members.is_empty();
            return Verdict::Dropped(if nobody {
                Reason::NoRealServer
            } else {
                Reason::AllFull
            });
        };
        self.remember(tag, id, segment);
        let count = self.count(id);
        self.memory.board.has_room(id, count);
        Verdict::To(id)
    }

    /// Who gets a new flow: its client's server, else who the scheduler chooses.
    fn pick(&mut self, tag: Tag, client: Tag, segment: Segment) -> Option<u32> {
        let persists = self.rules().scheduling.is_persistent();
        let clock = self.clock();
        if persists
            && let Some(known) = self.memory.clients.get(&client)
            && self.takes_new(known.backend)
        {
            let backend = known.backend;
            self.memory.clients.insert(
                client,
                Client {
                    backend,
                    seen: clock,
                },
            );
            return Some(backend);
        }
        let id = self.choose(tag, segment)?;
        if persists {
            self.memory.clients.insert(
                client,
                Client {
                    backend: id,
                    seen: clock,
                },
            );
        }
        Some(id)
    }

    /// Whether new flows may go to a backend.
    fn takes_new(&self, id: u32) -> bool {
        #[cfg(test)]
        if self.fault == super::simulation::Fault::ClientFollowsAnyServer {
            return self.tenure(id) == Tenure::Keeps;
        }
        self.memory.board.takes(id) && self.tenure(id) == Tenure::Keeps
    }

    fn choose(&mut self, tag: Tag, segment: Segment) -> Option<u32> {
        let method = self.rules().scheduling.method();
        if matches!(
            method,
            Method::BySlot | Method::BySource | Method::ByDestination
        ) {
            return self.slot(tag).and_then(|slot| slot.current);
        }
        let mut board = std::mem::take(&mut self.memory.board);
        #[cfg(test)]
        self.fault.before_choice(&mut board);
        let chosen = board.choose(method, segment == Segment::Datagram, |id| self.count(id));
        self.memory.board = board;
        chosen
    }

    /// Clients that were not seen for too long, or whose backend is no more.
    pub(super) fn sweep_clients(&mut self) {
        let (limit, clock) = (self.rules().persistence_s, self.clock());
        let backends = self.backends().clone();
        self.memory.clients.retain(|_, client| {
            backends.contains_key(&client.backend) && clock.wrapping_sub(client.seen) <= limit
        });
        self.memory
            .board
            .full
            .retain(|id| backends.contains_key(id));
    }
}
