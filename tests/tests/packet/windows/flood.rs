//! More flows than the table holds.

use super::*;

/// As many flows as fit well: a bucket that is full of established ones has no room for more.
const LIVE: std::ops::Range<u16> = 3_000..3_100;

/// A flood's packets come from anywhere.
fn flood(both: &mut Both, segment: Segment) {
    for number in 0..10 * ENTRIES as u32 {
        let source = Ipv4Addr::from(0x0b00_0000 | number);
        both.rig
            .run(&frame(source, 1_024 + number as u16 % 50_000, segment));
    }
}

#[test]
fn floods_of_syns_and_of_stray_segments_push_no_established_connection_out() {
    let mut both = Both::new(rules(Protocol::Tcp));
    let mut standings = all(Standing::Serving);
    both.stand(&standings);
    // All slots change hands: every flow is remembered, old ones and new.
    let old: Vec<(u16, Verdict)> = LIVE
        .map(|flow| (flow, both.packet(flow, Segment::Data)))
        .collect();
    standings = BTreeMap::from([(4, Standing::Serving), (5, Standing::Serving)]);
    both.stand(&standings);
    for &(flow, home) in &old {
        assert_eq!(both.packet(flow, Segment::Data), home);
        both.packet(flow, Segment::Data);
    }
    let new: Vec<(u16, Verdict)> = LIVE
        .map(|flow| (flow + 1_000, both.packet(flow + 1_000, Segment::Syn)))
        .collect();
    for &(flow, home) in &new {
        assert_eq!(both.packet(flow, Segment::Data), home);
    }
    for segment in [Segment::Syn, Segment::Data, Segment::Fin, Segment::Syn] {
        flood(&mut both, segment);
        for &(flow, home) in old.iter().chain(&new) {
            assert_eq!(both.packet(flow, Segment::Data), home);
        }
    }
}

#[test]
fn a_flow_that_finds_no_room_is_forwarded_and_counted() {
    let mut both = Both::new(rules(Protocol::Tcp));
    both.stand(&all(Standing::Serving));
    both.stand(&BTreeMap::from([(4, Standing::Serving)]));
    let before = both.dropped(Reason::NotRemembered);
    for number in 0..4 * ENTRIES as u32 {
        let source = Ipv4Addr::from(0x0b00_0000 | number);
        for segment in [Segment::Syn, Segment::Data] {
            let outcome = both.rig.run(&frame(source, 2_000, segment));
            // Where it is not known it counts as one of before.
            assert!(verdict(&outcome).is_some());
        }
    }
    assert!(both.dropped(Reason::NotRemembered) > before);
}
