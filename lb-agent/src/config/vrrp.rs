//! `[[vrrp]]` and `[[sync_group]]`.

use std::net::IpAddr;
use std::time::Duration;

use super::context::{Kind, Problem};
use super::endpoint::parse_network;
use super::global::{LONGEST, peer};
use super::model::{
    Destination, Garp, Route, SyncGroup, Tracked, Version, VirtualAddress, Vrrp, VrrpNotify,
};
use super::names::quote;
use super::reader::Table;
use super::value::Value;

/// Reads one `[[vrrp]]`.
pub(super) fn instance(t: &Table<'_>) -> Option<Vrrp> {
    let name = t.required("name", "a name of its own", |value| {
        value.declared_name(Kind::Vrrp)
    });
    let interface = t.required("interface", "an interface", Value::interface);
    let id = t.required("virtual_router_id", "a number 1..255", |value| {
        value.integer(1..=u8::MAX)
    });
    let version = t.read("version", version).unwrap_or_default();
    let priority = t.read("priority", |value| value.integer(1..=u8::MAX));
    let interval = t.read("advert_interval", |value| advert_interval(value, version));
    let down_adverts = t.read("down_adverts", |value| value.integer(1..=100));
    let wanted = "a list of virtual addresses, \"ADDRESS/PREFIX\"";
    let addresses = t.required("addresses", wanted, |value| {
        value.some_list("virtual addresses", virtual_address)
    });
    let excluded = t.read("excluded_addresses", |value| value.list(virtual_address));
    let routes = t.read("routes", |value| value.list(route));
    let preempt = t.read("preempt", Value::boolean).unwrap_or(true);
    let preempt_delay = t.read("preempt_delay", any_duration).unwrap_or_default();
    let accept = t.read("accept", Value::boolean).unwrap_or(true);
    let virtual_mac = t.read("virtual_mac", Value::boolean).unwrap_or(false);
    let source_address = t.read("source_address", Value::address);
    let unicast_peers = t.read("unicast_peers", |value| value.list(peer));
    let auth = t.table("auth", |t| t.required("pass", "the password", password));
    let checksum = t.read("checksum", Value::choice).unwrap_or_default();
    let track_primary = t.read("track_primary", Value::boolean).unwrap_or(true);
    let (track_interfaces, track_scripts, track_services) = tracks(t);
    let garp = t.section("garp", garp);
    let fence = t.read("fence", Value::choice).unwrap_or_default();
    let notify = t.section("notify", notify);
    Some(Vrrp {
        name: name?,
        interface: interface?,
        virtual_router_id: id?,
        version,
        priority: priority.unwrap_or(100),
        advert_interval: interval.unwrap_or(Duration::from_secs(1)),
        down_adverts: down_adverts.unwrap_or(3),
        addresses: addresses.filter(|addresses| !addresses.is_empty())?,
        excluded_addresses: excluded.unwrap_or_default(),
        routes: routes.unwrap_or_default(),
        preempt,
        preempt_delay,
        accept,
        virtual_mac,
        source_address,
        unicast_peers: unicast_peers.unwrap_or_default(),
        auth: auth.flatten(),
        checksum,
        track_primary,
        track_interfaces,
        track_scripts,
        track_services,
        garp,
        fence,
        notify,
    })
}

/// Reads one `[[sync_group]]`.
pub(super) fn sync_group(t: &Table<'_>) -> Option<SyncGroup> {
    let name = t.required("name", "a name of its own", |value| {
        value.declared_name(Kind::SyncGroup)
    });
    let instances = t.required("instances", "a list of names of instances", |value| {
        value.some_list("names of instances", member)
    });
    let (track_interfaces, track_scripts, track_services) = tracks(t);
    let notify = t.section("notify", notify);
    Some(SyncGroup {
        name: name?,
        instances: instances?,
        track_interfaces,
        track_scripts,
        track_services,
        notify,
    })
}

/// An instance can move with one group only.
fn member(value: &Value<'_>) -> Option<String> {
    let name = value.reference(Kind::Vrrp)?;
    value.unique("sync_group.instances", &name, "is in a sync group already");
    Some(name)
}

fn any_duration(value: &Value<'_>) -> Option<Duration> {
    value.duration(Duration::ZERO..=LONGEST)
}

fn version(value: &Value<'_>) -> Option<Version> {
    match value.integer(2..=3u8)? {
        2 => Some(Version::V2),
        _ => Some(Version::V3),
    }
}

/// Version 2 sends whole seconds in 8 bits (RFC 3768 §5.3.7), version 3 centiseconds in 12 (RFC 5798 §5.2.7).
fn advert_interval(value: &Value<'_>, version: Version) -> Option<Duration> {
    let (shortest, longest, step, steps) = match version {
        Version::V2 => (1_000, 255_000, 1_000, "whole seconds with version 2"),
        Version::V3 => (10, 40_950, 10, "steps of 10ms with version 3"),
    };
    let range = Duration::from_millis(shortest)..=Duration::from_millis(longest);
    let interval = value.duration(range)?;
    if !interval.as_nanos().is_multiple_of(step * 1_000_000) {
        let interval = super::format_duration(interval);
        return value.fail(Problem::new(format!("{interval} cannot be sent")).expected(steps));
    }
    Some(interval)
}

fn virtual_address(value: &Value<'_>) -> Option<VirtualAddress> {
    let address = match value.is_table() {
        false => VirtualAddress {
            net: value.address_in_net()?,
            interface: None,
            label: None,
        },
        true => value.as_table()?.finish(|t| {
            let net = t.required("address", "\"ADDRESS/PREFIX\"", Value::address_in_net);
            let interface = t.read("interface", Value::interface);
            let label = t.read("label", label);
            Some(VirtualAddress {
                net: net?,
                interface,
                label,
            })
        })?,
    };
    let id = address.net.addr().to_string();
    value.unique("vrrp.addresses", &id, "is a virtual address already");
    Some(address)
}

/// `IFA_LABEL` holds IFNAMSIZ - 1 bytes.
fn label(value: &Value<'_>) -> Option<String> {
    let label = value.string()?;
    if label.len() > 15 || label.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let problem = Problem::new(format!("`{}` cannot be a label", quote(&label)));
        return value.fail(problem.expected("1..15 bytes without spaces, such as \"eth1:lb\""));
    }
    Some(label)
}

const ROUTE: &str = "\"NET [via ADDRESS] [dev INTERFACE] [src ADDRESS] [metric N] [table N]\"";

fn route(value: &Value<'_>) -> Option<Route> {
    let text = value.expect_text(ROUTE)?;
    match parse_route(text) {
        Ok(route) => Some(route),
        Err((message, guess)) => value.fail(Problem::new(message).expected(ROUTE).suggest(guess)),
    }
}

fn parse_route(text: &str) -> Result<Route, (String, Option<String>)> {
    let mut words = text.split_whitespace();
    let destination = match words.next() {
        None => return Err(("empty".to_owned(), None)),
        Some("default") => Destination::Default,
        Some(net) => Destination::Net(
            parse_network(net)
                .map_err(|guess| (format!("`{}` is no network", quote(net)), guess))?,
        ),
    };
    let mut route = Route {
        destination,
        via: None,
        interface: None,
        source: None,
        metric: None,
        table: None,
    };
    while let Some(word) = words.next() {
        let argument = words.next();
        let argument =
            argument.ok_or_else(|| (format!("nothing after `{}`", quote(word)), None))?;
        let wrong = || {
            (
                format!("`{}` after `{}`", quote(argument), quote(word)),
                None,
            )
        };
        let twice = match word {
            "via" => route
                .via
                .replace(argument.parse().map_err(|_| wrong())?)
                .is_some(),
            "dev" if argument.len() <= 15 => route.interface.replace(argument.to_owned()).is_some(),
            "src" => route
                .source
                .replace(argument.parse().map_err(|_| wrong())?)
                .is_some(),
            "metric" => route
                .metric
                .replace(argument.parse().map_err(|_| wrong())?)
                .is_some(),
            "table" => route
                .table
                .replace(argument.parse().map_err(|_| wrong())?)
                .is_some(),
            "dev" => return Err(wrong()),
            "gw" => return Err(("unknown word `gw`".to_owned(), Some("via".to_owned()))),
            _ => {
                let known = ["via", "dev", "src", "metric", "table"];
                let guess = super::names::nearest(word, &known);
                return Err((format!("unknown word `{}`", quote(word)), guess));
            }
        };
        if twice {
            return Err((format!("`{word}` is written twice"), None));
        }
    }
    if route.via.is_none() && route.interface.is_none() {
        return Err(("neither `via` nor `dev`".to_owned(), None));
    }
    let family = |address: &IpAddr| address.is_ipv6();
    let net = match destination {
        Destination::Net(net) => Some(family(&net.addr())),
        Destination::Default => None,
    };
    let families = [
        net,
        route.via.as_ref().map(family),
        route.source.as_ref().map(family),
    ];
    let mut families = families.into_iter().flatten();
    let first = families.next();
    if families.any(|other| Some(other) != first) {
        return Err(("IPv4 and IPv6 in one route".to_owned(), None));
    }
    Ok(route)
}

/// RFC 2338 §5.3.10: eight bytes of plain text.
fn password(value: &Value<'_>) -> Option<String> {
    let wanted = "1..8 bytes of text (more would not be sent)";
    let text = value.expect_text(wanted)?;
    if text.is_empty() || text.len() > 8 || text.contains('\0') {
        return value.fail(Problem::new(format!("{} bytes", text.len())).expected(wanted));
    }
    Some(text.to_owned())
}

/// A weight that changes a priority.
pub(super) fn weight(value: &Value<'_>) -> Option<i16> {
    value.integer(-253..=253)
}

fn tracks(t: &Table<'_>) -> (Vec<Tracked>, Vec<Tracked>, Vec<Tracked>) {
    let list = |key, read: fn(&Value<'_>) -> Option<String>| {
        t.read(key, |value| value.list(|one| tracked(one, read)))
            .unwrap_or_default()
    };
    (
        list("track_interfaces", |value| value.interface()),
        list("track_scripts", |value| value.reference(Kind::Script)),
        list("track_services", |value| value.reference(Kind::Service)),
    )
}

/// A name, or a table with name and weight.
fn tracked(value: &Value<'_>, name: fn(&Value<'_>) -> Option<String>) -> Option<Tracked> {
    let tracked = match value.is_table() {
        false => Tracked {
            name: name(value)?,
            weight: None,
        },
        true => value.as_table()?.finish(|t| {
            let name = t.required("name", "what is tracked", name);
            let weight = t.read("weight", weight);
            Some(Tracked {
                name: name?,
                weight,
            })
        })?,
    };
    value.unique_in_list(&tracked.name);
    Some(tracked)
}

fn garp(t: &Table<'_>) -> Garp {
    let repeat = t.read("repeat", |value| value.integer(1..=u8::MAX));
    let delay = t.read("delay", any_duration);
    Garp {
        repeat: repeat.unwrap_or(5),
        delay: delay.unwrap_or(Duration::from_secs(5)),
        refresh: t.read("refresh", any_duration).unwrap_or_default(),
        interval: t.read("interval", any_duration).unwrap_or_default(),
    }
}

fn notify(t: &Table<'_>) -> VrrpNotify {
    VrrpNotify {
        master: t.read("master", Value::command),
        backup: t.read("backup", Value::command),
        fault: t.read("fault", Value::command),
        stop: t.read("stop", Value::command),
        any: t.read("any", Value::command),
        fifo: t.read("fifo", Value::path_name),
        user: t.read("user", Value::user),
    }
}
