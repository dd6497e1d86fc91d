//! Each rule has a configuration that breaks it, and an answer.

mod together;
mod values;

use super::*;

/// A service that holds; `KEYS` stands for further keys of it, `SERVER` for those of its real server.
const SERVICE: &str = "[[service]]\nname = \"web\"\nlisten = [\"192.0.2.10:80\"]\nmode = \"dr\"\nKEYS\n[[service.real_server]]\naddress = \"10.0.0.1\"\nSERVER\n";

/// An instance that holds; `KEYS` stands for further keys of it.
const VRRP: &str = "[[vrrp]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvirtual_router_id = 51\naddresses = [\"192.0.2.10/24\"]\nKEYS\n";

fn service(keys: &str) -> String {
    SERVICE.replace("KEYS", keys).replace("SERVER", "")
}

fn real_server(keys: &str) -> String {
    SERVICE.replace("KEYS", "").replace("SERVER", keys)
}

fn vrrp(keys: &str) -> String {
    VRRP.replace("KEYS", keys)
}

/// The text has this one fault: a key that ends so, and a message that has this in it.
fn refused(text: &str, key: &str, part: &str) {
    let errors = errors(text);
    let [error] = errors.as_slice() else {
        panic!("one error with `{part}` for:\n{text}\nnot: {errors:#?}");
    };
    assert!(error.key.ends_with(key), "{error}");
    assert!(error.to_string().contains(part), "`{part}` in: {error}");
    assert!(error.line() > 0, "{error}");
}

fn all_refused(cases: &[(String, &str, &str)]) {
    for (text, key, part) in cases {
        refused(text, key, part);
    }
}

#[test]
fn the_texts_to_be_broken_hold() {
    config(&service(""));
    config(&vrrp(""));
}

#[test]
fn required_keys_are_missed() {
    let without = |text: &str, key: &str| -> String {
        text.lines()
            .filter(|line| !line.starts_with(key))
            .map(|line| format!("{line}\n"))
            .collect()
    };
    for key in ["name", "listen", "mode", "address"] {
        refused(
            &without(&service(""), key),
            key,
            "required, but not written",
        );
    }
    for key in ["name", "interface", "virtual_router_id", "addresses"] {
        refused(&without(&vrrp(""), key), key, "required, but not written");
    }
    all_refused(&[
        ("[[script]]\nname = \"a\"".into(), "command", "required"),
        (
            "[[sync_group]]\nname = \"a\"".into(),
            "instances",
            "required",
        ),
        (
            "[sync]\npeers = [\"192.0.2.1\"]".into(),
            "key_file",
            "required",
        ),
        (
            "[mail]\nfrom = \"a@b\"\nto = [\"a@b\"]".into(),
            "smtp",
            "required",
        ),
        (service("check.misc = {}"), "misc.command", "required"),
    ]);
}

#[test]
fn names_that_refer_to_nothing_are_refused() {
    all_refused(&[
        (
            format!("{}{}", vrrp(""), service("vrrp = \"VI_2\"")),
            "vrrp",
            "did you mean `\"VI_1\"`",
        ),
        (service("vrrp = \"VI_1\""), "vrrp", "there is none"),
        (
            vrrp("track_scripts = [\"a\"]"),
            "track_scripts[0]",
            "no [[script]] is named `a`",
        ),
        (
            vrrp("track_services = [{ name = \"web\" }]"),
            "name",
            "no [[service]] is named `web`",
        ),
        (
            "[[sync_group]]\nname = \"g\"\ninstances = [\"x\"]".into(),
            "instances[0]",
            "no [[vrrp]] is named `x`",
        ),
    ]);
}

#[test]
fn what_exists_twice_is_refused_and_shows_both_places() {
    let second = service("").replace("web", "api");
    let group = "[[sync_group]]\nname = \"NAME\"\ninstances = [\"VI_1\"]\n";
    let cases = [
        (
            format!("{}{}", service(""), service("").replace(":80", ":81")),
            "name",
        ),
        (format!("{}{second}", service("")), "listen[0]"),
        (
            service("").replace("\"192.0.2.10:80\"", "\"192.0.2.10:80\", \"192.0.2.10:80\""),
            "listen[1]",
        ),
        (
            real_server("[[service.real_server]]\naddress = \"10.0.0.1\""),
            "address",
        ),
        (
            real_server("[[service.real_server]]\naddress = \"10.0.0.1:80\""),
            "address",
        ),
        (
            format!(
                "{}{}",
                vrrp(""),
                vrrp("").replace("VI_1", "VI_2").replace(".10/", ".11/")
            ),
            "virtual_router_id",
        ),
        (
            format!(
                "{}{}",
                vrrp(""),
                vrrp("").replace("VI_1", "VI_2").replace("51", "52")
            ),
            "addresses[0]",
        ),
        (
            vrrp("excluded_addresses = [\"192.0.2.10\"]"),
            "excluded_addresses[0]",
        ),
        (
            vrrp("unicast_peers = [\"192.0.2.2\", \"192.0.2.2\"]"),
            "unicast_peers[1]",
        ),
        (
            format!(
                "{}{}{}",
                vrrp(""),
                group.replace("NAME", "a"),
                group.replace("NAME", "b")
            ),
            "instances[0]",
        ),
        ("interfaces = [\"eth0\", \"eth0\"]".into(), "interfaces[1]"),
    ];
    for (text, key) in cases {
        refused(&text, key, "note: first written here");
        let errors = errors(&text);
        let [note] = errors[0].notes.as_slice() else {
            panic!("one note: {}", errors[0]);
        };
        let first = note.snippet.as_ref().expect("a place");
        let second = errors[0].snippet.as_ref().expect("a place");
        assert!(
            (first.line, first.column) < (second.line, second.column),
            "{}",
            errors[0]
        );
    }
    config(&format!(
        "{}{}",
        service(""),
        second.replace("mode", "protocol = \"udp\"\nmode")
    ));
    let ipv6 = vrrp("")
        .replace("VI_1", "VI_2")
        .replace("192.0.2.10/24", "2001:db8::1/64");
    config(&format!("{}{ipv6}", vrrp("")));
}

#[test]
fn names_of_other_programs_are_answered_with_ours() {
    for (key, answer) in [
        ("lb_kind = \"DR\"", "`mode`"),
        ("lvs_sched = \"rr\"", "`scheduler`"),
        ("delay_loop = 6", "`interval`"),
        ("persistence_timeout = 50", "`persistence = { timeout"),
        ("bind = \"*:80\"", "`listen"),
        ("balance = \"roundrobin\"", "`scheduler`"),
        ("server = \"a\"", "[[service.real_server]]"),
        ("interval = \"1s\"", "[service.check]"),
        ("protocl = \"tcp\"", "did you mean `protocol`"),
    ] {
        refused(
            &service(key),
            key.split(' ').next().unwrap_or_default(),
            answer,
        );
    }
    for key in [
        "state",
        "advert_int",
        "nopreempt",
        "mcast_src_ip",
        "use_vmac",
        "garp_master_delay",
        "notify_master",
    ] {
        refused(
            &vrrp(&format!("{key} = 1")),
            key,
            "unknown key (from keepalived); ",
        );
    }
    for (value, answer) in [
        ("NAT", "`\"nat\"`"),
        ("http", "`protocol`"),
        ("masq", "`\"nat\"`"),
    ] {
        refused(
            &service("").replace("\"dr\"", &format!("\"{value}\"")),
            "mode",
            answer,
        );
    }
    refused(
        &service("scheduler = \"leastconn\""),
        "scheduler",
        "did you mean `\"wlc\"`",
    );
    refused(
        "[global_defs]",
        "global_defs",
        "unknown key (from keepalived); ",
    );
}

fn warnings(text: &str) -> Vec<Diagnostic> {
    parsed(text)
        .unwrap_or_else(|report| panic!("{report}"))
        .warnings
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let checked = |keys: &str| service(&format!("check.tcp = {{}}\n{keys}"));
    assert_eq!(warnings(&checked("")), []);
    let servers: String = (2..9)
        .map(|n| format!("[[service.real_server]]\naddress = \"10.0.0.{n}\"\n"))
        .collect();
    let no_server = service("")
        .split("[[service.real_server]]")
        .next()
        .unwrap_or_default()
        .to_owned();
    for (text, key, part) in [
        (service(""), "check", "no check"),
        (no_server, "real_server", "always down"),
        (
            checked("table_size = 251") + &servers,
            "table_size",
            "at least 800",
        ),
        (
            checked("table_size = 251\nscheduler = \"rr\""),
            "table_size",
            "scheduler rr has no table",
        ),
        (checked("quorum = 2"), "quorum", "never reached"),
        (
            checked("scheduler = \"rr\"") + &vrrp(""),
            "scheduler",
            "a failover may move",
        ),
        (
            checked("vrrp = \"VI_1\"") + &vrrp("").replace(".10/", ".11/"),
            "listen[0]",
            "no instance has it",
        ),
    ] {
        let warnings = warnings(&text);
        let [warning] = warnings.as_slice() else {
            panic!("one warning with `{part}`, not {warnings:#?}");
        };
        assert!(
            warning.key.ends_with(key) && warning.line() > 0,
            "{warning}"
        );
        assert!(
            warning.to_string().contains(": warning: key `service.web."),
            "{warning}"
        );
        assert!(warning.to_string().contains(part), "{warning}");
    }
}
