//! What `lb-agent status` shows: what the kernel does, read back from the maps, with the agent's words beside it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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
    /// Microseconds from the end of the check that decided something until packets obeyed it, the last time.
    #[serde(default)]
    pub flip_us: Option<u64>,
    /// `xdp_native`, `xdp_generic`, `xdp_mixed`, or `none` where nothing is attached.
    pub datapath: String,
    /// Interfaces that packets come from or leave by.
    pub interfaces: Vec<InterfaceStatus>,
    /// VRRP instances in the configuration's order.
    #[serde(default)]
    pub vrrp: Vec<VrrpStatus>,
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

/// A VRRP instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VrrpStatus {
    /// Its name.
    pub name: String,
    /// `init`, `backup`, `master` or `fault`.
    pub state: String,
    /// Since when: RFC 3339, UTC.
    pub since: String,
    /// Why, in words.
    pub reason: String,
    /// Its priority with all weights counted.
    pub priority: u8,
    /// Who is master; absent: nobody was heard.
    pub master: Option<MasterStatus>,
    /// Until it acts by itself if nothing happens, in milliseconds.
    pub next_deadline_ms: Option<u64>,
    /// How the fence stands that keeps this host silent about the addresses when its adverts stop, in words.
    #[serde(default)]
    pub fence: String,
    /// What happened how often, by name. Names that are not there: never.
    pub counters: BTreeMap<String, u64>,
}

/// A master.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MasterStatus {
    /// Where its adverts come from.
    pub address: String,
    /// Its priority.
    pub priority: u8,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// `up`: enough real servers serve; `down`: they do not; `absent`: the data plane does not know it.
    pub state: String,
    /// How many live, and how many it takes.
    #[serde(default)]
    pub reason: String,
    /// When it was up and down, the latest last.
    #[serde(default)]
    pub history: Vec<ChangeStatus>,
    /// Who stands in while it is down.
    #[serde(default)]
    pub sorry_server: Option<SorryServerStatus>,
    /// Listen addresses.
    pub listen: Vec<String>,
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes forwarded.
    pub bytes: u64,
    /// Mode nat: replies of its real servers that were sent to clients, packets.
    pub replies: u64,
    /// Slots of its table in which flows are told apart by their age, since their owner changed.
    pub open_slots: u32,
    /// Slots, besides, some of whose flows are remembered.
    pub remembering_slots: u32,
    /// How a real server is chosen.
    #[serde(default)]
    pub scheduler: String,
    /// How clients stay with their real server; `None`: they do not.
    #[serde(default)]
    pub persistence: Option<PersistenceStatus>,
    /// Flows that are remembered, at the last count.
    pub flows: u64,
    /// Of these, how many another director would move or, where every connection is remembered, not know.
    pub moved_by_failover: u64,
    /// Its real servers.
    pub real_servers: Vec<RealServerStatus>,
    /// Its packets that were dropped, by reason.
    pub drops: Vec<ReasonCount>,
}

/// How clients stay with their real server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PersistenceStatus {
    /// Seconds that a client is known without a connection that is used.
    pub timeout_s: u32,
    /// Clients of one prefix stay together: its length for IPv4.
    pub prefix_v4: u8,
    /// The same for IPv6.
    pub prefix_v6: u8,
    /// Clients that are known, at the last count.
    pub clients: u64,
}

/// A sorry server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SorryServerStatus {
    /// Address, with its port if it has one of its own.
    pub address: String,
    /// Whether it serves now.
    pub serves: bool,
    /// Packets forwarded to it.
    pub packets: u64,
    /// Bytes forwarded to it.
    pub bytes: u64,
}

/// A real server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RealServerStatus {
    /// Address, with its port if it has one of its own.
    pub address: String,
    /// `up`, `down`, `draining`, `drained` or `disabled` by the operator, or `absent`.
    pub state: String,
    /// Why, in words.
    pub reason: String,
    /// The weight that counts.
    pub weight: u16,
    /// Seconds since it became what it is, if it has changed since the agent's start.
    #[serde(default)]
    pub since_s: Option<u64>,
    /// How its check stands; `None`: it has none.
    #[serde(default)]
    pub check: Option<CheckStatus>,
    /// How its drain stands; `None`: it is not drained.
    #[serde(default)]
    pub drain: Option<DrainStatus>,
    /// Its last changes, the latest last.
    #[serde(default)]
    pub history: Vec<ChangeStatus>,
    /// Its share of new flows, percent.
    pub share_percent: f64,
    /// Remembered flows that are active connections, as IPVS counts them. Where the scheduler computes its choice, few are
    /// remembered.
    #[serde(default)]
    pub active_connections: u32,
    /// The others.
    #[serde(default)]
    pub inactive_connections: u32,
    /// How many connections it may have; 0: any number.
    #[serde(default)]
    pub max_connections: u32,
    /// Clients that stay with it, at the last count.
    #[serde(default)]
    pub clients: u64,
    /// The next hop's MAC address, or `local`, or `unresolved`.
    pub next_hop: String,
    /// Packets forwarded to it.
    pub packets: u64,
    /// Bytes forwarded to it.
    pub bytes: u64,
}

/// A check of a real server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// `up`, `down`, or `unknown` before the first result.
    pub state: String,
    /// Seconds since it is so.
    pub since_s: u64,
    /// What the last run came to, in words; empty: none has ended yet.
    pub last: String,
    /// Milliseconds that it took.
    pub took_ms: f64,
    /// Milliseconds that it started later than it was due.
    #[serde(default)]
    pub late_ms: f64,
    /// Seconds since it ended; `None`: none has ended yet.
    pub ago_s: Option<u64>,
    /// Runs that have ended.
    #[serde(default)]
    pub runs: u64,
    /// Runs that failed since the last one that passed.
    pub failures: u32,
    /// Milliseconds until the next run; `None`: not before one that is under way has ended.
    pub next_ms: Option<u64>,
}

/// A drain of a real server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DrainStatus {
    /// Connections that are left, at the last count; `None`: nothing was counted yet.
    pub connections: Option<u64>,
    /// Seconds until those that are left are cut; `None`: it has ended, or has no deadline.
    pub deadline_s: Option<u64>,
    /// Connections that did not end in peace; `None`: it goes on.
    pub cut: Option<u64>,
}

/// Something that has happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChangeStatus {
    /// Seconds ago.
    pub ago_s: u64,
    /// What it was.
    pub old: String,
    /// What it became.
    pub new: String,
    /// Its weight then.
    pub weight: u16,
    /// Why, in words.
    pub reason: String,
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
        for instance in &self.vrrp {
            writeln!(f, "\n{instance}")?;
        }
        for service in &self.services {
            writeln!(f)?;
            let listen = service.listen.join(" ");
            writeln!(
                f,
                "{}  {}  {listen}  {} packets, {} bytes",
                service.name, service.state, service.packets, service.bytes
            )?;
            if service.open_slots > 0 || service.flows > 0 {
                writeln!(
                    f,
                    "  {} slots in a window, {} flows remembered, {} would be moved by a failover",
                    service.open_slots, service.flows, service.moved_by_failover
                )?;
            }
            if let Some(persistence) = &service.persistence {
                writeln!(
                    f,
                    "  {} clients of /{} and /{} are known for {} s",
                    persistence.clients,
                    persistence.prefix_v4,
                    persistence.prefix_v6,
                    persistence.timeout_s
                )?;
            }
            for real_server in &service.real_servers {
                writeln!(
                    f,
                    "  {:26} {:6} weight {:<5} {:5.1} %  {:>6} active {:>6} inactive  {:>12} packets  {:17}  {}",
                    real_server.address,
                    real_server.state,
                    real_server.weight,
                    real_server.share_percent,
                    real_server.active_connections,
                    real_server.inactive_connections,
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

impl fmt::Display for VrrpStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            state,
            since,
            reason,
            priority,
            ..
        } = self;
        let master = match &self.master {
            Some(master) => format!("{} (priority {})", master.address, master.priority),
            None => "nobody".to_owned(),
        };
        write!(
            f,
            "{name}  {state} since {since}  priority {priority}  master {master}  {reason}\n  fence {}",
            self.fence
        )?;
        let mut line = String::new();
        for (name, count) in &self.counters {
            write!(line, "  {name} {count}")?;
        }
        match line.is_empty() {
            true => Ok(()),
            false => write!(f, "\n{line}"),
        }
    }
}
