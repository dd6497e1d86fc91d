//! The stories that the rules are for, told one by one.

use super::*;

const FLOWS: std::ops::Range<u16> = 2_000..2_060;

/// Opens the flows, and says where each went.
fn open(both: &mut Both) -> Vec<(u16, u32)> {
    let mut homes = Vec::new();
    for flow in FLOWS {
        let Verdict::To(server) = both.packet(flow, Segment::Syn) else {
            panic!("somebody serves");
        };
        both.packet(flow, Segment::Data);
        homes.push((flow, server));
    }
    homes
}

#[test]
fn connections_stay_when_servers_are_added_and_drained() {
    let mut both = Both::new(rules(Protocol::Tcp));
    let mut standings = all(Standing::Serving);
    both.stand(&standings);
    let homes = open(&mut both);
    for (number, standing) in [
        (4, Standing::Serving),
        (2, Standing::Drained),
        (5, Standing::Serving),
    ] {
        standings.insert(number, standing);
        both.stand(&standings);
        for &(flow, home) in &homes {
            assert_eq!(both.packet(flow, Segment::Data), Verdict::To(home));
        }
        both.tick();
    }
}

#[test]
fn connections_outlive_the_window_and_the_slots_settle_once_they_are_over() {
    let mut both = Both::new(rules(Protocol::Tcp));
    let mut standings = all(Standing::Serving);
    both.stand(&standings);
    let homes = open(&mut both);
    standings.insert(4, Standing::Serving);
    both.stand(&standings);
    for _ in 0..60 {
        both.tick();
        for &(flow, home) in &homes {
            assert_eq!(both.packet(flow, Segment::Data), Verdict::To(home));
        }
    }
    let windows = both.rig.datapath.writer().windows();
    assert_eq!(windows.open(), 0);
    assert!(
        windows.remembering() > 0,
        "some connections are not where their slot says"
    );
    for (flow, _) in homes {
        both.packet(flow, Segment::Rst);
    }
    for _ in 0..10 {
        both.tick();
    }
    assert_eq!(both.rig.datapath.writer().windows().remembering(), 0);
}

#[test]
fn connections_of_a_dead_server_are_held_and_survive_its_return() {
    let mut both = Both::new(rules(Protocol::Tcp));
    let mut standings = all(Standing::Serving);
    both.stand(&standings);
    let homes = open(&mut both);
    let before = both.dropped(Reason::RealServerDead);
    standings.insert(2, Standing::Dead);
    both.stand(&standings);
    let mut held = 0;
    for &(flow, home) in &homes {
        let expected = match home {
            2 => Verdict::Dropped(Reason::RealServerDead),
            _ => Verdict::To(home),
        };
        assert_eq!(both.packet(flow, Segment::Data), expected);
        held += u64::from(home == 2);
    }
    assert!(held > 0);
    assert_eq!(both.dropped(Reason::RealServerDead) - before, held);
    standings.insert(2, Standing::Serving);
    both.stand(&standings);
    for (flow, home) in homes {
        assert_eq!(both.packet(flow, Segment::Data), Verdict::To(home));
    }
}

#[test]
fn connections_of_a_server_that_stays_dead_are_released_to_another() {
    let mut both = Both::new(rules(Protocol::Tcp));
    let mut standings = all(Standing::Serving);
    both.stand(&standings);
    let homes = open(&mut both);
    standings.insert(2, Standing::Dead);
    both.stand(&standings);
    for _ in 0..5 {
        both.tick();
    }
    for (flow, home) in homes {
        match both.packet(flow, Segment::Data) {
            Verdict::To(to) if home == 2 => assert_ne!(to, 2),
            other => assert_eq!(other, Verdict::To(home)),
        }
    }
}

#[test]
fn datagrams_of_a_dead_server_move_at_once_and_stay_where_they_went() {
    let mut both = Both::new(rules(Protocol::Udp));
    let mut standings = all(Standing::Serving);
    both.stand(&standings);
    let homes: Vec<(u16, Verdict)> = FLOWS
        .map(|flow| (flow, both.packet(flow, Segment::Datagram)))
        .collect();
    standings.insert(2, Standing::Dead);
    both.stand(&standings);
    let moved: Vec<(u16, Verdict)> = homes
        .into_iter()
        .map(|(flow, home)| {
            let now = both.packet(flow, Segment::Datagram);
            assert!(matches!(now, Verdict::To(to) if to != 2));
            assert!(now == home || home == Verdict::To(2));
            (flow, now)
        })
        .collect();
    standings.insert(2, Standing::Serving);
    both.stand(&standings);
    for (flow, home) in moved {
        assert_eq!(both.packet(flow, Segment::Datagram), home);
    }
}

#[test]
fn connections_survive_that_all_servers_were_dead_for_a_moment() {
    let mut both = Both::new(rules(Protocol::Tcp));
    both.stand(&all(Standing::Serving));
    let homes = open(&mut both);
    let mut standings = all(Standing::Dead);
    both.stand(&standings);
    for number in 1..=3 {
        standings.insert(number, Standing::Serving);
        both.stand(&standings);
        both.tick();
    }
    for (flow, home) in homes {
        assert_eq!(both.packet(flow, Segment::Data), Verdict::To(home));
    }
}

#[test]
fn a_window_goes_on_after_a_restart() {
    let mut both = Both::new(rules(Protocol::Tcp));
    let mut standings = all(Standing::Serving);
    both.stand(&standings);
    let homes = open(&mut both);
    standings.insert(4, Standing::Serving);
    standings.remove(&1);
    both.stand(&standings);
    both.restart();
    for (flow, home) in homes {
        assert_eq!(both.packet(flow, Segment::Data), Verdict::To(home));
    }
}
