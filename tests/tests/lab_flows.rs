//! Connections that stay open while real servers are added, drained, removed, re-weighted and flap, and the agent dies.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use lb_tests::director::{Director, real_server, service};
use lb_tests::echo::Echo;
use lb_tests::lab::{Lab, Node, Options};

const REAL_SERVERS: usize = 5;
/// Port of the service, and the one that is checked: a real server can fail its check with its connections alive.
const PORT: u16 = 9_000;
const CHECKED: u16 = 9_001;
const VIP: &str = "10.1.0.100:9000";

/// A real server is a number and a weight.
fn config(real_servers: &[(usize, u16)]) -> String {
    let mut text = format!(
        r#"
router_id = "lb1"
interfaces = ["eth0", "eth1"]
[[service]]
name = "echo"
listen = ["{VIP}"]
mode = "dr"
dead_hold = "8s"
[service.check]
tcp = {{}}
port = {CHECKED}
interval = "200ms"
retry_interval = "200ms"
timeout = "400ms"
fall = 2
rise = 1
"#
    );
    for (number, weight) in real_servers {
        text += &format!(
            "[[service.real_server]]\naddress = \"10.1.0.2{number}:{PORT}\"\nweight = {weight}\n"
        );
    }
    text
}

/// A connection, and who has it.
struct Connection {
    stream: TcpStream,
    server: String,
}

impl Connection {
    fn open(client: &Node) -> Self {
        let target: SocketAddr = VIP.parse().unwrap();
        let patience = Duration::from_secs(5);
        let stream = client
            .enter(|| TcpStream::connect_timeout(&target, patience))
            .unwrap();
        let mut stream = stream.unwrap();
        stream.set_read_timeout(Some(patience)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut name = [0; 3];
        stream.read_exact(&mut name).unwrap();
        let server = String::from_utf8(name.to_vec()).unwrap();
        Self { stream, server }
    }

    fn is_alive(&mut self, byte: u8) -> bool {
        let mut back = [0];
        self.stream.write_all(&[byte]).is_ok()
            && self.stream.read_exact(&mut back).is_ok()
            && back == [byte]
    }
}

struct World {
    director: Director,
    checked: BTreeMap<usize, Echo>,
    connections: Vec<Connection>,
    rounds: u8,
    _echoes: Vec<Echo>,
}

impl World {
    fn up(real_servers: &[(usize, u16)]) -> Self {
        let lab = Lab::up(&Options {
            real_servers: REAL_SERVERS,
        })
        .unwrap();
        let everywhere = |port| SocketAddr::from(([0, 0, 0, 0], port));
        let mut echoes = Vec::new();
        let mut checked = BTreeMap::new();
        for (number, node) in (1..).zip(lab.real_servers()) {
            let name = node.name().to_owned();
            echoes.push(Echo::greeting_tcp(node, everywhere(PORT), name).unwrap());
            checked.insert(number, Echo::tcp(node, everywhere(CHECKED)).unwrap());
        }
        let director = Director::in_lab(lab, &config(real_servers)).unwrap();
        Self {
            director,
            checked,
            connections: Vec::new(),
            rounds: 0,
            _echoes: echoes,
        }
    }

    /// Opens connections, and counts who got them.
    fn open(&mut self, count: usize) -> BTreeMap<String, usize> {
        let mut servers = BTreeMap::new();
        for _ in 0..count {
            let connection = Connection::open(self.director.client());
            *servers.entry(connection.server.clone()).or_insert(0) += 1;
            self.connections.push(connection);
        }
        servers
    }

    /// Every connection still works, but for those of `without`, which are left alone.
    fn use_all_but(&mut self, without: &str) {
        self.rounds += 1;
        let round = self.rounds;
        let broken: Vec<String> = self
            .connections
            .iter_mut()
            .filter(|connection| connection.server != without)
            .filter_map(|connection| {
                (!connection.is_alive(round)).then(|| connection.server.clone())
            })
            .collect();
        assert!(
            broken.is_empty(),
            "round {round}: {} of {} connections are broken, to {broken:?}\n{}\n{}",
            broken.len(),
            self.connections.len(),
            self.director.agent.status().unwrap(),
            self.director.agent.log_tail(20),
        );
    }

    fn check_fails(&mut self, number: usize) {
        self.checked.remove(&number);
        self.wait_for(number, "down");
    }

    fn check_passes(&mut self, number: usize) {
        let node = self.director.lab.node(&format!("rs{number}"));
        let endpoint = SocketAddr::from(([0, 0, 0, 0], CHECKED));
        let echo = Echo::tcp(node, endpoint).unwrap();
        self.checked.insert(number, echo);
        self.wait_for(number, "up");
    }

    fn wait_for(&self, number: usize, state: &str) {
        let address = format!("10.1.0.2{number}:{PORT}");
        self.director
            .wait_for_state("echo", &address, state)
            .unwrap();
    }

    fn restart_with(&mut self, real_servers: &[(usize, u16)]) {
        self.director.agent.kill();
        std::fs::write(self.director.agent.config(), config(real_servers)).unwrap();
        self.director.agent.restart().unwrap();
    }
}

#[test]
fn no_connection_to_a_living_server_breaks_whatever_happens_to_the_others() {
    let mut world = World::up(&[(1, 1), (2, 1), (3, 1)]);
    let servers = world.open(120);
    assert_eq!(servers.len(), 3, "{servers:?}");
    world.use_all_but("");

    // Flapping: those of the server that is down wait for it.
    for number in [2, 1, 2] {
        world.check_fails(number);
        world.use_all_but(&format!("rs{number}"));
        let servers = world.open(20);
        assert!(!servers.contains_key(&format!("rs{number}")), "{servers:?}");
        world.check_passes(number);
        world.use_all_but("");
    }
    let status = world.director.agent.status().unwrap();
    let seen = service(&status, "echo");
    assert!(seen["remembering_slots"].as_u64() > Some(0), "{seen}");

    // One is drained, one removed, two are new; later one has another weight; then all is as it was.
    world.restart_with(&[(1, 0), (2, 1), (4, 1), (5, 1)]);
    world.use_all_but("");
    let servers = world.open(60);
    assert!(
        !servers.contains_key("rs1") && !servers.contains_key("rs3"),
        "{servers:?}"
    );
    assert!(
        servers.contains_key("rs4") && servers.contains_key("rs5"),
        "{servers:?}"
    );
    world.restart_with(&[(1, 3), (2, 1), (4, 2), (5, 1)]);
    world.use_all_but("");
    world.open(30);
    world.director.agent.kill();
    world.use_all_but("");
    world.director.agent.restart().unwrap();
    world.use_all_but("");
    world.check_fails(4);
    world.use_all_but("rs4");
    world.check_passes(4);
    world.restart_with(&[(1, 1), (2, 1), (3, 1)]);
    world.use_all_but("");
    let status = world.director.agent.status().unwrap();
    let seen = service(&status, "echo");
    assert!(seen["flows"].as_u64().is_some(), "{seen}");
    assert_eq!(
        real_server(&status, "echo", "10.1.0.23:9000")["state"],
        "up"
    );
}

#[test]
fn connections_of_a_server_that_stays_dead_are_let_go() {
    let mut world = World::up(&[(1, 1), (2, 1)]);
    world.open(40);
    world.check_fails(2);
    world.wait_for(2, "down");
    // Held for dead_hold, then reset by the other server: a client learns it without waiting for a timeout of its own.
    let connections = std::mem::take(&mut world.connections);
    let (lost, kept): (Vec<_>, Vec<_>) = connections
        .into_iter()
        .partition(|connection| connection.server == "rs2");
    assert!(!lost.is_empty() && !kept.is_empty());
    for mut connection in lost {
        connection
            .stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        connection.stream.write_all(&[1]).unwrap();
        let error = connection.stream.read_exact(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    world.connections = kept;
    world.use_all_but("");
}
