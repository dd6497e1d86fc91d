//! Health checks, as they are to be made for one real server.

use std::net::IpAddr;
use std::time::Duration;

use super::{Command, User, choice};

/// How one real server is checked: the service's table, overridden key by key by the real server's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// All of them must pass; empty: the real server counts as up.
    pub kinds: Vec<CheckKind>,
    /// Which way the check takes.
    pub via: Via,
    /// From one good run to the next.
    pub interval: Duration,
    /// For one run, as a whole.
    pub timeout: Duration,
    /// Failures in a row before the real server is down, at least 1.
    pub fall: u32,
    /// Successes in a row before it is up, at least 1.
    pub rise: u32,
    /// From a failed run to the next.
    pub retry_interval: Duration,
    /// Where the check goes.
    pub address: IpAddr,
    /// Where the check goes, host order. 0 only where no kind uses a port.
    pub port: u16,
    /// Where the check comes from; `None`: as routes say.
    pub source_address: Option<IpAddr>,
}

choice! {
    /// Which way a check takes.
    Via {
        /// Addressed to the real server.
        #[default]
        Direct = "direct",
        /// Addressed to the virtual address, delivered to this real server.
        Vip = "vip",
    }
}

/// One thing that is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// A connection is accepted.
    Tcp,
    /// All requests are answered as wished.
    Http(Vec<HttpRequest>),
    /// The same over TLS.
    Https(Vec<HttpsRequest>),
    /// A mail server greets.
    Smtp {
        /// The name given in HELO; `None`: the router id.
        helo: Option<String>,
    },
    /// An ICMP echo is answered.
    Ping,
    /// A DNS query is answered.
    Dns {
        /// The name asked for.
        name: String,
        /// The type asked for.
        record: DnsType,
    },
    /// A datagram is answered, or at least not refused.
    Udp {
        /// What is sent.
        send: Vec<u8>,
        /// What the answer begins with; empty: any answer or none.
        expect: Vec<u8>,
    },
    /// A command succeeds.
    Misc {
        /// What is run.
        command: Command,
        /// Whether exit statuses from 2 set the weight.
        dynamic: bool,
        /// Who runs it; `None`: the user of all scripts.
        user: Option<User>,
    },
}

impl CheckKind {
    /// The key that stands for this kind in a check table.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http(_) => "http",
            Self::Https(_) => "https",
            Self::Smtp { .. } => "smtp",
            Self::Ping => "ping",
            Self::Dns { .. } => "dns",
            Self::Udp { .. } => "udp",
            Self::Misc { .. } => "misc",
        }
    }

    /// Whether this kind speaks to a port.
    pub fn uses_port(&self) -> bool {
        match self {
            Self::Tcp | Self::Http(_) | Self::Https(_) => true,
            Self::Smtp { .. } | Self::Dns { .. } | Self::Udp { .. } => true,
            Self::Ping | Self::Misc { .. } => false,
        }
    }
}

/// A request, and the answer that is wished for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// Path with query, beginning with a slash.
    pub path: String,
    /// Host header; `None`: the address checked.
    pub host: Option<String>,
    /// Good status codes, at least one range.
    pub status: Vec<StatusRange>,
    /// MD5 of the body.
    pub digest: Option<[u8; 16]>,
    /// A regular expression that the body must match.
    pub body_regex: Option<String>,
}

/// A request over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsRequest {
    /// What is asked for inside.
    pub http: HttpRequest,
    /// Server name in the TLS greeting; `None`: the Host header.
    pub sni: Option<String>,
    /// Whether the certificate must be good.
    pub verify: bool,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
}

/// Status codes from `first` to `last`, both included, 100..=599.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    /// The lowest good code.
    pub first: u16,
    /// The highest good code.
    pub last: u16,
}

choice! {
    /// Type of a DNS query.
    DnsType {
        /// IPv4 address.
        A = "A",
        /// IPv6 address.
        Aaaa = "AAAA",
        /// Canonical name.
        Cname = "CNAME",
        /// Mail exchanger.
        Mx = "MX",
        /// Name server.
        Ns = "NS",
        /// Start of authority.
        #[default]
        Soa = "SOA",
        /// Text.
        Txt = "TXT",
    }
}
