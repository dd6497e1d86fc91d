//! What keepalived and HAProxy call things, and what they are called here.

/// A key of another program, or of another table than the one it was written in.
pub(in crate::config) struct ForeignKey {
    pub names: &'static [&'static str],
    /// Where it is from, as what follows "unknown key".
    pub from: &'static str,
    /// What to write, as the end of a sentence.
    pub answer: &'static str,
}

/// Values of another program for one of our keys.
pub(in crate::config) struct ForeignWord {
    pub key: &'static str,
    /// In lower case.
    pub words: &'static [&'static str],
    pub from: &'static str,
    pub answer: &'static str,
    /// What to write instead, if there is such a value.
    pub ours: Option<&'static str>,
}

const fn keepalived(names: &'static [&'static str], answer: &'static str) -> ForeignKey {
    ForeignKey {
        names,
        from: "(from keepalived)",
        answer,
    }
}

const fn haproxy(names: &'static [&'static str], answer: &'static str) -> ForeignKey {
    ForeignKey {
        names,
        from: "(from HAProxy)",
        answer,
    }
}

const fn elsewhere(names: &'static [&'static str], answer: &'static str) -> ForeignKey {
    ForeignKey {
        names,
        from: "here",
        answer,
    }
}

const fn word(
    key: &'static str,
    words: &'static [&'static str],
    from: &'static str,
    answer: &'static str,
    ours: Option<&'static str>,
) -> ForeignWord {
    ForeignWord {
        key,
        words,
        from,
        answer,
        ours,
    }
}

/// Keys, by what answers them.
#[rustfmt::skip]
pub(in crate::config) const KEYS: &[ForeignKey] = &[
    // keepalived: the document
    keepalived(&["global_defs"], "there is no such block: its keys are at the top of the file, in [scripts], [mail] and [vrrp] tables"),
    keepalived(&["vrrp_instance"], "write `[[vrrp]]` with a `name`"),
    keepalived(&["vrrp_script"], "write `[[script]]` with a `name`"),
    keepalived(&["vrrp_sync_group"], "write `[[sync_group]]` with a `name`"),
    keepalived(&["virtual_server", "virtual_server_group"], "write `[[service]]` with a `name` and `listen = [\"ADDRESS:PORT\"]`"),
    keepalived(&["track_file", "track_process", "vrrp_track_file", "vrrp_track_process", "track_bfd", "bfd_instance"], "write a `[[script]]` that finds out, and name it in `track_scripts`"),
    keepalived(&["static_ipaddress", "static_routes", "static_rules"], "leave what is always there to the host's network configuration"),
    keepalived(&["notification_email"], "write `to` in [mail]"),
    keepalived(&["notification_email_from"], "write `from` in [mail]"),
    keepalived(&["smtp_server"], "write `smtp = \"HOST:PORT\"` in [mail]"),
    keepalived(&["smtp_connect_timeout"], "write `timeout` in [mail]"),
    keepalived(&["smtp_alert", "smtp_alert_vrrp", "smtp_alert_checker"], "write `on` in [mail]: vrrp, service, real_server"),
    keepalived(&["script_user"], "write `user` in [scripts]"),
    keepalived(&["enable_script_security"], "leave it out: it is always on, unless `allow_insecure = true` in [scripts]"),
    keepalived(&["notify_fifo", "vrrp_notify_fifo", "lvs_notify_fifo"], "write `fifo` in [vrrp.notify]"),
    keepalived(&["lvs_sync_daemon", "lvs_sync_daemon_interface"], "write `sync_daemon` in [ipvs]"),
    keepalived(&["lvs_timeouts"], "write `timeouts` in [ipvs]"),
    keepalived(&["lvs_id"], "write `router_id`"),
    keepalived(&["reload_check_config"], "leave it out: a reload always checks first"),
    keepalived(&["vrrp_strict", "strict_mode"], "leave it out: what the protocol forbids is an error here"),
    keepalived(&["enable_traps", "enable_snmp_vrrp", "enable_snmp_checker", "enable_snmp_rfc", "enable_snmp_keepalived", "snmp_socket"], "write `http` in [control]: metrics and status are there; there is no SNMP"),
    // keepalived: VRRP
    keepalived(&["state", "initial_state"], "leave it out: a node starts as backup, and the priority decides"),
    keepalived(&["advert_int"], "write `advert_interval`, a duration such as \"1s\""),
    keepalived(&["vrrp_version"], "write `version` in each [[vrrp]]"),
    keepalived(&["virtual_router", "vrid"], "write `virtual_router_id`"),
    keepalived(&["authentication"], "write `auth = { pass = \"…\" }`, with version 2 only"),
    keepalived(&["auth_type"], "leave it out: `auth = { pass = \"…\" }` is the only kind"),
    keepalived(&["auth_pass", "ahth_pass"], "write `auth = { pass = \"…\" }`, with version 2 only"),
    keepalived(&["virtual_ipaddress"], "write `addresses = [\"ADDRESS/PREFIX\"]`"),
    keepalived(&["virtual_ipaddress_excluded"], "write `excluded_addresses`"),
    keepalived(&["virtual_routes"], "write `routes`"),
    keepalived(&["virtual_rules"], "leave rules to the host's network configuration"),
    keepalived(&["nopreempt"], "write `preempt = false`"),
    keepalived(&["mcast_src_ip", "unicast_src_ip"], "write `source_address`"),
    keepalived(&["unicast_peer"], "write `unicast_peers = [\"ADDRESS\"]`"),
    keepalived(&["use_vmac"], "write `virtual_mac = true`"),
    keepalived(&["no_accept"], "write `accept = false`"),
    keepalived(&["v3_checksum_as_v2"], "write `checksum = \"rfc9568\"`"),
    keepalived(&["dont_track_primary"], "write `track_primary = false`"),
    keepalived(&["track_interface"], "write `track_interfaces = [\"…\"]`"),
    keepalived(&["track_script"], "write `track_scripts = [\"…\"]`"),
    keepalived(&["down_timer_adverts", "vrrp_down_timer_adverts"], "write `down_adverts`"),
    keepalived(&["garp_master_delay", "vrrp_garp_master_delay"], "write `garp = { delay = \"5s\" }` in [[vrrp]]"),
    keepalived(&["garp_master_repeat", "vrrp_garp_master_repeat"], "write `garp = { repeat = 5 }` in [[vrrp]]"),
    keepalived(&["garp_master_refresh", "vrrp_garp_master_refresh"], "write `garp = { refresh = \"60s\" }` in [[vrrp]]"),
    keepalived(&["vrrp_garp_interval", "vrrp_gna_interval", "garp_interval", "gna_interval"], "write `garp = { interval = \"10ms\" }` in [[vrrp]]"),
    keepalived(&["garp_lower_prio_delay", "garp_lower_prio_repeat", "garp_master_refresh_repeat"], "write `garp` in [[vrrp]]: repeat, delay, refresh, interval"),
    keepalived(&["notify_master"], "write `master` in [vrrp.notify], a list without a shell"),
    keepalived(&["notify_backup"], "write `backup` in [vrrp.notify], a list without a shell"),
    keepalived(&["notify_fault"], "write `fault` in [vrrp.notify], a list without a shell"),
    keepalived(&["notify_stop"], "write `stop` in [vrrp.notify], a list without a shell"),
    keepalived(&["group"], "write `instances = [\"…\"]` in [[sync_group]]"),
    keepalived(&["script"], "write `command = [\"/path\", \"argument\"]`"),
    keepalived(&["init_fail"], "leave it out: a script counts once it has run"),
    // keepalived: services
    keepalived(&["lb_kind", "lvs_method"], "write `mode`: dr, nat, tun or local"),
    keepalived(&["lb_algo", "lvs_sched"], "write `scheduler`: mh, rr, wrr, lc, wlc, sh, dh, sed, nq, lblc or lblcr"),
    keepalived(&["ops"], "write `one_packet = true`"),
    keepalived(&["delay_loop"], "write `interval` in [service.check], a duration such as \"10s\""),
    keepalived(&["persistence_timeout", "presitence_timeout"], "write `persistence = { timeout = \"300s\" }`"),
    keepalived(&["persistence_granularity"], "write `persistence = { prefix_v4 = 24 }`"),
    keepalived(&["alpha"], "write `start_down = true` in [[service]]"),
    keepalived(&["ha_suspend"], "write `suspend_checks_in_backup = true`"),
    keepalived(&["quorum_up"], "write `up` in [service.notify], a list without a shell"),
    keepalived(&["quorum_down"], "write `down` in [service.notify], a list without a shell"),
    keepalived(&["notify_up"], "write `notify = { up = [\"…\"] }`, a list without a shell"),
    keepalived(&["notify_down"], "write `notify = { down = [\"…\"] }`, a list without a shell"),
    keepalived(&["inhibit_on_failure"], "write `on_failure = \"drain\"` in [[service.real_server]]"),
    keepalived(&["uthreshold"], "write `max_connections`"),
    keepalived(&["lthreshold"], "write `min_connections`"),
    keepalived(&["warmup"], "leave it out: first checks are spread by themselves"),
    // keepalived: checks
    keepalived(&["TCP_CHECK"], "write `tcp = {}` in [service.check]"),
    keepalived(&["HTTP_GET"], "write `http = [{ path = \"/\" }]` in [service.check]"),
    keepalived(&["SSL_GET"], "write `https = [{ path = \"/\" }]` in [service.check]"),
    keepalived(&["SMTP_CHECK"], "write `smtp = {}` in [service.check]"),
    keepalived(&["MISC_CHECK"], "write `misc = { command = [\"/path\"] }` in [service.check]"),
    keepalived(&["PING_CHECK"], "write `ping = {}` in [service.check]"),
    keepalived(&["UDP_CHECK"], "write `udp = { send = \"…\", expect = \"…\" }` in [service.check]"),
    keepalived(&["DNS_CHECK"], "write `dns = { name = \".\", type = \"SOA\" }` in [service.check]"),
    keepalived(&["retry", "nb_get_retry"], "write `fall` in the check: retries + 1 failures in a row"),
    keepalived(&["delay_before_retry"], "write `retry_interval` in the check, a duration such as \"1s\""),
    keepalived(&["connect_timeout"], "write `timeout` in the check, for a run as a whole"),
    keepalived(&["connect_port"], "write `port` in the check"),
    keepalived(&["connect_ip"], "write `address` in the check"),
    keepalived(&["bindto"], "write `source_address` in the check"),
    keepalived(&["url"], "write one table for each request: `http = [{ path = \"/\" }]`"),
    keepalived(&["status_code"], "write `status = [200]`"),
    keepalived(&["virtualhost"], "write `host` in the request of an http or https check"),
    keepalived(&["enable_sni", "sni_name"], "write `sni` in the request of an https check"),
    keepalived(&["regex"], "write `body_regex`"),
    keepalived(&["helo_name", "hello_name"], "write `smtp = { helo = \"…\" }` in [service.check]"),
    keepalived(&["misc_path"], "write `misc = { command = [\"/path\", \"argument\"] }`"),
    keepalived(&["misc_timeout"], "write `timeout` in the check, for a run as a whole"),
    keepalived(&["misc_dynamic"], "write `misc = { dynamic = true }`"),
    keepalived(&["payload"], "write `udp = { send = \"…\" }`"),
    keepalived(&["require_reply"], "write `udp = { expect = \"…\" }`"),
    // HAProxy
    haproxy(&["frontend", "backend", "listener"], "write `[[service]]` with a `name`, `listen` and `[[service.real_server]]`"),
    haproxy(&["defaults", "global"], "there is no such block: what is left out has its documented default"),
    haproxy(&["bind"], "write `listen = [\"ADDRESS:PORT\"]`"),
    haproxy(&["balance"], "write `scheduler`: mh, rr, wrr, lc, wlc, sh, dh, sed or nq"),
    haproxy(&["server", "servers", "real_servers"], "write `[[service.real_server]]` with `address = \"ADDRESS:PORT\"`"),
    haproxy(&["inter"], "write `interval` in [service.check], a duration such as \"2s\""),
    haproxy(&["fastinter", "downinter"], "write `retry_interval` in [service.check]"),
    haproxy(&["maxconn"], "write `max_connections` in [[service.real_server]]"),
    haproxy(&["minconn"], "write `min_connections` in [[service.real_server]]"),
    haproxy(&["backup"], "write `sorry_server` in [[service]]"),
    haproxy(&["slowstart"], "write `slow_start` in [[service]]"),
    haproxy(&["option", "httpchk"], "write `http = [{ path = \"/\" }]` in [service.check]"),
    haproxy(&["http-check", "tcp-check"], "write the kind of check in [service.check]: tcp, http, https, smtp, ping, dns, udp or misc"),
    haproxy(&["stick-table", "stick"], "write `persistence = { timeout = \"300s\" }`"),
    haproxy(&["stats"], "write `http` in [control]"),
    haproxy(&["source-address", "usesrc"], "write `source`: keep or masquerade"),
    // Ours, but of another table.
    elsewhere(&["interval", "timeout", "fall", "rise"], "it belongs in [service.check] or [[script]]"),
    elsewhere(&["retry_interval", "via", "tcp", "https", "ping", "dns", "misc"], "it belongs in [service.check]"),
    elsewhere(&["real_server"], "it belongs under a service: [[service.real_server]]"),
    elsewhere(&["check"], "it belongs under a service: [service.check], or in [[service.real_server]]"),
    elsewhere(&["mode", "scheduler", "protocol", "persistence", "quorum", "hysteresis", "sorry_server", "drain_timeout", "idle_timeout", "listen", "fwmark"], "it belongs in [[service]]"),
    elsewhere(&["max_connections", "min_connections", "on_failure"], "it belongs in [[service.real_server]]"),
    elsewhere(&["port"], "the port is part of the address: `listen = [\"ADDRESS:PORT\"]`, `address = \"ADDRESS:PORT\"`"),
    elsewhere(&["priority", "virtual_router_id", "advert_interval", "preempt", "preempt_delay", "virtual_mac", "garp", "fence"], "it belongs in [[vrrp]]"),
    elsewhere(&["track_scripts", "track_interfaces", "track_services"], "it belongs in [[vrrp]] or [[sync_group]]"),
    elsewhere(&["socket"], "it belongs in [control]"),
    elsewhere(&["level", "format"], "it belongs in [log]"),
    elsewhere(&["sync_daemon", "timeouts"], "it belongs in [ipvs]"),
    elsewhere(&["interfaces", "router_id", "include"], "it belongs at the top of the file, before the first table"),
    elsewhere(&["weight"], "it belongs in [[service.real_server]], [[script]], or an entry of a `track_…` list"),
];

/// Values, by the key they were written for.
#[rustfmt::skip]
pub(in crate::config) const WORDS: &[ForeignWord] = &[
    word("scheduler", &["roundrobin", "static-rr"], "HAProxy", "it is `wrr` here", Some("wrr")),
    word("scheduler", &["leastconn", "least_conn"], "HAProxy and nginx", "it is `wlc` here", Some("wlc")),
    word("scheduler", &["source", "ip_hash", "uri", "hdr"], "HAProxy and nginx", "clients are told apart by `mh` here", Some("mh")),
    word("scheduler", &["maglev", "consistent"], "elsewhere", "it is `mh` here", Some("mh")),
    word("scheduler", &["random", "first", "fo", "ovf", "twos"], "elsewhere", "there is none like it here", None),
    word("mode", &["http", "tcp", "udp"], "HAProxy", "here `mode` is the way of packets, and the protocol is `protocol`", None),
    word("mode", &["masq", "masquerade", "fullnat", "snat"], "LVS", "it is `mode = \"nat\"` here, with `source = \"masquerade\"` for both addresses", Some("nat")),
    word("mode", &["ipip", "gre", "gue", "tunnel"], "LVS", "it is `mode = \"tun\"` here", Some("tun")),
    word("mode", &["route", "gate", "gatewaying", "direct"], "LVS", "it is `mode = \"dr\"` here", Some("dr")),
    word("protocol", &["http", "https"], "HAProxy", "whole connections are balanced here", Some("tcp")),
    word("datapath", &["generic", "skb", "native", "driver"], "XDP", "`xdp` takes either mode, `xdp_native` the driver's alone", Some("xdp")),
];
