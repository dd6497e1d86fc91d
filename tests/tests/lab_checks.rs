//! Every kind of check against the daemon that it is for, from Debian's packages.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use lb_tests::director::{Director, agent_binary};
use lb_tests::lab::{Daemon, Lab, Node, Options};
use nix::sys::signal::Signal;

/// The certificates that the agent's own tests make use of: issued by `ca.pem` for `www.example.com`.
const CA: &str = include_str!("../../lb-agent/src/health/https/tests/ca.pem");
const CERTIFICATE: &str = include_str!("../../lb-agent/src/health/https/tests/server.pem");
const EXPIRED: &str = include_str!("../../lb-agent/src/health/https/tests/expired.pem");
const KEY: &str = include_str!("../../lb-agent/src/health/https/tests/server.key");
/// `printf 'secure\n' | md5sum`
const DIGEST: &str = "6bc48dd36a595dc33de11c26e0e3cc03";

const PATIENCE: Duration = Duration::from_secs(10);

/// A configuration of one service for each of these checks, all of the real server rs1.
fn config(checks: &[(&str, &str)]) -> String {
    let mut text = "router_id = \"lb1\"\ninterfaces = [\"eth0\"]\n".to_owned();
    for (port, (name, check)) in (1000..).zip(checks) {
        text += &format!(
            "[[service]]\nname = \"{name}\"\nlisten = [\"10.1.0.100:{port}\"]\nmode = \"dr\"\ntable_size = 251\n\
             [service.check]\ninterval = \"200ms\"\nretry_interval = \"100ms\"\ntimeout = \"1s\"\n{check}\n\
             [[service.real_server]]\naddress = \"10.1.0.21:{port}\"\n"
        );
    }
    text
}

struct Checks {
    director: Director,
    names: Vec<String>,
}

impl Checks {
    fn up(lab: Lab, checks: &[(&str, &str)]) -> Self {
        let director = Director::in_lab(lab, &config(checks)).unwrap();
        let names = checks.iter().map(|(name, _)| (*name).to_owned()).collect();
        Self { director, names }
    }

    /// Waits until the real server of a service has this state by a check's own word, and returns that word.
    fn wait(&self, name: &str, state: &str) -> String {
        let port = 1000 + self.names.iter().position(|known| known == name).unwrap();
        let address = format!("10.1.0.21:{port}");
        let said = if state == "up" {
            "check passed"
        } else {
            "check failed"
        };
        let found = self
            .director
            .wait_for_status(&format!("{name} to be {state}"), |status| {
                let found = lb_tests::director::real_server(status, name, &address);
                let reason = found["reason"].as_str().unwrap_or_default();
                match found["state"] == state && reason.starts_with(said) {
                    true => Ok(reason.to_owned()),
                    false => Err(found.to_string()),
                }
            });
        found.unwrap()
    }

    fn weight(&self, name: &str, weight: u64) {
        let found = self.director.wait_for_status(
            &format!("{name} to have the weight {weight}"),
            |status| {
                let found = &lb_tests::director::service(status, name)["real_servers"][0];
                if found["weight"] == weight {
                    Ok(())
                } else {
                    Err(found.to_string())
                }
            },
        );
        found.unwrap();
    }
}

/// Starts a daemon in its own folder of the node.
fn daemon(node: &Node, program: &str, arguments: &[&str]) -> Daemon {
    let mut command = node.command(program);
    command.args(arguments);
    node.spawn(program, command).unwrap()
}

/// nginx with TLS on ports 443 (HTTP/1.1 alone) and 444 (HTTP/2 too), with these certificates.
fn tls_nginx(node: &Node, certificate: &str) -> Daemon {
    let folder = node.directory().join("tls");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("server.pem"), certificate).unwrap();
    fs::write(folder.join("server.key"), KEY).unwrap();
    let at = folder.display();
    let text = format!(
        "daemon off; user root; worker_processes 1; pid {at}/pid; events {{}}\n\
         http {{ access_log {at}/access.log; client_body_temp_path {at}/a; proxy_temp_path {at}/b;\n\
         fastcgi_temp_path {at}/c; uwsgi_temp_path {at}/d; scgi_temp_path {at}/e;\n\
         ssl_certificate {at}/server.pem; ssl_certificate_key {at}/server.key;\n\
         server {{ listen 443 ssl default_server; return 421; }}\n\
         server {{ listen 443 ssl; server_name www.example.com; return 200 \"secure\\n\"; }}\n\
         server {{ listen 444 ssl http2; if ($server_protocol != HTTP/2.0) {{ return 505; }} return 200 \"secure\\n\"; }}\n}}\n"
    );
    fs::write(folder.join("nginx.conf"), text).unwrap();
    let error_log = folder.join("error.log");
    let conf = folder.join("nginx.conf");
    daemon(
        node,
        "nginx",
        &[
            "-e",
            error_log.to_str().unwrap(),
            "-c",
            conf.to_str().unwrap(),
        ],
    )
}

#[test]
fn https_over_both_versions_of_http_with_and_without_verification() {
    let lab = Lab::up(&Options::default()).unwrap();
    let rs1 = lab.node("rs1").clone();
    let nginx = tls_nginx(&rs1, CERTIFICATE);
    // Its own authority is the only one that this agent trusts.
    let ca = lab.node("lb1").directory().join("ca.pem");
    fs::write(&ca, CA).unwrap();
    let binary = lab.node("lb1").directory().join("agent.sh");
    let text = format!(
        "#!/bin/sh\nSSL_CERT_FILE={} exec {} \"$@\"\n",
        ca.display(),
        agent_binary().unwrap().display()
    );
    executable(&binary, &text);
    let good = format!("host = \"www.example.com\", digest = \"{DIGEST}\"");
    let checks = [
        (
            "verified",
            format!("https = [{{ {good}, verify = true }}]\nport = 443"),
        ),
        ("unverified", format!("https = [{{ {good} }}]\nport = 443")),
        (
            "http2",
            format!("https = [{{ {good}, verify = true, http2 = true }}]\nport = 444"),
        ),
        (
            "other-name",
            "https = [{ sni = \"api.example.com\", verify = true, status = [421] }]\nport = 443"
                .to_owned(),
        ),
        (
            "no-http2",
            format!("https = [{{ {good}, http2 = true }}]\nport = 443"),
        ),
        ("not-tls", format!("https = [{{ {good} }}]\nport = 80")),
        (
            "by-address",
            "https = [{ status = [\"400-499\"] }]\nport = 443".to_owned(),
        ),
    ];
    let checks: Vec<(&str, &str)> = checks
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let servers = vec![lab.nginx("rs1").unwrap()];
    let agent = lab.agent("lb1", &binary, &config(&checks)).unwrap();
    let names = checks.iter().map(|(name, _)| (*name).to_owned()).collect();
    let checks = Checks {
        director: Director {
            agent,
            servers,
            lab,
        },
        names,
    };
    for name in ["verified", "unverified", "http2", "by-address"] {
        checks.wait(name, "up");
    }
    for (name, words) in [
        (
            "other-name",
            "as api.example.com: the certificate is not accepted: certificate not valid for name",
        ),
        ("no-http2", "the server did not agree to HTTP/2"),
        ("not-tls", "the answer is not TLS"),
    ] {
        let reason = checks.wait(name, "down");
        assert!(reason.contains(words), "{reason}");
    }

    drop(nginx);
    let _nginx = tls_nginx(&rs1, EXPIRED);
    for name in ["verified", "http2"] {
        checks
            .director
            .wait_for_status("the expired certificate to be found", |status| {
                let found = &lb_tests::director::service(status, name)["real_servers"][0];
                let reason = found["reason"].as_str().unwrap_or_default();
                match found["state"] == "down" && reason.contains("certificate expired") {
                    true => Ok(()),
                    false => Err(found.to_string()),
                }
            })
            .unwrap();
    }
    checks.wait("unverified", "up");
}

#[test]
fn smtp_dns_udp_and_ping() {
    let lab = Lab::up(&Options::default()).unwrap();
    let rs1 = lab.node("rs1").clone();
    let folder = rs1.directory().to_owned();
    fs::write(
        folder.join("smtpd.conf"),
        "listen on eth0 port 25 hostname mail.lab.example\nmatch from any reject\n",
    )
    .unwrap();
    let conf = folder.join("smtpd.conf");
    let start_smtpd = || daemon(&rs1, "smtpd", &["-d", "-f", conf.to_str().unwrap()]);
    let pid_file = format!("--pid-file={}", folder.join("dnsmasq.pid").display());
    let start_dnsmasq = || {
        let options = [
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
            "--address=/lab.example/10.1.0.21",
            pid_file.as_str(),
        ];
        daemon(&rs1, "dnsmasq", &options)
    };
    let mut smtpd = start_smtpd();
    let dnsmasq = start_dnsmasq();
    // The query for A of lab.example, with the id 0x1234.
    let query = "123401000001000000000000036c6162076578616d706c650000010001";
    let udp = format!("udp = {{ send = \"{query}\", expect = \"1234\" }}\nport = 53");
    let other = format!("udp = {{ send = \"{query}\", expect = \"4321\" }}\nport = 53");
    let checks = [
        (
            "smtp",
            "smtp = { helo = \"edge-1.lab.example\" }\nport = 25",
        ),
        ("smtp-of-http", "smtp = {}\nport = 80"),
        (
            "dns",
            "dns = { name = \"lab.example\", type = \"A\" }\nport = 53",
        ),
        (
            "dns-refused",
            "dns = { name = \"elsewhere.example\" }\nport = 53",
        ),
        ("udp", &udp),
        ("udp-other", &other),
        ("udp-silent", "udp = {}\nport = 53"),
        ("ping", "ping = {}"),
        (
            "ping6",
            "ping = {}\naddress = \"fd00:1::21\"\nsource_address = \"fd00:1::11\"",
        ),
        (
            "all",
            "tcp = {}\nping = {}\ndns = { name = \"lab.example\", type = \"A\" }\nport = 53",
        ),
    ];
    let checks = Checks::up(lab, &checks);
    for name in ["smtp", "dns", "udp", "udp-silent", "ping", "ping6", "all"] {
        checks.wait(name, "up");
    }
    for (name, words) in [
        ("smtp-of-http", "the greeting: no answer within 1s"),
        ("dns-refused", "10.1.0.21:53 answers REFUSED"),
        ("udp-other", ", expected 4321"),
    ] {
        let reason = checks.wait(name, "down");
        assert!(reason.contains(words), "{reason}");
    }

    smtpd.stop(Signal::SIGTERM, PATIENCE).unwrap();
    let reason = checks.wait("smtp", "down");
    assert!(reason.contains("connection refused"), "{reason}");
    drop(dnsmasq);
    for name in ["dns", "udp", "all"] {
        let reason = checks.wait(name, "down");
        // A host says "port unreachable" at most once a second to one asker.
        let words = ["connection refused", "no answer within 1s"];
        assert!(words.iter().any(|words| reason.contains(words)), "{reason}");
    }
    let _smtpd = start_smtpd();
    let _dnsmasq = start_dnsmasq();
    for name in ["smtp", "dns", "udp", "all"] {
        checks.wait(name, "up");
    }

    // Unplugged at the switch: at the host itself it would lose its IPv6 address.
    let switch = checks.director.lab.node("sw");
    switch.run("ip", &["link", "set", "rs1f", "down"]).unwrap();
    for name in ["ping", "ping6"] {
        let reason = checks.wait(name, "down");
        assert!(
            reason.contains("no answer") || reason.contains("no route"),
            "{reason}"
        );
    }
    switch.run("ip", &["link", "set", "rs1f", "up"]).unwrap();
    for name in ["ping", "ping6"] {
        checks.wait(name, "up");
    }
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_command_decides_about_life_and_weight() {
    let lab = Lab::up(&Options::default()).unwrap();
    let folder = lab.node("lb1").directory().to_owned();
    let status = folder.join("status");
    let say = |code: &str| {
        let new = folder.join("status.new");
        fs::write(&new, code).unwrap();
        fs::rename(&new, &status).unwrap();
    };
    say("0");
    let script = folder.join("check.sh");
    let text = format!(
        "#!/bin/sh\n[ \"$(id -un) $*\" = \"nobody extra weighed 10.1.0.21 1000 1\" ] || {{ echo \"told: $(id -un) $*\"; exit 1; }}\n\
         code=$(cat {})\n[ $code = sleep ] && sleep 60\nexit $code\n",
        status.display()
    );
    executable(&script, &text);
    let check = format!(
        "misc = {{ command = [\"{}\", \"extra\"], dynamic = true }}",
        script.display()
    );
    let checks = Checks::up(lab, &[("weighed", &check)]);
    checks.wait("weighed", "up");
    checks.weight("weighed", 1);
    say("12");
    checks.weight("weighed", 10);
    say("1");
    let reason = checks.wait("weighed", "down");
    assert!(reason.contains("check.sh: exit status 1"), "{reason}");
    say("2");
    checks.wait("weighed", "up");
    checks.weight("weighed", 0);
    say("sleep");
    let reason = checks.wait("weighed", "down");
    assert!(
        reason.contains("no end of the command within 1s; it was terminated"),
        "{reason}"
    );
    say("0");
    checks.wait("weighed", "up");
    checks.weight("weighed", 1);
}
