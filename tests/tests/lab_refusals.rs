//! Starts that cannot be: one clear message, and nothing left behind.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use lb_tests::director::{
    DEADLINE, Director, LAB_CONFIG, Refusal, agent_binary, refused, refused_command, traces,
};
use lb_tests::lab::{Ended, Lab, Node, Options, VIP4, wait_until};
use nix::sys::signal::Signal;

fn lab() -> Lab {
    Lab::up(&Options::default()).unwrap()
}

/// One message with all of `words`, and no trace.
fn assert_refused(node: &Node, refusal: &Refusal, words: &[&str]) {
    let message = refusal.message().unwrap();
    for word in words {
        assert!(message.contains(word), "\"{word}\" in: {message}");
    }
    assert_eq!(traces(node).unwrap(), Vec::<String>::new());
}

#[test]
fn a_typo_in_the_configuration_is_shown_with_its_place_and_the_name_that_was_meant() {
    let lab = lab();
    let node = lab.node("lb1");
    let config = LAB_CONFIG.replacen("interval = ", "intervall = ", 1);
    let line = config
        .lines()
        .position(|line| line.contains("intervall"))
        .unwrap()
        + 1;
    let refusal = refused(node, &config).unwrap();
    assert_ne!(refusal.ended, Ended::Exited(0));
    for word in [&format!("refused.toml:{line}:1"), "intervall", "interval"] {
        assert!(
            refusal.text.contains(word),
            "\"{word}\" in: {}",
            refusal.text
        );
    }
    assert_eq!(traces(node).unwrap(), Vec::<String>::new());
}

#[test]
fn an_interface_that_does_not_exist_is_named_with_those_that_do() {
    let lab = lab();
    let node = lab.node("lb1");
    let config = LAB_CONFIG.replace("\"eth1\"]", "\"eth7\"]");
    let refusal = refused(node, &config).unwrap();
    assert_refused(node, &refusal, &["eth7", "does not exist", "eth0", "eth1"]);
}

#[test]
fn a_check_says_what_this_host_lacks_and_that_the_file_is_valid() {
    let lab = lab();
    let node = lab.node("lb1");
    let path = node.directory().join("elsewhere.toml");
    let check = |config: &str| {
        fs::write(&path, config).unwrap();
        let mut command = node.command(agent_binary().unwrap());
        command.arg("check").arg(&path);
        let checked = refused_command(node, command).unwrap();
        assert_eq!(checked.ended, Ended::Exited(0), "{}", checked.text);
        assert!(checked.text.contains("valid"), "{}", checked.text);
        checked.text
    };
    let here = check(LAB_CONFIG);
    assert!(!here.contains("warning"), "{here}");
    let elsewhere = LAB_CONFIG
        .replace("\"eth1\"]", "\"eth7\"]")
        .replace(&format!("{VIP4}:8080"), "192.0.2.9:8080");
    let elsewhere = elsewhere.replacen(
        "[service.check]\n",
        "[service.check]\nsource_address = \"192.0.2.8\"\n",
        1,
    );
    let mail = "[mail]\nsmtp = \"192.0.2.7:465\"\ntls = \"tls\"\nfrom = \"a@b.example\"\nto = [\"c@b.example\"]\n\
        auth = { user = \"lb\", password_file = \"/nonexistent\" }\n";
    let elsewhere = check(&format!("{elsewhere}\n{mail}"));
    let on_loopback = check(&LAB_CONFIG.replace("\"eth1\"]", "\"lo\"]"));
    let words = "interface lo carries no Ethernet frames";
    assert!(on_loopback.contains(words), "{words}: {on_loopback}");
    for words in [
        "there is no interface eth7 on this host",
        "192.0.2.9 is not an address of this host",
        "192.0.2.8, which checks are to come from, is not an address of this host",
        "mail could not be sent: read the mail relay's password from /nonexistent: No such file",
    ] {
        assert!(elsewhere.contains(words), "{words}: {elsewhere}");
    }
}

#[test]
fn a_foreign_program_is_left_alone_and_the_interfaces_before_it_are_released() {
    let lab = lab();
    let node = lab.node("lb1");
    // The lab has a program at hand: the one of the switch ports.
    let foreign = lab.node("sw").directory().join("bpf/pass");
    let foreign = foreign.to_str().unwrap();
    for mode in ["xdpdrv", "xdpgeneric"] {
        node.run("ip", &["link", "set", "eth1", mode, "pinned", foreign])
            .unwrap();
        let before = node.run("ip", &["-o", "link", "show", "eth1"]).unwrap();
        let id = before
            .split_once("prog/xdp id ")
            .and_then(|(_, rest)| rest.split_ascii_whitespace().next())
            .unwrap_or_else(|| panic!("no id in {before}"));
        let refusal = refused(node, LAB_CONFIG).unwrap();
        let message = refusal.message().unwrap();
        for word in [
            "eth1",
            "already has an XDP program",
            &format!("id {id}"),
            "ip link set dev eth1",
        ] {
            assert!(message.contains(word), "\"{word}\" in: {message}");
        }
        let left = traces(node).unwrap();
        let after = node.run("ip", &["-o", "link", "show", "eth1"]).unwrap();
        assert_eq!(left, [after.trim_end()], "only the foreign program");
        assert_eq!(after, before);
        // The cure that the message names.
        let cure = message
            .split('`')
            .find(|part| part.starts_with("ip link"))
            .unwrap();
        let arguments: Vec<_> = cure.split_ascii_whitespace().skip(1).collect();
        node.run("ip", &arguments).unwrap();
        assert_eq!(traces(node).unwrap(), Vec::<String>::new());
    }
    let _agent = lab
        .agent("lb1", &agent_binary().unwrap(), LAB_CONFIG)
        .unwrap();
}

#[test]
fn somebody_else_than_root_is_told_so() {
    let lab = lab();
    let node = lab.node("lb1");
    let config = node.directory().join("lb.toml");
    fs::write(&config, LAB_CONFIG).unwrap();
    // Both are opened as root: nobody may not be allowed to go where they are.
    let mut command = node.command("sh");
    command.args([
        "-c",
        "exec 3<\"$0\" 4<\"$1\"; exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all \
         /proc/self/fd/3 run --config /proc/self/fd/4",
    ]);
    command.arg(agent_binary().unwrap()).arg(&config);
    let refusal = refused_command(node, command).unwrap();
    assert_refused(node, &refusal, &["must run as root", "CAP_NET_ADMIN"]);
}

/// The agent on `node` with something done to its mounts before.
fn after(node: &Node, mounts: &str) -> Command {
    let config = node.directory().join("lb.toml");
    fs::write(&config, LAB_CONFIG).unwrap();
    let mut command = node.command("sh");
    command.args([
        "-c",
        &format!("{mounts} && exec \"$0\" run --config \"$1\""),
    ]);
    command.arg(agent_binary().unwrap()).arg(config);
    command
}

#[test]
fn a_missing_bpf_file_system_is_named_with_the_command_that_mounts_it() {
    let lab = lab();
    let node = lab.node("lb1");
    for mounts in [
        "mount -t tmpfs tmpfs /sys/fs/bpf",
        "mount -t tmpfs tmpfs /sys/fs", // No such directory.
    ] {
        let refusal = refused_command(node, after(node, mounts)).unwrap();
        assert_refused(
            node,
            &refusal,
            &[
                "/sys/fs/bpf",
                "no BPF file system",
                "mount -t bpf bpf /sys/fs/bpf",
            ],
        );
    }
    let refusal = refused_command(node, after(node, "mount -o remount,bind,ro /sys/fs/bpf"));
    assert_refused(node, &refusal.unwrap(), &["/sys/fs/bpf", "Read-only"]);
}

#[test]
fn a_second_agent_is_told_who_the_first_is_and_disturbs_nothing() {
    let mut director = Director::up(LAB_CONFIG).unwrap();
    let before = director.agent.status().unwrap();
    let refusal = refused(director.node(), LAB_CONFIG).unwrap();
    let pid = director.agent.daemon().pid();
    let message = refusal.message().unwrap();
    assert!(
        message.contains("running already") && message.contains(&format!("pid {pid}")),
        "{message}"
    );
    let after = director.agent.status().unwrap();
    assert_eq!(after["pid"], before["pid"]);
    assert_eq!(after["datapath"], "xdp_native");
    director.ask("10.1.0.100:80", 20).unwrap();
}

#[test]
fn a_second_agent_with_a_socket_of_its_own_does_not_take_over_the_same_data_plane() {
    let mut director = Director::up(LAB_CONFIG).unwrap();
    let config = LAB_CONFIG.replace(
        "interfaces =",
        "control.socket = \"/run/lb/other.sock\"\ninterfaces =",
    );
    let before = director.agent.status().unwrap();
    let refusal = refused(director.node(), &config).unwrap();
    let pid = director.agent.daemon().pid();
    let message = refusal.message().unwrap();
    for word in [
        "another control socket",
        "/sys/fs/bpf",
        &format!("pid {pid}"),
    ] {
        assert!(message.contains(word), "\"{word}\" in: {message}");
    }
    let after = director.agent.status().unwrap();
    assert_eq!(after["generation"], before["generation"]);
    director.ask("10.1.0.100:80", 20).unwrap();
}

#[test]
fn a_control_socket_that_cannot_be_opened_leaves_nothing() {
    let lab = lab();
    let node = lab.node("lb1");
    // A directory where the socket is to be.
    fs::create_dir_all(node.directory().join("run/taken.sock/full")).unwrap();
    let config = LAB_CONFIG.replace(
        "interfaces =",
        "control.socket = \"/run/lb/taken.sock\"\ninterfaces =",
    );
    let refusal = refused(node, &config).unwrap();
    assert_refused(node, &refusal, &["control socket", "/run/lb/taken.sock"]);
}

#[test]
fn a_file_that_is_no_socket_is_not_taken_for_one() {
    let lab = lab();
    let node = lab.node("lb1");
    let file = node.directory().join("run/precious");
    fs::write(&file, "of somebody").unwrap();
    let path = "/run/lb/precious";
    let config = LAB_CONFIG.replace(
        "interfaces =",
        &format!("control.socket = \"{path}\"\ninterfaces ="),
    );
    let mut unload = node.command(agent_binary().unwrap());
    unload.args(["unload", "--socket", path]);
    for refusal in [refused(node, &config), refused_command(node, unload)] {
        assert_refused(node, &refusal.unwrap(), &[path, "no socket"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), "of somebody");
    }
}

#[test]
fn an_interruption_at_any_moment_of_the_start_leaves_nothing_or_a_working_data_plane() {
    let lab = Lab::up(&Options::default()).unwrap();
    let node = lab.node("lb1");
    let _servers: Vec<_> = lab
        .real_servers()
        .map(|node| lab.nginx(node.name()).unwrap())
        .collect();
    let binary = agent_binary().unwrap();
    let path = node.directory().join("lb.toml");
    fs::write(&path, LAB_CONFIG).unwrap();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        for moment in (0..10).map(|number| Duration::from_millis(number * number * 5)) {
            let mut command = node.command(&binary);
            command.arg("run").arg("--config").arg(&path);
            let begun = Instant::now();
            let mut agent = node.spawn("interrupted", command).unwrap();
            // Not a wait for a condition: the moment itself is what is tried.
            wait_until(DEADLINE, "the moment", || {
                if begun.elapsed() >= moment {
                    Ok(())
                } else {
                    Err("too early")
                }
            })
            .unwrap();
            let ended = agent.stop(signal, DEADLINE).unwrap();
            assert!(
                ended == Ended::Exited(0) || ended == Ended::Signaled(signal),
                "{signal} after {moment:?}: {ended}; {}",
                agent.log_tail(20)
            );
            let left = traces(node).unwrap();
            let is_attached = left.iter().filter(|trace| trace.contains("xdp")).count();
            if signal != Signal::SIGKILL {
                assert!(
                    left.is_empty() || is_attached == 2,
                    "{signal} after {moment:?} leaves {left:?}"
                );
            }
            if is_attached == 2 {
                // Loaded is working.
                let target = (VIP4, 80).into();
                lb_tests::traffic::request_once(lab.node("cl1"), target, Duration::from_secs(5))
                    .unwrap_or_else(|error| panic!("{signal} after {moment:?}: {error:#}"));
            }
            // Every second one begins with what the one before has left.
            if moment.as_millis() % 2 == 0 {
                let mut unload = node.command(&binary);
                unload.arg("unload");
                assert!(unload.output().unwrap().status.success());
                assert_eq!(traces(node).unwrap(), Vec::<String>::new());
            }
        }
        let agent = lab.agent("lb1", &binary, LAB_CONFIG).unwrap();
        assert_eq!(agent.status().unwrap()["datapath"], "xdp_native");
    }
}
