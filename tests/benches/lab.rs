//! Real requests through the lab: lb beside HAProxy, nginx and nftables, all of it on one machine.
//!
//! ```text
//!  cl1 (wrk) ── sw ── lb1: lb, by direct routing, tunnels, NAT ── rs1 (nginx), rs2 for NAT
//!                  └─ lb2: HAProxy, nginx stream, nftables ────── rs1
//! ```
//!
//! Every way leads to one real server, and takes its turn in every round. A rate is of that round's rate without
//! anything in between. CPU time is what the whole machine was busy for, so it needs a machine with nothing else to do.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use aya::programs::{Xdp, XdpMode};
use lb_agent::datapath::xdp::{Capacity, Datapath, load_program};
use lb_tests::director::agent_binary;
use lb_tests::figures::{self, Figure, workspace};
use lb_tests::lab::{AccessLog, Daemon, Lab, Nginx, Node, Options, check_requirements, wait_until};
use lb_tests::traffic::request_once;
use nix::net::if_::if_nametoindex;

/// Rounds, each of every way and both kinds of connections.
const ROUNDS: usize = 7;
/// What wrk is told to take for each turn.
const TURN: &str = "2s";
const CONNECTIONS: &str = "-c32";
const DEADLINE: Duration = Duration::from_secs(10);

/// From the client to the real server.
struct Way {
    name: &'static str,
    target: &'static str,
}

/// The first is the measure of the others.
const WAYS: [Way; 7] = [
    Way {
        name: "direct",
        target: "10.1.0.21:80",
    },
    Way {
        name: "dr",
        target: "10.1.0.100:80",
    },
    Way {
        name: "tun",
        target: "10.1.0.100:8080",
    },
    Way {
        name: "nat",
        target: "10.1.0.100:8001",
    },
    Way {
        name: "haproxy",
        target: "10.1.0.12:8001",
    },
    Way {
        name: "nginx_stream",
        target: "10.1.0.12:8002",
    },
    Way {
        name: "nft_dnat",
        target: "10.1.0.12:8003",
    },
];

const LB: &str = r#"
router_id = "lb1"
interfaces = ["eth0", "eth1"]

[[service]]
name = "dr"
listen = ["10.1.0.100:80"]
mode = "dr"
check = { tcp = {} }
real_server = [{ address = "10.1.0.21:80" }]

[[service]]
name = "tun"
listen = ["10.1.0.100:8080"]
mode = "tun"
check = { tcp = {} }
real_server = [{ address = "10.1.0.21:8080" }]

[[service]]
name = "nat"
listen = ["10.1.0.100:8001"]
mode = "nat"
check = { tcp = {} }
real_server = [{ address = "10.2.0.22:80" }]
"#;

/// What the real server of NAT is told: its only way to clients is the director.
const GATEWAY: &str = "ip link set eth0 down && ip address del 10.1.0.100/32 dev lo && ip route add default via 10.2.0.11";

const HAPROXY: &str = "
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
listen web
    bind 10.1.0.12:8001
    server rs1 10.1.0.21:80
";

const NFT: &str = "
table ip bench {
    chain before {
        type nat hook prerouting priority dstnat
        ip daddr 10.1.0.12 tcp dport 8003 dnat to 10.1.0.21:80
    }
    chain after {
        type nat hook postrouting priority srcnat
        ip daddr 10.1.0.21 tcp dport 80 masquerade
    }
}
";

/// What wrk did in one turn.
#[derive(Clone, Copy)]
struct Turn {
    per_second: f64,
    /// CPU time of the whole machine for one request.
    cpu_us: f64,
}

/// Those of every way.
type Turns = [Vec<Turn>; WAYS.len()];

fn main() -> Result<()> {
    check_requirements()?;
    let lab = Lab::up(&Options { real_servers: 2 })?;
    let (client, real_server) = (lab.find_node("cl1")?, lab.find_node("rs1")?);
    let behind_nat = lab.find_node("rs2")?;
    behind_nat.run("sh", &["-c", GATEWAY])?;
    let _nginx = [
        Nginx::start(real_server, AccessLog::Off)?,
        Nginx::start(behind_nat, AccessLog::Off)?,
    ];
    let _decapsulator = decapsulate(real_server)?;
    let _agent = lab.agent("lb1", &agent_binary()?, LB)?;
    let _peers = peers(lab.find_node("lb2")?)?;
    for way in &WAYS {
        let target: SocketAddr = way.target.parse()?;
        wait_until(DEADLINE, &format!("an answer by {}", way.name), || {
            request_once(client, target, DEADLINE).map_err(|error| format!("{error:#}"))
        })?;
    }
    let mut keepalive: Turns = Default::default();
    let mut close: Turns = Default::default();
    for round in 1..=ROUNDS {
        for (index, way) in WAYS.iter().enumerate() {
            keepalive[index].push(turn(client, way, &[])?);
            close[index].push(turn(client, way, &["-H", "Connection: close"])?);
        }
        println!("round {round} of {ROUNDS}");
    }
    let figures = figures(&keepalive, &close);
    for figure in &figures {
        println!("{}", figure.line());
    }
    figures::write(&workspace(), "lab", &figures)
}

/// Every way against the first, round by round.
fn figures(keepalive: &Turns, close: &Turns) -> Vec<Figure> {
    let each =
        |turns: &[Turn], value: fn(&Turn) -> f64| turns.iter().map(value).collect::<Vec<_>>();
    let mut figures = vec![
        Figure::of_rounds(
            "direct_keepalive_rate",
            "per_second",
            &each(&keepalive[0], |turn| turn.per_second),
        ),
        Figure::of_rounds(
            "direct_close_rate",
            "per_second",
            &each(&close[0], |turn| turn.per_second),
        ),
        Figure::of_rounds("direct_cpu", "us", &each(&keepalive[0], |turn| turn.cpu_us)),
    ];
    for (index, way) in WAYS.iter().enumerate().skip(1) {
        let name = way.name;
        let against = |turns: &Turns, compare: fn(&Turn, &Turn) -> f64| -> Vec<f64> {
            turns[index]
                .iter()
                .zip(&turns[0])
                .map(|(way, direct)| compare(way, direct))
                .collect()
        };
        let rate: fn(&Turn, &Turn) -> f64 = |way, direct| way.per_second / direct.per_second;
        let added: fn(&Turn, &Turn) -> f64 = |way, direct| way.cpu_us - direct.cpu_us;
        figures.push(Figure::of_rounds(
            &format!("{name}_keepalive"),
            "ratio",
            &against(keepalive, rate),
        ));
        figures.push(Figure::of_rounds(
            &format!("{name}_close"),
            "ratio",
            &against(close, rate),
        ));
        figures.push(Figure::of_rounds(
            &format!("{name}_added_us"),
            "us",
            &against(keepalive, added),
        ));
    }
    figures
}

/// wrk's turn on one way.
fn turn(client: &Node, way: &Way, options: &[&str]) -> Result<Turn> {
    let url = format!("http://{}/", way.target);
    let mut arguments = vec!["-t1", CONNECTIONS, "-d", TURN];
    arguments.extend(options);
    arguments.push(&url);
    let before = busy()?;
    let text = client.run("wrk", &arguments)?;
    let busy = busy()? - before;
    ensure!(
        !text.contains("Socket errors") && !text.contains("Non-2xx"),
        "requests by {} have failed: {text}",
        way.name
    );
    let number = |line: &str| {
        line.split_whitespace()
            .find_map(|word| word.parse::<f64>().ok())
    };
    let find = |mark: &str| {
        let line = text.lines().find(|line| line.contains(mark));
        line.and_then(number)
            .with_context(|| format!("wrk does not say {mark}: {text}"))
    };
    let requests = find("requests in")?;
    Ok(Turn {
        per_second: find("Requests/sec")?,
        cpu_us: busy.as_secs_f64() * 1e6 / requests,
    })
}

/// How long the machine's CPUs have worked so far.
fn busy() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("an empty /proc/stat")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    // proc(5): user, nice, system, idle, iowait, irq, softirq, in hundredths of a second.
    let &[user, nice, system, _, _, irq, softirq, ..] = ticks.as_slice() else {
        bail!("not the times of CPUs: {line}");
    };
    Ok(Duration::from_millis(
        10 * (user + nice + system + irq + softirq),
    ))
}

/// The real server's end of the tunnel: an XDP program, as light as the kernel's own tunnel device, which not every
/// kernel has.
fn decapsulate(node: &Node) -> Result<Datapath> {
    node.enter(|| {
        let mut datapath = Datapath::unpinned(Capacity::SMALLEST)?;
        let interface = if_nametoindex("eth0").context("find eth0")?;
        let program: &mut Xdp = load_program(datapath.object(), "decapsulate")?;
        program.attach_to_if_index(interface, XdpMode::Driver)?;
        Ok(datapath)
    })?
}

/// HAProxy, nginx and nftables, each with the configuration of its manual's first page.
fn peers(node: &Node) -> Result<[Daemon; 2]> {
    let directory = node.directory();
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok::<_, anyhow::Error>(path)
    };
    node.run(
        "nft",
        &["-f", &write("bench.nft", NFT)?.display().to_string()],
    )?;
    let mut haproxy = node.command("haproxy");
    haproxy
        .arg("-db")
        .arg("-f")
        .arg(write("haproxy.cfg", HAPROXY)?);
    let nginx = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;
         daemon off; worker_processes 1; pid {here}/stream.pid; error_log stderr;
         events {{ }}
         stream {{ server {{ listen 10.1.0.12:8002; proxy_pass 10.1.0.21:80; }} }}",
        here = directory.display()
    );
    let mut stream = node.command("nginx");
    stream
        .arg("-e")
        .arg("stderr")
        .arg("-c")
        .arg(write("stream.conf", &nginx)?);
    Ok([
        node.spawn("haproxy", haproxy)?,
        node.spawn("nginx stream", stream)?,
    ])
}
