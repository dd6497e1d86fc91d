//! What 250 instances cost on one node that is master of all: CPU time and memory, of an agent and of keepalived.

use crate::{DEADLINE, figure::Figures};
use anyhow::{Context as _, Result};
use lb_tests::{
    director::agent_binary,
    lab::{Keepalived, Lab, Node, Options, wait_until},
};
use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// As many as virtual router ids allow, nearly.
const INSTANCES: u8 = 250;
/// How long CPU time is counted.
const WATCHED: Duration = Duration::from_secs(10);

/// Measures both, one after the other.
pub fn measure(figures: &mut Figures) -> Result<()> {
    let lab = Lab::up(&Options { real_servers: 1 })?;
    let node = lab.node("lb1");
    let ours: String = (1..=INSTANCES)
        .map(|id| {
            format!(
                "[[vrrp]]\nname = \"VI_{id}\"\ninterface = \"eth0\"\nvirtual_router_id = {id}\n\
                 addresses = [\"10.9.0.{id}\"]\n"
            )
        })
        .collect();
    let mut agent = lab.agent(
        "lb1",
        &agent_binary()?,
        &format!("router_id = \"lb1\"\n{ours}"),
    )?;
    wait_for_addresses(node)?;
    let pid = agent.daemon().pid();
    watch(figures, &[pid], "")?;
    agent.kill();
    drop(agent);
    node.run(
        "ip",
        &["address", "flush", "dev", "eth0", "to", "10.9.0.0/24"],
    )?;

    let theirs: String = (1..=INSTANCES)
        .map(|id| {
            format!(
                "vrrp_instance VI_{id} {{\n state BACKUP\n interface eth0\n virtual_router_id {id}\n version 3\n \
                 priority 100\n advert_int 1\n virtual_ipaddress {{\n 10.9.0.{id}\n }}\n}}\n"
            )
        })
        .collect();
    let _keepalived = Keepalived::start(
        node,
        &format!("global_defs {{\n router_id lb1\n}}\n{theirs}"),
    )?;
    wait_for_addresses(node)?;
    let pids = ["keepalived.pid", "keepalived_vrrp.pid"].map(|name| {
        let text = fs::read_to_string(node.directory().join(name))?;
        Ok(text.trim().parse()?)
    });
    let pids = pids.into_iter().collect::<Result<Vec<u32>>>()?;
    watch(figures, &pids, "_keepalived")
}

fn wait_for_addresses(node: &Node) -> Result<()> {
    wait_until(DEADLINE, "all addresses", || {
        let listed = node.run("ip", &["-o", "address", "show", "dev", "eth0"]);
        let listed = listed.map_err(|error| format!("{error:#}"))?;
        match listed.matches(" 10.9.0.").count() {
            count if count >= usize::from(INSTANCES) => Ok(()),
            count => Err(count.to_string()),
        }
    })?;
    // The second burst of announcements comes five seconds after the first.
    thread::sleep(Duration::from_secs(6));
    Ok(())
}

fn watch(figures: &mut Figures, pids: &[u32], suffix: &str) -> Result<()> {
    let before = cpu(pids)?;
    let began = Instant::now();
    thread::sleep(WATCHED);
    let used = cpu(pids)?
        .saturating_sub(before)
        .div_f64(began.elapsed().as_secs_f64());
    figures.time(&format!("instances_250_cpu_per_second{suffix}"), used);
    let memory: u64 = pids.iter().map(|pid| resident(*pid)).sum::<Result<u64>>()?;
    figures.bytes(&format!("instances_250_memory{suffix}"), memory);
    Ok(())
}

/// CPU time of all threads so far (proc_pid_schedstat(5): the first number, in nanoseconds).
fn cpu(pids: &[u32]) -> Result<Duration> {
    let mut sum = 0;
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let first = text
                .split_whitespace()
                .next()
                .context("a schedstat has numbers")?;
            sum += first.parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(sum))
}

/// Memory that is its own, in bytes: what it shares with others of its program is not counted.
fn resident(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(Path::new(&path))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.context("a process has memory")?.parse::<u64>()? * 1024)
}
