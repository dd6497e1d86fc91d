//! Many services, many flips: a probe is made once for all that want the same, and no storm holds anything up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lb_tests::director::{Director, real_server};
use lb_tests::echo::Echo;
use lb_tests::lab::{Lab, Options};

const SERVICES: u16 = 30;

fn service(name: &str, port: u16, host: u8, check: &str) -> String {
    format!(
        "[[service]]\nname = \"{name}\"\nlisten = [\"10.1.0.100:{port}\"]\nmode = \"dr\"\ntable_size = 251\n\
         [service.check]\n{check}\n[[service.real_server]]\naddress = \"10.1.0.{host}:{port}\"\n"
    )
}

const HEAD: &str = "router_id = \"lb1\"\ninterfaces = [\"eth0\"]\n";

#[test]
fn a_real_server_of_many_services_is_asked_once_for_all_and_dies_for_all_in_one_commit() {
    let check = "http = [{}]\nport = 80\ninterval = \"200ms\"\nretry_interval = \"100ms\"\ntimeout = \"500ms\"";
    let services: String = (0..SERVICES)
        .map(|number| service(&format!("web{number}"), 1000 + number, 21, check))
        .collect();
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    let mut director = Director::in_lab(lab, &format!("{HEAD}{services}")).unwrap();
    let last = format!("web{}", SERVICES - 1);
    let address = format!("10.1.0.21:{}", 1000 + SERVICES - 1);
    let runs = |director: &Director| {
        let status = director.agent.status().unwrap();
        real_server(&status, &last, &address)["check"]["runs"]
            .as_u64()
            .unwrap()
    };
    let asked = |director: &Director| director.servers[0].requests().unwrap().len() as u64;
    director
        .wait_for_status("ten checks", |_| match runs(&director) {
            10.. => Ok(()),
            few => Err(few.to_string()),
        })
        .unwrap();
    let (runs, asked) = (runs(&director), asked(&director));
    assert!(
        asked.abs_diff(runs) <= 3,
        "{asked} requests for {runs} runs of a check that {SERVICES} services want"
    );
    let generation = |director: &Director| {
        let status = director.agent.status().unwrap();
        status["generation"].as_u64().unwrap()
    };
    let before = generation(&director);
    director.servers[0].kill();
    director.wait_for_state(&last, &address, "down").unwrap();
    director
        .wait_for_state("web0", "10.1.0.21:1000", "down")
        .unwrap();
    assert_eq!(generation(&director), before + 1);
}

#[test]
fn a_storm_of_flips_is_coalesced_and_holds_up_neither_a_death_nor_the_status() {
    // Each another check, for each has another timeout.
    let flapping: String = (0..SERVICES)
        .map(|number| {
            let timeout = 500 + number;
            let check = format!(
                "tcp = {{}}\nport = 81\ninterval = \"20ms\"\nretry_interval = \"20ms\"\nfall = 1\ntimeout = \"{timeout}ms\""
            );
            service(&format!("flaps{number}"), 1000 + number, 21, &check)
        })
        .collect();
    let calm = service(
        "calm",
        80,
        22,
        "tcp = {}\ninterval = \"100ms\"\nretry_interval = \"100ms\"\ntimeout = \"400ms\"\nfall = 2",
    );
    let bound = Duration::from_millis(2 * 100 + 400);
    let lab = Lab::up(&Options { real_servers: 2 }).unwrap();
    let mut director = Director::in_lab(lab, &format!("{HEAD}{flapping}{calm}")).unwrap();
    director
        .wait_for_state("calm", "10.1.0.22:80", "up")
        .unwrap();
    let stop = AtomicBool::new(false);
    let rs1 = director.lab.node("rs1").clone();
    let before = director.agent.status().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let echo = Echo::tcp(&rs1, ([0, 0, 0, 0], 81).into());
                thread::sleep(Duration::from_millis(100));
                drop(echo);
                thread::sleep(Duration::from_millis(100));
            }
        });
        // In the midst of it.
        thread::sleep(Duration::from_secs(2));
        let killed = Instant::now();
        director.servers[1].kill();
        let found = director.wait_for_state("calm", "10.1.0.22:80", "down");
        let took = killed.elapsed();
        thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        found.unwrap();
        // Beside the status, which is asked for all the while.
        let slack = Duration::from_millis(700);
        assert!(took < bound + slack, "{took:?}");
    });
    let after = director.agent.status().unwrap();
    let commits = after["generation"].as_u64().unwrap() - before["generation"].as_u64().unwrap();
    let log = std::fs::read_to_string(director.agent.daemon().log()).unwrap();
    let flips = log.matches("real server changed").count() as u64;
    assert!(flips > 100, "{flips} flips are no storm");
    assert!(commits < flips / 2, "{commits} commits for {flips} flips");
}
