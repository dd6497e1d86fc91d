//! What happens on this host: stop, faults, reload, the operator's hand.

use super::*;

// V74
#[test]
fn a_stop_resigns_before_the_addresses_go() {
    let mut life = Life::master(parameters(100));
    let done = life.local(Local::Stop);
    assert_eq!(
        done,
        "advert 0, remove, not ours, master -> init, notify init"
    );
    assert_eq!(life.count(Count::ResignationSent), 1);
    assert_eq!(life.machine.next_deadline(), None);
}

// V75
#[test]
fn a_fault_resigns_once() {
    let mut life = Life::master(parameters(100));
    life.local(Local::Down("script check_nginx".into()));
    life.local(Local::Down("interface eth1".into()));
    assert_eq!(life.count(Count::ResignationSent), 1);
    assert_eq!(life.cause(), "script check_nginx is down");
}

// V89, V92
#[test]
fn a_fault_lasts_until_all_is_up_and_then_the_router_is_a_backup() {
    let mut life = Life::master(parameters(100));
    life.local(Local::Down("script a".into()));
    life.local(Local::Down("interface eth1".into()));
    assert_eq!(life.local(Local::Up("script a".into())), "");
    assert_eq!(life.local(Local::Up("script a".into())), "");
    assert_eq!(
        life.machine.faults().collect::<Vec<_>>(),
        ["interface eth1"]
    );
    let done = life.local(Local::Up("interface eth1".into()));
    assert_eq!(done, "fault -> backup, notify backup");
    assert_eq!(life.left_ms(), 3_609);
    assert_eq!(life.cause(), "interface eth1 is up again");
}

// V94
#[test]
fn a_start_with_something_down_is_a_fault() {
    for own in [100, 255] {
        let mut life = Life::new(parameters(own));
        life.local(Local::Down("script a".into()));
        assert_eq!(life.local(Local::Start), "init -> fault, notify fault");
    }
}

#[test]
fn an_owner_that_recovers_is_master_at_once() {
    let mut life = Life::fault(parameters(255));
    let done = life.local(Local::Up("interface eth0".into()));
    assert_eq!(
        done,
        "advert 255, ours, add, announce First, fault -> master, notify master"
    );
}

// V90
#[test]
fn a_new_priority_is_advertised_at_once_and_an_old_one_is_not_said_again() {
    let mut life = Life::master(parameters(100));
    life.pass(S / 2);
    assert_eq!(life.local(Local::Priority(priority(80))), "advert 80");
    assert_eq!(life.left(), S);
    assert_eq!(life.local(Local::Priority(priority(80))), "");
}

// V100
#[test]
fn a_master_whose_priority_falls_is_outbid() {
    let mut life = Life::master(parameters(100));
    life.local(Local::Priority(priority(80)));
    assert_eq!(life.hears(advert(2, 90)), YIELDED.replace("100", "80"));
}

#[test]
fn a_backup_whose_priority_rises_waits_less_and_preempts() {
    let mut life = Life::backup(parameters(100));
    life.local(Local::Priority(priority(250)));
    assert_eq!(life.left_ms(), 3_023);
    life.pass(S);
    life.hears(advert(9, 200));
    assert_eq!(life.left_ms(), 2_023);
}

// V97
#[test]
fn a_reload_without_a_change_does_nothing_and_keeps_the_turns() {
    for mut life in [Life::master(parameters(100)), Life::backup(parameters(100))] {
        life.pass(S / 3);
        let (left, since) = (life.left(), life.machine.since().0);
        assert_eq!(life.local(Local::Parameters(parameters(100))), "");
        assert_eq!((life.left(), life.machine.since().0), (left, since));
    }
}

// V64
#[test]
fn a_longer_interval_is_told_before_it_is_waited_for() {
    let mut life = Life::master(parameters(100));
    let done = life.local(Local::Parameters(Parameters {
        advert_interval: 5 * S,
        ..parameters(100)
    }));
    assert_eq!(done, "advert 100");
    assert_eq!(life.left(), 5 * S);
}

// V98
#[test]
fn a_new_list_of_addresses_is_told_set_and_announced_without_a_transition() {
    let mut life = Life::master(parameters(100));
    let done = life.local(Local::AddressesChanged);
    assert_eq!(done, "advert 100, add, announce First");
    assert_eq!(life.machine.since().0, life.now);
}

#[test]
fn preemption_forbidden_by_a_reload_is_called_off() {
    let mut life = Life::backup(Parameters {
        preempt: Preempt::After(30 * S),
        ..parameters(100)
    });
    life.hears(advert(8, 50));
    life.local(Local::Parameters(Parameters {
        preempt: Preempt::Never,
        ..parameters(100)
    }));
    for _ in 0..100 {
        life.pass(S);
        life.hears(advert(8, 50));
        assert_eq!(life.timer(), "");
    }
}

#[test]
fn a_released_master_follows_a_weaker_one_until_the_addresses_are_claimed() {
    let mut life = Life::master(parameters(100));
    life.local(Local::Release);
    assert_eq!(life.cause(), "released by the operator");
    for _ in 0..20 {
        life.pass(S);
        life.hears(advert(8, 50));
        assert_eq!(life.timer(), "");
    }
    assert_eq!(life.local(Local::Claim), PROMOTED);
    assert_eq!(life.cause(), "claimed by the operator");
}

#[test]
fn released_addresses_that_nobody_takes_come_back() {
    for own in [100, 255] {
        let mut life = Life::master(parameters(own));
        life.local(Local::Release);
        assert_eq!(life.machine.state(), State::Backup);
        assert!(life.left() > 3 * S);
        life.fires();
        assert_eq!(life.machine.state(), State::Master);
    }
}

#[test]
fn a_claim_wins_against_a_weaker_master_without_preemption() {
    let mut life = Life::backup(Parameters {
        preempt: Preempt::Never,
        ..parameters(100)
    });
    life.hears(advert(8, 50));
    assert_eq!(life.local(Local::Claim), PROMOTED);
}

#[test]
fn a_claim_that_a_stronger_master_would_undo_is_refused_with_the_cure() {
    let mut life = Life::backup(parameters(100));
    let done = life.machine.on_local(Local::Claim, life.now);
    let [Action::Report(notice)] = done.as_slice() else {
        panic!("a refusal alone: {done:?}");
    };
    let text = notice.to_string();
    assert!(
        text.contains("192.0.2.9 has priority 200, ours is 100"),
        "{text}"
    );
    assert!(text.contains("release them there"), "{text}");
}
