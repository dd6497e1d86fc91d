//! Another configuration, while the agent runs: what is not changed is not touched.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lb_tests::director::{agent_binary, service};
use lb_tests::lab::{Agent, Lab, Options, VIP4, wait_until};
use lb_tests::traffic::{Load, Stream};
use nix::sys::signal::Signal;

use crate::capture::Capture;
use crate::pair::{
    DEADLINE, FLAVOURS, Pair, has_address, wait_for_address, wait_for_state, wait_until_without,
};

/// Has the agent go by another text of its file.
fn reload(agent: &Agent, text: &str) -> Result<String, String> {
    fs::write(agent.config(), text).unwrap();
    agent
        .command(&["reload"])
        .map_err(|error| format!("{error:#}"))
}

/// The longest time between two adverts of ours.
fn longest_gap(capture: &Capture, mac: [u8; 6], since: Instant) -> Duration {
    let adverts = capture.adverts();
    let ours = adverts.iter().filter(|advert| advert.source_mac == mac);
    let times: Vec<Instant> = ours
        .map(|advert| advert.at)
        .filter(|at| *at >= since)
        .collect();
    let gaps = times.iter().zip(times.iter().skip(1));
    gaps.map(|(one, next)| *next - *one)
        .max()
        .unwrap_or_default()
}

// V97, V98, V99, V100
#[test]
fn a_master_is_reloaded_beside_keepalived_without_a_missed_advert() {
    let flavour = FLAVOURS[2];
    let pair = Pair::up(flavour, 150, 100);
    pair.wait_for_state("master");
    pair.wait_for_our_adverts(5);
    let announced = pair.capture.announcements().len();
    let since = Instant::now();

    // Nothing has changed.
    let done = reload(&pair.agent, &flavour.toml(150)).unwrap();
    assert_eq!(done.trim(), "reloaded: 1 VRRP instances");
    pair.wait_for_our_adverts(5);
    assert_eq!(pair.capture.announcements().len(), announced);

    // What is wrong is refused as a whole, and said.
    let wrong = flavour.toml(150).replace("priority", "priorty");
    let refusal = reload(&pair.agent, &wrong).unwrap_err();
    assert!(
        refusal.contains("priorty") && refusal.contains("priority"),
        "{refusal}"
    );
    let gone = flavour.toml(150).replace("\"eth0\"", "\"eth7\"");
    let refusal = reload(&pair.agent, &gone).unwrap_err();
    assert!(refusal.contains("eth7 does not exist"), "{refusal}");
    let other = format!(
        "{}[control]\nsocket = \"/run/lb/other.sock\"\n",
        flavour.toml(150)
    );
    let refusal = reload(&pair.agent, &other).unwrap_err();
    assert!(
        refusal.contains("takes a restart to change control"),
        "{refusal}"
    );
    pair.wait_for_our_adverts(5);
    assert_eq!(pair.wait_for_state("master")["priority"], 150);

    // An address more: set, announced and advertised, and nobody else takes over.
    let two = flavour.toml(150).replace(
        "[\"10.1.0.110/24\"]",
        "[\"10.1.0.110/24\", \"10.1.0.111/24\"]",
    );
    reload(&pair.agent, &two).unwrap();
    wait_for_address(pair.lb1(), "10.1.0.111");
    wait_until(DEADLINE, "an announcement of the new address", || {
        let all = pair.capture.announcements();
        let new = all
            .iter()
            .find(|one| one.address.to_string() == "10.1.0.111");
        new.map(|_| ()).ok_or("none")
    })
    .unwrap();
    reload(&pair.agent, &flavour.toml(150)).unwrap();
    wait_until_without(pair.lb1(), "10.1.0.111");
    assert!(has_address(pair.lb1(), flavour.address()));
    let status = pair.wait_for_state("master");
    assert_eq!(status["counters"]["became_master"], 1, "{status}");
    assert_eq!(status["counters"].get("resignation_sent"), None, "{status}");

    // By a signal, and with the election following.
    fs::write(pair.agent.config(), flavour.toml(90)).unwrap();
    let mut pair = pair;
    pair.agent.daemon().signal(Signal::SIGHUP).unwrap();
    wait_until(DEADLINE, "the new priority to be advertised", || {
        let adverts = pair.capture.adverts();
        let mut ours = adverts.iter();
        let last = ours.rfind(|advert| advert.source_mac == pair.our_mac());
        match last.map(|advert| advert.repr.priority) {
            Some(90) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .unwrap();
    pair.wait_for_state("backup");
    wait_until_without(pair.lb1(), flavour.address());
    wait_for_address(pair.lb2(), flavour.address());
    let gap = longest_gap(&pair.capture, pair.our_mac(), since);
    assert!(gap < 2 * flavour.interval, "{gap:?} without an advert");
}

fn config(vrrp: &str, services: &str) -> String {
    format!("router_id = \"lb1\"\ninterfaces = [\"eth0\", \"eth1\"]\n{vrrp}{services}")
}

fn instance(name: &str, id: u8, address: &str) -> String {
    format!(
        "[[vrrp]]\nname = \"{name}\"\ninterface = \"eth0\"\nvirtual_router_id = {id}\npriority = 150\n\
         advert_interval = \"100ms\"\naddresses = [\"{address}/24\"]\n"
    )
}

fn web(name: &str, listen: &str, hosts: &[u8]) -> String {
    let real_servers: String = hosts
        .iter()
        .map(|host| format!("[[service.real_server]]\naddress = \"10.1.0.{host}:80\"\n"))
        .collect();
    format!(
        "[[service]]\nname = \"{name}\"\nlisten = [\"{listen}:80\"]\nmode = \"dr\"\n\
         [service.check]\ntcp = {{}}\ninterval = \"100ms\"\n{real_servers}"
    )
}

#[test]
fn services_and_instances_come_and_go_while_requests_are_answered() {
    let lab = Lab::up(&Options::default()).unwrap();
    let _servers: Vec<_> = (1..=3)
        .map(|number| lab.nginx(&format!("rs{number}")).unwrap())
        .collect();
    let vip = format!("{VIP4}/32");
    let delete = ["address", "delete", vip.as_str(), "dev", "eth0"];
    lab.node("lb1").run("ip", &delete).unwrap();
    let own = VIP4.to_string();
    let first = config(&instance("VI_1", 51, &own), &web("web", &own, &[21, 22]));
    let agent = lab.agent("lb1", &agent_binary().unwrap(), &first).unwrap();
    wait_for_state(&agent, "master");
    wait_for_address(lab.node("lb1"), &own);
    let load = Load {
        targets: vec![SocketAddr::new(VIP4.into(), 80)],
        connections: 4,
        kept_alive: 2,
        period: Duration::from_millis(10),
        timeout: Duration::from_secs(10),
    };
    let stream = Stream::start(lab.node("cl1"), &load).unwrap();
    let pid = agent.status().unwrap()["pid"].clone();

    // Another instance before the first, with a service; a third real server for the old one.
    let more = config(
        &(instance("VI_0", 50, "10.1.0.120") + &instance("VI_1", 51, &own)),
        &(web("other", "10.1.0.120", &[23]) + &web("web", &own, &[21, 22, 23])),
    );
    let done = reload(&agent, &more).unwrap();
    assert_eq!(done.trim(), "reloaded: 2 services, 2 VRRP instances");
    wait_for_address(lab.node("lb1"), "10.1.0.120");
    let names = |field: &str| -> Vec<String> {
        let status = agent.status().unwrap();
        let all = status[field].as_array().unwrap().clone();
        all.iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("vrrp"), ["VI_0", "VI_1"]);
    assert_eq!(names("services"), ["other", "web"]);
    wait_until(DEADLINE, "the third real server to serve", || {
        let outcomes = stream.take();
        let failed = outcomes.iter().find(|outcome| outcome.answer.is_err());
        assert!(failed.is_none(), "{failed:?}");
        let third = outcomes
            .iter()
            .any(|outcome| outcome.answer.as_deref() == Ok("rs3"));
        third.then_some(()).ok_or("not yet")
    })
    .unwrap();

    // A real server that was found dead stays out, whatever else is changed.
    reload(&agent, &first).unwrap();
    wait_until_without(lab.node("lb1"), "10.1.0.120");
    assert_eq!(names("vrrp"), ["VI_1"]);
    assert_eq!(names("services"), ["web"]);
    let status = agent.status().unwrap();
    assert_eq!(status["pid"], pid);
    assert_eq!(
        status["vrrp"][0]["counters"]["became_master"], 1,
        "{status}"
    );
    assert_eq!(service(&status, "web")["state"], "up", "{status}");
    let rest = stream.stop();
    let failed: Vec<_> = rest
        .iter()
        .filter(|outcome| outcome.answer.is_err())
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert!(rest.len() > 10);
}

#[test]
fn a_real_server_that_was_found_dead_stays_out_over_a_reload() {
    let lab = Lab::up(&Options::default()).unwrap();
    let _server = lab.nginx("rs1").unwrap();
    let own = VIP4.to_string();
    let first = config("", &web("web", &own, &[21, 22]));
    let agent = lab.agent("lb1", &agent_binary().unwrap(), &first).unwrap();
    let states = || -> Vec<String> {
        let status = agent.status().unwrap();
        let all = service(&status, "web")["real_servers"]
            .as_array()
            .unwrap()
            .clone();
        all.iter()
            .map(|one| {
                format!(
                    "{} {}",
                    one["address"].as_str().unwrap(),
                    one["state"].as_str().unwrap()
                )
            })
            .collect()
    };
    wait_until(DEADLINE, "the dead one to be found", || {
        match states() == ["10.1.0.21:80 up", "10.1.0.22:80 down"] {
            true => Ok(()),
            false => Err(format!("{:?}", states())),
        }
    })
    .unwrap();
    // The other way round, one more, and another kind of patience: what is known goes with the real server.
    let second = config("", &web("web", &own, &[22, 21, 23])).replace("100ms", "2s");
    reload(&agent, &second).unwrap();
    let expected = ["10.1.0.22:80 down", "10.1.0.21:80 up"];
    assert_eq!(states()[..2], expected);
    assert!(!reload(&agent, "").unwrap_err().is_empty());
    assert_eq!(states()[..2], expected);
}
