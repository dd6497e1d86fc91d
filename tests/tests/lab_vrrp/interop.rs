//! Our agent and keepalived as routers of one virtual router, in every flavour of the protocol.

use std::time::Duration;

use lb_tests::lab::wait_until;
use nix::sys::signal::Signal;

use crate::capture::Advert;
use crate::pair::{
    DEADLINE, FLAVOURS, Flavour, Pair, has_address, wait_for_address, wait_until_without,
};

/// What a busy machine may add to a time measured.
const LATE: Duration = Duration::from_millis(400);

/// Ours is master, keepalived follows; ours ends in order, keepalived takes over after its skew.
fn keepalived_follows(flavour: Flavour) {
    let mut pair = Pair::up(flavour, 150, 100);
    let vip = flavour.address();
    let status = pair.wait_for_state("master");
    assert_eq!(status["priority"], 150, "{status}");
    pair.wait_for_our_adverts(10);
    let (ours, theirs) = (pair.our_mac(), pair.their_mac());
    let adverts = pair.capture.adverts();
    let strangers: Vec<&Advert> = adverts
        .iter()
        .filter(|one| one.source_mac != ours)
        .collect();
    assert!(
        strangers.is_empty(),
        "{}: keepalived does not follow: {strangers:?}",
        flavour.name
    );
    for advert in &adverts {
        assert_eq!(
            (advert.ttl, advert.type_of_service),
            (255, 0xc0),
            "{advert:?}"
        );
        let addresses: Vec<_> = advert
            .repr
            .addresses
            .iter()
            .map(|one| one.to_string())
            .collect();
        assert_eq!(addresses, [vip], "{}", flavour.name);
    }
    assert!(!has_address(pair.lb2(), vip), "{}", flavour.name);
    let announced = pair.capture.announcements();
    let of_vip = announced
        .iter()
        .filter(|one| one.address.to_string() == vip && one.mac == ours);
    assert!(of_vip.count() >= 5, "{}: {announced:?}", flavour.name);

    pair.agent.daemon().stop(Signal::SIGTERM, DEADLINE).unwrap();
    assert!(
        !has_address(pair.lb1(), vip),
        "{}: given up at the end",
        flavour.name
    );
    wait_for_address(pair.lb2(), vip);
    let adverts = pair.capture.adverts();
    let resigned: Vec<&Advert> = adverts
        .iter()
        .filter(|one| one.repr.priority == 0)
        .collect();
    assert_eq!(resigned.len(), 1, "{}: {resigned:?}", flavour.name);
    assert_eq!(resigned[0].source_mac, ours);
    let taken = adverts
        .iter()
        .find(|one| one.source_mac == theirs)
        .expect("keepalived's first advert");
    let took = taken.at.duration_since(resigned[0].at);
    let skew = flavour.skew(100);
    assert!(
        took < skew + LATE,
        "{}: {took:?}, a skew of {skew:?}",
        flavour.name
    );
}

/// keepalived is master, ours follows; keepalived is killed, ours takes over; keepalived comes back and preempts.
fn we_follow(flavour: Flavour) {
    let mut pair = Pair::up(flavour, 100, 150);
    let vip = flavour.address();
    let (ours, theirs) = (pair.our_mac(), pair.their_mac());
    let follows = |pair: &Pair| {
        wait_until(DEADLINE, "us to follow keepalived", || {
            let status = pair.agent.status().map_err(|error| format!("{error:#}"))?;
            let instance = &status["vrrp"][0];
            let followed = instance["counters"]["advert_followed"]
                .as_u64()
                .unwrap_or(0);
            match instance["state"] == "backup" && followed >= 5 {
                true => Ok(instance.clone()),
                false => Err(instance.to_string()),
            }
        })
        .unwrap()
    };
    let status = follows(&pair);
    assert_eq!(status["master"]["priority"], 150, "{status}");
    assert!(
        pair.capture
            .adverts()
            .iter()
            .all(|one| one.source_mac == theirs),
        "{}",
        flavour.name
    );

    pair.keepalived.kill();
    let status = pair.wait_for_state("master");
    assert!(
        status["reason"]
            .as_str()
            .unwrap()
            .starts_with("no advert from "),
        "{status}"
    );
    wait_for_address(pair.lb1(), vip);
    let adverts = pair.capture.adverts();
    let last = adverts
        .iter()
        .rfind(|one| one.source_mac == theirs)
        .expect("keepalived's last advert");
    let first = adverts
        .iter()
        .find(|one| one.source_mac == ours)
        .expect("our first advert");
    let (took, patience) = (first.at.duration_since(last.at), flavour.patience(100));
    let early = patience - patience / 50;
    assert!(
        (early..patience + LATE).contains(&took),
        "{}: {took:?} for {patience:?}",
        flavour.name
    );

    // What it left on its host when it was killed, it finds there.
    pair.keepalived.restart().unwrap();
    let status = pair.wait_for_state("backup");
    assert!(
        status["reason"]
            .as_str()
            .unwrap()
            .contains("has priority 150, above ours of 100"),
        "{status}"
    );
    wait_until_without(pair.lb1(), vip);
    wait_for_address(pair.lb2(), vip);
    let refused: Vec<_> = status["counters"]
        .as_object()
        .unwrap()
        .keys()
        .filter(|name| {
            [
                "bad_checksum",
                "too_short",
                "too_long",
                "hop_limit",
                "other_addresses",
            ]
            .contains(&name.as_str())
        })
        .collect();
    assert!(refused.is_empty(), "{}: {status}", flavour.name);
    // V74: in order, it resigns, and we wait for our skew alone.
    pair.keepalived.stop().unwrap();
    let status = pair.wait_for_state("master");
    assert!(
        status["reason"]
            .as_str()
            .unwrap()
            .contains("gave the addresses up"),
        "{status}"
    );
}

#[test]
fn keepalived_follows_version_3() {
    keepalived_follows(FLAVOURS[0]);
}

#[test]
fn keepalived_follows_version_2_with_a_password() {
    keepalived_follows(FLAVOURS[1]);
}

#[test]
fn keepalived_follows_adverts_every_100_ms() {
    keepalived_follows(FLAVOURS[2]);
}

#[test]
fn keepalived_follows_adverts_every_10_ms() {
    keepalived_follows(FLAVOURS[3]);
}

#[test]
fn keepalived_follows_over_ipv6() {
    keepalived_follows(FLAVOURS[4]);
}

#[test]
fn keepalived_follows_a_unicast_peer() {
    keepalived_follows(FLAVOURS[5]);
}

#[test]
fn we_follow_version_3() {
    we_follow(FLAVOURS[0]);
}

#[test]
fn we_follow_version_2_with_a_password() {
    we_follow(FLAVOURS[1]);
}

#[test]
fn we_follow_adverts_every_100_ms() {
    we_follow(FLAVOURS[2]);
}

#[test]
fn we_follow_adverts_every_10_ms() {
    we_follow(FLAVOURS[3]);
}

#[test]
fn we_follow_over_ipv6() {
    we_follow(FLAVOURS[4]);
}

#[test]
fn we_follow_a_unicast_peer() {
    we_follow(FLAVOURS[5]);
}
