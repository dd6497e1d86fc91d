//! Services that remember every flow: the program against the model, and each scheduler against its definition.

use super::*;
use lb_agent::{
    balance::{Member, TableSize, table},
    model::Member as Candidate,
};
use lb_common::load::{Connections, Limits, Load};

/// Any scheduling that is not a slot's alone.
pub fn any(below: &mut impl FnMut(u32) -> u32) -> Scheduling {
    let methods = [
        Method::BySource,
        Method::ByDestination,
        Method::InTurn,
        Method::Least,
        Method::LeastByWeight,
        Method::ShortestDelay,
        Method::NeverQueue,
    ];
    let plain = Scheduling::new(methods[below(methods.len() as u32) as usize]);
    match below(5) {
        0 | 1 => plain.persistent(PREFIX),
        2 if plain.is_stateful() => plain.with(Scheduling::SLOPPY),
        3 if plain.is_stateful() => plain.with(Scheduling::ONE_PACKET),
        _ => plain,
    }
}

/// How many connections each may have, for a third of those that count them.
pub fn limit(scheduling: Scheduling, below: &mut impl FnMut(u32) -> u32) -> u32 {
    let counts = scheduling.method() as u8 >= Method::InTurn as u8;
    match counts && below(3) == 0 {
        true => 2 + below(6),
        false => 0,
    }
}

/// What each server has.
pub fn share(number: u32, limit: u32) -> Share {
    Share {
        weight: 1 + (number % 3) as u16,
        limits: Limits::new(limit, limit / 2),
    }
}

impl Both {
    /// How each server stands now, for a service that remembers every flow.
    pub fn enlist(&mut self, standings: &BTreeMap<u32, Standing>) {
        let serving = standings
            .iter()
            .filter(|(_, standing)| **standing == Standing::Serving);
        let members: Vec<Member> = serving
            .map(|(&number, _)| Member {
                address: Ipv4Addr::new(10, 2, 0, number as u8).into(),
                port: 0,
                weight: self.share(number).weight,
                backend: number,
            })
            .collect();
        let is_limited = self.shares.values().any(|share| !share.limits.is_none());
        let method = self.rules.scheduling.method();
        let table = table::table(method, &members, TableSize::MIN, is_limited);
        let candidates = members.iter().map(|member| {
            let Limits(limits) = self.share(member.backend).limits;
            Candidate {
                id: member.backend,
                weight: member.weight.into(),
                max_connections: limits as u32,
                min_connections: (limits >> 32) as u32,
            }
        });
        let candidates = candidates.collect();
        self.owners = table.iter().map(|&number| Some(number)).collect();
        self.model.enlist(standings, candidates, &table, self.now_s);
        let desired = self.desired();
        self.write(&desired);
        self.compare_slots();
    }

    fn share(&self, number: u32) -> Share {
        self.shares.get(&number).copied().unwrap_or(Share {
            weight: 1,
            limits: Limits::default(),
        })
    }

    /// What the writer is told of the servers' shares.
    pub fn shares_of(&self, numbers: &[u32]) -> Vec<Share> {
        let takes = |number: u32| self.owners.contains(&Some(number));
        let share = |&number: &u32| {
            let share = self.share(number);
            match takes(number) {
                true => share,
                false => Share { weight: 0, ..share },
            }
        };
        numbers.iter().map(share).collect()
    }

    /// Every server's connections are counted as the model counts them.
    pub fn compare_loads(&mut self) {
        for (number, count) in self.counts() {
            let expected = self.model.count(number);
            assert_eq!(
                count,
                (expected.active, expected.inactive),
                "connections of {number} at {}",
                self.now_s
            );
        }
    }

    /// Active and inactive connections by server, as the maps count them.
    fn counts(&mut self) -> BTreeMap<u32, (u32, u32)> {
        self.rig.look();
        let backends = self
            .rig
            .snapshot
            .by_id
            .values()
            .flat_map(|service| &service.backends);
        let count = |id| {
            let load: Load = self.rig.datapath.maps().loads.read(id).expect("a load");
            let connections = Connections(load.connections);
            (connections.active(), connections.inactive())
        };
        backends
            .filter_map(|backend| match backend.address {
                IpAddr::V4(address) => Some((u32::from(address.octets()[3]), count(backend.id))),
                IpAddr::V6(_) => None,
            })
            .collect()
    }
}

fn world(method: Method, protocol: Protocol, shares: &[(u16, u32)]) -> Both {
    scheduled(Scheduling::new(method), protocol, shares)
}

/// A world of servers from 1 on, each with its weight and its limit.
fn scheduled(scheduling: Scheduling, protocol: Protocol, shares: &[(u16, u32)]) -> Both {
    let mut both = Both::new(Rules {
        scheduling,
        ..rules(protocol)
    });
    both.shares = (1..)
        .zip(shares)
        .map(|(number, &(weight, limit))| {
            let limits = Limits::new(limit, limit / 2);
            (number, Share { weight, limits })
        })
        .collect();
    let standings: BTreeMap<u32, Standing> = both
        .shares
        .iter()
        .map(|(&number, share)| match share.weight {
            0 => (number, Standing::Drained),
            _ => (number, Standing::Serving),
        })
        .collect();
    both.stand(&standings);
    both
}

fn open(both: &mut Both, flows: std::ops::Range<u16>) -> Vec<u32> {
    flows
        .map(|flow| match both.packet(flow, Segment::Syn) {
            Verdict::To(server) => {
                both.packet(flow, Segment::Data);
                server
            }
            Verdict::Dropped(reason) => panic!("{flow} was dropped: {reason:?}"),
        })
        .collect()
}

fn per_server(servers: &[u32]) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for &server in servers {
        *counts.entry(server).or_insert(0) += 1;
    }
    counts
}

#[test]
fn rr_gives_each_the_next_whatever_its_weight() {
    let mut both = world(
        Method::InTurn,
        Protocol::Tcp,
        &[(1, 0), (1, 0), (0, 0), (1, 0)],
    );
    let servers = open(&mut both, 2_000..2_009);
    assert_eq!(servers, [1, 2, 4, 1, 2, 4, 1, 2, 4]);
}

#[test]
fn wrr_gives_each_as_many_as_its_weight_and_no_two_in_a_row_more_than_needed() {
    let mut both = world(Method::InTurn, Protocol::Tcp, &[(3, 0), (1, 0), (2, 0)]);
    let servers = open(&mut both, 2_000..2_060);
    assert_eq!(
        per_server(&servers),
        BTreeMap::from([(1, 30), (2, 10), (3, 20)])
    );
    for round in servers.chunks(6) {
        assert_eq!(per_server(round), BTreeMap::from([(1, 3), (2, 1), (3, 2)]));
    }
}

#[test]
fn weights_from_0_to_the_largest_are_followed() {
    let mut both = world(
        Method::InTurn,
        Protocol::Tcp,
        &[(65_535, 0), (0, 0), (1, 0)],
    );
    let servers = open(&mut both, 2_000..2_100);
    let shares = per_server(&servers);
    assert!(shares[&1] >= 99 && !shares.contains_key(&2), "{shares:?}");
}

#[test]
fn lc_gives_to_who_has_fewest_whatever_its_weight() {
    let mut both = world(Method::Least, Protocol::Tcp, &[(9, 0), (1, 0), (1, 0)]);
    let servers = open(&mut both, 2_000..2_030);
    assert_eq!(
        per_server(&servers),
        BTreeMap::from([(1, 10), (2, 10), (3, 10)])
    );
    // Two of the first server's end: it gets the next two.
    let ended: Vec<u16> = (2_000..2_030)
        .zip(&servers)
        .filter(|(_, server)| **server == 2)
        .map(|(flow, _)| flow)
        .take(2)
        .collect();
    for flow in ended {
        both.packet(flow, Segment::Fin);
    }
    assert_eq!(open(&mut both, 2_030..2_032), [2, 2]);
    both.compare_loads();
}

#[test]
fn wlc_gives_to_who_has_fewest_for_its_weight() {
    let mut both = world(
        Method::LeastByWeight,
        Protocol::Tcp,
        &[(3, 0), (1, 0), (2, 0)],
    );
    let servers = open(&mut both, 2_000..2_060);
    assert_eq!(
        per_server(&servers),
        BTreeMap::from([(1, 30), (2, 10), (3, 20)])
    );
}

#[test]
fn sed_gives_to_who_would_have_fewest_and_nq_first_to_the_idle() {
    let shares = [(4, 0), (1, 0)];
    let mut both = world(Method::ShortestDelay, Protocol::Tcp, &shares);
    // 1/4 < 1/1, 2/4, 3/4 < 1; then 4/4 is no less than 1/1 of the other, but the first of equals is taken.
    assert_eq!(open(&mut both, 2_000..2_006), [1, 1, 1, 1, 2, 1]);
    drop(both);
    let mut both = world(Method::NeverQueue, Protocol::Tcp, &shares);
    assert_eq!(open(&mut both, 2_000..2_003), [1, 2, 1]);
}

#[test]
fn datagrams_have_a_server_for_each_flow() {
    let mut both = world(Method::InTurn, Protocol::Udp, &[(1, 0), (1, 0)]);
    for (flow, server) in (2_000..2_010).zip([1, 2].into_iter().cycle()) {
        for _ in 0..3 {
            assert_eq!(
                both.packet(flow, Segment::Datagram),
                Verdict::To(server),
                "{flow}"
            );
        }
    }
}

#[test]
fn with_one_packet_each_datagram_goes_by_itself_and_none_is_remembered() {
    let one_packet = Scheduling::new(Method::InTurn).with(Scheduling::ONE_PACKET);
    let mut both = scheduled(one_packet, Protocol::Udp, &[(1, 0), (1, 0)]);
    for server in [1, 2, 1, 2] {
        assert_eq!(both.packet(2_000, Segment::Datagram), Verdict::To(server));
    }
    both.tick();
    assert!(both.counts().values().all(|&count| count == (0, 0)));
}

#[test]
fn a_segment_of_an_unknown_connection_is_dropped_with_its_reason_unless_that_is_allowed() {
    let mut both = world(Method::InTurn, Protocol::Tcp, &[(1, 0)]);
    let before = both.dropped(Reason::UnknownConnection);
    for segment in [Segment::Data, Segment::Fin, Segment::Rst] {
        assert_eq!(
            both.packet(2_000, segment),
            Verdict::Dropped(Reason::UnknownConnection)
        );
    }
    assert_eq!(both.dropped(Reason::UnknownConnection) - before, 3);
    drop(both);
    let sloppy = Scheduling::new(Method::InTurn).with(Scheduling::SLOPPY);
    let mut both = scheduled(sloppy, Protocol::Tcp, &[(1, 0)]);
    assert_eq!(both.packet(2_000, Segment::Data), Verdict::To(1));
    assert_eq!(both.packet(2_000, Segment::Data), Verdict::To(1));
}

#[test]
fn nobody_gets_more_connections_than_he_may_and_new_ones_again_when_few_enough_are_left() {
    let mut both = world(Method::InTurn, Protocol::Tcp, &[(1, 4), (1, 4)]);
    let servers = open(&mut both, 2_000..2_008);
    let before = both.dropped(Reason::AllFull);
    assert_eq!(
        both.packet(2_008, Segment::Syn),
        Verdict::Dropped(Reason::AllFull)
    );
    assert_eq!(both.dropped(Reason::AllFull) - before, 1);
    // Half is where it takes new ones again; connections are counted until they are forgotten.
    let of_first: Vec<u16> = (2_000..2_008)
        .zip(servers)
        .filter(|&(_, server)| server == 1)
        .map(|(flow, _)| flow)
        .collect();
    let end = |both: &mut Both, flow: u16| {
        both.packet(flow, Segment::Rst);
        for _ in 0..7 {
            both.tick();
            for other in 2_000..2_008 {
                if other != flow
                    && both.packet(other, Segment::Related)
                        != Verdict::Dropped(Reason::UnknownConnection)
                {
                    both.packet(other, Segment::Data);
                }
            }
        }
    };
    end(&mut both, of_first[0]);
    end(&mut both, of_first[1]);
    assert_eq!(
        both.packet(2_008, Segment::Syn),
        Verdict::Dropped(Reason::AllFull),
        "two are left of four: not below two"
    );
    end(&mut both, of_first[2]);
    assert_eq!(both.packet(2_008, Segment::Syn), Verdict::To(1));
}

#[test]
fn a_client_keeps_its_server_across_ports_and_its_prefix_until_it_was_silent() {
    let persistent = Scheduling::new(Method::InTurn).persistent(PREFIX);
    let mut both = scheduled(persistent, Protocol::Tcp, &[(1, 0), (1, 0), (1, 0)]);
    let servers = open(&mut both, 2_000..2_040);
    let of_prefix = |parity: usize| -> Vec<u32> {
        let mut servers: Vec<u32> = servers.iter().skip(parity).step_by(2).copied().collect();
        servers.dedup();
        servers
    };
    let (even, odd) = (of_prefix(0), of_prefix(1));
    assert_eq!((even.len(), odd.len()), (1, 1), "{servers:?}");
    assert_ne!(even, odd);
    // Used, it is known for longer than the timeout; silent, no longer.
    for _ in 0..20 {
        both.tick();
        both.packet(2_000, Segment::Data);
    }
    assert_eq!(open(&mut both, 3_000..3_001), even);
    for _ in 0..14 {
        both.tick();
    }
    // The third in turn, and no more the client's.
    assert_ne!(open(&mut both, 3_002..3_003), even);
}

#[test]
fn a_client_leaves_a_server_that_takes_no_new_connections_and_its_old_ones_stay() {
    let persistent = Scheduling::new(Method::LeastByWeight).persistent(PREFIX);
    let mut both = scheduled(persistent, Protocol::Tcp, &[(1, 0), (1, 0), (1, 0)]);
    let first = open(&mut both, 2_000..2_001)[0];
    let mut standings = all(Standing::Serving);
    standings.insert(first, Standing::Drained);
    both.stand(&standings);
    assert_eq!(both.packet(2_000, Segment::Data), Verdict::To(first));
    let second = open(&mut both, 2_002..2_003)[0];
    assert_ne!(first, second);
    // It stays with the new one, also when the old one is back.
    both.stand(&all(Standing::Serving));
    assert_eq!(open(&mut both, 2_004..2_005), [second]);
    assert_eq!(both.packet(2_000, Segment::Data), Verdict::To(first));
}

#[test]
fn sh_follows_the_source_and_dh_the_destination() {
    for (method, servers_at_least) in [(Method::BySource, 2), (Method::ByDestination, 1)] {
        let mut both = world(method, Protocol::Tcp, &[]);
        both.stand(&all(Standing::Serving));
        let mut by_source: BTreeMap<Ipv4Addr, Vec<u32>> = BTreeMap::new();
        for flow in 2_000..2_060 {
            let Verdict::To(server) = both.packet(flow, Segment::Syn) else {
                panic!("somebody serves");
            };
            by_source.entry(source(flow)).or_default().push(server);
        }
        let mut all: Vec<u32> = Vec::new();
        for servers in by_source.values_mut() {
            servers.dedup();
            assert_eq!(servers.len(), 1, "{method:?}");
            all.extend(servers.iter());
        }
        all.sort_unstable();
        all.dedup();
        assert!(all.len() >= servers_at_least);
        assert!(method == Method::BySource || all.len() == 1);
    }
}

#[test]
fn a_port_that_is_used_again_opens_a_new_connection() {
    let mut both = world(Method::InTurn, Protocol::Tcp, &[(1, 0), (1, 0)]);
    assert_eq!(open(&mut both, 2_000..2_001), [1]);
    // A SYN that is repeated is no new one; after the end it is.
    assert_eq!(both.packet(2_000, Segment::Syn), Verdict::To(1));
    both.packet(2_000, Segment::Fin);
    assert_eq!(both.packet(2_000, Segment::Syn), Verdict::To(2));
    both.compare_loads();
}

#[test]
fn connections_are_counted_right_after_evictions_and_restarts() {
    let mut both = world(Method::Least, Protocol::Tcp, &[(1, 0), (1, 0), (1, 0)]);
    let live: Vec<u16> = (3_000..3_060).collect();
    open(&mut both, 3_000..3_060);
    // Four times the table; the flood is no part of the model, so only sums can be compared.
    for number in 0..4 * ENTRIES as u32 {
        let source = Ipv4Addr::from(0x0b00_0000 | number);
        both.rig.run(&frame(source, 1_024, Segment::Syn));
    }
    let counted: u32 = both.counts().values().map(|&(active, _)| active).sum();
    let maps = Arc::clone(both.rig.datapath.maps());
    let swept = sweep(&maps, &both.rig.datapath.writer().assignments());
    let there: u64 = swept.services.values().map(|service| service.flows).sum();
    assert_eq!(u64::from(counted), there);
    assert!(there > live.len() as u64 * 4);
    for &flow in &live {
        assert!(matches!(both.packet(flow, Segment::Data), Verdict::To(_)));
    }
    both.restart();
    let after: u32 = both.counts().values().map(|&(active, _)| active).sum();
    assert_eq!(after, counted);
    // The flood's connections never were: they end first.
    for _ in 0..21 {
        both.tick_in_program();
        for &flow in &live {
            both.rig.run(&frame(source(flow), flow, Segment::Data));
        }
    }
    let left: u32 = both.counts().values().map(|&(active, _)| active).sum();
    assert_eq!(left, live.len() as u32);
}
