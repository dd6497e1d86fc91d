//! Two routers of one virtual router: our agent on lb1, keepalived on lb2, and what the client between them sees.

use std::time::Duration;

use lb_tests::director::agent_binary;
use lb_tests::lab::{Agent, Keepalived, Lab, Node, Options, wait_until};
use serde_json::Value;

use crate::capture::Capture;

/// Beside what elections take here, which is seconds.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How both are configured.
#[derive(Clone, Copy, Debug)]
pub struct Flavour {
    pub name: &'static str,
    pub interval: Duration,
    /// In lb.toml.
    pub ours: &'static str,
    /// In keepalived.conf.
    pub theirs: &'static str,
    /// The virtual address, with its prefix.
    pub vip: &'static str,
}

const BASE: Flavour = Flavour {
    name: "version 3",
    interval: Duration::from_secs(1),
    ours: "",
    theirs: "version 3\n",
    vip: "10.1.0.110/24",
};

/// All of them.
pub const FLAVOURS: [Flavour; 6] = [
    BASE,
    Flavour {
        name: "version 2 with a password",
        ours: "version = 2\nauth = { pass = \"1111\" }\n",
        theirs: "version 2\nauthentication {\n auth_type PASS\n auth_pass 1111\n}\n",
        ..BASE
    },
    Flavour {
        name: "version 3 every 100 ms",
        interval: Duration::from_millis(100),
        ..BASE
    },
    Flavour {
        name: "version 3 every 10 ms",
        interval: Duration::from_millis(10),
        ..BASE
    },
    Flavour {
        name: "IPv6",
        vip: "fd00:1::110/64",
        ..BASE
    },
    Flavour {
        name: "unicast",
        ours: "unicast_peers = [\"10.1.0.12\"]\n",
        theirs: "version 3\nunicast_src_ip 10.1.0.12\nunicast_peer {\n 10.1.0.11\n}\n",
        ..BASE
    },
];

impl Flavour {
    /// Our file.
    pub fn toml(&self, priority: u8) -> String {
        let Self {
            interval,
            ours,
            vip,
            ..
        } = self;
        let interval = interval.as_millis();
        format!(
            "router_id = \"lb1\"\n[[vrrp]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvirtual_router_id = 51\n\
             priority = {priority}\nadvert_interval = \"{interval}ms\"\naddresses = [\"{vip}\"]\n{ours}"
        )
    }

    /// Theirs.
    pub fn keepalived(&self, priority: u8) -> String {
        let Self {
            interval,
            theirs,
            vip,
            ..
        } = self;
        let interval = interval.as_secs_f64();
        format!(
            "global_defs {{\n router_id lb2\n}}\nvrrp_instance VI_1 {{\n state BACKUP\n interface eth0\n \
             virtual_router_id 51\n priority {priority}\n advert_int {interval}\n {theirs}\n \
             virtual_ipaddress {{\n {vip}\n }}\n}}\n"
        )
    }

    /// The virtual address alone.
    pub fn address(&self) -> &'static str {
        self.vip.split('/').next().unwrap_or(self.vip)
    }

    /// How long a backup with `priority` waits for an advert. RFC 9568 §6.1, RFC 3768 §6.1.
    pub fn patience(&self, priority: u8) -> Duration {
        self.interval * 3 + self.skew(priority)
    }

    /// How long it waits when the master resigns.
    pub fn skew(&self, priority: u8) -> Duration {
        let whole = match self.ours.contains("version = 2") {
            true => Duration::from_secs(1),
            false => self.interval,
        };
        whole * (256 - u32::from(priority)) / 256
    }
}

/// Both, running.
pub struct Pair {
    pub flavour: Flavour,
    pub agent: Agent,
    pub keepalived: Keepalived,
    pub capture: Capture,
    pub lab: Lab,
}

impl Pair {
    /// Starts whoever has the higher priority first, and waits until it is master.
    pub fn up(flavour: Flavour, ours: u8, theirs: u8) -> Self {
        let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
        // What peers tell one another a third host does not hear.
        let observer = match flavour.ours.contains("unicast") {
            true => "lb2",
            false => "cl1",
        };
        let capture = Capture::start(lab.node(observer));
        let binary = agent_binary().unwrap();
        let (toml, conf) = (flavour.toml(ours), flavour.keepalived(theirs));
        let (agent, keepalived);
        if ours > theirs {
            agent = lab.agent("lb1", &binary, &toml).unwrap();
            wait_for_address(lab.node("lb1"), flavour.address());
            keepalived = Keepalived::start(lab.node("lb2"), &conf).unwrap();
            keepalived
                .wait_for_log("Entering BACKUP STATE", DEADLINE)
                .unwrap();
        } else {
            keepalived = Keepalived::start(lab.node("lb2"), &conf).unwrap();
            wait_for_address(lab.node("lb2"), flavour.address());
            agent = lab.agent("lb1", &binary, &toml).unwrap();
        }
        Self {
            flavour,
            agent,
            keepalived,
            capture,
            lab,
        }
    }

    pub fn lb1(&self) -> &Node {
        self.lab.node("lb1")
    }

    pub fn lb2(&self) -> &Node {
        self.lab.node("lb2")
    }

    /// Waits until our instance has this state, and returns what the status says of it.
    pub fn wait_for_state(&self, state: &str) -> Value {
        wait_for_state(&self.agent, state)
    }

    /// Waits until the capture has this many adverts of our router, of at least this priority, more than now.
    pub fn wait_for_our_adverts(&self, count: usize) {
        let ours = || {
            let mac = self.our_mac();
            self.capture
                .adverts()
                .iter()
                .filter(|advert| advert.source_mac == mac)
                .count()
        };
        let before = ours();
        wait_until(DEADLINE, "adverts", || match ours() - before {
            more if more >= count => Ok(()),
            more => Err(format!("{more} of {count}")),
        })
        .unwrap();
    }

    pub fn our_mac(&self) -> [u8; 6] {
        [2, 0, 10, 1, 0, 11]
    }

    pub fn their_mac(&self) -> [u8; 6] {
        [2, 0, 10, 1, 0, 12]
    }
}

/// Waits until the only instance of an agent has this state, and returns what its status says of it.
pub fn wait_for_state(agent: &Agent, state: &str) -> Value {
    wait_until(DEADLINE, &format!("VI_1 to be {state}"), || {
        let status = agent.status().map_err(|error| format!("{error:#}"))?;
        let instance = &status["vrrp"][0];
        match instance["state"] == state {
            true => Ok(instance.clone()),
            false => Err(instance.to_string()),
        }
    })
    .unwrap()
}

/// Whether a node has an address on eth0.
pub fn has_address(node: &Node, address: &str) -> bool {
    let listed = node
        .run("ip", &["-o", "address", "show", "dev", "eth0"])
        .unwrap();
    listed.contains(&format!(" {address}/"))
}

/// Waits until a node has an address on eth0.
pub fn wait_for_address(node: &Node, address: &str) {
    wait_until(
        DEADLINE,
        &format!("{} to have {address}", node.name()),
        || match has_address(node, address) {
            true => Ok(()),
            false => Err("it has not"),
        },
    )
    .unwrap();
}

/// Waits until a node no longer has an address on eth0.
pub fn wait_until_without(node: &Node, address: &str) {
    wait_until(
        DEADLINE,
        &format!("{} to give {address} up", node.name()),
        || match has_address(node, address) {
            true => Err("it has it"),
            false => Ok(()),
        },
    )
    .unwrap();
}
