//! As master: turns, rivals, announcements.

use super::*;

// V17
#[test]
fn adverts_keep_their_turns_however_late_each_is() {
    let mut life = Life::master(parameters(100));
    let promoted = life.now;
    for turn in 1..=100 {
        let late = Duration::from_millis(u64::from(turn) * 37 % 900);
        life.now = promoted + S * turn + late;
        assert_eq!(life.timer(), "advert 100");
    }
    assert_eq!(life.machine.next_deadline(), Some(promoted + 101 * S));
}

#[test]
fn missed_turns_are_not_made_up_for() {
    let mut life = Life::master(parameters(100));
    life.pass(3 * S);
    assert_eq!(life.timer(), "advert 100");
    assert_eq!(life.timer(), "");
    assert_eq!(life.left(), S);
}

// V66, V62
#[test]
fn a_stronger_router_is_yielded_to_at_once_without_a_resignation() {
    let mut life = Life::master(parameters(100));
    let interval = 2 * S;
    let done = life.hears(Advert {
        interval,
        ..advert(9, 150)
    });
    assert_eq!(done, YIELDED);
    assert_eq!(
        life.cause(),
        "192.0.2.9 has priority 150, above ours of 100"
    );
    assert_eq!(life.left_ms(), 7_218);
    assert_eq!(life.count(Count::ResignationSent), 0);
}

// V67, V68
#[test]
fn addresses_compare_as_unsigned_numbers_in_network_order() {
    for (other, yields) in [
        ("192.0.2.6", true),
        ("192.0.2.128", true),
        ("200.0.0.1", true),
        ("192.0.2.4", false),
        ("9.255.255.255", false),
    ] {
        let mut life = Life::master(parameters(100));
        life.hears(Advert {
            source: address(other),
            ..advert(0, 100)
        });
        assert_eq!(life.machine.state() == State::Backup, yields, "{other}");
    }
    let mut life = Life::master(Parameters {
        source: address("fe80::7fff"),
        ..parameters(100)
    });
    life.hears(Advert {
        source: address("fe80::8000"),
        ..advert(0, 100)
    });
    assert_eq!(life.machine.state(), State::Backup);
}

// V69
#[test]
fn a_weaker_master_is_answered_at_once_and_the_addresses_are_announced_anew() {
    for version in [Version::V2, Version::V3] {
        let announce_delay = 5 * S;
        let mut life = Life::master(Parameters {
            version,
            announce_delay,
            ..parameters(100)
        });
        while life.now < life.start + 20 * S {
            life.fires();
        }
        let left = life.left();
        assert_eq!(life.hears(advert(9, 50)), "advert 100, announce First");
        assert_eq!(life.left(), left, "the turn stays");
        let heard = life.now;
        let mut done = String::new();
        while !done.contains("announce") {
            done = life.fires();
        }
        assert_eq!(life.now, heard + 5 * S);
        assert!(done.ends_with("announce Second"), "{done}");
    }
}

// V69
#[test]
fn a_flood_of_weaker_adverts_is_answered_once_in_an_interval() {
    let mut life = Life::master(parameters(100));
    for _ in 0..10_000 {
        life.pass(S / 1_000);
        life.hears(advert(9, 50));
        life.timer();
    }
    assert_eq!(life.count(Count::WeakerAnswered), 10);
    assert_eq!(life.count(Count::WeakerDiscarded), 9_990);
    assert!(life.count(Count::AdvertSent) <= 1 + 10 + 10);
}

// V72
#[test]
fn another_routers_resignation_is_answered_at_once_and_turns_begin_anew() {
    let mut life = Life::master(parameters(100));
    life.fires();
    life.fires();
    life.pass(S / 2);
    assert_eq!(life.hears(advert(9, 0)), "advert 100, announce First");
    assert_eq!(life.left(), S);
    // Each of them: who heard the second waits for its skew only.
    assert_eq!(life.hears(advert(9, 0)), "advert 100");
}

// V69
#[test]
fn what_another_master_announced_after_our_last_burst_is_answered_by_one_more() {
    let mut life = Life::master(parameters(100));
    life.pass(S / 4);
    assert_eq!(life.hears(advert(9, 50)), "advert 100");
    life.pass(S / 4);
    assert_eq!(life.hears(advert(9, 50)), "");
    assert_eq!(life.fires(), "advert 100, announce Second");
    assert_eq!(life.fires(), "advert 100");
}

// V73
#[test]
fn a_master_without_preemption_yields_all_the_same() {
    let mut life = Life::master(Parameters {
        preempt: Preempt::Never,
        ..parameters(100)
    });
    assert_eq!(life.hears(advert(9, 101)), YIELDED);
}

// V42
#[test]
fn of_two_owners_version_2_discards_and_version_3_compares_addresses() {
    for (version, host, done, state) in [
        (Version::V2, 9, "two owners", State::Master),
        (Version::V2, 2, "two owners", State::Master),
        (Version::V3, 2, "two owners, advert 255", State::Master),
        (
            Version::V3,
            9,
            "two owners, advert 255, remove, not ours, master -> backup, notify backup",
            State::Backup,
        ),
    ] {
        let mut life = Life::master(Parameters {
            version,
            ..parameters(255)
        });
        assert_eq!(life.hears(advert(host, 255)), done);
        assert_eq!(life.machine.state(), state);
    }
}

// V42
#[test]
fn a_second_owner_is_reported_once() {
    let mut life = Life::master(Parameters {
        version: Version::V2,
        ..parameters(255)
    });
    assert_eq!(life.hears(advert(9, 255)), "two owners");
    for _ in 0..50 {
        assert_eq!(life.hears(advert(9, 255)), "");
    }
    assert_eq!(life.count(Count::OtherOwnerDiscarded), 51);
}

// V79, V82
#[test]
fn addresses_are_announced_twice_and_then_refreshed_in_turn() {
    let mut life = Life::master(Parameters {
        announce_delay: 5 * S,
        announce_refresh: 10 * S,
        ..parameters(100)
    });
    let promoted = life.now;
    let mut heard = Vec::new();
    while life.now < promoted + 36 * S {
        let done = life.fires();
        if let Some((_, burst)) = done.split_once("announce ") {
            heard.push((
                life.now.duration_since(promoted).as_secs(),
                burst.to_owned(),
            ));
        }
    }
    let expected = [
        (5, "Second"),
        (15, "Refresh"),
        (25, "Refresh"),
        (35, "Refresh"),
    ];
    let expected = expected.map(|(at, burst)| (at, burst.to_owned()));
    assert_eq!(heard, expected);
}
