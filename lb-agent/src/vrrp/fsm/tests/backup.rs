//! As backup: patience, and what shortens or renews it.

use super::*;

fn v2(own: u8) -> Parameters {
    Parameters {
        version: Version::V2,
        ..parameters(own)
    }
}

fn every(interval: Duration, advert: Advert) -> Advert {
    Advert { interval, ..advert }
}

// V48
#[test]
fn backup_becomes_master_three_intervals_and_skew_after_the_last_advert() {
    for (parameters, left) in [
        (parameters(100), 3_609),
        (v2(100), 3_609),
        (parameters(150), 3_414),
    ] {
        let mut life = Life::backup(parameters);
        life.pass(S / 2);
        life.hears(advert(9, 200));
        assert_eq!(life.left_ms(), left);
        life.pass(life.left() - Duration::from_nanos(1));
        assert_eq!(life.timer(), "");
        life.pass(Duration::from_nanos(1));
        life.timer();
        assert_eq!(life.machine.state(), State::Master);
        assert!(
            life.cause().starts_with("no advert from 192.0.2.9 for 3."),
            "{}",
            life.cause()
        );
    }
}

// V46, V64
#[test]
fn the_masters_interval_is_learned_in_version_3() {
    let mut life = Life::backup(parameters(100));
    life.hears(every(2 * S, advert(9, 200)));
    assert_eq!(life.left_ms(), 7_218);
    life.hears(every(5 * S, advert(9, 200)));
    life.pass(5 * S);
    assert_eq!(life.timer(), "");
    assert_eq!(life.machine.state(), State::Backup);
}

// V49
#[test]
fn a_resignation_is_followed_by_a_promotion_after_skew_and_not_at_once() {
    let mut life = Life::backup(parameters(100));
    assert_eq!(life.hears(advert(9, 0)), "");
    assert_eq!(life.left_ms(), 609);
    assert_eq!(life.fires(), PROMOTED);
    assert_eq!(life.cause(), "192.0.2.9 gave the addresses up (priority 0)");

    let mut life = Life::backup(parameters(100));
    life.hears(every(2 * S, advert(9, 200)));
    life.hears(advert(9, 0));
    assert_eq!(life.left_ms(), 1_218);
}

#[test]
fn a_resignation_said_twice_does_not_put_the_promotion_off() {
    let mut life = Life::backup(parameters(100));
    life.hears(advert(9, 0));
    life.pass(S / 10);
    life.hears(advert(9, 0));
    assert_eq!(life.left_ms(), 509);
}

// V50
#[test]
fn a_resignation_is_forgotten_when_another_router_takes_over_within_skew() {
    let mut life = Life::backup(parameters(100));
    life.hears(advert(9, 0));
    life.pass(S / 5);
    life.hears(advert(8, 150));
    assert_eq!(life.left_ms(), 3_609);
    assert_eq!(life.machine.peer().map(|peer| peer.priority), Some(150));
}

// V51
#[test]
fn an_advert_of_higher_or_equal_priority_renews_patience_whatever_its_address() {
    for other in [
        advert(9, 101),
        advert(9, 100),
        advert(2, 100),
        advert(9, 255),
    ] {
        let mut life = Life::backup(parameters(100));
        life.pass(3 * S);
        life.hears(other);
        assert_eq!(life.left_ms(), 3_609);
    }
}

// V52
#[test]
fn a_weaker_master_is_preempted_within_the_patience_of_the_last_strong_advert() {
    let mut life = Life::backup(parameters(100));
    for _ in 0..3 {
        life.pass(S);
        assert_eq!(life.hears(advert(8, 50)), "");
    }
    assert_eq!(life.left_ms(), 609);
    assert_eq!(life.fires(), PROMOTED);
    assert_eq!(life.cause(), "192.0.2.8 has priority 50, below ours of 100");
    assert_eq!(life.count(Count::WeakerDiscarded), 3);
}

// V53
#[test]
fn a_weaker_master_is_followed_without_preemption() {
    let mut life = Life::backup(Parameters {
        preempt: Preempt::Never,
        ..parameters(100)
    });
    for _ in 0..20 {
        life.pass(S);
        life.hears(advert(8, 50));
        assert_eq!(life.left_ms(), 3_609);
    }
    assert_eq!(life.machine.state(), State::Backup);
}

fn delayed() -> Life {
    let delay = Preempt::After(3 * S);
    Life::backup(Parameters {
        preempt: delay,
        ..parameters(100)
    })
}

// V54
#[test]
fn a_delayed_preemption_comes_so_much_later_than_it_would() {
    let mut life = delayed();
    let expected = life.now + life.left() + 3 * S;
    while life.machine.state() == State::Backup {
        life.now = expected.min(life.now + S);
        life.hears(advert(8, 50));
        life.timer();
    }
    assert_eq!(life.now, expected);
    assert_eq!(life.cause(), "192.0.2.8 has priority 50, below ours of 100");
}

// V54
#[test]
fn a_delayed_preemption_waits_no_longer_once_the_weaker_master_is_lost() {
    let mut life = delayed();
    life.pass(S);
    life.hears(advert(8, 50));
    assert_eq!(life.left_ms(), 3_609);
    life.hears(advert(8, 0));
    assert_eq!(life.left_ms(), 609);
}

// V55
#[test]
fn a_delayed_preemption_is_called_off_by_a_stronger_master() {
    let mut life = delayed();
    life.pass(S);
    life.hears(advert(8, 50));
    for _ in 0..10 {
        life.pass(S);
        life.hears(advert(9, 200));
        assert_eq!(life.timer(), "");
    }
    assert_eq!(life.machine.state(), State::Backup);
}

// V58
#[test]
fn of_two_equals_that_promote_together_the_greater_address_stays() {
    let mut lesser = Life::master(parameters(100));
    assert_eq!(lesser.hears(advert(9, 100)), YIELDED);
    assert_eq!(
        lesser.cause(),
        "192.0.2.9 has our priority of 100 and the higher address"
    );
    let mut greater = Life::master(parameters(100));
    assert_eq!(greater.hears(advert(2, 100)), "advert 100");
}

// V59
#[test]
fn a_start_waits_for_a_master_first() {
    let mut life = Life::new(parameters(150));
    assert_eq!(life.local(Local::Start), "init -> backup, notify backup");
    assert_eq!(life.left_ms(), 3_414);
}

// V60
#[test]
fn an_owner_is_master_at_once() {
    let mut life = Life::new(parameters(255));
    let done = life.local(Local::Start);
    assert_eq!(
        done,
        "advert 255, ours, add, announce First, init -> master, notify master"
    );
}

// V63
#[test]
fn the_number_of_missed_adverts_can_be_chosen() {
    let down_adverts = priority(5);
    let life = Life::backup(Parameters {
        down_adverts,
        ..parameters(100)
    });
    assert_eq!(life.left_ms(), 5_609);
}
