//! `[[service]]`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::check;
use super::context::{Kind, Problem};
use super::global::LONGEST;
use super::model::{Datapath, IdleTimeout, Listen, Persistence, Protocol, Service, ServiceNotify};
use super::reader::Table;
use super::real_server;
use super::value::Value;

/// The default of `transition`, `drain_timeout` and `idle_timeout.tcp`.
const QUARTER_HOUR: Duration = Duration::from_secs(15 * 60);

const LISTEN: &str = "a list of virtual addresses \"ADDRESS:PORT\", or `fwmark`";

/// Reads one `[[service]]`. `datapath` is the global choice.
pub(super) fn service(t: &Table<'_>, datapath: Datapath) -> Option<Service> {
    let name = t.required("name", "a name of its own", |value| {
        value.declared_name(Kind::Service)
    });
    let protocol = t.read("protocol", Value::choice).unwrap_or_default();
    let listen = listen(t, protocol);
    let vrrp = t.read("vrrp", |value| value.reference(Kind::Vrrp));
    let mode = t.required("mode", "one of dr, nat, tun, local", Value::choice);
    let datapath = t.read("datapath", Value::choice).unwrap_or(datapath);
    let scheduler = t.read("scheduler", Value::choice).unwrap_or_default();
    let table_size = t.read("table_size", table_size).unwrap_or(65_537);
    let transition = any(t, "transition").unwrap_or(QUARTER_HOUR);
    let udp_learn = any(t, "udp_learn").unwrap_or(Duration::from_secs(10));
    let dead_hold = any(t, "dead_hold").unwrap_or(Duration::from_secs(5));
    let persistence = t.table("persistence", persistence);
    let one_packet = t.read("one_packet", Value::boolean).unwrap_or(false);
    let sloppy_tcp = t.read("sloppy_tcp", Value::boolean).unwrap_or(false);
    let quorum = t.read("quorum", |value| value.integer(1..=u32::MAX));
    let hysteresis = t.read("hysteresis", |value| value.integer(0..=u32::MAX));
    let sorry_server = t.read("sorry_server", Value::endpoint);
    let slow_start = any(t, "slow_start").unwrap_or_default();
    let drain_timeout = any(t, "drain_timeout").unwrap_or(QUARTER_HOUR);
    let idle_timeout = t.section("idle_timeout", idle_timeout);
    let start_down = t.read("start_down", Value::boolean).unwrap_or(false);
    let suspend = t.read("suspend_checks_in_backup", Value::boolean);
    let source = t.read("source", Value::choice).unwrap_or_default();
    let nat_direct = t.read("nat_direct", |value| value.list(Value::network));
    let tun_source = t.read("tun_source", Value::network);
    let check = t.section("check", check::table);
    let notify = t.section("notify", notify);
    let first_port = match &listen {
        Some(Listen::Addresses(addresses)) => addresses.first().map(SocketAddr::port),
        Some(Listen::Fwmark(_)) | None => None,
    };
    let seen = real_server::Seen::default();
    let real_servers = t.tables("real_server", "address", |t| {
        real_server::real_server(t, &check, first_port, &seen)
    });
    Some(Service {
        name: name?,
        listen: listen?,
        protocol,
        vrrp,
        mode: mode?,
        datapath,
        scheduler,
        table_size,
        transition,
        udp_learn,
        dead_hold,
        persistence,
        one_packet,
        sloppy_tcp,
        quorum: quorum.unwrap_or(1),
        hysteresis: hysteresis.unwrap_or(0),
        sorry_server,
        slow_start,
        drain_timeout,
        idle_timeout,
        start_down,
        suspend_checks_in_backup: suspend.unwrap_or(false),
        source,
        nat_direct: nat_direct.unwrap_or_default(),
        tun_source,
        notify,
        real_servers,
    })
}

/// Reads the timeouts of flows, for a service or for IPVS as a whole.
pub(super) fn idle_timeout(t: &Table<'_>) -> IdleTimeout {
    let of = |key, default| {
        let range = Duration::from_secs(1)..=LONGEST;
        t.read(key, |value| value.duration(range))
            .unwrap_or(default)
    };
    IdleTimeout {
        tcp: of("tcp", QUARTER_HOUR),
        tcp_fin: of("tcp_fin", Duration::from_secs(2 * 60)),
        udp: of("udp", Duration::from_secs(5 * 60)),
    }
}

fn any(t: &Table<'_>, key: &'static str) -> Option<Duration> {
    t.read(key, |value| value.duration(Duration::ZERO..=LONGEST))
}

fn listen(t: &Table<'_>, protocol: Protocol) -> Option<Listen> {
    let fwmark = t.get("fwmark");
    let addresses = match fwmark {
        Some(_) => t.get("listen"),
        None => t.required_value("listen", LISTEN),
    };
    match (addresses, fwmark) {
        (None, None) => None,
        (Some(addresses), None) => {
            let wanted = "virtual addresses \"ADDRESS:PORT\"";
            let list = addresses.some_list(wanted, |value| virtual_socket(value, protocol))?;
            (!list.is_empty()).then_some(Listen::Addresses(list))
        }
        (None, Some(value)) => {
            let mark = value.integer(1..=u32::MAX)?;
            value.unique(
                "fwmark",
                &mark.to_string(),
                "is the firewall mark of another service",
            );
            Some(Listen::Fwmark(mark))
        }
        (Some(addresses), Some(mark)) => {
            let problem = Problem::new("written besides `listen`").expected("one of the two");
            mark.fail(problem.related(addresses.span(), "`listen` is written here"))
        }
    }
}

fn virtual_socket(value: &Value<'_>, protocol: Protocol) -> Option<SocketAddr> {
    let socket = value.socket(Some("every port"))?;
    value.host(socket.ip())?;
    if socket.ip().is_loopback() {
        let problem = Problem::new(format!("`{}` is a loopback address", socket.ip()));
        return value.fail(problem.expected("an address that packets of other hosts arrive for"));
    }
    let what = format!("is listened on with {protocol} already");
    value.unique(&format!("listen {protocol}"), &socket.to_string(), &what);
    Some(socket)
}

/// Sizes of Maglev tables that are accepted.
pub(super) const TABLE_SIZES: RangeInclusive<u32> = 251..=131_071;

fn table_size(value: &Value<'_>) -> Option<u32> {
    let size: u32 = value.integer(TABLE_SIZES)?;
    if is_prime(size) {
        return Some(size);
    }
    let above = (size..=*TABLE_SIZES.end()).find(|size| is_prime(*size));
    let problem = Problem::new(format!("{size} is no prime")).expected("a prime 251..131071");
    value.fail(problem.suggest(above.map(|size| size.to_string())))
}

fn is_prime(number: u32) -> bool {
    let divides = |divisor: &u32| number.is_multiple_of(*divisor);
    number > 1 && !(2..).take_while(|d| d * d <= number).any(|d| divides(&d))
}

/// As long as IPVS lets a client stay: 31 days.
const LONGEST_PERSISTENCE: Duration = Duration::from_secs(31 * 24 * 3600);

fn persistence(t: &Table<'_>) -> Persistence {
    let range = Duration::from_secs(1)..=LONGEST_PERSISTENCE;
    let timeout = t.read("timeout", |value| value.duration(range));
    let v4 = t.read("prefix_v4", |value| value.integer(1..=32));
    let v6 = t.read("prefix_v6", |value| value.integer(1..=128));
    Persistence {
        timeout: timeout.unwrap_or(Duration::from_secs(300)),
        prefix_v4: v4.unwrap_or(32),
        prefix_v6: v6.unwrap_or(128),
    }
}

fn notify(t: &Table<'_>) -> ServiceNotify {
    ServiceNotify {
        up: t.read("up", Value::command),
        down: t.read("down", Value::command),
        real_server_up: t.read("real_server_up", Value::command),
        real_server_down: t.read("real_server_down", Value::command),
        user: t.read("user", Value::user),
    }
}
