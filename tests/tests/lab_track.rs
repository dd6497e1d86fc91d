//! Services and elections: a pool below its quorum moves the virtual address, and checks may wait for it.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use lb_tests::director::{DEADLINE, agent_binary, service};
use lb_tests::echo::Echo;
use lb_tests::lab::{Agent, Lab, Node, Options, VIP4, wait_until};
use lb_tests::traffic::request_once;
use serde_json::Value;

const VRRP: &str = "[[vrrp]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvirtual_router_id = 51\nadvert_interval = \"100ms\"\n";
const CHECK: &str = "interval = \"100ms\"\nretry_interval = \"100ms\"\ntimeout = \"500ms\"\n";

/// The virtual address is the elections' here.
fn lab() -> Lab {
    let lab = Lab::up(&Options::default()).unwrap();
    let vip = format!("{VIP4}/32");
    lab.node("lb1")
        .run("ip", &["address", "delete", &vip, "dev", "eth0"])
        .unwrap();
    lab
}

fn has_vip(node: &Node) -> bool {
    let listed = node
        .run("ip", &["-o", "address", "show", "dev", "eth0"])
        .unwrap();
    listed.contains(&format!(" {VIP4}/"))
}

fn wait_for_vip(node: &Node, agents: &[&Agent]) {
    wait_until(
        DEADLINE,
        &format!("{} to have the address", node.name()),
        || match has_vip(node) {
            true => Ok(()),
            false => {
                let told = agents.iter().map(|agent| match agent.status() {
                    Ok(status) => status["vrrp"].to_string(),
                    Err(error) => error.to_string(),
                });
                Err(told.collect::<Vec<_>>().join("; "))
            }
        },
    )
    .unwrap();
}

fn wait_for(agent: &Agent, what: &str, is_so: impl Fn(&Value) -> bool) {
    wait_until(DEADLINE, what, || {
        let status = agent.status().map_err(|error| format!("{error:#}"))?;
        match is_so(&status) {
            true => Ok(()),
            false => Err(status.to_string()),
        }
    })
    .unwrap();
}

/// Of `name`, whose real servers are `hosts`.
fn balanced(name: &str, priority: u8, hosts: &[u8]) -> String {
    let real_servers: String = hosts
        .iter()
        .map(|host| format!("[[service.real_server]]\naddress = \"10.1.0.{host}:80\"\n"))
        .collect();
    format!(
        "router_id = \"{name}\"\ninterfaces = [\"eth0\"]\n{VRRP}priority = {priority}\naddresses = [\"{VIP4}/24\"]\n\
         track_services = [\"web\"]\n\
         [[service]]\nname = \"web\"\nlisten = [\"{VIP4}:80\"]\nmode = \"dr\"\nquorum = 2\ntable_size = 251\n\
         [service.check]\ntcp = {{}}\n{CHECK}{real_servers}"
    )
}

#[test]
fn a_pool_below_its_quorum_moves_the_virtual_address_and_brings_it_back() {
    let lab = lab();
    let mut servers: Vec<_> = (1..=3)
        .map(|number| lab.nginx(&format!("rs{number}")).unwrap())
        .collect();
    let (lb1, lb2) = (lab.node("lb1").clone(), lab.node("lb2").clone());
    let binary = agent_binary().unwrap();
    // lb1 has rs1 and rs2 alone, lb2 has all three.
    let first = lab
        .agent("lb1", &binary, &balanced("lb1", 150, &[21, 22]))
        .unwrap();
    let mut second = lab
        .agent("lb2", &binary, &balanced("lb2", 100, &[21, 22, 23]))
        .unwrap();
    wait_for_vip(&lb1, &[&first, &second]);
    let target: SocketAddr = format!("{VIP4}:80").parse().unwrap();
    let ask = || {
        let client = lab.node("cl1");
        wait_until(DEADLINE, "an answer", || {
            request_once(client, target, Duration::from_secs(1))
                .map_err(|error| format!("{error:#}"))
        })
        .unwrap()
    };
    ask();

    servers[0].kill();
    wait_for_vip(&lb2, &[&first, &second]);
    wait_for(
        &first,
        "VI_1 of lb1 to be in fault by its service",
        |status| {
            let instance = &status["vrrp"][0];
            instance["state"] == "fault" && instance["reason"] == "down: service web"
        },
    );
    assert!(!has_vip(&lb1));
    ask();

    servers[0].restart().unwrap();
    wait_for_vip(&lb1, &[&first, &second]);
    wait_for(&second, "lb2 to be backup", |status| {
        status["vrrp"][0]["state"] == "backup"
    });
    ask();

    // A weight in place of a fault: lb1 steps behind lb2, and keeps standing by.
    let weighed = balanced("lb2", 100, &[21, 22, 23]).replace(
        "track_services = [\"web\"]",
        "track_services = [{ name = \"web\", weight = 100 }]",
    );
    fs::write(second.config(), weighed).unwrap();
    second.restart().unwrap();
    wait_for_vip(&lb2, &[&first, &second]);
    wait_for(&second, "the weight to count", |status| {
        status["vrrp"][0]["priority"] == 200
    });
}

/// The pair of databases: each host checks its own, and nothing is forwarded.
fn pair(name: &str, priority: u8, own: u8, keys: &str) -> String {
    format!(
        "router_id = \"{name}\"\n{VRRP}priority = {priority}\naddresses = [\"{VIP4}/24\"]\ntrack_services = [\"db\"]\n\
         [[service]]\nname = \"db\"\nlisten = [\"{VIP4}:3306\"]\nmode = \"local\"\n{keys}\n\
         [service.check]\ntcp = {{}}\n{CHECK}[[service.real_server]]\naddress = \"10.1.0.{own}:3306\"\n"
    )
}

#[test]
fn the_virtual_address_is_with_a_host_whose_own_server_lives() {
    let lab = lab();
    let (lb1, lb2) = (lab.node("lb1").clone(), lab.node("lb2").clone());
    let start = |node: &Node| {
        Echo::greeting_tcp(node, ([0, 0, 0, 0], 3306).into(), node.name().to_owned()).unwrap()
    };
    let on_lb1 = start(&lb1);
    let _on_lb2 = start(&lb2);
    let diary = lb1.directory().join("diary");
    let script = lb1.directory().join("notify.sh");
    fs::write(
        &script,
        format!(
            "#!/bin/sh\necho \"$LB_KIND $LB_NAME $LB_STATE\" >> {}\n",
            diary.display()
        ),
    )
    .unwrap();
    lb1.run("chmod", &["755", &script.display().to_string()])
        .unwrap();
    let notify = format!(
        "notify = {{ down = [\"{}\"], user = \"root\" }}",
        script.display()
    );
    let binary = agent_binary().unwrap();
    let mut first = lab
        .agent("lb1", &binary, &pair("lb1", 150, 11, &notify))
        .unwrap();
    let second = lab
        .agent("lb2", &binary, &pair("lb2", 100, 12, ""))
        .unwrap();
    wait_for_vip(&lb1, &[&first, &second]);
    let status = first.status().unwrap();
    let db = service(&status, "db");
    assert_eq!(
        (&db["state"], &db["real_servers"][0]["next_hop"]),
        (&"up".into(), &"local".into()),
        "{status}"
    );
    assert_eq!(status["datapath"], "none", "nothing is attached: {status}");

    drop(on_lb1);
    wait_for_vip(&lb2, &[&first, &second]);
    assert!(!has_vip(&lb1));
    wait_until(DEADLINE, "the command to be run", || {
        let text = fs::read_to_string(&diary).map_err(|error| error.to_string())?;
        match text.as_str() {
            "SERVICE db down\n" => Ok(()),
            _ => Err(text),
        }
    })
    .unwrap();

    // An agent that is started anew knows that its server is dead, and does not take the address for a moment.
    first.restart().unwrap();
    let status = first.status().unwrap();
    assert_eq!(service(&status, "db")["state"], "down", "{status}");
    assert_eq!(status["vrrp"][0]["state"], "fault", "{status}");
    assert!(has_vip(&lb2));
    let counters = &status["vrrp"][0]["counters"];
    assert_eq!(counters["became_master"], Value::Null, "{status}");

    let _on_lb1 = start(&lb1);
    wait_for_vip(&lb1, &[&first, &second]);
}

#[test]
fn checks_that_are_suspended_in_backup_begin_when_the_address_comes() {
    let lab = lab();
    let binary = agent_binary().unwrap();
    let config = |name: &str, priority: u8| {
        balanced(name, priority, &[21, 22])
            .replace("track_services = [\"web\"]\n", "")
            .replace("quorum = 2", "suspend_checks_in_backup = true")
    };
    let mut servers: Vec<_> = (1..=2)
        .map(|number| lab.nginx(&format!("rs{number}")).unwrap())
        .collect();
    let mut first = lab.agent("lb1", &binary, &config("lb1", 150)).unwrap();
    let second = lab.agent("lb2", &binary, &config("lb2", 100)).unwrap();
    wait_for_vip(lab.node("lb1"), &[&first, &second]);
    let rs1 = |status: &Value| service(status, "web")["real_servers"][0].clone();
    servers[0].kill();
    wait_for(&first, "lb1 to find rs1 dead", |status| {
        rs1(status)["state"] == "down"
    });
    let status = second.status().unwrap();
    let found = rs1(&status);
    assert_eq!(
        (&found["state"], &found["check"]),
        (&"up".into(), &Value::Null),
        "{found}"
    );
    let reason = found["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("not checked while its virtual addresses are elsewhere"),
        "{reason}"
    );

    first.kill();
    lab.node("lb1")
        .run("ip", &["link", "set", "eth0", "down"])
        .unwrap();
    wait_for_vip(lab.node("lb2"), &[&second]);
    wait_for(&second, "lb2 to find rs1 dead", |status| {
        rs1(status)["state"] == "down"
    });
}
