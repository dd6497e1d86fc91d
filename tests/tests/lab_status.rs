//! `lb-agent status` tells what the kernel does, read back from the maps.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aya::maps::{Array, Map, MapData, PerCpuArray, PerCpuValues};
use lb_common::{Backend, BackendState, Counter, LAYOUT_VERSION, Service, layout::map};
use lb_tests::director::{Director, LAB_CONFIG, answers, interface, real_server, service};
use nix::sys::signal::Signal;

const UDP: &str = "
router_id = \"lb1\"
interfaces = [\"eth0\", \"eth1\"]

[[service]]
name = \"dns\"
listen = [\"10.1.0.100:53\", \"[fd00:1::100]:53\"]
protocol = \"udp\"
mode = \"dr\"
real_server = [{ address = \"10.1.0.21:53\", weight = 3 }]
";

fn pin(director: &Director, name: &str) -> PathBuf {
    let maps = format!("bpf/lb/v{LAYOUT_VERSION}/maps");
    director.node().directory().join(maps).join(name)
}

fn array<T: aya::Pod>(director: &Director, name: &str) -> Array<MapData, T> {
    let data = MapData::from_pin(pin(director, name)).unwrap();
    Array::try_from(Map::Array(data)).unwrap()
}

/// Changes every entry that `wanted` finds, in both banks; some must be there.
fn change<T: aya::Pod>(director: &Director, name: &str, change: impl Fn(&mut T) -> bool) {
    let mut array = array::<T>(director, name);
    let mut changed = 0;
    for index in 0..array.len() {
        let mut entry = array.get(&index, 0).unwrap();
        if change(&mut entry) {
            array.set(index, entry, 0).unwrap();
            changed += 1;
        }
    }
    assert!(changed > 0, "{name} has no such entry");
}

#[test]
fn every_field_of_the_contract_is_there() {
    let director = Director::up(LAB_CONFIG).unwrap();
    director.ask("10.1.0.100:80", 20).unwrap();
    director
        .wait_for_state("web", "10.1.0.21:80", "up")
        .unwrap();
    let status = director.agent.status().unwrap();
    assert!(status["generation"].as_u64().unwrap() >= 1, "{status}");
    assert_eq!(status["datapath"], "xdp_native");
    let interfaces = status["interfaces"].as_array().unwrap();
    let names: Vec<_> = interfaces.iter().map(|found| &found["name"]).collect();
    assert_eq!(names, ["eth0", "eth1"]);
    for found in interfaces {
        assert_eq!(found["mode"], "native", "{found}");
        assert!(!found["reason"].as_str().unwrap().is_empty(), "{found}");
    }
    let services = status["services"].as_array().unwrap();
    let names: Vec<_> = services.iter().map(|found| &found["name"]).collect();
    assert_eq!(names, ["web", "api"], "in the order of the file");
    for found in services {
        assert_eq!(found["state"], "up", "{found}");
        assert!(found["packets"].is_u64() && found["bytes"].is_u64());
        let real_servers = found["real_servers"].as_array().unwrap();
        assert_eq!(real_servers.len(), 3);
        let mut sums = [0, 0];
        for real_server in real_servers {
            assert!(real_server["address"].is_string(), "{real_server}");
            assert_eq!(real_server["state"], "up", "{real_server}");
            assert!(!real_server["reason"].as_str().unwrap().is_empty());
            assert_eq!(real_server["weight"], 1);
            sums[0] += real_server["packets"].as_u64().unwrap();
            sums[1] += real_server["bytes"].as_u64().unwrap();
        }
        assert_eq!(found["packets"], sums[0], "{found}");
        assert_eq!(found["bytes"], sums[1], "{found}");
    }
    assert!(service(&status, "web")["packets"].as_u64().unwrap() >= 20 * 4);
    assert!(status["drops"].is_array(), "{status}");
    // The same for people.
    let text = director.agent.command(&["status"]).unwrap();
    for word in ["xdp_native", "eth0", "web", "10.1.0.21:80", "generation"] {
        assert!(text.contains(word), "\"{word}\" in\n{text}");
    }
}

#[test]
fn what_is_changed_in_the_maps_behind_the_agents_back_shows() {
    let director = Director::up(LAB_CONFIG).unwrap();
    director
        .wait_for_state("web", "10.1.0.21:80", "up")
        .unwrap();
    let before = director.agent.status().unwrap();
    assert_eq!(real_server(&before, "web", "10.1.0.21:80")["weight"], 1);

    let is_rs1 = |backend: &Backend| {
        backend.port_be == 80_u16.to_be() && backend.address[0].to_ne_bytes() == [10, 1, 0, 21]
    };
    change(&director, map::BACKENDS, |backend: &mut Backend| {
        let found = is_rs1(backend);
        if found {
            backend.weight = 77;
            backend.state = BackendState::Down as u8;
        }
        found
    });
    let status = director.agent.status().unwrap();
    let found = real_server(&status, "web", "10.1.0.21:80");
    assert_eq!(
        (&found["weight"], &found["state"]),
        (&77.into(), &"down".into())
    );
    let other = real_server(&status, "web", "10.1.0.22:80");
    assert_eq!(
        (&other["weight"], &other["state"]),
        (&1.into(), &"up".into())
    );

    let backends = array::<Backend>(&director, map::BACKENDS);
    // The two banks lie side by side.
    let id = (0..backends.len())
        .find(|&index| is_rs1(&backends.get(&index, 0).unwrap()))
        .unwrap()
        / 2;
    let data = MapData::from_pin(pin(&director, map::BACKEND_COUNTERS)).unwrap();
    let mut counters: PerCpuArray<_, Counter> =
        PerCpuArray::try_from(Map::PerCpuArray(data)).unwrap();
    let cpus = counters.get(&id, 0).unwrap().len();
    let each = Counter {
        packets: 1_000_000,
        bytes: 70_000_000,
    };
    let values = PerCpuValues::try_from(vec![each; cpus]).unwrap();
    counters.set(id, values, 0).unwrap();
    let status = director.agent.status().unwrap();
    let found = real_server(&status, "web", "10.1.0.21:80");
    assert_eq!(found["packets"], 1_000_000 * cpus as u64, "{found}");
    assert_eq!(found["bytes"], 70_000_000 * cpus as u64, "{found}");

    change(&director, map::SERVICES, |entry: &mut Service| {
        let found = entry.tuple != 0;
        *entry = bytemuck::Zeroable::zeroed();
        found
    });
    let status = director.agent.status().unwrap();
    for name in ["web", "api"] {
        assert_eq!(service(&status, name)["state"], "absent", "{status}");
    }
}

#[test]
fn an_attachment_that_is_taken_away_behind_the_agents_back_shows() {
    let mut director = Director::up(LAB_CONFIG).unwrap();
    let index = director
        .node()
        .run("cat", &["/sys/class/net/eth1/ifindex"])
        .unwrap();
    let links = director
        .node()
        .directory()
        .join(format!("bpf/lb/v{LAYOUT_VERSION}/links"));
    fs::remove_file(links.join(index.trim())).unwrap();
    // The kernel lets go of the attachment a moment after its last name.
    let status = director
        .wait_for_status("eth1 without the program", |status| {
            match &interface(status, "eth1")["mode"] {
                mode if mode == "none" => Ok(status.clone()),
                mode => Err(mode.to_string()),
            }
        })
        .unwrap();
    let eth1 = interface(&status, "eth1");
    assert!(eth1["reason"].as_str().unwrap().contains("start"), "{eth1}");
    assert_eq!(interface(&status, "eth0")["mode"], "native");
    assert_eq!(status["datapath"], "xdp_mixed");
    // The cure that is named.
    director.agent.restart().unwrap();
    assert_eq!(director.agent.status().unwrap()["datapath"], "xdp_native");
}

/// Sends datagrams of `length` bytes from `own` to `target`, with this TTL or hop limit, and waits for none.
fn send(director: &Director, own: &str, target: &str, hops: u32, count: usize, length: usize) {
    let own: SocketAddr = own.parse().unwrap();
    director
        .client()
        .enter(|| {
            let socket = UdpSocket::bind(own).unwrap();
            if own.is_ipv4() {
                socket.set_ttl(hops).unwrap();
            } else {
                let socket = socket2::SockRef::from(&socket);
                socket.set_unicast_hops_v6(hops).unwrap();
            }
            for _ in 0..count {
                socket.send_to(&vec![b'x'; length], target).unwrap();
            }
        })
        .unwrap();
}

#[test]
fn packets_and_bytes_grow_by_what_was_sent() {
    // Nobody answers: to an answer after the socket is closed the client's kernel sends an ICMP error, which goes to the
    // real server and is counted as well.
    let director = Director::up(UDP).unwrap();
    let mut expected = (0, 0);
    for (own, target, headers) in [
        ("10.1.0.101:0", "10.1.0.100:53", 14 + 20 + 8),
        ("[fd00:1::101]:0", "[fd00:1::100]:53", 14 + 40 + 8),
    ] {
        for (count, length) in [(10, 100), (25, 1000)] {
            send(&director, own, target, 64, count, length);
            expected.0 += count;
            expected.1 += count * (headers + length);
        }
    }
    let (packets, bytes) = expected;
    director
        .wait_for_status("the packets to be counted", |status| {
            let found = service(status, "dns");
            if found["packets"] == packets && found["bytes"] == bytes {
                Ok(())
            } else {
                Err(format!("{packets} packets, {bytes} bytes wanted: {found}"))
            }
        })
        .unwrap();
}

#[test]
fn packets_at_the_end_of_their_life_are_answered_and_counted() {
    let director = Director::up(UDP).unwrap();
    for (own, target, count) in [
        ("10.1.0.101:0", "10.1.0.100:53", 7),
        ("[fd00:1::101]:0", "[fd00:1::100]:53", 5),
    ] {
        send(&director, own, target, 1, count, 32);
    }
    director
        .wait_for_status("12 answers", |status| {
            let count = answers(status, "answered_ttl_expired");
            if count == 12 {
                Ok(())
            } else {
                Err(count.to_string())
            }
        })
        .unwrap();
    let status = director.agent.status().unwrap();
    let found = service(&status, "dns");
    assert_eq!(found["packets"], 0, "{found}");
    assert_eq!(found["drops"], serde_json::json!([]), "{found}");
}

#[test]
fn a_host_without_an_agent_says_so() {
    let mut director = Director::up(LAB_CONFIG).unwrap();
    director.agent.kill();
    let error = director.agent.command(&["status"]).unwrap_err().to_string();
    for word in ["no agent answers", "/run/lb/lb.sock", "lb-agent run"] {
        assert!(error.contains(word), "\"{word}\" in: {error}");
    }
    // What it left is still there for the next.
    director.agent.restart().unwrap();
    let answers = director.ask("10.1.0.100:80", 3).unwrap();
    assert_eq!(answers.values().sum::<usize>(), 3);
}

#[test]
fn clients_of_the_control_socket_that_say_nothing_keep_nobody_waiting_for_long() {
    let director = Director::up(LAB_CONFIG).unwrap();
    let socket = director.node().directory().join("run/lb.sock");
    let silent: Vec<_> = (0..40)
        .map(|_| UnixStream::connect(&socket).unwrap())
        .collect();
    let asked = Instant::now();
    director.agent.status().unwrap();
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}");
    drop(silent);
}

#[test]
fn an_agent_that_does_not_answer_is_told_from_one_that_is_not_there() {
    let mut director = Director::up(LAB_CONFIG).unwrap();
    director.agent.daemon().signal(Signal::SIGSTOP).unwrap();
    let error = director.agent.command(&["status"]).unwrap_err().to_string();
    assert!(error.contains("has not answered within 10 s"), "{error}");
    director.agent.daemon().signal(Signal::SIGCONT).unwrap();
    director.agent.status().unwrap();
}
