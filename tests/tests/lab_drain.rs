//! Real servers that are drained under connections: by hand, and because their check fails.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use lb_tests::director::{DEADLINE, Director, real_server};
use lb_tests::lab::{Lab, Node, Options};

const VIP: &str = "10.1.0.100:80";
const RS1: &str = "10.1.0.21:80";
/// Of one client.
const CONNECTIONS: usize = 10_000;

fn config(keys: &str) -> String {
    let real_servers: String = (21..=23)
        .map(|host| format!("[[service.real_server]]\naddress = \"10.1.0.{host}:80\"\n{keys}\n"))
        .collect();
    format!(
        "router_id = \"lb1\"\ninterfaces = [\"eth0\"]\n[[service]]\nname = \"web\"\nlisten = [\"{VIP}\"]\nmode = \"dr\"\n\
         [service.check]\ntcp = {{}}\nport = 81\ninterval = \"200ms\"\nretry_interval = \"100ms\"\ntimeout = \"500ms\"\n\
         {real_servers}"
    )
}

/// The director, with the checked port of each real server apart from the one that serves.
fn director(lab: Lab, keys: &str) -> (Director, Vec<lb_tests::echo::Echo>) {
    let checked = lab
        .real_servers()
        .map(|node| lb_tests::echo::Echo::tcp(node, ([0, 0, 0, 0], 81).into()).unwrap())
        .collect();
    (Director::in_lab(lab, &config(keys)).unwrap(), checked)
}

/// A connection that is kept, and the name of the real server that has it.
struct Connection {
    stream: TcpStream,
    server: String,
}

impl Connection {
    fn open(target: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&target, Duration::from_secs(10)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.set_nodelay(true).unwrap();
        let mut connection = Self {
            stream,
            server: String::new(),
        };
        connection.server = connection.ask().unwrap();
        connection
    }

    /// One request; the name of who answered.
    fn ask(&mut self) -> Result<String, String> {
        let request = b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n";
        let said = self.stream.write_all(request);
        said.map_err(|error| format!("write: {error}"))?;
        let mut answer = [0; 1024];
        let read = self.stream.read(&mut answer);
        let read = read.map_err(|error| format!("read: {error}"))?;
        let text = String::from_utf8_lossy(answer.get(..read).unwrap_or_default()).into_owned();
        let name = text.trim_end().lines().last().unwrap_or_default();
        match name.starts_with("rs") {
            true => Ok(name.to_owned()),
            false => Err(format!("no answer: {text:?}")),
        }
    }
}

fn open(client: &Node, count: usize) -> Vec<Connection> {
    let target = VIP.parse().unwrap();
    client
        .enter(|| (0..count).map(|_| Connection::open(target)).collect())
        .unwrap()
}

/// Every connection asks once, and is answered by the one that it began with.
fn all_are_where_they_were(connections: &mut [Connection]) {
    let failed: Vec<_> = connections
        .iter_mut()
        .filter_map(|connection| match connection.ask() {
            Ok(server) if server == connection.server => None,
            Ok(server) => Some(format!("{} became {server}", connection.server)),
            Err(error) => Some(format!("{}: {error}", connection.server)),
        })
        .collect();
    let first: Vec<_> = failed.iter().take(5).collect();
    assert!(failed.is_empty(), "{} failed: {first:?}", failed.len());
}

fn count(connections: &[Connection]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for connection in connections {
        *counts.entry(connection.server.as_str()).or_insert(0) += 1;
    }
    counts
}

fn drain(director: &Director) -> serde_json::Value {
    let status = director.agent.status().unwrap();
    real_server(&status, "web", RS1)["drain"].clone()
}

#[test]
fn ten_thousand_connections_outlive_a_drain_and_its_end_is_told() {
    let (director, _checked) = director(Lab::up(&Options::default()).unwrap(), "");
    director.wait_for_state("web", RS1, "up").unwrap();
    let mut connections = open(director.client(), CONNECTIONS);
    let counts = count(&connections);
    let of_rs1 = counts["rs1"];
    assert!(of_rs1 > CONNECTIONS / 5, "{counts:?}");

    let mut command = director.node().command(agent());
    command.args([
        "server",
        "drain",
        "web",
        RS1,
        "--wait",
        "--deadline",
        "10m",
        "--silence",
        "4s",
    ]);
    let mut waiting = director.node().spawn("drain", command).unwrap();
    director.wait_for_state("web", RS1, "draining").unwrap();
    // In three rounds, each of a third: a request opens the eyes for those that were silent until then.
    all_are_where_they_were(&mut connections);
    let fresh = open(director.client(), 200);
    assert_eq!(count(&fresh).get("rs1"), None, "it gets nothing new");
    director
        .wait_for_status("all connections of rs1 to be known", |status| {
            let drain = &real_server(status, "web", RS1)["drain"];
            match drain["connections"].as_u64() {
                Some(known) if known == of_rs1 as u64 => Ok(()),
                _ => Err(format!("{drain}, not {of_rs1}")),
            }
        })
        .unwrap();
    all_are_where_they_were(&mut connections);
    assert_eq!(waiting.ended(), None, "{}", waiting.log_tail(5));
    assert!(drain(&director)["deadline_s"].as_u64().unwrap() > 500);

    connections.retain(|connection| connection.server != "rs1");
    let ended = waiting.wait(DEADLINE * 2).unwrap();
    let said = waiting.log_tail(3);
    assert_eq!(ended, lb_tests::lab::Ended::Exited(0), "{said}");
    assert!(
        said.contains(&format!("{RS1}: drained: no connection is left")),
        "{said}"
    );
    director.wait_for_state("web", RS1, "drained").unwrap();
    all_are_where_they_were(&mut connections);

    director
        .agent
        .command(&["server", "enable", "web", RS1])
        .unwrap();
    director.wait_for_state("web", RS1, "up").unwrap();
    all_are_where_they_were(&mut connections);
    assert!(count(&open(director.client(), 60)).contains_key("rs1"));
}

fn agent() -> std::path::PathBuf {
    lb_tests::director::agent_binary().unwrap()
}

#[test]
fn at_its_deadline_a_drain_says_how_many_connections_it_cut_also_after_a_restart() {
    let (mut director, _checked) = director(Lab::up(&Options::default()).unwrap(), "");
    director.wait_for_state("web", RS1, "up").unwrap();
    let mut connections = open(director.client(), 60);
    let of_rs1 = count(&connections)["rs1"];
    director
        .agent
        .command(&["server", "drain", "web", RS1, "--deadline", "8s"])
        .unwrap();
    director.wait_for_state("web", RS1, "draining").unwrap();
    all_are_where_they_were(&mut connections);

    director.agent.restart().unwrap();
    director.wait_for_state("web", RS1, "draining").unwrap();
    all_are_where_they_were(&mut connections);
    let found = director.wait_for_state("web", RS1, "drained").unwrap();
    assert_eq!(found["drain"]["cut"], of_rs1, "{found}");
    let reason = found["history"][0]["reason"].as_str().unwrap();
    assert_eq!(
        reason,
        format!("its deadline came, {of_rs1} connections were cut")
    );
    // Others know nothing of these connections, and say so.
    let mut cut = 0;
    for connection in &mut connections {
        let alive = connection.ask().is_ok();
        assert_eq!(alive, connection.server != "rs1");
        cut += usize::from(!alive);
    }
    assert_eq!(cut, of_rs1);
}

#[test]
fn a_real_server_that_is_drained_on_failure_keeps_its_connections_and_another_is_cut_off() {
    for (keys, survive) in [("on_failure = \"drain\"", true), ("", false)] {
        let (director, mut checked) = director(Lab::up(&Options::default()).unwrap(), keys);
        director.wait_for_state("web", RS1, "up").unwrap();
        let mut connections = open(director.client(), 40);
        drop(checked.remove(0));
        let found = director.wait_for_state("web", RS1, "down").unwrap();
        assert_eq!(found["share_percent"], 0.0, "{found}");
        assert_eq!(found["weight"], u64::from(!survive), "{found}");
        if survive {
            all_are_where_they_were(&mut connections);
        } else {
            let mut of_rs1 = connections
                .iter_mut()
                .filter(|connection| connection.server == "rs1");
            let connection = of_rs1.next().unwrap();
            let short = Some(Duration::from_millis(500));
            connection.stream.set_read_timeout(short).unwrap();
            connection
                .ask()
                .expect_err("held, in case it comes straight back");
        }
        let fresh = open(director.client(), 40);
        assert_eq!(count(&fresh).get("rs1"), None, "{keys}");
    }
}
