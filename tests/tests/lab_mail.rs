//! Mail by real relays: OpenSMTPD in plain text, also after it was away, and aiosmtpd by STARTTLS and by TLS with a
//! password. (Debian's OpenSMTPD cannot serve TLS: it is not made for OpenSSL 3.)

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use lb_tests::director::{DEADLINE, Director, agent_binary};
use lb_tests::lab::{Daemon, Lab, Nginx, Node, Options, wait_until};
use nix::sys::signal::Signal;

/// Issued by `ca.pem`, for 127.0.0.1 among others.
const CERTIFICATE: &str = include_str!("../../lb-agent/src/health/https/tests/server.pem");
const CA: &str = include_str!("../../lb-agent/src/health/https/tests/ca.pem");
const KEY: &str = include_str!("../../lb-agent/src/health/https/tests/server.key");
/// The relay with TLS, user `lb` and password `secret`.
const RELAY: &str = include_str!("lab_mail/relay.py");

const RS1: &str = "10.1.0.21:80";

fn config(mail: &str) -> String {
    format!(
        "router_id = \"edge-1.lab.example\"\ninterfaces = [\"eth0\"]\n[mail]\nfrom = \"lb@lab.example\"\n\
         to = [\"ops@lab.example\", \"boss@lab.example\"]\non = [\"service\", \"real_server\"]\n{mail}\n\
         [[service]]\nname = \"web\"\nlisten = [\"10.1.0.100:80\"]\nmode = \"dr\"\ntable_size = 251\n\
         [service.check]\ntcp = {{}}\ninterval = \"100ms\"\nretry_interval = \"100ms\"\ntimeout = \"500ms\"\n\
         [[service.real_server]]\naddress = \"{RS1}\"\n"
    )
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Both relays on the director's own loopback, which keep all mail for lab.example in a folder.
struct Relay {
    node: Node,
    folder: PathBuf,
}

impl Relay {
    fn new(node: &Node) -> Self {
        let folder = node.directory().join("smtpd");
        fs::create_dir_all(folder.join("mail")).unwrap();
        let at = folder.display();
        write(&folder.join("server.pem"), CERTIFICATE, 0o644);
        write(&folder.join("server.key"), KEY, 0o600);
        write(&folder.join("relay.py"), RELAY, 0o644);
        write(&folder.join("everyone"), "@\tnobody\n", 0o644);
        let conf = format!(
            "table everyone file:{at}/everyone\nlisten on lo port 25 hostname mail.lab.example\n\
             action keep maildir \"{at}/mail/%{{rcpt.user}}\" virtual <everyone>\n\
             match from any for domain \"lab.example\" action keep\n"
        );
        write(&folder.join("smtpd.conf"), &conf, 0o644);
        let mail = folder.join("mail").display().to_string();
        node.run("chown", &["nobody", &mail]).unwrap();
        Self {
            node: node.clone(),
            folder,
        }
    }

    /// Starts aiosmtpd, and waits until it listens.
    fn start_with_tls(&self) -> Daemon {
        let mut command = self.node.command("/usr/bin/python3");
        command.arg(self.folder.join("relay.py")).arg(&self.folder);
        let relay = self.node.spawn("relay", command).unwrap();
        wait_until(DEADLINE * 2, "the relay to listen", || {
            let said = relay.log_tail(5);
            match said.contains("listening") {
                true => Ok(()),
                false => Err(said),
            }
        })
        .unwrap();
        relay
    }

    /// Starts OpenSMTPD. Its queue and its control socket are its own: there may be others on this machine.
    fn start(&self) -> Daemon {
        // Labs have their files below /run.
        let kept = self.folder.strip_prefix("/run").unwrap().display();
        let folder = self.folder.display();
        let text = format!(
            "set -e; mount -t tmpfs tmpfs /mnt; mkdir -p /mnt/{kept}; mount --bind {folder} /mnt/{kept}; mount --rbind /mnt /run\n\
             mount -t tmpfs -o mode=711 tmpfs /var/spool/smtpd; exec smtpd -d -f {folder}/smtpd.conf"
        );
        let mut command = self.node.command("sh");
        command.args(["-c", &text]);
        self.node.spawn("smtpd", command).unwrap()
    }

    /// Waits for a mail to `user` that has all of `parts`.
    fn wait_for_mail(&self, user: &str, parts: &[&str], log: impl Fn() -> String) -> String {
        let folder = self.folder.join("mail").join(user).join("new");
        wait_until(DEADLINE * 3, &format!("a mail with {parts:?}"), || {
            let found = fs::read_dir(&folder).into_iter().flatten();
            let mails = found.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
            let mails: Vec<String> = mails.collect();
            let fits = |mail: &&String| parts.iter().all(|part| mail.contains(part));
            let found = mails.iter().find(fits).cloned();
            found.ok_or_else(|| format!("{mails:?}; the agent says {}", log()))
        })
        .unwrap()
    }
}

/// A director whose agent trusts the test's own authority alone.
fn director(lab: Lab, config: &str) -> Director {
    let folder = lab.node("lb1").directory().to_owned();
    write(&folder.join("ca.pem"), CA, 0o644);
    write(&folder.join("secret"), "secret\n", 0o600);
    write(&folder.join("wrong"), "sesame\n", 0o600);
    let script = folder.join("agent.sh");
    let text = format!(
        "#!/bin/sh\nSSL_CERT_FILE={}/ca.pem exec {} \"$@\"\n",
        folder.display(),
        agent_binary().unwrap().display()
    );
    write(&script, &text, 0o755);
    let servers: Vec<Nginx> = vec![lab.nginx("rs1").unwrap()];
    let agent = lab.agent("lb1", &script, config).unwrap();
    Director {
        agent,
        servers,
        lab,
    }
}

#[test]
fn a_change_is_told_in_plain_text_by_starttls_and_by_tls_with_a_password() {
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    let relay = Relay::new(lab.node("lb1"));
    let _smtpd = relay.start();
    let _relay = relay.start_with_tls();
    let folder = lab.node("lb1").directory().display().to_string();
    let auth = format!("auth = {{ user = \"lb\", password_file = \"{folder}/secret\" }}");
    let plain = config("smtp = \"127.0.0.1:25\"");
    let starttls = config(&format!(
        "smtp = \"127.0.0.1:587\"\ntls = \"starttls\"\n{auth}"
    ));
    let tls = config(&format!("smtp = \"127.0.0.1:465\"\ntls = \"tls\"\n{auth}"));

    let mut director = director(lab, &plain);
    director.wait_for_state("web", RS1, "up").unwrap();
    director.servers[0].kill();
    let down = [
        "Subject: [edge-1.lab.example] 2 changes, the last: service web is down",
        "real server 10.1.0.21:80 of service web is down",
        "connection refused",
        "weight 0 of 1 lives, the quorum is 1",
        "From: lb@lab.example",
        "Auto-Submitted: auto-generated",
    ];
    let log = || director.agent.log_tail(5);
    for user in ["ops", "boss"] {
        let mail = relay.wait_for_mail(user, &down, log);
        assert!(mail.contains("with ESMTP id"), "{mail}");
        assert!(mail.contains("from edge-1.lab.example"), "{mail}");
    }

    fs::write(director.agent.config(), starttls).unwrap();
    director.agent.restart().unwrap();
    director.servers[0].restart().unwrap();
    let up = ["service web is up", "came by STARTTLS for lb"];
    relay.wait_for_mail("ops", &up, || director.agent.log_tail(5));

    fs::write(director.agent.config(), tls).unwrap();
    director.agent.restart().unwrap();
    director.wait_for_state("web", RS1, "up").unwrap();
    director.servers[0].kill();
    let down = ["service web is down", "came by TLS for lb"];
    relay.wait_for_mail("ops", &down, || director.agent.log_tail(5));
}

#[test]
fn a_relay_that_is_away_or_not_the_one_it_says_to_be_gets_no_mail_until_that_is_mended() {
    let lab = Lab::up(&Options { real_servers: 1 }).unwrap();
    let relay = Relay::new(lab.node("lb1"));
    let mut director = director(lab, &config("smtp = \"127.0.0.1:25\""));
    director.wait_for_state("web", RS1, "up").unwrap();
    director.servers[0].kill();
    let wait_for_log = |director: &Director, part: &str| {
        wait_until(DEADLINE, part, || {
            let log = director.agent.log_tail(20);
            match log.contains(part) {
                true => Ok(()),
                false => Err(log),
            }
        })
        .unwrap();
    };
    wait_for_log(&director, "a mail could not be sent yet");
    director.servers[0].restart().unwrap();
    director.wait_for_state("web", RS1, "up").unwrap();
    let mut smtpd = relay.start();
    let both = ["service web is down", "service web is up", "4 changes"];
    relay.wait_for_mail("ops", &both, || director.agent.log_tail(5));

    // Its certificate is for another name than this.
    let _relay = relay.start_with_tls();
    let folder = director.node().directory().display().to_string();
    let wrong_name = config("smtp = \"localhost:465\"\ntls = \"tls\"");
    let wrong_password = config(&format!(
        "smtp = \"127.0.0.1:465\"\ntls = \"tls\"\nauth = {{ user = \"lb\", password_file = \"{folder}/wrong\" }}"
    ));
    for (config, state, complaint) in [
        (wrong_name, "down", "certificate not valid for name"),
        (wrong_password, "up", "535"),
    ] {
        fs::write(director.agent.config(), config).unwrap();
        director.agent.restart().unwrap();
        match state {
            "up" => director.servers[0].restart().unwrap(),
            _ => director.servers[0].kill(),
        }
        wait_for_log(&director, complaint);
    }
    smtpd.stop(Signal::SIGTERM, DEADLINE).unwrap();
}
