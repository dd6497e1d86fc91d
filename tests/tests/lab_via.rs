//! Checks by way of the virtual address: a real server that lost that address is found out, though it answers on its own.

use lb_tests::decapsulator::Decapsulator;
use lb_tests::director::{Director, real_server};
use lb_tests::lab::{Lab, Options, VIP4, VIP6};

fn config(mode: &str, extra: &str) -> String {
    let check =
        "interval = \"200ms\"\nretry_interval = \"100ms\"\ntimeout = \"1s\"\nvia = \"vip\"\n";
    let service = |name: &str, listen: &str, kind: &str, hosts: [&str; 2]| {
        let real_servers: String = hosts
            .iter()
            .map(|host| format!("[[service.real_server]]\naddress = \"{host}\"\n"))
            .collect();
        format!(
            "[[service]]\nname = \"{name}\"\nlisten = [\"{listen}\"]\nmode = \"{mode}\"\ntable_size = 251\n{extra}\n\
             [service.check]\n{kind}\n{check}{real_servers}"
        )
    };
    let v4 = ["10.1.0.21:80", "10.1.0.22:80"];
    let v6 = ["[fd00:1::21]:8080", "[fd00:1::22]:8080"];
    format!(
        "router_id = \"lb1\"\ninterfaces = [\"eth0\"]\n{}{}",
        service("four", &format!("{VIP4}:80"), "http = [{}]", v4),
        service(
            "six",
            &format!("[{VIP6}]:8080"),
            "tcp = {}\nhttp = [{}]",
            v6
        )
    )
}

fn wait(director: &Director, name: &str, address: &str, state: &str) -> String {
    let found =
        director.wait_for_status(&format!("{address} to be {state} by a check"), |status| {
            let found = real_server(status, name, address);
            let is_checked = found["check"]["runs"].as_u64() > Some(0);
            match found["state"] == state && is_checked {
                true => Ok(found["reason"].as_str().unwrap_or_default().to_owned()),
                false => Err(found.to_string()),
            }
        });
    found.unwrap()
}

/// Both real servers are up; rs1 loses its virtual addresses and is found dead by that alone, and comes back with them.
fn the_virtual_address_decides(director: &Director) {
    let both = [("four", "10.1.0.21:80"), ("six", "[fd00:1::21]:8080")];
    let others = [("four", "10.1.0.22:80"), ("six", "[fd00:1::22]:8080")];
    for (name, address) in both.into_iter().chain(others) {
        let reason = wait(director, name, address, "up");
        assert!(reason.starts_with("check passed"), "{address}: {reason}");
    }
    let rs1 = director.lab.node("rs1");
    let (four, six) = (format!("{VIP4}/32"), format!("{VIP6}/128"));
    let each = |verb: &str| {
        for address in [&four, &six] {
            rs1.run("ip", &["address", verb, address, "dev", "lo"])
                .unwrap();
        }
    };
    each("delete");
    for (name, address) in both {
        wait(director, name, address, "down");
    }
    for (name, address) in others {
        wait(director, name, address, "up");
    }
    let answers = director.ask(&format!("{VIP4}:80"), 20).unwrap();
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["rs2"]);
    each("add");
    for (name, address) in both {
        wait(director, name, address, "up");
    }
    assert!(
        director
            .ask(&format!("{VIP4}:80"), 60)
            .unwrap()
            .contains_key("rs1")
    );
}

#[test]
fn a_real_server_without_the_virtual_address_is_dead_in_direct_routing() {
    let lab = Lab::up(&Options { real_servers: 2 }).unwrap();
    // The director has the address itself: what comes from it is not to be taken for a forgery.
    let director = Director::in_lab(lab, &config("dr", "")).unwrap();
    the_virtual_address_decides(&director);
}

#[test]
fn a_real_server_without_the_virtual_address_is_dead_behind_a_tunnel() {
    let lab = Lab::up(&Options { real_servers: 2 }).unwrap();
    let _decapsulators: Vec<_> = lab
        .real_servers()
        .map(|node| Decapsulator::start(node).unwrap())
        .collect();
    let director = Director::in_lab(lab, &config("tun", "")).unwrap();
    the_virtual_address_decides(&director);
}
