//! What `lb-agent status` shows: what the kernel does, read back from the maps, with the agent's words beside it.

use serde::{Deserialize, Serialize};
use std::fmt::{self, Write as _};

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Name of this node.
    pub router_id: String,
    /// Version of the agent.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Number of commits; 0: none yet.
    pub generation: u64,
    /// `xdp_native`, `xdp_generic`, `xdp_mixed`, or `none` where nothing is attached.
    pub datapath: String,
    /// Interfaces that packets come from or leave by.
    pub interfaces: Vec<InterfaceStatus>,
    /// Services in the configuration's order.
    pub services: Vec<ServiceStatus>,
    /// Packets dropped, by reason.
    pub drops: Vec<ReasonCount>,
    /// Packets for virtual addresses that were passed to this host, by reason.
    pub passed: Vec<ReasonCount>,
    /// Packets that were answered by an error, by reason.
    pub answered: Vec<ReasonCount>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// `native`, `generic`, or `none`: as the kernel reports it.
    pub mode: String,
    /// Why it is so.
    pub reason: String,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// `up`: somebody serves; `down`: nobody does; `absent`: the data plane does not know it.
    pub state: String,
    /// Listen addresses.
    pub listen: Vec<String>,
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes forwarded.
    pub bytes: u64,
    /// Mode nat: replies of its real servers that were sent to clients, packets.
    pub replies: u64,
    /// Its real servers.
    pub real_servers: Vec<RealServerStatus>,
    /// Its packets that were dropped, by reason.
    pub drops: Vec<ReasonCount>,
}

/// A real server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RealServerStatus {
    /// Address, with its port if it has one of its own.
    pub address: String,
    /// `up`, `down`, or `absent`.
    pub state: String,
    /// Why, in words.
    pub reason: String,
    /// Configured weight.
    pub weight: u16,
    /// Its share of new flows, percent.
    pub share_percent: f64,
    /// The next hop's MAC address, or `local`, or `unresolved`.
    pub next_hop: String,
    /// Packets forwarded to it.
    pub packets: u64,
    /// Bytes forwarded to it.
    pub bytes: u64,
}

/// A reason and how often it was met.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReasonCount {
    /// Its name.
    pub reason: String,
    /// Packets.
    pub count: u64,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            router_id,
            version,
            pid,
            uptime_s,
            generation,
            datapath,
            ..
        } = self;
        let uptime = humantime::format_duration(std::time::Duration::from_secs(*uptime_s));
        writeln!(
            f,
            "{router_id}: lb-agent {version}, pid {pid}, up {uptime}, {datapath}, generation {generation}"
        )?;
        for interface in &self.interfaces {
            writeln!(
                f,
                "  {:12} {:8} {}",
                interface.name, interface.mode, interface.reason
            )?;
        }
        for service in &self.services {
            writeln!(f)?;
            let listen = service.listen.join(" ");
            writeln!(
                f,
                "{}  {}  {listen}  {} packets, {} bytes",
                service.name, service.state, service.packets, service.bytes
            )?;
            for real_server in &service.real_servers {
                writeln!(
                    f,
                    "  {:26} {:6} weight {:<5} {:5.1} %  {:>12} packets  {:17}  {}",
                    real_server.address,
                    real_server.state,
                    real_server.weight,
                    real_server.share_percent,
                    real_server.packets,
                    real_server.next_hop,
                    real_server.reason
                )?;
            }
        }
        for (title, counts) in [
            ("dropped", &self.drops),
            ("passed to this host", &self.passed),
            ("answered", &self.answered),
        ] {
            let mut line = String::new();
            for count in counts {
                write!(line, "  {} {}", count.reason, count.count)?;
            }
            if !counts.is_empty() {
                writeln!(f, "\n{title}:{line}")?;
            }
        }
        Ok(())
    }
}
