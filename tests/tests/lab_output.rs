//! What the agent and its command line write, where it cannot be written.

use std::fs::OpenOptions;
use std::io::pipe;
use std::process::Stdio;

use lb_tests::director::{DEADLINE, LAB_CONFIG, agent_binary};
use lb_tests::lab::{Lab, Options, wait_until};
use nix::sys::signal::Signal;

#[test]
fn an_agent_whose_log_nobody_reads_any_more_goes_on() {
    let lab = Lab::up(&Options::default()).unwrap();
    let node = lab.node("lb1");
    let path = node.directory().join("lb.toml");
    std::fs::write(&path, LAB_CONFIG).unwrap();
    // The reader is gone after the first line; the agent has more to say: no real server lives.
    let mut command = node.command("sh");
    command.args(["-c", "\"$0\" run --config \"$1\" 2>&1 | read first"]);
    command.arg(agent_binary().unwrap()).arg(&path);
    let mut agent = node.spawn("unread", command).unwrap();
    wait_until(DEADLINE, "all servers to be found dead", || {
        let mut status = node.command(agent_binary().unwrap());
        let status = status.args(["status", "--json"]).output().unwrap();
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        match text.matches("\"state\": \"up\"").count() {
            0 if status.status.success() => Ok(()),
            _ => Err(text),
        }
    })
    .unwrap();
    agent.stop(Signal::SIGTERM, DEADLINE).unwrap();
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error_and_a_full_disk_is_one() {
    let lab = Lab::up(&Options::default()).unwrap();
    let node = lab.node("lb1");
    let path = node.directory().join("lb.toml");
    let check = |config: &str, out: Stdio, err: Stdio| {
        std::fs::write(&path, config).unwrap();
        let mut command = node.command(agent_binary().unwrap());
        command.arg("check").arg(&path).stdout(out).stderr(err);
        command.status().unwrap().code()
    };
    let closed = || Stdio::from(pipe().unwrap().1);
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    assert_eq!(check(LAB_CONFIG, closed(), closed()), Some(0));
    assert_eq!(check("nonsense", closed(), closed()), Some(1));
    assert_eq!(check(LAB_CONFIG, full(), closed()), Some(1));
}
