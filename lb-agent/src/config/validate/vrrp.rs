//! Rules of VRRP instances.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::config::context::{Context, Problem};
use crate::config::model::{Checksum, Version, Vrrp};

/// Reports instances that others on the link could not tell apart.
pub(super) fn unique_router_ids(cx: &Context, instances: &[Vrrp]) {
    let mut seen = HashMap::new();
    for instance in instances {
        let id = instance.virtual_router_id;
        let slot = (instance.interface.as_str(), instance.is_ipv6(), id);
        if let Some(first) = seen.insert(slot, instance) {
            let family = if instance.is_ipv6() { "IPv6" } else { "IPv4" };
            let message = format!(
                "{id} is also that of {} on {} over {family}",
                first.name, first.interface
            );
            let place = cx.place(&key(first, "virtual_router_id"));
            let problem = Problem::new(message)
                .expected("another number: it tells instances of one link apart")
                .related(place, "first written here");
            cx.error_at(&key(instance, "virtual_router_id"), problem);
        }
    }
}

/// Reports every rule that an instance breaks.
pub(super) fn instance(cx: &Context, instance: &Vrrp) {
    let error = |name: &str, message: String, expected: &str| {
        let problem = Problem::new(message).expected(expected);
        cx.error_at(&key(instance, name), problem);
    };
    one_family(cx, instance);
    if instance.version == Version::V2 && instance.is_ipv6() {
        error("version", "version 2 knows no IPv6".to_owned(), "version 3");
    }
    if instance.version == Version::V3 && instance.auth.is_some() {
        let message = "version 3 has no authentication".to_owned();
        error("auth", message, "`version = 2`, or no `auth`");
    }
    if !instance.preempt && !instance.preempt_delay.is_zero() {
        let message = "without effect with `preempt = false`".to_owned();
        error("preempt_delay", message, "`preempt = true`, or no delay");
    }
    let v3_over_ipv4 = instance.version == Version::V3 && !instance.is_ipv6();
    if instance.checksum == Checksum::Rfc9568 && !v3_over_ipv4 {
        let message = "there is a choice with version 3 over IPv4 only".to_owned();
        error("checksum", message, "no `checksum` here");
    }
    let foreign = |address: &IpAddr| address.is_ipv6() != instance.is_ipv6();
    let family = if instance.is_ipv6() {
        "an IPv6 address"
    } else {
        "an IPv4 address"
    };
    if let Some(source) = instance.source_address.filter(foreign) {
        let message = format!("adverts of this instance cannot come from {source}");
        error("source_address", message, family);
    }
    for (index, peer) in instance.unicast_peers.iter().enumerate() {
        if foreign(peer) {
            let message = format!("adverts of this instance cannot go to {peer}");
            error(&format!("unicast_peers[{index}]"), message, family);
        }
    }
}

/// An advert holds addresses of one family.
fn one_family(cx: &Context, instance: &Vrrp) {
    for (index, address) in instance.addresses.iter().enumerate() {
        if address.net.addr().is_ipv6() != instance.is_ipv6() {
            let message = format!(
                "`{}` is of another family than the first",
                address.net.addr()
            );
            let problem = Problem::new(message).expected(
                "one family; `excluded_addresses` may be of the other, or write a second instance",
            );
            cx.error_at(&key(instance, &format!("addresses[{index}]")), problem);
        }
    }
}

fn key(instance: &Vrrp, key: &str) -> String {
    format!("vrrp.{}.{key}", instance.name)
}
