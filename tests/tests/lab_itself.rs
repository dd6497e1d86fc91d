//! The lab keeps its own promises: it carries traffic, and it goes away without a trace.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lb_tests::lab::{Lab, Node, Options, VIP4, VIP6, remove_left_overs, wait_until};

/// Set for the child that makes a lab and is then killed.
const VICTIM: &str = "LB_LAB_VICTIM";

/// Namespaces, directories and mounts of the lab `name`.
fn traces(name: &str) -> Vec<String> {
    let namespaces = fs::read_dir("/run/netns")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut traces: Vec<String> = namespaces
        .filter(|namespace| namespace.starts_with(&format!("lb-lab-{name}-")))
        .collect();
    let directory = format!("{}/{name}", lb_tests::lab::ROOT);
    if Path::new(&directory).exists() {
        traces.push(directory.clone());
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    traces.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&directory) || line.contains(&format!("lb-lab-{name}-")))
            .map(str::to_owned),
    );
    traces
}

/// Processes with one of `words` in their command line.
fn processes(word: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path()));
    let lines = entries.filter_map(|path| fs::read_to_string(path.join("cmdline")).ok());
    lines
        .map(|line| line.replace('\0', " "))
        .filter(|line| line.contains(word))
        .collect()
}

/// Whether the host at `address` answers `node`: a port without a listener is refused by a host, and by nobody else.
fn is_reached(node: &Node, address: &str) -> bool {
    let endpoint = SocketAddr::new(address.parse().unwrap(), 9);
    let outcome = node
        .enter(|| TcpStream::connect_timeout(&endpoint, Duration::from_secs(1)))
        .unwrap();
    outcome.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn every_real_server_is_reached_directly_and_nothing_is_left_after() {
    let lab = Lab::up(&Options::default()).unwrap();
    let name = lab.name().to_owned();
    let mut servers = Vec::new();
    for node in lab.real_servers() {
        servers.push(lab.nginx(node.name()).unwrap());
    }
    let client = lab.node("cl1");
    for number in 1..=3 {
        assert!(is_reached(client, &format!("10.1.0.2{number}")));
        assert!(is_reached(client, &format!("fd00:1::2{number}")));
        for port in [80, 8080] {
            for address in [format!("10.1.0.2{number}"), format!("[fd00:1::2{number}]")] {
                let body = client
                    .run(
                        "curl",
                        &["-sS", "-m5", &format!("http://{address}:{port}/")],
                    )
                    .unwrap();
                assert_eq!(body, format!("rs{number}\n"));
            }
        }
        assert!(is_reached(lab.node("lb1"), &format!("10.2.0.2{number}")));
        assert!(is_reached(lab.node("lb1"), &format!("fd00:2::2{number}")));
    }
    let requests = servers[0].requests().unwrap();
    assert_eq!(requests.len(), 4, "{requests:?}");
    assert!(
        requests
            .iter()
            .any(|request| request.client == "10.1.0.101".parse::<std::net::IpAddr>().unwrap()),
        "{requests:?}"
    );
    assert!(
        requests
            .iter()
            .any(|request| request.server == "[fd00:1::21]:8080".parse().unwrap()),
        "{requests:?}"
    );

    let size = client
        .run(
            "curl",
            &[
                "-sS",
                "-m20",
                "-o/dev/null",
                "-w%{size_download}",
                "http://10.1.0.21/bytes/16m",
            ],
        )
        .unwrap();
    assert_eq!(size, "16777216");

    lab.down().unwrap();
    assert_eq!(traces(&name), Vec::<String>::new());
    assert_eq!(
        processes(&format!("/run/lb-lab/{name}/")),
        Vec::<String>::new()
    );
    drop(servers);
}

#[test]
fn only_the_director_answers_for_the_virtual_addresses() {
    let lab = Lab::up(&Options::default()).unwrap();
    let client = lab.node("cl1");
    assert!(is_reached(client, &VIP4.to_string()));
    assert!(is_reached(client, &VIP6.to_string()));
    let neighbours = client.run("ip", &["neighbour", "show"]).unwrap();
    for vip in [VIP4.to_string(), VIP6.to_string()] {
        let entry = neighbours
            .lines()
            .find(|line| line.starts_with(&format!("{vip} ")))
            .unwrap_or_else(|| panic!("{vip} in {neighbours}"));
        assert!(entry.contains("02:00:0a:01:00:0b"), "{entry}");
    }
    // With the director's address away, nobody answers: the real servers keep silent about theirs.
    lab.node("lb1")
        .run(
            "ip",
            &["address", "del", &format!("{VIP4}/32"), "dev", "eth0"],
        )
        .unwrap();
    lab.node("lb1")
        .run(
            "ip",
            &["address", "del", &format!("{VIP6}/128"), "dev", "eth0"],
        )
        .unwrap();
    client
        .run("ip", &["neighbour", "flush", "dev", "eth0"])
        .unwrap();
    assert!(!is_reached(client, &VIP4.to_string()));
    assert!(!is_reached(client, &VIP6.to_string()));
}

#[test]
fn a_node_has_its_own_sysfs_bpf_file_system_and_run_directory() {
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    for (node, devices) in [("cl1", "eth0\nlo\n"), ("lb1", "eth0\neth1\nlo\n")] {
        assert_eq!(
            lab.node(node).run("ls", &["/sys/class/net"]).unwrap(),
            devices
        );
        assert_eq!(
            lab.node(node)
                .run("stat", &["-f", "-c%T", "/sys/fs/bpf"])
                .unwrap(),
            "bpf_fs\n"
        );
        lab.node(node)
            .run("touch", &[&format!("/run/lb/{node}")])
            .unwrap();
        lab.node(node)
            .run("mkdir", &[&format!("/sys/fs/bpf/{node}")])
            .unwrap();
    }
    // The next command of the node finds what the last one left, the other node does not, and neither does the host.
    // (The kernel may put `maps.debug` and `progs.debug` into a new bpf file system.)
    for (node, other) in [("cl1", "lb1"), ("lb1", "cl1")] {
        for directory in ["/run/lb", "/sys/fs/bpf"] {
            let found = lab.node(node).run("ls", &[directory]).unwrap();
            assert!(
                found.lines().any(|name| name == node),
                "{node} has {found} in {directory}"
            );
            assert!(!found.contains(other), "{node} has {found} in {directory}");
        }
    }
    assert!(!Path::new("/run/lb/cl1").exists());
}

#[test]
fn the_directors_ports_are_ready_for_xdp() {
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    for port in ["lb1f", "lb1b", "lb2f", "lb2b"] {
        let link = lab
            .node("sw")
            .run("ip", &["-details", "link", "show", port])
            .unwrap();
        assert!(link.contains("prog/xdp"), "{link}");
        assert!(!link.contains("xdpgeneric"), "{link}");
        let features = lab.node("sw").run("ethtool", &["-k", port]).unwrap();
        for feature in ["tx-checksumming: off", "tx-vlan-offload: off"] {
            assert!(features.contains(feature), "{feature} in {features}");
        }
    }
}

#[test]
fn sockets_of_the_test_itself_can_be_a_nodes() {
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    let listener = lab
        .node("rs1")
        .enter(|| std::net::TcpListener::bind("10.1.0.21:9000"))
        .unwrap()
        .unwrap();
    let peer = lab
        .node("cl1")
        .enter(|| {
            std::net::TcpStream::connect("10.1.0.21:9000")
                .unwrap()
                .local_addr()
        })
        .unwrap()
        .unwrap();
    assert_eq!(listener.accept().unwrap().1, peer);
    assert_eq!(peer.ip().to_string(), "10.1.0.101");
}

#[test]
fn several_labs_are_up_at_once() {
    let first = Lab::up(&Options { real_servers: 1 }).unwrap();
    let second = Lab::up(&Options { real_servers: 2 }).unwrap();
    let (_one, _two) = (first.nginx("rs1").unwrap(), second.nginx("rs2").unwrap());
    drop(first);
    assert_eq!(
        second
            .node("cl2")
            .run("curl", &["-sS", "-m5", "http://10.1.0.22/"])
            .unwrap(),
        "rs2\n"
    );
    second
        .node("lb1")
        .run("touch", &["/run/lb/still-bound"])
        .unwrap();
}

#[test]
fn what_a_killed_process_left_is_removed_by_the_next_start_or_without_one() {
    if std::env::var_os(VICTIM).is_some() {
        let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
        let _nginx = lab.nginx("rs1").unwrap();
        println!("lab {}", lab.name());
        loop {
            std::thread::park();
        }
    }
    killed_and_removed(|| drop(Lab::up(&Options { real_servers: 1 }).unwrap()));
    killed_and_removed(|| remove_left_overs().unwrap());
}

/// Makes a lab in a process that is killed, and sees that `remove` takes all of it away.
fn killed_and_removed(remove: impl FnOnce()) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "what_a_killed_process_left_is_removed_by_the_next_start_or_without_one",
            "--nocapture",
        ])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = std::io::BufReader::new(victim.stdout.take().unwrap());
    let mut lines = std::io::BufRead::lines(stdout).map(Result::unwrap);
    let name = lines
        .find_map(|line| line.split_once("lab ").map(|(_, name)| name.to_owned()))
        .expect("the child names its lab");
    // Looked at while the owner lives: once it is dead, any other test that starts a lab removes this one.
    let nginx = format!("/run/lb-lab/{name}/rs1/nginx");
    assert!(!traces(&name).is_empty());
    assert!(!processes(&nginx).is_empty());
    victim.kill().unwrap();
    victim.wait().unwrap();

    remove();
    assert_eq!(traces(&name), Vec::<String>::new());
    wait_until(Duration::from_secs(5), "nginx to be gone", || {
        let found = processes(&nginx);
        if found.is_empty() {
            Ok(())
        } else {
            Err(found.join(", "))
        }
    })
    .unwrap();
}

#[test]
fn a_failed_command_shows_its_status_and_what_it_wrote() {
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    let error = lab
        .node("cl1")
        .run("sh", &["-c", "echo to-stdout; echo to-stderr >&2; exit 3"])
        .unwrap_err()
        .to_string();
    for part in ["on cl1", "exit status: 3", "to-stdout", "to-stderr"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let error = lab.find_node("rs9").unwrap_err().to_string();
    assert!(error.contains("rs9") && error.contains("rs1"), "{error}");
}
