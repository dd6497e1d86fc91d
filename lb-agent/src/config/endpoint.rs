//! Addresses, ports and prefixes as they are written.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::context::Problem;
use super::model::Endpoint;
use super::names::quote;
use super::value::Value;

impl Value<'_> {
    /// The address of a host.
    pub fn address(&self) -> Option<IpAddr> {
        let wanted = "an IPv4 or IPv6 address";
        let text = self.expect_text(wanted)?;
        match text.parse::<IpAddr>() {
            Ok(address) => self.host(address),
            Err(_) => {
                let guess = guess_address(text).map(|address| address.to_string());
                let problem = Problem::new(format!("`{}` is no address", quote(text)));
                self.fail(
                    problem
                        .expected(format!("{wanted}{}", why(text)))
                        .suggest_text(guess),
                )
            }
        }
    }

    /// An address with a port, both of one of our own sockets or addresses. `any_port`: what port 0 means, where it is allowed.
    pub fn socket(&self, any_port: Option<&str>) -> Option<SocketAddr> {
        let any = any_port.map_or(String::new(), |any| format!(" (port 0: {any})"));
        let wanted = format!("\"ADDRESS:PORT\", IPv6 in brackets{any}");
        let text = self.expect_text(&wanted)?;
        let socket = match text.parse::<SocketAddr>() {
            Ok(socket) => socket,
            Err(_) => return self.no_socket(text, &wanted),
        };
        if socket.port() == 0 && any_port.is_none() {
            return self.fail(Problem::new("port 0").expected("a port 1..65535"));
        }
        if matches!(socket, SocketAddr::V6(v6) if v6.scope_id() != 0) {
            let problem = Problem::new(format!("`{text}` names an interface"));
            return self.fail(problem.expected("an address that is valid on all interfaces"));
        }
        Some(socket)
    }

    /// An address with a port, or without: the port that the client asked for.
    pub fn endpoint(&self) -> Option<Endpoint> {
        let wanted = "\"ADDRESS:PORT\" (IPv6 in brackets), or \"ADDRESS\": the port that the client asked for";
        let text = self.expect_text(wanted)?;
        if let Ok(address) = text.parse::<IpAddr>() {
            let address = self.routed_host(address)?;
            return Some(Endpoint {
                address,
                port: None,
            });
        }
        match text.parse::<SocketAddr>() {
            Ok(socket) if socket.port() == 0 => {
                let problem = Problem::new("port 0 is no port of a real server");
                let guess = Some(socket.ip().to_string());
                self.fail(problem.expected(wanted).suggest_text(guess))
            }
            Ok(socket) => Some(Endpoint {
                address: self.routed_host(socket.ip())?,
                port: Some(socket.port()),
            }),
            Err(_) => self.no_socket(text, wanted),
        }
    }

    /// An address with the length of its network's prefix; without one, that of the address alone. Host bits are kept.
    pub fn address_in_net(&self) -> Option<IpNet> {
        let wanted = "\"ADDRESS/PREFIX\", or an address alone: /32 or /128";
        let text = self.expect_text(wanted)?;
        let net = match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
            (Ok(net), _) => net,
            (_, Ok(address)) => IpNet::from(address),
            _ => {
                let problem = Problem::new(format!("`{}` is no address", quote(text)));
                let wanted = format!("{wanted}{}", why(text));
                return self.fail(problem.expected(wanted).suggest_text(guess_net(text)));
            }
        };
        self.host(net.addr())?;
        Some(net)
    }

    /// A network: no bits beyond its prefix.
    pub fn network(&self) -> Option<IpNet> {
        let wanted = "a network \"ADDRESS/PREFIX\"";
        let text = self.expect_text(wanted)?;
        match parse_network(text) {
            Ok(net) => Some(net),
            Err(guess) => {
                let problem = Problem::new(format!("`{}` is no network", quote(text)));
                let wanted = format!("{wanted}{}", why(text));
                self.fail(problem.expected(wanted).suggest_text(guess))
            }
        }
    }

    /// As [`Self::host`], and refuses addresses that no route leads to.
    fn routed_host(&self, address: IpAddr) -> Option<IpAddr> {
        match self.host(address)? {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                let problem = Problem::new(format!(
                    "`{address}` is link-local: which interface is meant cannot be told"
                ));
                self.fail(problem.expected("an address that a route leads to"))
            }
            address => Some(address),
        }
    }

    /// Refuses addresses that no single host can have.
    pub fn host(&self, address: IpAddr) -> Option<IpAddr> {
        let fault = match address {
            IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
                let guess = v6.to_ipv4_mapped().map(|v4| v4.to_string());
                let problem = Problem::new(format!("`{address}` is an IPv4 address in disguise"));
                return self.fail(problem.expected("it as IPv4").suggest_text(guess));
            }
            _ if address.is_unspecified() => "the unspecified address",
            _ if address.is_multicast() => "a multicast address",
            _ => return Some(address),
        };
        let problem = Problem::new(format!("`{address}` is {fault}"));
        self.fail(problem.expected("the address of one host"))
    }

    fn no_socket<T>(&self, text: &str, wanted: &str) -> Option<T> {
        let problem = Problem::new(format!("`{}` is no address with port", quote(text)));
        let wanted = format!("{wanted}{}", why(text));
        self.fail(problem.expected(wanted).suggest_text(guess_socket(text)))
    }
}

/// A network, or what was probably meant.
pub(super) fn parse_network(text: &str) -> Result<IpNet, Option<String>> {
    let net = match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
        (Ok(net), _) => net,
        (_, Ok(address)) => IpNet::from(address),
        _ => return Err(guess_net(text)),
    };
    if net.trunc() == net {
        return Ok(net);
    }
    Err(Some(net.trunc().to_string()))
}

/// Says more about what an address cannot be.
fn why(text: &str) -> &'static str {
    let looks_like_name =
        text.contains(|c: char| c.is_ascii_alphabetic() && !c.is_ascii_hexdigit());
    if looks_like_name && !text.contains('%') {
        return " (names are not looked up)";
    }
    ""
}

/// An address in what carries something else besides: a prefix length, a port, brackets, spaces.
fn guess_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let text = text.split('/').next()?;
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Some(socket.ip());
    }
    text.trim_matches(['[', ']']).parse().ok()
}

/// keepalived separates the port by a space; IPv6 is often written without brackets.
fn guess_socket(text: &str) -> Option<String> {
    let text = text.trim();
    if let Some((address, port)) = text.split_once(char::is_whitespace) {
        let address = address.trim_matches(['[', ']']).parse::<IpAddr>().ok()?;
        return Some(SocketAddr::new(address, port.trim().parse().ok()?).to_string());
    }
    let (address, port) = text.rsplit_once(':')?;
    let address = address.trim_matches(['[', ']']).parse::<Ipv6Addr>().ok()?;
    let port = port
        .parse::<u16>()
        .ok()
        .filter(|_| text.matches(':').count() > 7 || text.contains("::"))?;
    Some(format!("[{address}]:{port}"))
}

/// A netmask in place of the prefix length, or one that is too long.
fn guess_net(text: &str) -> Option<String> {
    let (address, mask) = text.trim().split_once('/')?;
    let address = address.trim().parse::<IpAddr>().ok()?;
    if let Ok(IpAddr::V4(mask)) = mask.trim().parse::<IpAddr>() {
        let mask = u32::from(mask);
        let length = mask.leading_ones();
        let exact = mask.checked_shl(length).unwrap_or(0) == 0;
        return exact.then(|| format!("{address}/{length}"));
    }
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length: u32 = mask.trim().parse().ok()?;
    (length > most).then(|| format!("{address}/{most}"))
}
