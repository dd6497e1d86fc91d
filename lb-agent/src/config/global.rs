//! The document as a whole, and its small tables: control, log, scripts, mail, sync, ipvs and tracked scripts.

use std::net::IpAddr;
use std::time::Duration;

use super::context::{Context, Kind, Problem};
use super::document::Entries;
use super::model::{
    Config, Control, FlowSync, Ipvs, Log, Mail, MailAuth, MailEvent, MailTls, Process, Scripts,
    SyncDaemon, TrackedScript, User,
};
use super::names::quote;
use super::reader::Table;
use super::source::Span;
use super::value::Value;
use super::{service, vrrp};

/// The longest time that any key takes.
pub(super) const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// The shortest time that makes sense between two tries of something.
pub(super) const SHORTEST: Duration = Duration::from_millis(10);

/// `sun_path` of `struct sockaddr_un` less its final NUL (unix(7)).
const SOCKET_PATH_BYTES: usize = 107;

/// Reads a whole document.
pub(super) fn config(cx: &Context, document: &Entries) -> Config {
    let start = Span {
        file: 0,
        start: 0,
        end: 0,
    };
    Table::new(cx, document, String::new(), start).finish(|t| {
        // Patterns were read before this.
        t.get("include");
        let datapath = t.read("datapath", Value::choice).unwrap_or_default();
        Config {
            router_id: t.read("router_id", Value::name).unwrap_or_else(host_name),
            datapath,
            interfaces: t.read("interfaces", interfaces).unwrap_or_default(),
            control: t.section("control", control),
            log: t.section("log", log),
            scripts: t.section("scripts", scripts),
            process: t.section("process", process),
            mail: t.table("mail", mail).flatten(),
            sync: t.table("sync", sync).flatten(),
            ipvs: t.section("ipvs", ipvs),
            tracked_scripts: t.tables("script", "name", tracked_script),
            vrrp: t.tables("vrrp", "name", vrrp::instance),
            sync_groups: t.tables("sync_group", "name", vrrp::sync_group),
            services: t.tables("service", "name", |t| service::service(t, datapath)),
        }
    })
}

fn host_name() -> String {
    let name = nix::unistd::gethostname().ok();
    let name = name.and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

fn interfaces(value: &Value<'_>) -> Option<Vec<String>> {
    value.list(|one| {
        let name = one.interface()?;
        one.unique_in_list(&name);
        Some(name)
    })
}

fn control(t: &Table<'_>) -> Control {
    let socket = |value: &Value<'_>| {
        let path = value.path_name()?;
        if path.as_os_str().len() > SOCKET_PATH_BYTES {
            let wanted = format!("at most {SOCKET_PATH_BYTES} bytes, the limit for sockets");
            return value.fail(Problem::new("the path is too long").expected(wanted));
        }
        Some(path)
    };
    Control {
        socket: t
            .read("socket", socket)
            .unwrap_or_else(|| "/run/lb/lb.sock".into()),
        http: t.read("http", |value| value.socket(None)),
    }
}

fn log(t: &Table<'_>) -> Log {
    Log {
        level: t.read("level", Value::choice).unwrap_or_default(),
        format: t.read("format", Value::choice).unwrap_or_default(),
    }
}

fn scripts(t: &Table<'_>) -> Scripts {
    Scripts {
        user: t.read("user", Value::user).unwrap_or_else(|| User {
            user: "nobody".to_owned(),
            group: None,
        }),
        allow_insecure: t.read("allow_insecure", Value::boolean).unwrap_or(false),
    }
}

fn process(t: &Table<'_>) -> Process {
    let priority = t.read("realtime_priority", |value| value.integer(0..=99_u8));
    Process {
        realtime_priority: priority.unwrap_or(0),
        lock_memory: t.read("lock_memory", Value::boolean).unwrap_or(false),
    }
}

fn mail(t: &Table<'_>) -> Option<Mail> {
    let smtp = t.required("smtp", "the relay, \"HOST:PORT\"", relay);
    let tls = t.read("tls", Value::choice).unwrap_or_default();
    let from = t.required("from", "the sender's mail address", mail_address);
    let recipients = |value: &Value<'_>| value.some_list("mail addresses", mail_address);
    let to = t.required("to", "a list of mail addresses", recipients);
    let auth = t.table("auth", mail_auth);
    if auth.is_some() && tls == MailTls::None {
        let problem = Problem::new("the password would be sent in plain text")
            .expected("`tls = \"starttls\"` or `tls = \"tls\"` together with `auth`");
        t.cx().error_at(&t.key("auth"), problem);
    }
    let times = Duration::from_secs(1)..=Duration::from_secs(3600);
    let timeout = t.read("timeout", |value| value.duration(times));
    let on = t.read("on", |value| value.list(Value::choice));
    let (host, port) = smtp?;
    Some(Mail {
        host,
        port,
        tls,
        from: from?,
        to: to?,
        auth: auth.flatten(),
        timeout: timeout.unwrap_or(Duration::from_secs(30)),
        on: on.unwrap_or_else(|| vec![MailEvent::Vrrp, MailEvent::Service]),
    })
}

/// The relay is the one host that may have a name.
fn relay(value: &Value<'_>) -> Option<(String, u16)> {
    let wanted = "\"HOST:PORT\", IPv6 in brackets";
    let text = value.expect_text(wanted)?;
    let parts = text.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let good = |host: &str| match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let fits = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            !host.is_empty() && host.chars().all(fits)
        }
    };
    match parts {
        Some((host, port)) if port > 0 && good(host) => {
            Some((host.trim_matches(['[', ']']).to_owned(), port))
        }
        _ => {
            let guess = (!text.contains([':', ' ']) && good(text)).then(|| format!("{text}:25"));
            let problem = Problem::new(format!("`{}` is no host with port", quote(text)));
            value.fail(problem.expected(wanted).suggest_text(guess))
        }
    }
}

fn mail_address(value: &Value<'_>) -> Option<String> {
    let wanted = "a mail address \"NAME@DOMAIN\"";
    let text = value.expect_text(wanted)?;
    let bad = |c: char| c.is_whitespace() || c.is_control() || "<>,;\"".contains(c);
    match text.rsplit_once('@') {
        Some((name, domain))
            if !name.is_empty()
                && !domain.is_empty()
                && !text.contains(bad)
                && text.parse::<lettre::Address>().is_ok() =>
        {
            Some(text.to_owned())
        }
        _ => {
            let problem = Problem::new(format!("`{}` is no mail address", quote(text)));
            value.fail(problem.expected(wanted))
        }
    }
}

fn mail_auth(t: &Table<'_>) -> Option<MailAuth> {
    let user = t.required("user", "the login name", Value::string);
    let file = t.required("password_file", "the password's file", Value::path_name);
    Some(MailAuth {
        user: user?,
        password_file: file?,
    })
}

fn sync(t: &Table<'_>) -> Option<FlowSync> {
    let addresses = |value: &Value<'_>| value.some_list("addresses", peer);
    let peers = t.required("peers", "the other directors' addresses", addresses);
    let port = t.read("port", |value| value.integer(1..=u16::MAX));
    let key_file = t.required("key_file", "the key's file", Value::path_name);
    Some(FlowSync {
        peers: peers?,
        port: port.unwrap_or(9922),
        key_file: key_file?,
    })
}

/// One of a list of other hosts.
pub(super) fn peer(value: &Value<'_>) -> Option<IpAddr> {
    let address = value.address()?;
    value.unique_in_list(&address.to_string());
    Some(address)
}

fn ipvs(t: &Table<'_>) -> Ipvs {
    Ipvs {
        sync_daemon: t.table("sync_daemon", sync_daemon).flatten(),
        timeouts: t.table("timeouts", service::idle_timeout),
    }
}

fn sync_daemon(t: &Table<'_>) -> Option<SyncDaemon> {
    let interface = t.required("interface", "an interface", Value::interface);
    let id = t.read("id", |value| value.integer(0..=u8::MAX));
    Some(SyncDaemon {
        interface: interface?,
        id: id.unwrap_or(0),
    })
}

fn tracked_script(t: &Table<'_>) -> Option<TrackedScript> {
    let wanted = "a name for `track_scripts` to refer to";
    let name = t.required("name", wanted, |value| value.declared_name(Kind::Script));
    let wanted = "a list of the program and its arguments";
    let command = t.required("command", wanted, Value::command);
    let times = |value: &Value<'_>| value.duration(SHORTEST..=LONGEST);
    let interval = t.read("interval", times).unwrap_or(Duration::from_secs(1));
    let timeout = t.read("timeout", times).unwrap_or(interval);
    let fall = t.read("fall", |value| value.integer(1..=1000)).unwrap_or(1);
    let rise = t.read("rise", |value| value.integer(1..=1000)).unwrap_or(1);
    let weight = t.read("weight", vrrp::weight).unwrap_or(0);
    let user = t.read("user", Value::user);
    Some(TrackedScript {
        name: name?,
        command: command?,
        interval,
        timeout,
        fall,
        rise,
        weight,
        user,
    })
}
