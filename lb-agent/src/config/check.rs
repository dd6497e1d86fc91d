//! Check tables, of a service or of one real server, and how the second overrides the first.

use std::net::IpAddr;
use std::time::Duration;

use super::context::Problem;
use super::global::{LONGEST, SHORTEST};
use super::model::{Check, CheckKind, Endpoint, HttpRequest, HttpsRequest, StatusRange, Via};
use super::names::quote;
use super::reader::Table;
use super::value::Value;

/// What one check table says; `None` is what it leaves open.
#[derive(Clone, Debug)]
pub(super) struct Given {
    kinds: Vec<CheckKind>,
    via: Option<Via>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    fall: Option<u32>,
    rise: Option<u32>,
    retry_interval: Option<Duration>,
    address: Option<IpAddr>,
    port: Option<u16>,
    source_address: Option<IpAddr>,
}

impl Given {
    /// This table, completed by that of the service. Any kind named here replaces all of the service's.
    pub fn over(self, service: &Self) -> Self {
        let kinds = match self.kinds.is_empty() {
            true => service.kinds.clone(),
            false => self.kinds,
        };
        Self {
            kinds,
            via: self.via.or(service.via),
            interval: self.interval.or(service.interval),
            timeout: self.timeout.or(service.timeout),
            fall: self.fall.or(service.fall),
            rise: self.rise.or(service.rise),
            retry_interval: self.retry_interval.or(service.retry_interval),
            address: self.address.or(service.address),
            port: self.port.or(service.port),
            source_address: self.source_address.or(service.source_address),
        }
    }

    /// The check of one real server, with the defaults for what is still open.
    pub fn resolve(self, real_server: Endpoint, first_port: Option<u16>) -> Check {
        let port = self.port.or(real_server.port).or(first_port);
        Check {
            kinds: self.kinds,
            via: self.via.unwrap_or_default(),
            interval: self.interval.unwrap_or(Duration::from_secs(10)),
            timeout: self.timeout.unwrap_or(Duration::from_secs(5)),
            fall: self.fall.unwrap_or(2),
            rise: self.rise.unwrap_or(1),
            retry_interval: self.retry_interval.unwrap_or(Duration::from_secs(1)),
            address: self.address.unwrap_or(real_server.address),
            port: port.unwrap_or(0),
            source_address: self.source_address,
        }
    }
}

/// Reads a check table.
pub(super) fn table(t: &Table<'_>) -> Given {
    let times = |value: &Value<'_>| value.duration(SHORTEST..=LONGEST);
    let count = |value: &Value<'_>| value.integer(1..=1000);
    let kinds = [
        t.table("tcp", |_| CheckKind::Tcp),
        t.read("http", |value| value.some_list("requests", http))
            .map(CheckKind::Http),
        t.read("https", |value| value.some_list("requests", https))
            .map(CheckKind::Https),
        t.table("smtp", |t| CheckKind::Smtp {
            helo: t.read("helo", host_name),
        }),
        t.table("ping", |_| CheckKind::Ping),
        t.table("dns", dns),
        t.table("udp", udp),
        t.table("misc", misc).flatten(),
    ];
    Given {
        kinds: kinds.into_iter().flatten().collect(),
        via: t.read("via", Value::choice),
        interval: t.read("interval", times),
        timeout: t.read("timeout", times),
        fall: t.read("fall", count),
        rise: t.read("rise", count),
        retry_interval: t.read("retry_interval", times),
        address: t.read("address", Value::address),
        port: t.read("port", |value| value.integer(1..=u16::MAX)),
        source_address: t.read("source_address", Value::address),
    }
}

fn http(value: &Value<'_>) -> Option<HttpRequest> {
    Some(value.as_table()?.finish(request))
}

fn https(value: &Value<'_>) -> Option<HttpsRequest> {
    Some(value.as_table()?.finish(|t| HttpsRequest {
        http: request(t),
        sni: t.read("sni", host_name),
        verify: t.read("verify", Value::boolean).unwrap_or(false),
        http2: t.read("http2", Value::boolean).unwrap_or(false),
    }))
}

fn request(t: &Table<'_>) -> HttpRequest {
    let statuses = |value: &Value<'_>| value.some_list("status codes and ranges", status);
    HttpRequest {
        path: t.read("path", url_path).unwrap_or_else(|| "/".to_owned()),
        host: t.read("host", host_name),
        status: t.read("status", statuses).unwrap_or_else(|| {
            vec![StatusRange {
                first: 200,
                last: 299,
            }]
        }),
        digest: t.read("digest", digest),
        body_regex: t.read("body_regex", regex),
    }
}

/// A host's name or address, with a port perhaps, as it stands in a Host header: RFC 1035 §2.3.4 has 255 bytes for a name.
fn host_name(value: &Value<'_>) -> Option<String> {
    let wanted = "a host name of 1..255 bytes, without spaces";
    let text = value.expect_text(wanted)?;
    let bad = |c: char| !c.is_ascii_graphic() || "\"'`\\/".contains(c);
    if text.is_empty() || text.len() > 255 || text.contains(bad) {
        let problem = Problem::new(format!("`{}` is no host name", quote(text)));
        return value.fail(problem.expected(wanted));
    }
    Some(text.to_owned())
}

fn url_path(value: &Value<'_>) -> Option<String> {
    let wanted = "a path that begins with /, without spaces";
    let text = value.expect_text(wanted)?;
    let bad = |c: char| !c.is_ascii_graphic();
    if text.starts_with('/') && !text.contains(bad) {
        return Some(text.to_owned());
    }
    let guess = (!text.is_empty() && !text.contains(bad) && !text.contains("://"))
        .then(|| format!("/{text}"));
    let problem = Problem::new(format!("`{}` is no path", quote(text)));
    value.fail(problem.expected(wanted).suggest_text(guess))
}

/// A code as a number, or a range as a string.
fn status(value: &Value<'_>) -> Option<StatusRange> {
    let wanted = "a status code 100..599, or a range \"FIRST-LAST\"";
    if value.text().is_none() {
        let code = value.integer(100..=599)?;
        return Some(StatusRange {
            first: code,
            last: code,
        });
    }
    let text = value.expect_text(wanted)?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if 100 <= first && first <= last && last <= 599 => {
            Some(StatusRange { first, last })
        }
        _ => {
            let problem = Problem::new(format!("`{}` is no range of status codes", quote(text)));
            value.fail(problem.expected(wanted))
        }
    }
}

fn digest(value: &Value<'_>) -> Option<[u8; 16]> {
    let wanted = "the MD5 of the body: 32 hexadecimal digits";
    let text = value.expect_text(wanted)?;
    match bytes(text).and_then(|bytes| bytes.try_into().ok()) {
        Some(digest) => Some(digest),
        None => {
            let problem = Problem::new(format!("`{}` is no digest", quote(text)));
            value.fail(problem.expected(wanted))
        }
    }
}

fn regex(value: &Value<'_>) -> Option<String> {
    let text = value.string()?;
    match regex_syntax::parse(&text) {
        Ok(_) => Some(text),
        Err(error) => {
            let reason = match &error {
                regex_syntax::Error::Parse(error) => error.kind().to_string(),
                regex_syntax::Error::Translate(error) => error.kind().to_string(),
                other => other.to_string(),
            };
            let problem = Problem::new(format!("`{}`: {reason}", quote(&text)));
            value.fail(problem.expected("a regular expression"))
        }
    }
}

/// Bytes written as pairs of hexadecimal digits.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        match pair {
            [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
            _ => None,
        }
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

/// A payload must fit one datagram on an ordinary link.
const MAX_PAYLOAD_BYTES: usize = 1400;

fn payload(value: &Value<'_>) -> Option<Vec<u8>> {
    let wanted = "bytes as pairs of hexadecimal digits";
    let text = value.expect_text(wanted)?;
    match bytes(text) {
        Some(bytes) if bytes.len() <= MAX_PAYLOAD_BYTES => Some(bytes),
        Some(bytes) => {
            let problem = Problem::new(format!("{} bytes", bytes.len()));
            value.fail(problem.expected(format!("at most {MAX_PAYLOAD_BYTES} bytes")))
        }
        None => {
            let problem = Problem::new(format!("`{}` is not hexadecimal", quote(text)));
            value.fail(problem.expected(wanted))
        }
    }
}

fn udp(t: &Table<'_>) -> CheckKind {
    CheckKind::Udp {
        send: t.read("send", payload).unwrap_or_default(),
        expect: t.read("expect", payload).unwrap_or_default(),
    }
}

fn dns(t: &Table<'_>) -> CheckKind {
    CheckKind::Dns {
        name: t.read("name", domain).unwrap_or_else(|| ".".to_owned()),
        record: t.read("type", Value::choice).unwrap_or_default(),
    }
}

/// RFC 1035 §2.3.4: labels of 63 bytes, 253 characters in all as written.
fn domain(value: &Value<'_>) -> Option<String> {
    let wanted = "a domain name, labels of 1..63 bytes";
    let text = value.expect_text(wanted)?;
    let inner = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len()) && label.chars().all(fits)
    };
    if text == "." || (inner.len() <= 253 && inner.split('.').all(label)) {
        return Some(text.to_owned());
    }
    let problem = Problem::new(format!("`{}` is no domain name", quote(text)));
    value.fail(problem.expected(wanted))
}

fn misc(t: &Table<'_>) -> Option<CheckKind> {
    let wanted = "a list of the program and its arguments";
    let command = t.required("command", wanted, Value::command);
    let dynamic = t.read("dynamic", Value::boolean).unwrap_or(false);
    let user = t.read("user", Value::user);
    Some(CheckKind::Misc {
        command: command?,
        dynamic,
        user,
    })
}
