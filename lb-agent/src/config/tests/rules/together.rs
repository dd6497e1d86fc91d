//! Rules that take more than one key.

use super::*;

#[test]
fn rules_of_services_hold() {
    let nat = |text: String| text.replace("\"dr\"", "\"nat\"");
    let tun = |text: String| text.replace("\"dr\"", "\"tun\"");
    let server = |address: &str| service("").replace("10.0.0.1", address);
    all_refused(&[
        (
            server("10.0.0.1:8080"),
            "address",
            "did you mean `\"10.0.0.1:80\"`",
        ),
        (
            tun(server("10.0.0.1:8080")),
            "address",
            "mode tun changes no port",
        ),
        (
            server("10.0.0.1:80")
                .replace("\"192.0.2.10:80\"", "\"192.0.2.10:80\", \"192.0.2.10:443\""),
            "address",
            "did you mean `\"10.0.0.1\"`",
        ),
        (
            server("10.0.0.1:80").replace("2.10:80", "2.10:0"),
            "address",
            "did you mean `\"10.0.0.1\"`",
        ),
        (
            service("sorry_server = \"10.0.0.9:81\""),
            "sorry_server",
            "is not that of",
        ),
        (
            service("check.tcp = {}").replace("2.10:80", "2.10:0"),
            "check.port",
            "required where neither",
        ),
        (service("transition = \"5m\""), "transition", "at least 15m"),
        (
            format!(
                "{}{}",
                service("suspend_checks_in_backup = true"),
                vrrp("track_services = [\"web\"]")
            ),
            "suspend_checks_in_backup",
            "VI_1 depends on this service",
        ),
        (service("transition = \"19h\""), "transition", "at most 18h"),
        (service("udp_learn = \"19h\""), "udp_learn", "at most 18h"),
        (
            service("idle_timeout.tcp = \"1h\""),
            "idle_timeout.tcp",
            "`transition = \"1h\"` besides",
        ),
        (service("one_packet = true"), "one_packet", "protocol tcp"),
        (
            service("quorum = 2\nhysteresis = 2"),
            "hysteresis",
            "not below `quorum`",
        ),
        (
            real_server("max_connections = 10"),
            "max_connections",
            "directors would disagree",
        ),
        (
            real_server("min_connections = 10"),
            "min_connections",
            "above `max_connections`",
        ),
        (
            service("datapath = \"xdp\"\nprotocol = \"sctp\""),
            "protocol",
            "takes IPVS",
        ),
        (
            service("datapath = \"xdp\"\nscheduler = \"lblc\""),
            "scheduler",
            "takes IPVS",
        ),
        (
            service("datapath = \"xdp_native\"\nfwmark = 7")
                .replace("listen = [\"192.0.2.10:80\"]", ""),
            "fwmark",
            "takes IPVS",
        ),
        (
            format!("datapath = \"xdp\"\n{}", service("protocol = \"sctp\"")),
            "protocol",
            "which has xdp",
        ),
        (service("fwmark = 7"), "fwmark", "written besides `listen`"),
        (
            service("source = \"masquerade\""),
            "source",
            "without effect in mode dr",
        ),
        (
            service("nat_direct = [\"10.0.0.0/8\"]"),
            "nat_direct",
            "without effect in mode dr",
        ),
        (
            nat(service(
                "source = \"masquerade\"\nnat_direct = [\"10.0.0.0/8\"]",
            )),
            "nat_direct",
            "`source = \"keep\"`",
        ),
        (
            service("tun_source = \"192.0.2.3\""),
            "tun_source",
            "without effect in mode dr",
        ),
        (
            tun(service("tun_source = \"2001:db8::3\"")),
            "tun_source",
            "no real server can be reached",
        ),
        (
            nat(server("2001:db8::1")),
            "address",
            "between IPv4 and IPv6",
        ),
        (
            service("check = { ping = {}, via = \"vip\" }"),
            "check.ping",
            "cannot be made by way of the virtual address",
        ),
        (
            service("check = { tcp = {}, via = \"vip\", address = \"10.0.0.9\" }"),
            "check.address",
            "goes to the real server",
        ),
        (
            service("check = { tcp = {}, via = \"vip\" }").replace("192.0.2.10", "[2001:db8::10]"),
            "check.via",
            "of the family of 10.0.0.1",
        ),
        (
            nat(service("check = { tcp = {}, via = \"vip\" }")),
            "check.via",
            "no way in mode nat",
        ),
        (
            real_server("check.source_address = \"2001:db8::1\""),
            "check.source_address",
            "same family",
        ),
    ]);
    config(&nat(server("10.0.0.1:8080")));
    config(&service("idle_timeout.tcp = \"1h\"\ntransition = \"1h\""));
    config(&service("idle_timeout.tcp = \"1h\"\nprotocol = \"udp\""));
    config(&service("protocol = \"sctp\""));
    config(&service("check = { tcp = {}, port = 80 }").replace("2.10:80", "2.10:0"));
    config(&service("check.ping = {}").replace("2.10:80", "2.10:0"));
    // Direct routing forwards by MAC address, whatever the family.
    config(&service("").replace(
        "\"192.0.2.10:80\"",
        "\"192.0.2.10:80\", \"[2001:db8::10]:80\"",
    ));
}

#[test]
fn rules_of_instances_hold() {
    let ipv6 = |text: String| text.replace("192.0.2.10/24", "2001:db8::10/64");
    all_refused(&[
        (ipv6(vrrp("version = 2")), "version", "knows no IPv6"),
        (
            vrrp("version = 2\nadvert_interval = \"500ms\""),
            "advert_interval",
            "out of range",
        ),
        (
            vrrp("version = 2\nadvert_interval = \"1500ms\""),
            "advert_interval",
            "whole seconds",
        ),
        (
            vrrp("auth = { pass = \"1111\" }"),
            "auth",
            "version 3 has no authentication",
        ),
        (
            vrrp("version = 2\nauth = { pass = \"123456789\" }"),
            "pass",
            "9 bytes",
        ),
        (
            vrrp("version = 2\nauth = { pass = \"\" }"),
            "pass",
            "0 bytes",
        ),
        (vrrp("version = 2\nauth = {}"), "auth.pass", "required"),
        (
            vrrp("preempt = false\npreempt_delay = \"5s\""),
            "preempt_delay",
            "`preempt = false`",
        ),
        (
            vrrp("version = 2\nchecksum = \"rfc9568\""),
            "checksum",
            "version 3 over IPv4 only",
        ),
        (
            ipv6(vrrp("checksum = \"rfc9568\"")),
            "checksum",
            "version 3 over IPv4 only",
        ),
        (
            vrrp("source_address = \"2001:db8::3\""),
            "source_address",
            "an IPv4 address",
        ),
        (
            ipv6(vrrp("unicast_peers = [\"192.0.2.2\"]")),
            "unicast_peers[0]",
            "an IPv6 address",
        ),
        (
            vrrp("").replace("/24\"", "/24\", \"2001:db8::10/64\""),
            "addresses[1]",
            "another family",
        ),
        (
            vrrp("routes = [\"default\"]"),
            "routes[0]",
            "neither `via` nor `dev`",
        ),
        (
            vrrp("routes = [\"default gw 192.0.2.1\"]"),
            "routes[0]",
            "did you mean `via`",
        ),
        (
            vrrp("routes = [\"10.0.0.1/8 dev eth0\"]"),
            "routes[0]",
            "did you mean `10.0.0.0/8`",
        ),
        (
            vrrp("routes = [\"10.0.0.0/8 via 2001:db8::1\"]"),
            "routes[0]",
            "IPv4 and IPv6",
        ),
        (
            vrrp("routes = [\"default via\"]"),
            "routes[0]",
            "nothing after `via`",
        ),
        (
            vrrp("routes = [\"default dev a dev b\"]"),
            "routes[0]",
            "written twice",
        ),
        (
            vrrp("routes = [\"default dev a metric x\"]"),
            "routes[0]",
            "`x` after `metric`",
        ),
        (
            vrrp("notify.master = [\"to_master.sh\"]"),
            "notify.master",
            "no absolute path",
        ),
    ]);
    config(&vrrp("preempt = false\npreempt_delay = \"0s\""));
    config(&vrrp("advert_interval = \"10ms\""));
    config(&vrrp("advert_interval = \"40.95s\""));
}

#[test]
fn rules_of_mail_hold() {
    let mail = |smtp: &str, keys: &str| {
        format!(
            "[mail]\nsmtp = \"{smtp}\"\nfrom = \"lb@example.com\"\nto = [\"ops@example.com\"]\n{keys}"
        )
    };
    let auth = "auth = { user = \"lb\", password_file = \"/etc/lb/secret\" }";
    all_refused(&[
        (mail("mail.example.com:25", auth), "auth", "plain text"),
        (
            mail("mail.example.com", ""),
            "smtp",
            "did you mean `\"mail.example.com:25\"`",
        ),
        (
            mail("mail.example.com:25", "on = [\"vrpp\"]"),
            "on[0]",
            "did you mean `\"vrrp\"`",
        ),
        (
            mail("mail.example.com:25", "").replace("lb@", "lb"),
            "from",
            "no mail address",
        ),
    ]);
    config(&mail("[2001:db8::25]:25", ""));
    config(&mail(
        "mail.example.com:465",
        &format!("tls = \"tls\"\n{auth}"),
    ));
}
