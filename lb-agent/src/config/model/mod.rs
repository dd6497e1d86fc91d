//! What a configuration means, as types: every key of `docs/lb.toml`, defaults filled in, names checked, inheritance resolved.
//!
//! Nothing in here refers to TOML: the rest of the agent works with these values alone. Durations are `Duration`, ports host order.

mod check;
mod service;
mod vrrp;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use check::{Check, CheckKind, DnsType, HttpRequest, HttpsRequest, StatusRange, Via};
pub use service::{
    Endpoint, IdleTimeout, Listen, Mode, NatSource, OnFailure, Persistence, Protocol, RealServer,
    RealServerNotify, Scheduler, Service, ServiceNotify,
};
pub use vrrp::{
    Checksum, Destination, Fence, Garp, Route, SyncGroup, Tracked, Version, VirtualAddress, Vrrp,
    VrrpNotify,
};

/// A value that is written as one word out of a fixed set.
pub trait Choice: Copy + 'static {
    /// Each word as it is written, with its value, in the order of the documentation.
    const WORDS: &'static [(&'static str, Self)];
}

/// Defines an enum together with the words that stand for its values.
macro_rules! choice {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$inner])* $variant,)+ }

        impl $crate::config::model::Choice for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }
    };
}
use choice;

/// A whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of this node in logs, mails and metrics.
    pub router_id: String,
    /// What forwards packets, for services that do not choose themselves.
    pub datapath: Datapath,
    /// Interfaces that XDP attaches to; empty: those where services and real servers are reached.
    pub interfaces: Vec<String>,
    /// How the running agent is spoken to.
    pub control: Control,
    /// Logging.
    pub log: Log,
    /// How commands are run.
    pub scripts: Scripts,
    /// How the elections' threads run.
    pub process: Process,
    /// Mail on state changes; `None`: none.
    pub mail: Option<Mail>,
    /// Flows shared with other directors; `None`: off.
    pub sync: Option<FlowSync>,
    /// Settings of the kernel's IPVS.
    pub ipvs: Ipvs,
    /// Scripts tracked by VRRP instances and sync groups.
    pub tracked_scripts: Vec<TrackedScript>,
    /// VRRP instances.
    pub vrrp: Vec<Vrrp>,
    /// Instances that move together.
    pub sync_groups: Vec<SyncGroup>,
    /// What the virtual addresses serve.
    pub services: Vec<Service>,
}

choice! {
    /// What forwards packets.
    Datapath {
        /// Native XDP, else generic XDP, else IPVS.
        #[default]
        Auto = "auto",
        /// XDP, native or generic.
        Xdp = "xdp",
        /// XDP in the driver, never generic.
        XdpNative = "xdp_native",
        /// The kernel's IPVS.
        Ipvs = "ipvs",
    }
}

/// How the running agent is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Path of the local socket.
    pub socket: PathBuf,
    /// Where metrics and the status page are served; `None`: off.
    pub http: Option<SocketAddr>,
}

/// Logging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least important level that is written.
    pub level: LogLevel,
    /// The form of a line.
    pub format: LogFormat,
}

choice! {
    /// Importance of log lines.
    LogLevel {
        /// The operator must act.
        Error = "error",
        /// Degraded.
        Warn = "warn",
        /// State changes.
        #[default]
        Info = "info",
        /// Each event.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

choice! {
    /// Form of log lines.
    LogFormat {
        /// The journal under systemd, else text.
        #[default]
        Auto = "auto",
        /// Text for people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

/// A program and its arguments, run without a shell. Never empty; the program is an absolute path.
pub type Command = Vec<String>;

/// Who runs a command, written `user` or `user:group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name, or numeric id as text.
    pub user: String,
    /// Group; `None`: the user's own.
    pub group: Option<String>,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            Some(group) => write!(f, "{}:{group}", self.user),
            None => f.write_str(&self.user),
        }
    }
}

/// How commands are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scripts {
    /// Who runs those that do not name a user.
    pub user: User,
    /// Whether commands that others than root can change are run.
    pub allow_insecure: bool,
}

/// How the elections' threads run, for hosts that may be too busy to let them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// 1..=99 (SCHED_RR, sched(7)); 0: as everybody else.
    pub realtime_priority: u8,
    /// Whether memory is kept from being swapped out.
    pub lock_memory: bool,
}

/// Mail on state changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The relay's address or name.
    pub host: String,
    /// The relay's port.
    pub port: u16,
    /// Encryption towards the relay.
    pub tls: MailTls,
    /// Sender.
    pub from: String,
    /// Recipients, at least one.
    pub to: Vec<String>,
    /// Credentials; only ever together with encryption.
    pub auth: Option<MailAuth>,
    /// For one delivery as a whole.
    pub timeout: Duration,
    /// What mails are sent about.
    pub on: Vec<MailEvent>,
}

choice! {
    /// Encryption towards the mail relay.
    MailTls {
        /// Plain text.
        #[default]
        None = "none",
        /// Upgraded after the greeting.
        Starttls = "starttls",
        /// From the first byte.
        Tls = "tls",
    }
}

/// Credentials for the mail relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailAuth {
    /// Login name.
    pub user: String,
    /// File that holds the password.
    pub password_file: PathBuf,
}

choice! {
    /// What a mail can be about.
    MailEvent {
        /// A VRRP instance or sync group changed its state.
        #[default]
        Vrrp = "vrrp",
        /// A service gained or lost its quorum.
        Service = "service",
        /// A real server went up or down.
        RealServer = "real_server",
    }
}

/// Flows shared with other directors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSync {
    /// The other directors, at least one.
    pub peers: Vec<IpAddr>,
    /// UDP port.
    pub port: u16,
    /// File with the key that authenticates messages.
    pub key_file: PathBuf,
}

/// Settings of the kernel's IPVS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipvs {
    /// Connection synchronisation by the kernel; `None`: off.
    pub sync_daemon: Option<SyncDaemon>,
    /// Connection timeouts; `None`: the kernel's.
    pub timeouts: Option<IdleTimeout>,
}

/// The kernel's own connection synchronisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncDaemon {
    /// Interface of the multicast.
    pub interface: String,
    /// Tells groups of directors on one network apart.
    pub id: u8,
}

/// A script whose success VRRP instances and sync groups depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedScript {
    /// Name that `track_scripts` refers to.
    pub name: String,
    /// What is run.
    pub command: Command,
    /// From the start of a run to the start of the next.
    pub interval: Duration,
    /// For one run; may be longer than the interval.
    pub timeout: Duration,
    /// Failures in a row before it is down.
    pub fall: u32,
    /// Successes in a row before it is up.
    pub rise: u32,
    /// 0: failure is a FAULT; positive: added while up; negative: added while down. -253..=253.
    pub weight: i16,
    /// Who runs it; `None`: [`Scripts::user`].
    pub user: Option<User>,
}
