//! `[[service.real_server]]`.

use super::check;
use super::context::Problem;
use super::model::{Endpoint, RealServer, RealServerNotify};
use super::reader::Table;
use super::source::Span;
use super::value::Value;
use std::cell::RefCell;

/// The real servers of a service that have been read, with where they are written.
pub(super) type Seen = RefCell<Vec<(Endpoint, Span)>>;

/// Reads one `[[service.real_server]]`. `service_check` is what its own check overrides; `first_port` that of the service's
/// first address; `seen` what was read of the service before.
pub(super) fn real_server(
    t: &Table<'_>,
    service_check: &check::Given,
    first_port: Option<u16>,
    seen: &Seen,
) -> Option<RealServer> {
    let endpoint = t.required("address", "\"ADDRESS:PORT\" or \"ADDRESS\"", |value| {
        new_endpoint(value, seen)
    });
    let weight = t.read("weight", |value| value.integer(0..=u16::MAX));
    let on_failure = t.read("on_failure", Value::choice).unwrap_or_default();
    let own_check = t.section("check", check::table);
    let limit = |key| {
        t.read(key, |value| value.integer(0..=u32::MAX))
            .unwrap_or(0)
    };
    let max_connections = limit("max_connections");
    let min_connections = limit("min_connections");
    let notify = t.section("notify", notify);
    if min_connections > max_connections {
        let problem = Problem::new(format!("{min_connections} is above `max_connections`"))
            .expected(format!(
                "at most {max_connections}, the value of `max_connections`"
            ));
        t.cx().error_at(&t.key("min_connections"), problem);
    }
    let endpoint = endpoint?;
    let check = own_check.over(service_check).resolve(endpoint, first_port);
    if check.port == 0 && check.kinds.iter().any(|kind| kind.uses_port()) {
        let problem =
            Problem::new("required where neither the real server nor the service has a port")
                .expected("a port 1..65535 in this check, or in the service's");
        t.cx().error_at(&t.key("check.port"), problem);
    }
    Some(RealServer {
        address: endpoint.address,
        port: endpoint.port,
        weight: weight.unwrap_or(1),
        on_failure,
        check,
        max_connections,
        min_connections,
        notify,
    })
}

/// An endpoint that the service does not have yet. Two that are written alike have the same key: here is where their
/// places are told apart.
fn new_endpoint(value: &Value<'_>, seen: &Seen) -> Option<Endpoint> {
    let endpoint = value.endpoint()?;
    let same = |(other, _): &&(Endpoint, Span)| *other == endpoint;
    let first = seen.borrow().iter().find(same).map(|(_, span)| *span);
    if let Some(first) = first {
        let problem = Problem::new(format!(
            "`{endpoint}` is a real server of this service twice"
        ));
        return value.fail(problem.related(first, "first written here"));
    }
    seen.borrow_mut().push((endpoint, value.span()));
    Some(endpoint)
}

fn notify(t: &Table<'_>) -> RealServerNotify {
    RealServerNotify {
        up: t.read("up", Value::command),
        down: t.read("down", Value::command),
        user: t.read("user", Value::user),
    }
}
