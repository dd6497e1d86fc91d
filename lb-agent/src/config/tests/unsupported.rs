//! What is not built yet is refused where it is written; everything else is not.

use super::example::EXAMPLE;
use super::*;

const BUILT: &str = r#"
router_id = "edge-1"
datapath = "xdp"
interfaces = ["eth0"]
[control]
socket = "/run/lb/test.sock"
[log]
level = "debug"
format = "json"
[[service]]
name = "web"
listen = ["192.0.2.10:80", "[2001:db8::10]:80"]
mode = "dr"
datapath = "xdp_native"
table_size = 251
check = { tcp = {}, interval = "1s", timeout = "2s", fall = 3, rise = 2, retry_interval = "500ms", port = 81, source_address = "10.0.0.3" }
[[service.real_server]]
address = "10.0.0.1:80"
weight = 65535
check.address = "10.0.1.1"
[[service]]
name = "dns"
listen = ["192.0.2.10:0"]
protocol = "udp"
mode = "dr"
[[service.real_server]]
address = "10.0.0.1"
[[service]]
name = "tunnelled"
listen = ["192.0.2.11:0"]
mode = "tun"
tun_source = "10.9.0.0/16"
[[service.real_server]]
address = "10.0.0.1"
[[service]]
name = "translated"
listen = ["192.0.2.12:80"]
mode = "nat"
[[service.real_server]]
address = "10.0.0.1:8080"
"#;

fn loaded(text: &str) -> Result<Loaded, Report> {
    load(&Folder::new().write("lb.toml", text))
}

#[test]
fn what_is_built_is_accepted() {
    let loaded = loaded(BUILT).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.config, config(BUILT));
}

#[test]
fn every_documented_default_is_accepted() {
    let (mut number, mut service) = (0, false);
    for line in EXAMPLE.lines() {
        service = match line.starts_with("[[") {
            true => line.starts_with("[[service]]"),
            false => service && !line.starts_with('['),
        };
        if service && line.contains("# =D") {
            number += 1;
            let text = BUILT
                .replace("table_size = 251", "")
                .replace("datapath = \"xdp_native\"", "");
            let text = text.replacen("mode = \"dr\"\n", &format!("mode = \"dr\"\n{line}\n"), 1);
            if let Err(report) = loaded(&text) {
                panic!("{report}");
            }
        }
    }
    assert!(number >= 14, "{number} defaults of a service");
}

/// The text has one fault, at the line of `written`.
fn refused(text: &str, written: &str, what: &str) {
    let report = match loaded(text) {
        Ok(_) => panic!("accepted: {written}"),
        Err(report) => report,
    };
    let [error] = report.errors.as_slice() else {
        panic!("one error for {written}, not:\n{report}");
    };
    assert!(error.message.starts_with("not supported yet: "), "{error}");
    assert!(error.message.contains(what), "{error}");
    let line = text
        .lines()
        .position(|line| line == written)
        .expect("written")
        + 1;
    assert_eq!(error.line(), line, "{error}");
    config(text);
}

#[test]
fn each_key_of_a_service_that_is_not_built_is_refused_at_its_place() {
    for (key, what) in [
        ("protocol = \"sctp\"", "SCTP"),
        ("scheduler = \"rr\"", "scheduler"),
        ("datapath = \"ipvs\"", "IPVS"),
        ("transition = \"20m\"", "windows"),
        ("udp_learn = \"1s\"", "windows"),
        ("dead_hold = \"0s\"", "holding"),
        ("persistence = {}", "persistence"),
        ("quorum = 2", "quorum"),
        ("sorry_server = \"10.0.0.9:80\"", "sorry server"),
        ("slow_start = \"1m\"", "slow start"),
        ("drain_timeout = \"1m\"", "draining"),
        ("idle_timeout.udp = \"1m\"", "timeouts"),
        ("idle_timeout.tcp = \"1m\"", "timeouts"),
        ("idle_timeout.tcp_fin = \"1m\"", "timeouts"),
        ("start_down = true", "starting"),
        ("suspend_checks_in_backup = true", "suspending"),
        ("notify.up = [\"/bin/true\"]", "notification"),
        ("notify.real_server_down = [\"/bin/true\"]", "notification"),
    ] {
        let text = BUILT
            .replace("datapath = \"xdp_native\"\n", "")
            .replace("\"xdp\"", "\"auto\"");
        let text = text.replacen("mode = \"dr\"\n", &format!("mode = \"dr\"\n{key}\n"), 1);
        refused(&text, key, what);
    }
    let local = BUILT.replacen("mode = \"dr\"", "mode = \"local\"", 1);
    refused(&local, "mode = \"local\"", "local");
    for (key, what) in [
        ("source = \"masquerade\"", "masquerading"),
        ("nat_direct = [\"10.0.0.0/8\"]", "leaves alone"),
    ] {
        let written = format!("mode = \"nat\"\n{key}\n");
        refused(&BUILT.replacen("mode = \"nat\"\n", &written, 1), key, what);
    }
    let every_port = "listen = [\"192.0.2.12:0\"]";
    let text = BUILT.replacen("listen = [\"192.0.2.12:80\"]", every_port, 1);
    refused(&text, every_port, "every port");
    // Who would a reply of 10.0.0.1:8080 be from?
    let twice = "address = \"10.0.0.1:8080\" # again";
    let text = format!(
        "{BUILT}[[service]]\nname = \"other\"\nlisten = [\"192.0.2.13:80\"]\nmode = \"nat\"\n\
         [[service.real_server]]\n{twice}\n"
    );
    refused(&text, twice, "192.0.2.12:80 and 192.0.2.13:80");
    let udp = BUILT.replace(
        "protocol = \"udp\"\n",
        "protocol = \"udp\"\none_packet = true\n",
    );
    refused(&udp, "one_packet = true", "each packet");
}

#[test]
fn each_key_of_a_real_server_that_is_not_built_is_refused_at_its_place() {
    for (key, what) in [
        ("on_failure = \"drain\"", "draining"),
        ("notify.up = [\"/bin/true\"]", "notification"),
        ("check.via = \"vip\"", "virtual address"),
        ("check.http = [{}]", "http"),
        ("check.https = [{}]", "https"),
        ("check.smtp = {}", "smtp"),
        ("check.ping = {}", "ping"),
        ("check.dns = {}", "dns"),
        ("check.udp = {}", "udp"),
        ("check.misc = { command = [\"/bin/true\"] }", "misc"),
    ] {
        let text = BUILT.replace("weight = 65535\n", &format!("weight = 65535\n{key}\n"));
        refused(&text, key, what);
    }
}

#[test]
fn each_table_that_is_not_built_is_refused_at_its_place() {
    for (table, written, what) in [
        (
            "[mail]\nsmtp = \"h:25\"\nfrom = \"a@b\"\nto = [\"a@b\"]",
            "[mail]",
            "mail",
        ),
        (
            "[sync]\npeers = [\"192.0.2.9\"]\nkey_file = \"/k\"",
            "[sync]",
            "flows",
        ),
        ("[scripts]\nuser = \"lb\"", "user = \"lb\"", "commands"),
        (
            "[scripts]\nallow_insecure = true",
            "allow_insecure = true",
            "commands",
        ),
        (
            "[[script]]\nname = \"a\"\ncommand = [\"/a\"]",
            "[[script]]",
            "tracked scripts",
        ),
        (
            "[[vrrp]]\nname = \"a\"\ninterface = \"e\"\nvirtual_router_id = 1\naddresses = [\"192.0.2.1\"]",
            "[[vrrp]]",
            "VRRP",
        ),
        ("[ipvs]\ntimeouts = {}", "timeouts = {}", "IPVS"),
        (
            "[ipvs]\nsync_daemon = { interface = \"eth1\", id = 1 }",
            "sync_daemon = { interface = \"eth1\", id = 1 }",
            "IPVS",
        ),
    ] {
        refused(&format!("{BUILT}\n{table}\n"), written, what);
    }
    let http = BUILT.replace("[control]\n", "[control]\nhttp = \"127.0.0.1:9921\"\n");
    refused(&http, "http = \"127.0.0.1:9921\"", "HTTP");
    refused(
        &BUILT.replace("\"xdp\"", "\"ipvs\""),
        "datapath = \"ipvs\"",
        "IPVS",
    );
}

#[test]
fn faults_and_what_is_not_built_are_reported_together() {
    let text = BUILT.replace("level = \"debug\"", "level = \"debag\"");
    let text = text.replacen("mode = \"dr\"", "mode = \"dr\"\nquorum = 3", 1);
    let report = loaded(&text).expect_err("faulty");
    assert_eq!(report.errors.len(), 2, "{report}");
}

#[test]
fn the_documented_example_is_refused_by_name_only() {
    let report = loaded(EXAMPLE).expect_err("not all of it is built");
    assert!(report.errors.len() > 20, "{report}");
    for error in &report.errors {
        assert!(error.message.starts_with("not supported yet: "), "{error}");
    }
}
