//! The documented example holds, says what it seems to say, and each of its keys is known.

use super::*;

/// The documented example.
pub(super) const EXAMPLE: &str = include_str!("../../../../docs/lb.toml");

#[test]
fn documented_example_holds_as_a_whole() {
    let config = config(EXAMPLE);
    assert_eq!(config.router_id, "edge-1");
    assert_eq!(config.interfaces, ["eth0", "eth1"]);
    assert_eq!(config.control.http, "127.0.0.1:9921".parse().ok());
    let mail = config.mail.expect("mail is written");
    assert_eq!((mail.host.as_str(), mail.port), ("127.0.0.1", 587));
    assert!(mail.auth.is_some());
    assert_eq!(config.sync.expect("sync is written").port, 9922);
    assert_eq!(config.tracked_scripts.len(), 1);
    assert_eq!(config.sync_groups[0].instances, ["VI_1"]);
    let names: Vec<&str> = config.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["web", "api", "dns"]);
}

#[test]
fn documented_instance_is_read_key_by_key() {
    let config = config(EXAMPLE);
    let instance = &config.vrrp[0];
    assert_eq!(instance.virtual_router_id, 51);
    assert_eq!(instance.version, Version::V2);
    let labelled = &instance.addresses[1];
    assert_eq!(labelled.net.to_string(), "192.0.2.11/24");
    assert_eq!(labelled.label.as_deref(), Some("eth1:lb"));
    assert_eq!(instance.routes[0].destination, Destination::Default);
    assert_eq!(instance.routes[0].metric, Some(50));
    assert_eq!(instance.auth.as_deref(), Some("1111"));
    assert_eq!(instance.track_services[0].name, "web");
    assert_eq!(instance.garp.repeat, 5);
    assert!(instance.notify.fifo.is_some());
    assert!(instance.owns("2001:db8::10".parse().expect("address")));
}

#[test]
fn documented_services_are_read_key_by_key() {
    let config = config(EXAMPLE);
    let [web, api, dns] = config.services.as_slice() else {
        panic!("three services");
    };
    assert_eq!(web.listen.addresses().len(), 2);
    assert_eq!(web.table_size, 65_537);
    assert_eq!(web.persistence.expect("on").timeout.as_secs(), 300);
    assert_eq!(web.real_servers[0].check.kinds, [CheckKind::Tcp]);
    assert_eq!(web.real_servers[0].check.interval.as_secs(), 10);
    assert_eq!(api.source, NatSource::Masquerade);
    assert_eq!(api.scheduler, Scheduler::Wlc);
    assert_eq!(api.real_servers[0].max_connections, 1000);
    assert_eq!(dns.protocol, Protocol::Udp);
    assert_eq!(
        dns.tun_source.map(|net| net.to_string()).as_deref(),
        Some("192.0.2.3/32")
    );
}

#[test]
fn real_servers_check_overrides_key_by_key_and_replaces_kinds() {
    let config = config(EXAMPLE);
    let check = &config.services[0].real_servers[1].check;
    let [CheckKind::Http(requests)] = check.kinds.as_slice() else {
        panic!("http alone, not {:?}", check.kinds);
    };
    assert_eq!(requests[0].status.len(), 2);
    assert_eq!(check.interval.as_secs(), 2);
    assert_eq!(check.timeout.as_secs(), 5, "the service's");
    assert_eq!(
        check.source_address,
        "10.0.0.3".parse().ok(),
        "the service's"
    );
}

#[test]
fn documented_defaults_are_those_of_absent_keys() {
    let whole = config(EXAMPLE);
    let mut seen = 0;
    for (number, line) in EXAMPLE.lines().enumerate() {
        if !line.contains("# =D") || !line.contains(" = ") {
            continue;
        }
        seen += 1;
        let rest: Vec<&str> = EXAMPLE
            .lines()
            .enumerate()
            .map(|(n, line)| if n == number { "" } else { line })
            .collect();
        assert_eq!(config(&rest.join("\n")), whole, "without: {line}");
    }
    assert!(seen >= 49, "{seen} defaults are documented");
}

/// Where each key of the example is written, as byte ranges: names in front of ` =`, outside of strings and comments.
pub(super) fn keys(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let mut in_string = false;
        let mut start = None;
        for (index, c) in line.char_indices() {
            match c {
                '"' => in_string = !in_string,
                _ if in_string => {}
                '#' => break,
                '=' => {
                    let end = line[..index].trim_end().len();
                    found.extend(start.take().map(|start| offset + start..offset + end));
                }
                'a'..='z' | '0'..='9' | '_' if start.is_none() => start = Some(index),
                'a'..='z' | '0'..='9' | '_' | ' ' => {}
                _ => start = None,
            }
        }
        offset += line.len();
    }
    found
}

fn misspelt(key: &str) -> String {
    let middle = key.len().div_ceil(2);
    format!("{}x{}", &key[..middle], &key[middle..])
}

#[test]
fn every_misspelt_key_is_found_and_answered_with_the_right_one() {
    let keys = keys(EXAMPLE);
    assert!(keys.len() > 120, "{} keys", keys.len());
    for range in keys {
        let key = &EXAMPLE[range.clone()];
        let typo = misspelt(key);
        let text = format!("{}{typo}{}", &EXAMPLE[..range.start], &EXAMPLE[range.end..]);
        let errors = errors(&text);
        let about: Vec<&Diagnostic> = errors
            .iter()
            .filter(|error| error.key.rsplit('.').next() == Some(&typo))
            .collect();
        let [error] = about.as_slice() else {
            panic!("{typo}: {errors:#?}");
        };
        let missing = errors
            .iter()
            .find(|error| error.message.contains("not written"));
        assert_eq!(missing, None, "{typo}");
        assert_eq!(error.suggestion.as_deref(), Some(key), "{error}");
        let line = EXAMPLE[..range.start].matches('\n').count() + 1;
        assert_eq!(error.line(), line, "{error}");
    }
}

#[test]
fn every_misspelt_table_is_found_and_answered_with_the_right_one() {
    let tables = [
        "control",
        "log",
        "scripts",
        "process",
        "mail",
        "sync",
        "script",
        "vrrp",
        "sync_group",
        "service",
        "ipvs",
    ];
    for table in tables {
        let errors = errors(&format!("[{}]", misspelt(table)));
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert_eq!(errors[0].suggestion.as_deref(), Some(table));
    }
    for (parent, table) in [
        ("service", "check"),
        ("service", "notify"),
        ("service", "real_server"),
        ("vrrp", "notify"),
    ] {
        let typo = misspelt(table);
        let errors = errors(&format!("[[{parent}]]\n[{parent}.{typo}]"));
        let found = errors.iter().find(|error| error.key.ends_with(&typo));
        let found = found.unwrap_or_else(|| panic!("{typo}: {errors:#?}"));
        assert_eq!(found.suggestion.as_deref(), Some(table));
    }
}
