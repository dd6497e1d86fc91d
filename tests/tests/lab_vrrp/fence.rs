//! A host whose agent died or stands still says nothing about addresses that another one serves.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lb_tests::director::agent_binary;
use lb_tests::lab::{Agent, Lab, Options, VIP4, VIP6, wait_until};
use lb_tests::traffic::request_once;
use nix::sys::signal::Signal;

use crate::capture::Capture;
use crate::pair::{DEADLINE, has_address, wait_for_address, wait_until_without};
use crate::question::Asker;

/// Of adverts.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long the last advert counts.
const PATIENCE: Duration = Duration::from_millis(300);
/// Frames of one side that are on their way while those of the other are written down.
const IN_FLIGHT: Duration = Duration::from_millis(20);
const VIPS: [IpAddr; 2] = [IpAddr::V4(VIP4), IpAddr::V6(VIP6)];

fn config(name: &str, priority: u8, fence: &str) -> String {
    let instance = |name: &str, address: IpAddr, prefix: u8| {
        format!(
            "[[vrrp]]\nname = \"{name}\"\ninterface = \"eth0\"\nvirtual_router_id = 51\npriority = {priority}\n\
             advert_interval = \"100ms\"\naddresses = [\"{address}/{prefix}\"]\nfence = \"{fence}\"\n"
        )
    };
    format!(
        "router_id = \"{name}\"\ninterfaces = [\"eth0\", \"eth1\"]\n{}{}\
         [[service]]\nname = \"web\"\nlisten = [\"{VIP4}:80\", \"[{VIP6}]:80\"]\nmode = \"dr\"\n\
         [[service.real_server]]\naddress = \"10.1.0.21:80\"\n[[service.real_server]]\naddress = \"[fd00:1::21]:80\"\n",
        instance("VI_4", VIPS[0], 24),
        instance("VI_6", VIPS[1], 64),
    )
}

/// Both directors' network, with a real server that listens in on both sides of it.
struct Stage {
    capture: Capture,
    askers: [Asker; 2],
    lab: Lab,
}

impl Stage {
    fn set() -> Self {
        let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
        // The lab's own way to have them on lb1.
        for vip in [format!("{VIP4}/32"), format!("{VIP6}/128")] {
            let _ = lab
                .node("lb1")
                .run("ip", &["address", "delete", &vip, "dev", "eth0"]);
        }
        let node = lab.node("rs1");
        Self {
            capture: Capture::start(node),
            askers: [
                Asker::new(node, "eth0", 1, 21),
                Asker::new(node, "eth1", 2, 21),
            ],
            lab,
        }
    }

    fn agent(&self, name: &str, priority: u8, fence: &str) -> Agent {
        let config = config(name, priority, fence);
        let binary = agent_binary().unwrap();
        self.lab.agent(name, &binary, &config).unwrap()
    }

    fn wait_until_served_by(&self, name: &str) {
        for vip in VIPS {
            wait_for_address(self.lab.node(name), &vip.to_string());
        }
    }

    /// Asks for both addresses on both legs until everybody who answers has been heard; says who, by leg and address.
    fn who_answers(&self) -> BTreeSet<(IpAddr, [u8; 6])> {
        let mut heard = BTreeSet::new();
        for _ in 0..8 {
            let since = Instant::now();
            for (asker, vip) in self
                .askers
                .iter()
                .flat_map(|asker| VIPS.map(|vip| (asker, vip)))
            {
                asker.ask(vip);
            }
            // Nothing says that nobody else will answer: time is given to those who would.
            while since.elapsed() < INTERVAL {
                std::thread::yield_now();
            }
            for vip in VIPS {
                let claims = self.capture.claims(vip).into_iter();
                let new = claims.filter(|(at, _)| *at >= since);
                heard.extend(new.map(|(_, station)| (vip, station)));
            }
        }
        heard
    }

    /// When the first advert of this host's front leg came in after an instant.
    fn first_advert(&self, host: u8, after: Instant) -> Instant {
        let mut found = None;
        wait_until(DEADLINE, "an advert", || {
            let mut adverts = self.capture.adverts().into_iter();
            found = adverts.find(|advert| {
                advert.source_mac == front(host) && advert.at > after && advert.repr.priority > 0
            });
            found.as_ref().map(|_| ()).ok_or("none")
        })
        .unwrap();
        found.expect("waited for").at
    }

    fn claims_of(&self, host: u8, from: Instant, to: Instant) -> usize {
        let claims = VIPS.map(|vip| self.capture.claims(vip)).concat();
        let own = |station: &[u8; 6]| *station == front(host) || *station == back(host);
        claims
            .iter()
            .filter(|(at, station)| *at > from && *at < to && own(station))
            .count()
    }
}

fn front(host: u8) -> [u8; 6] {
    [2, 0, 10, 1, 0, host]
}

fn back(host: u8) -> [u8; 6] {
    [2, 0, 10, 2, 0, host]
}

/// Who answers for a host that has the addresses: for IPv4 each of its legs, for IPv6 the one with the address.
fn everywhere(host: u8) -> BTreeSet<(IpAddr, [u8; 6])> {
    let [v4, v6] = VIPS;
    [(v4, front(host)), (v4, back(host)), (v6, front(host))].into()
}

fn fence_of(agent: &Agent) -> String {
    let status = agent.status().unwrap();
    status["vrrp"][0]["fence"].as_str().unwrap().to_owned()
}

fn drill(fall_silent: impl FnOnce(&mut Agent), come_back: impl FnOnce(&mut Agent)) {
    let stage = Stage::set();
    let _server = stage.lab.nginx("rs1").unwrap();
    let mut first = stage.agent("lb1", 150, "witness");
    let second = stage.agent("lb2", 100, "witness");
    stage.wait_until_served_by("lb1");
    assert_eq!(stage.who_answers(), everywhere(11));
    assert_eq!(fence_of(&first), "witness, open");
    let closed = "witness, closed: this host sends no adverts and another router is heard";
    assert!(
        fence_of(&second).starts_with(closed),
        "{}",
        fence_of(&second)
    );

    let fell_silent = Instant::now();
    fall_silent(&mut first);
    let taken_over = stage.first_advert(12, fell_silent);
    stage.wait_until_served_by("lb2");
    assert_eq!(stage.who_answers(), everywhere(12));
    for vip in VIPS {
        let lb1 = stage.lab.node("lb1");
        assert!(
            has_address(lb1, &vip.to_string()),
            "nobody took it from lb1"
        );
        // What its kernel says by itself: it asks for a neighbour as the address. Nobody answers.
        let nobody = if vip.is_ipv4() {
            "10.1.0.99"
        } else {
            "fd00:1::99"
        };
        let vip = vip.to_string();
        let _ = lb1.run("ping", &["-c1", "-W1", "-I", &vip, nobody]);
    }
    // A client that has not noticed yet is served all the same.
    let client = stage.lab.node("cl1");
    let arguments = [
        "neighbour",
        "replace",
        &VIP4.to_string(),
        "dev",
        "eth0",
        "lladdr",
    ];
    let lb1_mac = "02:00:0a:01:00:0b";
    client
        .run("ip", &[&arguments[..], &[lb1_mac]].concat())
        .unwrap();
    let target: SocketAddr = format!("{VIP4}:80").parse().unwrap();
    request_once(client, target, DEADLINE).unwrap();

    let came_back = Instant::now();
    come_back(&mut first);
    let speaks = stage.first_advert(11, came_back);
    let silent_since = taken_over + IN_FLIGHT;
    assert_eq!(stage.claims_of(11, silent_since, speaks - IN_FLIGHT), 0);
    wait_until_without(stage.lab.node("lb2"), &VIP4.to_string());
    wait_until_without(stage.lab.node("lb2"), &VIP6.to_string());
    stage.wait_until_served_by("lb1");
    assert_eq!(stage.who_answers(), everywhere(11));
    assert!(
        fence_of(&first).starts_with("witness, open"),
        "{}",
        fence_of(&first)
    );
}

// V110
#[test]
fn a_host_whose_agent_was_killed_is_silent_once_another_router_is_heard() {
    drill(Agent::kill, |agent| agent.restart().unwrap());
}

// V78, V110
#[test]
fn a_host_whose_agent_stands_still_is_silent_until_it_sends_again() {
    let signal = |signal| move |agent: &mut Agent| agent.daemon().signal(signal).unwrap();
    drill(signal(Signal::SIGSTOP), signal(Signal::SIGCONT));
}

// V110
#[test]
fn without_another_router_the_addresses_go_on_being_served() {
    let stage = Stage::set();
    let _server = stage.lab.nginx("rs1").unwrap();
    let mut agent = stage.agent("lb1", 150, "witness");
    stage.wait_until_served_by("lb1");
    agent.kill();
    let killed = Instant::now();
    while killed.elapsed() < 2 * PATIENCE {
        assert_eq!(stage.who_answers(), everywhere(11));
    }
    let target: SocketAddr = format!("{VIP4}:80").parse().unwrap();
    request_once(stage.lab.node("cl1"), target, DEADLINE).unwrap();
}

#[test]
fn a_strict_fence_waits_for_nobody_and_ends_with_the_agent() {
    let stage = Stage::set();
    let mut agent = stage.agent("lb1", 150, "strict");
    stage.wait_until_served_by("lb1");
    assert_eq!(fence_of(&agent), "strict, open");
    assert_eq!(stage.who_answers(), everywhere(11));
    agent.kill();
    let killed = Instant::now();
    wait_until(DEADLINE, "silence", || match stage.who_answers().len() {
        0 => Ok(()),
        answers => Err(format!("{answers} answers")),
    })
    .unwrap();
    assert!(killed.elapsed() >= PATIENCE);
    agent.restart().unwrap();
    wait_until(DEADLINE, "answers", || {
        match stage.who_answers() == everywhere(11) {
            true => Ok(()),
            false => Err("not everywhere"),
        }
    })
    .unwrap();
    // Who has the addresses on this host after an orderly end may speak for them.
    agent.daemon().stop(Signal::SIGTERM, DEADLINE).unwrap();
    let lb1 = stage.lab.node("lb1");
    let vip = format!("{VIP4}/24");
    lb1.run("ip", &["address", "add", &vip, "dev", "eth0"])
        .unwrap();
    let ours: BTreeSet<_> = [(VIPS[0], front(11)), (VIPS[0], back(11))].into();
    assert_eq!(stage.who_answers(), ours);
}
