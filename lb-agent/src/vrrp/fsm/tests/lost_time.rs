//! Processes that were stopped, machines that stood still, clocks that misbehave.

use super::*;

// V78
#[test]
fn a_master_that_overslept_listens_before_it_speaks() {
    let mut life = Life::master(parameters(100));
    life.pass(Duration::from_millis(4_800));
    assert_eq!(life.timer(), "lost time");
    assert_eq!(life.machine.state(), State::Master);
    assert_eq!(life.left_ms(), 1_500);
    assert_eq!(life.fires(), "advert 100, announce First");
    assert_eq!(life.left(), S);
}

// V78
#[test]
fn a_master_that_overslept_yields_to_whoever_took_over_and_then_preempts_as_any_backup() {
    let mut life = Life::master(Parameters {
        preempt: Preempt::After(30 * S),
        ..parameters(100)
    });
    life.pass(Duration::from_millis(4_800));
    // What waited is handed in before the timer.
    assert_eq!(
        life.hears(advert(8, 50)),
        format!("lost time, advert 0, {DEMOTED}")
    );
    assert_eq!(
        life.cause(),
        "192.0.2.8 took over while nothing was sent for 4.800s"
    );
    life.hears(advert(8, 50));
    for _ in 0..30 {
        life.pass(S);
        life.hears(advert(8, 50));
        assert_eq!(life.timer(), "");
    }
    assert_eq!(life.machine.state(), State::Backup);
    while life.machine.state() == State::Backup {
        life.pass(S / 100);
        life.hears(advert(8, 50));
        life.timer();
    }
    assert_eq!(life.cause(), "192.0.2.8 has priority 50, below ours of 100");
}

#[test]
fn a_master_that_was_only_late_speaks_at_once() {
    let mut life = Life::master(parameters(100));
    life.pass(Duration::from_millis(3_600));
    assert_eq!(life.timer(), "advert 100");
}

// V78
#[test]
fn a_master_that_overslept_and_is_stopped_resigns_nothing_that_may_be_another_s() {
    let mut life = Life::master(parameters(100));
    life.pass(5 * S);
    let done = life.local(Local::Stop);
    assert_eq!(
        done,
        "lost time, remove, not ours, master -> init, notify init"
    );
}

#[test]
fn a_backup_that_overslept_listens_once_before_it_takes_over() {
    let mut life = Life::backup(parameters(100));
    life.pass(10 * S);
    assert_eq!(life.timer(), "lost time");
    assert_eq!(life.left_ms(), 1_500);
    assert_eq!(life.fires(), PROMOTED);

    let mut life = Life::backup(parameters(100));
    life.pass(10 * S);
    life.timer();
    life.hears(advert(9, 200));
    assert_eq!(life.left_ms(), 3_609);

    // Always late, it takes over all the same.
    let mut life = Life::backup(parameters(100));
    life.pass(10 * S);
    life.timer();
    life.pass(10 * S);
    assert_eq!(life.timer(), PROMOTED);
}

// V65
#[test]
fn a_time_before_the_last_one_told_counts_as_the_last() {
    let mut life = Life::master(parameters(100));
    let late = life.now;
    life.now = life.start;
    assert_eq!(life.timer(), "");
    assert_eq!(life.hears(advert(9, 150)), YIELDED);
    assert_eq!(life.machine.since().0, late);
}

// V77
#[test]
fn an_agent_that_was_cut_off_goes_on_as_master_once_it_has_listened() {
    let mut life = Life::new(parameters(100));
    assert_eq!(
        life.local(Local::Adopt),
        "ours, add, init -> master, notify master"
    );
    assert_eq!(life.left_ms(), 1_500);
    assert_eq!(life.fires(), "advert 100, announce First");
    assert_eq!(life.left(), S);
}

// V77
#[test]
fn an_agent_that_was_cut_off_yields_to_whoever_took_over() {
    let mut life = Life::new(parameters(100));
    life.local(Local::Adopt);
    life.pass(S);
    assert_eq!(life.hears(advert(8, 50)), format!("advert 0, {DEMOTED}"));
    assert_eq!(life.cause(), "192.0.2.8 took over while the agent was gone");
}

#[test]
fn what_is_down_is_not_adopted() {
    let mut life = Life::new(parameters(100));
    life.local(Local::Down("interface eth0".into()));
    assert_eq!(life.local(Local::Adopt), "init -> fault, notify fault");
}
