//! The network around the director changes, or is not what XDP likes best.

use std::time::Duration;

use lb_tests::director::{Director, LAB_CONFIG, interface, real_server, refused, traces};
use lb_tests::lab::{Lab, Options, wait_until};

#[test]
fn traffic_follows_a_real_server_to_its_new_mac_address() {
    let director = Director::up(LAB_CONFIG).unwrap();
    director.ask("10.1.0.100:80", 20).unwrap();
    let rs1 = director.lab.node("rs1");
    let new = "02:00:0a:01:00:99";
    // With this the kernel announces the change, as whoever moves an address does.
    rs1.run(
        "sh",
        &["-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_notify"],
    )
    .unwrap();
    rs1.run("ip", &["link", "set", "eth0", "address", new])
        .unwrap();
    director
        .wait_for_status("the new address", |status| {
            let found = real_server(status, "web", "10.1.0.21:80");
            if found["next_hop"] == new && found["state"] == "up" {
                Ok(())
            } else {
                Err(found.to_string())
            }
        })
        .unwrap();
    let answers = director.ask("10.1.0.100:80", 60).unwrap();
    assert!(answers.contains_key("rs1"), "{answers:?}");
}

#[test]
fn an_interface_that_goes_down_and_up_again_serves_again() {
    let director = Director::up(LAB_CONFIG).unwrap();
    let lb1 = director.node();
    lb1.run("ip", &["link", "set", "eth1", "down"]).unwrap();
    director
        .wait_for_state("api", "10.2.0.21:8080", "down")
        .unwrap();
    // The other leg does not notice.
    director.ask("10.1.0.100:80", 40).unwrap();
    lb1.run("ip", &["link", "set", "eth1", "up"]).unwrap();
    for number in 21..=23 {
        let address = format!("10.2.0.{number}:8080");
        director.wait_for_state("api", &address, "up").unwrap();
    }
    let answers = director.ask("10.1.0.100:8080", 60).unwrap();
    assert_eq!(answers.len(), 3, "{answers:?}");
    let status = director.agent.status().unwrap();
    assert_eq!(interface(&status, "eth1")["mode"], "native", "{status}");
}

#[test]
fn an_interface_that_is_made_anew_is_attached_to_anew() {
    let director = Director::up(LAB_CONFIG).unwrap();
    let (lb1, sw) = (director.node(), director.lab.node("sw"));
    lb1.run("ip", &["link", "del", "eth1"]).unwrap();
    director
        .wait_for_status("eth1 to be gone", |status| {
            let found = interface(status, "eth1");
            if found["mode"] == "none" {
                Ok(())
            } else {
                Err(found.to_string())
            }
        })
        .unwrap();
    director.ask("10.1.0.100:80", 20).unwrap();

    // As the lab makes it.
    let namespace = format!("lb-lab-{}-lb1", director.lab.name());
    let pass = sw.directory().join("bpf/pass");
    let script = format!(
        "ip link add lb1b type veth peer name eth1 address 02:00:0a:02:00:0b netns {namespace} &&
         ip link set lb1b master back up && ip link set lb1b xdpdrv pinned {} &&
         ethtool -K lb1b tx off txvlan off",
        pass.display()
    );
    sw.run("sh", &["-c", &script]).unwrap();
    lb1.run("ip", &["link", "set", "eth1", "up"]).unwrap();
    lb1.run("ip", &["address", "add", "10.2.0.11/24", "dev", "eth1"])
        .unwrap();
    director
        .wait_for_status("eth1 to be back", |status| {
            let found = interface(status, "eth1");
            if found["mode"] == "native" {
                Ok(())
            } else {
                Err(found.to_string())
            }
        })
        .unwrap();
    for number in 21..=23 {
        let address = format!("10.2.0.{number}:8080");
        director.wait_for_state("api", &address, "up").unwrap();
    }
    wait_until(Duration::from_secs(10), "api to be served", || {
        director.ask("10.1.0.100:8080", 1)
    })
    .unwrap();
    let answers = director.ask("10.1.0.100:8080", 60).unwrap();
    assert_eq!(answers.len(), 3, "{answers:?}");
}

#[test]
fn an_interface_that_gets_another_name_serves_on() {
    let director = Director::up(LAB_CONFIG).unwrap();
    let lb1 = director.node();
    // Requests arrive on eth0 and leave by eth1: nothing but the attachment makes eth0 known.
    let rename = |from: &str, to: &str| {
        let script = format!(
            "ip link set {from} down && ip link set {from} name {to} && ip link set {to} up"
        );
        lb1.run("sh", &["-c", &script]).unwrap();
    };
    let serves = |mention: bool| {
        director
            .wait_for_status("eth0 to be known by either name", |status| {
                let found = interface(status, "eth0");
                let reason = found["reason"].as_str().unwrap_or_default();
                let all_up = (21..=23).all(|number| {
                    let address = format!("10.2.0.{number}:8080");
                    real_server(status, "api", &address)["state"] == "up"
                });
                if found["mode"] == "native" && reason.contains("front") == mention && all_up {
                    Ok(())
                } else {
                    Err(status.to_string())
                }
            })
            .unwrap();
        assert_eq!(director.agent.status().unwrap()["datapath"], "xdp_native");
        director.ask("10.1.0.100:8080", 20).unwrap();
    };
    serves(false);
    rename("eth0", "front");
    serves(true);
    rename("front", "eth0");
    serves(false);
}

/// A director whose front leg is a port of a bridge: its driver has no XDP of its own.
fn bridged() -> Lab {
    let lab = Lab::up(&Options::default()).unwrap();
    let script = "
        ip link add br0 address 02:00:0a:01:00:0b type bridge stp_state 0 forward_delay 0 mcast_snooping 0 &&
        ip address flush dev eth0 && ip link set eth0 master br0 && ip link set br0 up &&
        ip address add 10.1.0.11/24 dev br0 && ip address add 10.1.0.100/32 dev br0 &&
        ip address add fd00:1::11/64 dev br0 nodad && ip address add fd00:1::100/128 dev br0 nodad";
    lab.node("lb1").run("sh", &["-ec", script]).unwrap();
    lab
}

const BRIDGED: &str = "[\"br0\", \"eth1\"]";

#[test]
fn where_the_driver_has_no_xdp_the_stack_runs_it_and_status_says_so() {
    let config = LAB_CONFIG.replace("[\"eth0\", \"eth1\"]", BRIDGED);
    let director = Director::in_lab(bridged(), &config).unwrap();
    let status = director.agent.status().unwrap();
    assert_eq!(status["datapath"], "xdp_mixed", "{status}");
    let found = interface(&status, "br0");
    assert_eq!(found["mode"], "generic", "{found}");
    let reason = found["reason"].as_str().unwrap();
    assert!(reason.contains("the driver has no XDP"), "{reason}");
    assert_eq!(interface(&status, "eth1")["mode"], "native", "{status}");
    for target in ["10.1.0.100:80", "[fd00:1::100]:80"] {
        let answers = director.ask(target, 60).unwrap();
        assert_eq!(answers.len(), 3, "{target}: {answers:?}");
    }
}

#[test]
fn where_native_mode_is_demanded_a_driver_without_it_refuses_the_start() {
    let lab = bridged();
    let config = LAB_CONFIG
        .replace("[\"eth0\", \"eth1\"]", BRIDGED)
        .replace("interfaces =", "datapath = \"xdp_native\"\ninterfaces =");
    let refusal = refused(lab.node("lb1"), &config).unwrap();
    let message = refusal.message().unwrap();
    for word in ["br0", "the driver has no XDP", "auto"] {
        assert!(message.contains(word), "\"{word}\" in: {message}");
    }
    assert_eq!(traces(lab.node("lb1")).unwrap(), Vec::<String>::new());
}

#[test]
fn what_an_earlier_run_attached_in_generic_mode_does_not_pass_for_native() {
    let config = LAB_CONFIG.replace("[\"eth0\", \"eth1\"]", BRIDGED);
    let mut director = Director::in_lab(bridged(), &config).unwrap();
    director.agent.restart().unwrap();
    let status = director.agent.status().unwrap();
    let found = interface(&status, "br0");
    let reason = found["reason"].as_str().unwrap();
    assert!(reason.contains("generic mode"), "{reason}");

    director.agent.kill();
    let native = config.replace("interfaces =", "datapath = \"xdp_native\"\ninterfaces =");
    let refusal = refused(director.node(), &native).unwrap();
    let message = refusal.message().unwrap();
    for word in ["br0", "generic mode", "lb-agent unload"] {
        assert!(message.contains(word), "\"{word}\" in: {message}");
    }
    director.ask("10.1.0.100:80", 20).unwrap();
}
