//! Instances that take over when told, because they move together.

use super::*;

#[test]
fn one_that_is_ready_takes_over_when_told_and_not_before() {
    let mut life = Life::backup(together(100));
    assert_eq!(life.local(Local::Promote), "");
    assert_eq!(life.fires(), "");
    life.pass(10 * S);
    assert_eq!(life.timer(), "");
    assert_eq!(life.local(Local::Promote), PROMOTED);
    assert_eq!(life.cause(), "no advert from 192.0.2.9 for 13.609s");
}

#[test]
fn one_that_hears_its_master_again_is_no_longer_ready() {
    let mut life = Life::backup(together(100));
    life.fires();
    life.hears(advert(9, 200));
    assert!(!life.machine.is_ready());
    assert_eq!(life.left_ms(), 3_609);
    assert_eq!(life.local(Local::Promote), "");
}

#[test]
fn one_stays_ready_while_a_weaker_master_speaks() {
    let mut life = Life::backup(together(100));
    life.hears(advert(9, 50));
    life.fires();
    life.hears(advert(9, 50));
    assert!(life.machine.is_ready());
    assert_eq!(life.local(Local::Promote), PROMOTED);
}

#[test]
fn a_change_of_parameters_has_it_find_out_anew_whether_it_is_ready() {
    let mut life = Life::backup(together(100));
    life.fires();
    let mut slower = together(100);
    slower.down_adverts = priority(10);
    life.local(Local::Parameters(slower));
    assert_eq!(life.timer(), "");
    assert!(!life.machine.is_ready());
}

#[test]
fn an_owner_waits_for_nobody_but_those_it_moves_together_with() {
    let mut life = Life::started(together(255));
    assert_eq!(life.machine.state(), State::Backup);
    assert_eq!(life.timer(), "");
    assert!(life.machine.is_ready());
    let promoted = PROMOTED.replace("100", "255");
    assert_eq!(life.local(Local::Promote), promoted);
    assert_eq!(
        life.cause(),
        "started as owner of the addresses (priority 255)"
    );
}

#[test]
fn one_that_yields_with_another_resigns_and_waits_as_a_backup() {
    let mut life = Life::started(together(100));
    life.fires();
    life.local(Local::Promote);
    let member = "VI_2".to_owned();
    let done = life.local(Local::Yield { member });
    assert_eq!(done, format!("advert 0, {DEMOTED}"));
    assert_eq!(
        life.cause(),
        "VI_2, of the same sync group, is no longer master"
    );
    assert_eq!(life.left_ms(), 3_609);
}

#[test]
fn a_claim_says_beforehand_why_it_would_be_refused() {
    assert_eq!(
        Life::new(together(100)).machine.refusal(),
        Some(Refusal::NotStarted)
    );
    let stronger = Life::backup(together(100)).machine.refusal();
    assert!(matches!(stronger, Some(Refusal::MasterIsStronger { .. })));
    assert_eq!(Life::started(together(100)).machine.refusal(), None);
    let faulty = Life::fault(together(100)).machine.refusal();
    assert!(matches!(faulty, Some(Refusal::Fault { .. })));
}
