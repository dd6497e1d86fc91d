//! Instances that depend on things, and on one another.

use std::time::Duration;

use super::*;
use crate::vrrp::fsm::{Ownership, Preempt};
use crate::vrrp::packet::Version;

const S: Duration = Duration::from_secs(1);

fn number(value: u8) -> NonZeroU8 {
    NonZeroU8::new(value).expect("above zero")
}

fn setup(name: &str, priority: u8, tracked: &[Tracked]) -> Setup {
    let parameters = Parameters {
        version: Version::V3,
        source: "192.0.2.5".parse().expect("an address"),
        priority: number(priority),
        advert_interval: S,
        down_adverts: number(3),
        preempt: Preempt::After(Duration::ZERO),
        announce_delay: Duration::ZERO,
        announce_refresh: Duration::ZERO,
        promotion: Promotion::AtOnce,
    };
    Setup {
        name: name.to_owned(),
        parameters,
        tracked: tracked.to_vec(),
    }
}

fn interface(name: &str, weight: i16) -> Tracked {
    let source = Source::Interface(name.to_owned());
    Tracked { source, weight }
}

fn advert(priority: u8) -> Advert {
    Advert {
        source: "192.0.2.9".parse().expect("an address"),
        priority,
        interval: S,
    }
}

/// A node and its clock.
struct Life {
    node: Node,
    now: Instant,
}

impl Life {
    fn new(setups: Vec<Setup>, groups: Vec<GroupSetup>) -> Self {
        let now = Instant::now();
        let node = Node::new(setups, groups, now);
        Self { node, now }
    }

    /// VI_1 on eth1 and VI_2 on eth2, in a group that depends on eth0; all interfaces are up.
    fn group() -> Self {
        let setups = vec![
            setup("VI_1", 100, &[interface("eth1", 0)]),
            setup("VI_2", 100, &[interface("eth2", 0)]),
        ];
        let group = GroupSetup {
            name: "VG".to_owned(),
            members: vec![0, 1],
            tracked: vec![interface("eth0", 0)],
        };
        let mut life = Self::new(setups, vec![group]);
        for name in ["eth0", "eth1", "eth2"] {
            life.interface(name, Condition::Up);
        }
        let _ = life.node.start(&BTreeSet::new(), life.now);
        life
    }

    fn interface(&mut self, name: &str, condition: Condition) -> Vec<Step> {
        let source = Source::Interface(name.to_owned());
        self.node.on_condition(source, condition, self.now)
    }

    fn hears(&mut self, instance: usize, priority: u8) -> Vec<Step> {
        self.node.on_packet(instance, &advert(priority), self.now)
    }

    /// Waits, and serves all deadlines.
    fn pass(&mut self, time: Duration) -> Vec<Step> {
        let end = self.now + time;
        let mut steps = Vec::new();
        while let Some(deadline) = self.node.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(deadline);
            steps.extend(self.node.on_timer(self.now));
        }
        self.now = end;
        steps
    }

    fn states(&self) -> Vec<&'static str> {
        let all = self.node.machines();
        all.map(|(_, machine)| machine.state().name()).collect()
    }

    fn causes(&self) -> Vec<String> {
        let all = self.node.machines();
        let causes = all.filter_map(|(_, machine)| machine.since().1);
        causes.map(ToString::to_string).collect()
    }

    fn priorities(&self) -> Vec<u8> {
        let all = self.node.machines();
        all.map(|(_, machine)| machine.parameters().priority.get())
            .collect()
    }
}

/// The priorities advertised, by instance.
fn adverts(steps: &[Step]) -> Vec<(usize, u8)> {
    let adverts = steps.iter().filter_map(|step| match step.action {
        Action::SendAdvert { priority } => Some((step.instance, priority)),
        _ => None,
    });
    adverts.collect()
}

#[test]
fn an_instance_without_a_group_takes_over_alone() {
    let setups = vec![setup("VI_1", 100, &[]), setup("VI_2", 100, &[])];
    let mut life = Life::new(setups, vec![]);
    let _ = life.node.start(&BTreeSet::new(), life.now);
    life.pass(2 * S);
    life.hears(1, 200);
    life.pass(2 * S);
    assert_eq!(life.states(), ["master", "backup"]);
}

// V89, V92
#[test]
fn a_fault_lasts_until_all_of_its_sources_are_mended() {
    let tracked = [interface("eth0", 0), interface("eth1", 0)];
    let mut life = Life::new(vec![setup("VI_1", 100, &tracked)], vec![]);
    let _ = life.node.start(&BTreeSet::new(), life.now);
    assert_eq!(life.states(), ["fault"]);
    life.interface("eth0", Condition::Up);
    assert_eq!(life.states(), ["fault"]);
    life.interface("eth1", Condition::Up);
    assert_eq!(life.states(), ["backup"]);
    life.pass(4 * S);
    assert_eq!(life.states(), ["master"]);
    let steps = life.interface("eth1", Condition::Down);
    assert_eq!(adverts(&steps), [(0, 0)]);
    assert_eq!(life.states(), ["fault"]);
}

// V90, V100
#[test]
fn a_weight_changes_the_priority_and_the_master_says_so_at_once() {
    let mut life = Life::new(vec![setup("VI_1", 100, &[interface("eth1", -20)])], vec![]);
    life.interface("eth1", Condition::Up);
    let _ = life.node.start(&BTreeSet::new(), life.now);
    life.pass(4 * S);
    assert_eq!(adverts(&life.interface("eth1", Condition::Down)), [(0, 80)]);
    assert_eq!(adverts(&life.interface("eth1", Condition::Up)), [(0, 100)]);
    assert_eq!(adverts(&life.interface("eth1", Condition::Up)), []);
}

// V96
#[test]
fn a_group_takes_over_when_every_member_would() {
    let mut life = Life::group();
    life.pass(S);
    life.hears(1, 200);
    let steps = life.pass(3 * S);
    assert_eq!(steps, []);
    assert_eq!(life.states(), ["backup", "backup"]);
    let steps = life.pass(S);
    assert_eq!(adverts(&steps), [(0, 100), (1, 100)]);
    assert_eq!(life.states(), ["master", "master"]);
}

// V96
#[test]
fn a_member_that_is_outbid_takes_the_others_with_it() {
    let mut life = Life::group();
    life.pass(5 * S);
    let steps = life.hears(0, 200);
    assert_eq!(life.states(), ["backup", "backup"]);
    let others = steps.iter().filter(|step| step.instance == 1);
    let others: Vec<_> = others.map(|step| step.action.clone()).collect();
    assert_eq!(
        others.get(..3),
        Some(
            &[
                Action::SendAdvert { priority: 0 },
                Action::RemoveAddresses,
                Action::SetOwnership(Ownership::NotOurs),
            ][..]
        )
    );
    assert_eq!(
        life.causes(),
        [
            "192.0.2.9 has priority 200, above ours of 100",
            "VI_1, of the same sync group, is no longer master",
        ]
    );
}

// V95
#[test]
fn a_fault_of_one_is_a_fault_of_all_and_they_recover_together() {
    let mut life = Life::group();
    life.pass(5 * S);
    let steps = life.interface("eth2", Condition::Down);
    assert_eq!(adverts(&steps), [(0, 0), (1, 0)]);
    assert_eq!(life.states(), ["fault", "fault"]);
    assert_eq!(
        life.causes(),
        ["interface eth2 of VI_2 is down", "interface eth2 is down"]
    );
    life.interface("eth1", Condition::Down);
    life.interface("eth2", Condition::Up);
    assert_eq!(life.states(), ["fault", "fault"]);
    life.interface("eth1", Condition::Up);
    assert_eq!(life.states(), ["backup", "backup"]);
}

#[test]
fn what_a_group_depends_on_all_its_members_depend_on() {
    let mut life = Life::group();
    life.pass(5 * S);
    life.interface("eth0", Condition::Down);
    assert_eq!(life.states(), ["fault", "fault"]);
    assert_eq!(life.causes(), ["interface eth0 is down"; 2]);
}

#[test]
fn weights_count_once_for_every_member_of_a_group() {
    let shared = interface("eth0", -7);
    let setups = vec![
        setup("VI_1", 100, &[interface("eth1", -20), shared.clone()]),
        setup("VI_2", 110, std::slice::from_ref(&shared)),
        setup("VI_3", 120, &[]),
    ];
    let group = GroupSetup {
        name: "VG".to_owned(),
        members: vec![0, 1],
        tracked: vec![shared],
    };
    let mut life = Life::new(setups, vec![group]);
    let _ = life.node.start(&BTreeSet::new(), life.now);
    assert_eq!(life.priorities(), [73, 83, 120]);
}

#[test]
fn a_group_with_an_owner_waits_for_its_other_members() {
    let setups = vec![setup("VI_1", 255, &[]), setup("VI_2", 100, &[])];
    let group = GroupSetup {
        name: "VG".to_owned(),
        members: vec![0, 1],
        tracked: vec![],
    };
    let mut life = Life::new(setups, vec![group]);
    let _ = life.node.start(&BTreeSet::new(), life.now);
    life.pass(3 * S);
    assert_eq!(life.states(), ["backup", "backup"]);
    life.pass(S);
    assert_eq!(life.states(), ["master", "master"]);
}

#[test]
fn a_group_is_claimed_as_a_whole_or_not_at_all() {
    let mut life = Life::group();
    life.hears(1, 200);
    let refused = life.node.claim(0, life.now);
    assert!(matches!(
        refused.as_slice(),
        [Step {
            instance: 1,
            action: Action::Report(Notice::Refused(Refusal::MasterIsStronger { .. }))
        }]
    ));
    assert_eq!(life.states(), ["backup", "backup"]);
    life.hears(1, 0);
    let _ = life.node.claim(0, life.now);
    assert_eq!(life.states(), ["master", "master"]);
    let steps = life.node.release(1, life.now);
    assert_eq!(adverts(&steps), [(0, 0), (1, 0)]);
    assert_eq!(life.states(), ["backup", "backup"]);
}

#[test]
fn a_stop_resigns_everywhere_and_ends_all_deadlines() {
    let mut life = Life::group();
    life.pass(5 * S);
    let steps = life.node.stop(life.now);
    assert_eq!(adverts(&steps), [(0, 0), (1, 0)]);
    assert_eq!(life.states(), ["init", "init"]);
    assert_eq!(life.node.next_deadline(), None);
}

#[test]
fn a_group_is_adopted_as_a_whole_or_not_at_all() {
    for (left_behind, states) in [
        (vec![0], ["backup", "backup", "backup"]),
        (vec![0, 1], ["master", "master", "backup"]),
        (vec![1, 2], ["backup", "backup", "master"]),
    ] {
        let names = ["VI_1", "VI_2", "VI_3"];
        let setups = names.map(|name| setup(name, 100, &[])).to_vec();
        let group = GroupSetup {
            name: "VG".to_owned(),
            members: vec![0, 1],
            tracked: vec![],
        };
        let mut life = Life::new(setups, vec![group]);
        let left_behind = left_behind.into_iter().collect();
        let _ = life.node.start(&left_behind, life.now);
        assert_eq!(life.states(), states, "{left_behind:?}");
    }
}
