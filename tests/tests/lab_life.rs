//! What becomes of real servers beside dying: too few of them, a stand-in, the operator's word, a slow start, and who is
//! told.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use lb_tests::director::{DEADLINE, Director, service};
use lb_tests::lab::{Lab, Options, wait_until};
use serde_json::Value;

const VIP: &str = "10.1.0.100:80";

/// rs1 and rs2 serve, with `keys` of the service; rs3 is not among them.
fn config(keys: &str) -> String {
    format!(
        "router_id = \"lb1\"\ninterfaces = [\"eth0\"]\n[scripts]\nuser = \"root\"\n\
         [[service]]\nname = \"web\"\nlisten = [\"{VIP}\"]\nmode = \"dr\"\ntable_size = 251\n{keys}\n\
         [service.check]\nhttp = [{{}}]\ninterval = \"100ms\"\nretry_interval = \"100ms\"\ntimeout = \"500ms\"\n\
         [[service.real_server]]\naddress = \"10.1.0.21:80\"\n[[service.real_server]]\naddress = \"10.1.0.22:80\"\n"
    )
}

fn wait(director: &Director, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let found = director.wait_for_status(what, |status| {
        let found = service(status, "web");
        if is_so(found) {
            Ok(found.clone())
        } else {
            Err(found.to_string())
        }
    });
    found.unwrap()
}

#[test]
fn below_the_quorum_the_sorry_server_stands_in_and_commands_are_told() {
    let lab = Lab::up(&Options::default()).unwrap();
    let folder = lab.node("lb1").directory().to_owned();
    let diary = folder.join("diary");
    let script = folder.join("notify.sh");
    let text = format!(
        "#!/bin/sh\necho \"$LB_KIND $* $LB_OLD_STATE $LB_STATE $LB_ROUTER_ID\" >> {}\n",
        diary.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let script = script.display();
    let keys = format!(
        "quorum = 2\nsorry_server = \"10.1.0.23:80\"\n\
         notify = {{ up = [\"{script}\"], down = [\"{script}\"], real_server_up = [\"{script}\"], real_server_down = [\"{script}\", \"extra\"] }}"
    );
    let mut director = Director::in_lab(lab, &config(&keys)).unwrap();
    wait(&director, "the service to be up", |web| {
        web["state"] == "up"
    });
    assert!(!director.ask(VIP, 30).unwrap().contains_key("rs3"));

    director.servers[0].kill();
    let web = wait(&director, "the sorry server to serve", |web| {
        web["sorry_server"]["serves"] == true
    });
    assert_eq!(
        (&web["state"], &web["reason"]),
        (
            &"down".into(),
            &"weight 1 of 2 lives, the quorum is 2".into()
        )
    );
    let answers = director.ask(VIP, 20).unwrap();
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["rs3"]);

    director.servers[0].restart().unwrap();
    wait(&director, "the service to be up again", |web| {
        web["state"] == "up" && web["sorry_server"]["serves"] == false
    });
    assert!(!director.ask(VIP, 30).unwrap().contains_key("rs3"));

    let told = [
        "REAL_SERVER extra web 10.1.0.21:80 up down lb1",
        "SERVICE web up down lb1",
        "REAL_SERVER web 10.1.0.21:80 down up lb1",
        "SERVICE web down up lb1",
    ];
    wait_until(DEADLINE, "all to be told", || {
        let text = fs::read_to_string(&diary).map_err(|error| error.to_string())?;
        if text.lines().eq(told) {
            Ok(())
        } else {
            Err(text)
        }
    })
    .unwrap();
}

#[test]
fn the_operators_word_is_kept_over_a_restart() {
    let lab = Lab::up(&Options::default()).unwrap();
    let mut director = Director::in_lab(lab, &config("")).unwrap();
    let said = director
        .agent
        .command(&["server", "disable", "web", "10.1.0.21:80"])
        .unwrap();
    assert_eq!(said, "web 10.1.0.21:80: disabled, weight as configured\n");
    let is_disabled = |web: &Value| {
        let rs1 = &web["real_servers"][0];
        rs1["state"] == "disabled" && rs1["share_percent"] == 0.0
    };
    wait(&director, "rs1 to be disabled", is_disabled);
    assert_eq!(
        director.ask(VIP, 20).unwrap().keys().collect::<Vec<_>>(),
        ["rs2"]
    );
    director.agent.restart().unwrap();
    let web = wait(&director, "rs1 to be disabled still", is_disabled);
    let reason = web["real_servers"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("the operator says: disabled"), "{reason}");
    assert_eq!(
        director.ask(VIP, 20).unwrap().keys().collect::<Vec<_>>(),
        ["rs2"]
    );

    director
        .agent
        .command(&["server", "enable", "web", "10.1.0.21:80"])
        .unwrap();
    director
        .agent
        .command(&[
            "server",
            "weight",
            "web",
            "10.1.0.21:80",
            "10.1.0.22:80",
            "3",
        ])
        .unwrap();
    director
        .agent
        .command(&["server", "weight", "web", "10.1.0.22:80", "configured"])
        .unwrap();
    let web = wait(&director, "the weights to be 3 and 1", |web| {
        let weights = [0, 1].map(|at| &web["real_servers"][at]["weight"]);
        weights == [3, 1]
    });
    let share = web["real_servers"][0]["share_percent"].as_f64().unwrap();
    assert!((74.0..76.0).contains(&share), "{web}");
    let history = web["real_servers"][0]["history"].as_array().unwrap();
    assert_eq!(history[0]["new"], "up", "{web}");
    assert_eq!(history[1]["weight"], 3, "{web}");

    for (words, expected) in [
        (
            ["disable", "web", "10.1.0.99:80"],
            "it has: 10.1.0.21:80, 10.1.0.22:80",
        ),
        (["disable", "wab", "10.1.0.21:80"], "there are: web"),
    ] {
        let words = [&["server"], &words[..]].concat();
        let error = director.agent.command(&words).unwrap_err();
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    }
}

#[test]
fn a_recovered_server_gets_its_share_in_steps() {
    let lab = Lab::up(&Options::default()).unwrap();
    let mut director = Director::in_lab(lab, &config("slow_start = \"5s\"")).unwrap();
    wait(&director, "both to serve", |web| web["state"] == "up");
    director.servers[0].kill();
    wait(&director, "rs1 to be down", |web| {
        web["real_servers"][0]["state"] == "down"
    });
    director.servers[0].restart().unwrap();
    wait(&director, "rs1 to be up", |web| {
        web["real_servers"][0]["state"] == "up"
    });
    let began = Instant::now();
    let mut shares: Vec<f64> = Vec::new();
    // New connections that rs1 should have got by its share, and that it got.
    let (mut due, mut got, mut asked) = (0.0, 0.0, 0.0);
    wait_until(Duration::from_secs(20), "the whole share", || {
        let status = director.agent.status().map_err(|error| error.to_string())?;
        let rs1 = &service(&status, "web")["real_servers"][0];
        let share = rs1["share_percent"].as_f64().unwrap_or_default();
        if shares.last() != Some(&share) {
            shares.push(share);
            const EACH: usize = 50;
            let answers = director.ask(VIP, EACH);
            let answers = answers.map_err(|error| format!("{error:#}"))?;
            due += share / 100.0 * EACH as f64;
            got += answers.get("rs1").copied().unwrap_or_default() as f64;
            asked += EACH as f64;
        }
        if share > 49.0 {
            Ok(())
        } else {
            Err(rs1.to_string())
        }
    })
    .unwrap();
    // The last step is after nine tenths, and may have begun a little before it was seen to.
    let took = began.elapsed();
    assert!(
        (Duration::from_secs(4)..Duration::from_secs(7)).contains(&took),
        "{took:?}"
    );
    assert!(shares.is_sorted() && shares.len() >= 6, "{shares:?}");
    assert!(shares[0] < 18.0, "{shares:?}");
    // Four times the deviation of that many throws, and what a step in the middle of some makes.
    let slack = 4.0 * f64::sqrt(asked) / 2.0 + 0.03 * asked;
    assert!(f64::abs(got - due) < slack, "{got} of {asked}, not {due}");
}

#[test]
fn starting_down_a_dead_server_never_serves_and_the_others_wait_for_their_check() {
    let lab = Lab::up(&Options::default()).unwrap();
    let config = config("start_down = true");
    let mut director = Director::in_lab(lab, &config).unwrap();
    wait(&director, "both to serve", |web| {
        web["real_servers"]
            .as_array()
            .is_some_and(|all| all.iter().all(|one| one["state"] == "up"))
    });
    director.servers[1].kill();
    wait(&director, "rs2 to be down", |web| {
        web["real_servers"][1]["state"] == "down"
    });
    director.agent.restart().unwrap();
    let web = wait(&director, "the service", |web| web["state"] == "up");
    assert_eq!(
        web["real_servers"][0]["state"], "up",
        "what was known to live serves on: {web}"
    );
    assert_eq!(web["real_servers"][1]["state"], "down", "{web}");
}

#[test]
fn the_tools_show_a_check_step_by_step_and_the_digest_it_takes() {
    let lab = Lab::up(&Options::default()).unwrap();
    let digest_of_rs1 = "8f6c3c2a0e7d8a1e3a2c7f4b5d6e7f80";
    let config = config("").replace(
        "http = [{}]",
        &format!("http = [{{ digest = \"{digest_of_rs1}\" }}]"),
    );
    let director = Director::in_lab(lab, &config).unwrap();
    let digest = director
        .agent
        .command(&["genhash", "http://10.1.0.21/"])
        .unwrap();
    assert_eq!(digest.trim().len(), 32, "{digest}");
    let path = director.agent.config().display().to_string();
    let check = |address: &str| {
        director
            .agent
            .command(&["check-now", "web", address, "--config", &path])
    };
    let failed = format!("{:#}", check("10.1.0.21:80").unwrap_err());
    for step in [
        "connected to 10.1.0.21:80 from 10.1.0.11:",
        "HTTP 200 from /",
        &format!("has the MD5 {}", digest.trim()),
        &format!("expected {digest_of_rs1}"),
    ] {
        assert!(failed.contains(step), "{step} in {failed}");
    }
    let good = config.replace(digest_of_rs1, digest.trim());
    fs::write(director.agent.config(), good).unwrap();
    let passed = check("10.1.0.21:80").unwrap();
    assert!(passed.trim_end().ends_with("passed"), "{passed}");
    assert!(check("10.1.0.22:80").is_err(), "it says another name");
    let unknown = format!("{:#}", check("10.1.0.29:80").unwrap_err());
    assert!(
        unknown.contains("it has: 10.1.0.21:80, 10.1.0.22:80"),
        "{unknown}"
    );
}
