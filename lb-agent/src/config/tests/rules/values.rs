//! Values that cannot be, each by itself.

use super::*;

#[test]
fn addresses_are_checked() {
    let listen = |address: &str| service("").replace("192.0.2.10:80", address);
    let server = |address: &str| service("").replace("10.0.0.1", address);
    all_refused(&[
        (listen("192.0.2.10"), "listen[0]", "no address with port"),
        (
            listen("www.example.com:80"),
            "listen[0]",
            "names are not looked up",
        ),
        (
            listen("2001:db8::10:80"),
            "listen[0]",
            "did you mean `\"[2001:db8::10]:80\"`",
        ),
        (
            listen("192.0.2.10 80"),
            "listen[0]",
            "did you mean `\"192.0.2.10:80\"`",
        ),
        (listen("224.0.0.18:80"), "listen[0]", "a multicast address"),
        (listen("0.0.0.0:80"), "listen[0]", "the unspecified address"),
        (
            listen("[::ffff:192.0.2.1]:80"),
            "listen[0]",
            "did you mean `\"192.0.2.1\"`",
        ),
        (listen("127.0.0.1:80"), "listen[0]", "a loopback address"),
        (listen("[::1]:80"), "listen[0]", "a loopback address"),
        (server("[fe80::1]:80"), "address", "link-local"),
        (server("fe80::1"), "address", "link-local"),
        (
            service("check.tcp = { nothing = 80 }"),
            "check.tcp.nothing",
            "expected an empty table",
        ),
        (listen("[fe80::1%2]:80"), "listen[0]", "names an interface"),
        (
            service("").replace("[\"192.0.2.10:80\"]", "\"192.0.2.10:80\""),
            "listen",
            "did you mean `[\"192.0.2.10:80\"]`",
        ),
        (
            service("").replace("[\"192.0.2.10:80\"]", "[]"),
            "listen",
            "an empty list",
        ),
        (
            server("10.0.0.1:0"),
            "address",
            "port 0 is no port of a real server",
        ),
        (server("10.0.0.256"), "address", "no address with port"),
        (
            server("255.255.255.255"),
            "address",
            "the broadcast address",
        ),
        (
            real_server("check.address = \"10.0.0.1:80\""),
            "check.address",
            "did you mean `\"10.0.0.1\"`",
        ),
        (
            vrrp("excluded_addresses = [\"10.1.0.1/33\"]"),
            "[0]",
            "did you mean `\"10.1.0.1/32\"`",
        ),
        (
            vrrp("excluded_addresses = [\"10.1.0.1/255.255.255.0\"]"),
            "[0]",
            "did you mean `\"10.1.0.1/24\"`",
        ),
        (
            service("nat_direct = [\"10.0.0.1/8\"]").replace("\"dr\"", "\"nat\""),
            "[0]",
            "did you mean `\"10.0.0.0/8\"`",
        ),
        ("[control]\nhttp = \"127.0.0.1:0\"".into(), "http", "port 0"),
        (
            "[control]\nsocket = \"lb.sock\"".into(),
            "socket",
            "no absolute path",
        ),
        (
            format!("[control]\nsocket = \"/{}\"", "x".repeat(107)),
            "socket",
            "too long",
        ),
    ]);
}

#[test]
fn values_out_of_range_are_refused() {
    all_refused(&[
        (service("table_size = 250"), "table_size", "out of range"),
        (service("table_size = 131073"), "table_size", "out of range"),
        (
            service("table_size = 65536"),
            "table_size",
            "did you mean `65537`",
        ),
        (service("quorum = 0"), "quorum", "out of range"),
        (
            service("quorum = 99999999999999999999"),
            "quorum",
            "out of range",
        ),
        (service("hysteresis = -1"), "hysteresis", "out of range"),
        (
            service("transition = \"15\""),
            "transition",
            "did you mean `\"15s\"`",
        ),
        (
            service("transition = 900"),
            "transition",
            "did you mean `\"15m\"`",
        ),
        (
            service("transition = \"soon\""),
            "transition",
            "is no duration",
        ),
        (service("dead_hold = \"999d\""), "dead_hold", "out of range"),
        (
            service("one_packet = \"yes\""),
            "one_packet",
            "did you mean `true`",
        ),
        (
            service("persistence = { prefix_v4 = 33 }"),
            "prefix_v4",
            "out of range",
        ),
        (
            service("persistence = { timeout = \"32d\" }"),
            "persistence.timeout",
            "out of range",
        ),
        (real_server("weight = 65536"), "weight", "out of range"),
        (
            real_server("weight = 1.5"),
            "weight",
            "wrong type, a decimal number",
        ),
        (real_server("check.fall = 0"), "fall", "out of range"),
        (real_server("check.port = 0"), "check.port", "out of range"),
        (
            real_server("check.interval = \"1ms\""),
            "interval",
            "out of range",
        ),
        (vrrp("priority = 0"), "priority", "out of range"),
        (vrrp("priority = 256"), "priority", "out of range"),
        (vrrp("version = 4"), "version", "out of range"),
        (
            vrrp("advert_interval = \"41s\""),
            "advert_interval",
            "out of range",
        ),
        (
            vrrp("advert_interval = \"15ms\""),
            "advert_interval",
            "steps of 10ms",
        ),
        (
            vrrp("").replace("51", "0"),
            "virtual_router_id",
            "out of range",
        ),
        (
            vrrp("track_interfaces = [{ name = \"eth1\", weight = 254 }]"),
            "weight",
            "out of range",
        ),
        (
            "interfaces = [\"eth0/1\"]".into(),
            "interfaces[0]",
            "cannot name an interface",
        ),
        (
            "interfaces = [\"sixteen-bytes-xx\"]".into(),
            "interfaces[0]",
            "1..15 bytes",
        ),
        ("router_id = \"\"".into(), "router_id", "cannot be a name"),
        (
            "[scripts]\nuser = \"a:b:c\"".into(),
            "user",
            "names no user",
        ),
        (
            "[log]\nlevel = 3".into(),
            "level",
            "wrong type, a whole number",
        ),
        ("log = 3".into(), "log", "expected a table"),
        ("service = 3".into(), "service", "each under `[[service]]`"),
        (
            "[service]\nname = \"web\"".into(),
            "service",
            "each under `[[service]]`",
        ),
    ]);
}

#[test]
fn check_kinds_are_read_strictly() {
    let check = |kind: &str| service(&format!("check.{kind}"));
    all_refused(&[
        (check("http = []"), "http", "an empty list"),
        (
            check("http = [{ path = \"health\" }]"),
            "path",
            "did you mean `\"/health\"`",
        ),
        (
            check("http = [{ status = [600] }]"),
            "status[0]",
            "out of range",
        ),
        (
            check("http = [{ status = [\"299-200\"] }]"),
            "status[0]",
            "no range of status codes",
        ),
        (
            check("http = [{ digest = \"abc\" }]"),
            "digest",
            "32 hexadecimal digits",
        ),
        (
            check("http = [{ body_regex = \"(\" }]"),
            "body_regex",
            "unclosed group",
        ),
        (check("http = [{ sni = \"a\" }]"), "sni", "unknown key"),
        (
            check(&format!("http = [{{ host = \"{}\" }}]", "h".repeat(256))),
            "host",
            "1..255 bytes",
        ),
        (check("https = [{ sni = \"a b\" }]"), "sni", "no host name"),
        (
            check("dns = { type = \"SOAP\" }"),
            "type",
            "did you mean `\"SOA\"`",
        ),
        (check("dns = { name = \"a..b\" }"), "name", "no domain name"),
        (check("udp = { send = \"0x\" }"), "send", "not hexadecimal"),
        (
            check("misc = { command = \"/bin/true -x\" }"),
            "command",
            "did you mean `[\"/bin/true\", \"-x\"]`",
        ),
        (
            check("misc = { command = [\"true\"] }"),
            "command",
            "no absolute path",
        ),
        (check("tcp = true"), "tcp", "expected a table"),
        (check("tcp = { port = 80 }"), "port", "unknown key"),
    ]);
}

#[test]
fn a_host_may_be_as_long_as_names_are() {
    let long = "h".repeat(63) + ".example.com:8080";
    config(&service(&format!(
        "check.https = [{{ host = \"{long}\", sni = \"{}\" }}]\ncheck.smtp = {{ helo = \"{long}\" }}",
        "s".repeat(255)
    )));
}
