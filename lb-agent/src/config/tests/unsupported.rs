//! What is not built yet is refused where it is written; everything else is not.

use super::example::EXAMPLE;
use super::*;

const BUILT: &str = r#"
router_id = "edge-1"
datapath = "xdp"
interfaces = ["eth0"]
[control]
socket = "/run/lb/test.sock"
[scripts]
user = "lb"
allow_insecure = true
[log]
level = "debug"
format = "json"
[[service]]
name = "web"
listen = ["192.0.2.10:80", "[2001:db8::10]:80"]
mode = "dr"
datapath = "xdp_native"
table_size = 251
quorum = 2
hysteresis = 1
sorry_server = "10.0.0.9:80"
slow_start = "1m"
start_down = true
notify = { up = ["/bin/true"], down = ["/bin/true"], real_server_up = ["/bin/true"], real_server_down = ["/bin/true"], user = "nobody" }
check = { tcp = {}, http = [{}], https = [{}], smtp = {}, ping = {}, dns = {}, udp = {}, misc = { command = ["/bin/true"] }, interval = "1s", timeout = "2s", fall = 3, rise = 2, retry_interval = "500ms", port = 81, source_address = "10.0.0.3" }
[[service.real_server]]
address = "10.0.0.1:80"
weight = 65535
notify = { up = ["/bin/true"], down = ["/bin/true"], user = "nobody" }
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
            // In place of what is written already, and of what must fit it.
            let key = line.split('=').next().unwrap_or_default();
            let others = BUILT.lines().filter(|other| {
                !other.starts_with(key) && (key.trim() != "quorum" || !other.starts_with("hyst"))
            });
            let text: String = others.map(|other| format!("{other}\n")).collect();
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
        ("persistence = {}", "persistence"),
    ] {
        let text = BUILT
            .replace("datapath = \"xdp_native\"\n", "")
            .replace("\"xdp\"", "\"auto\"");
        let text = text.replacen("mode = \"dr\"\n", &format!("mode = \"dr\"\n{key}\n"), 1);
        refused(&text, key, what);
    }
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
fn each_table_that_is_not_built_is_refused_at_its_place() {
    for (table, written, what) in [
        (
            "[sync]\npeers = [\"192.0.2.9\"]\nkey_file = \"/k\"",
            "[sync]",
            "flows",
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

/// An instance and a group with every key that is built.
const BUILT_VRRP: &str = r#"
[[script]]
name = "check"
command = ["/c"]
interval = "2s"
timeout = "3s"
fall = 2
rise = 3
weight = -10
user = "nobody"
[[script]]
name = "other"
command = ["/o", "x"]
[[vrrp]]
name = "VI_1"
interface = "eth0"
virtual_router_id = 51
version = 2
priority = 150
advert_interval = "2s"
down_adverts = 5
addresses = ["192.0.2.10/24", { address = "192.0.2.11/24", interface = "eth1", label = "eth1:lb" }]
excluded_addresses = ["2001:db8::10/64"]
routes = ["default via 192.0.2.1 metric 50", "198.51.100.0/24 dev eth1 src 192.0.2.10 table 100"]
preempt_delay = "10s"
virtual_mac = true
source_address = "192.0.2.3"
unicast_peers = ["192.0.2.4"]
auth = { pass = "1111" }
track_primary = false
track_interfaces = [{ name = "eth1", weight = -20 }, "eth2"]
track_scripts = ["check", { name = "other", weight = 10 }]
notify = { master = ["/m"], backup = ["/b"], fault = ["/f"], stop = ["/s"], any = ["/a", "x"], fifo = "/run/lb/pipe" }
garp = { repeat = 3, delay = "1s", refresh = "1m", interval = "10ms" }
fence = "strict"
[[sync_group]]
name = "VG_1"
instances = ["VI_1"]
track_interfaces = ["eth3"]
track_scripts = ["check"]
notify = { any = ["/a"] }
"#;

#[test]
fn what_is_built_of_vrrp_is_accepted() {
    let text = format!("{BUILT}{BUILT_VRRP}");
    let text = text.replacen("mode = \"dr\"\n", "mode = \"dr\"\nvrrp = \"VI_1\"\n", 1);
    if let Err(report) = loaded(&text) {
        panic!("{report}");
    }
    if let Err(report) = loaded(BUILT_VRRP) {
        panic!("without a service: {report}");
    }
}

#[test]
fn each_key_of_vrrp_that_is_not_built_is_refused_at_its_place() {
    let mail = "[mail]\nsmtp = \"h:25\"\nfrom = \"a@b\"\nto = [\"a@b\"]\n";
    let text = BUILT_VRRP.replacen("[[vrrp]]", &format!("{mail}[[vrrp]]"), 1);
    refused(&text, "[mail]", "mail about VRRP");
    let text = BUILT_VRRP.replace("name = \"VI_1\"\n", "name = \"VI_1\"\naccept = false\n");
    refused(
        &format!("{BUILT}{text}"),
        "accept = false",
        "accepts nothing",
    );
}

#[test]
fn faults_and_what_is_not_built_are_reported_together() {
    let text = BUILT.replace("level = \"debug\"", "level = \"debag\"");
    let text = text.replacen("mode = \"dr\"", "mode = \"dr\"\npersistence = {}", 1);
    let report = loaded(&text).expect_err("faulty");
    assert_eq!(report.errors.len(), 2, "{report}");
}

#[test]
fn the_documented_example_is_refused_by_name_only() {
    let report = loaded(EXAMPLE).expect_err("not all of it is built");
    assert!(!report.errors.is_empty(), "{report}");
    for error in &report.errors {
        assert!(error.message.starts_with("not supported yet: "), "{error}");
    }
}

#[test]
fn what_the_readme_shows_works() {
    let readme = include_str!("../../../../README.md");
    let shown: Vec<&str> = readme
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(shown.len() > 1, "examples in the README");
    let folder = Folder::new();
    // By itself, and all in one file.
    for text in [shown[0], &shown.concat()] {
        if let Err(report) = load(&folder.write("readme.toml", text)) {
            panic!("refused:\n{report}\n--- of:\n{text}");
        }
    }
}
