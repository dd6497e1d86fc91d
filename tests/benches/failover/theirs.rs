//! Two keepalived, and a server on each of their hosts.

use crate::capture::Capture;
use crate::{DEADLINE, ROUNDS, UDP_PORT, figure::Figures, ours::take_over, probe::Probe};
use anyhow::Result;
use lb_tests::{
    echo::Echo,
    lab::{Keepalived, Lab, Options, VIP4, wait_until},
};
use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

fn config(name: &str, priority: u8) -> String {
    format!(
        "global_defs {{\n router_id {name}\n}}\nvrrp_instance VI_1 {{\n state BACKUP\n interface eth0\n \
         virtual_router_id 51\n priority {priority}\n advert_int 0.01\n version 3\n \
         virtual_ipaddress {{\n {VIP4}/24\n }}\n}}\n"
    )
}

/// Everything that is measured of theirs.
pub fn measure(figures: &mut Figures) -> Result<()> {
    let lab = Lab::up(&Options { real_servers: 1 })?;
    let vip = format!("{VIP4}/32");
    let delete = ["address", "delete", vip.as_str(), "dev", "eth0"];
    lab.node("lb1").run("ip", &delete)?;
    let mut echoes = Vec::new();
    for name in ["lb1", "lb2"] {
        let node = lab.node(name);
        node.run("sysctl", &["-qw", "net.ipv4.ip_nonlocal_bind=1"])?;
        echoes.push(Echo::udp(node, SocketAddr::new(VIP4.into(), UDP_PORT))?);
    }
    let capture = Capture::start(lab.node("cl1"));
    let mut first = Keepalived::start(lab.node("lb1"), &config("lb1", 150))?;
    let second = Keepalived::start(lab.node("lb2"), &config("lb2", 100))?;
    let served_by_first = || {
        wait_until(DEADLINE, "keepalived's elections", || {
            let listed = |name: &str| {
                let listed = lab
                    .node(name)
                    .run("ip", &["-o", "address", "show", "dev", "eth0"]);
                listed.is_ok_and(|text| text.contains(&format!(" {VIP4}/24")))
            };
            match (listed("lb1"), listed("lb2")) {
                (true, false) => Ok(()),
                (first, second) => Err(format!("lb1 {first}, lb2 {second}")),
            }
        })
    };
    let probe = || -> Result<Probe> {
        let probe = Probe::start(lab.node("cl1"), SocketAddr::new(VIP4.into(), UDP_PORT))?;
        thread::sleep(Duration::from_millis(300));
        Ok(probe)
    };
    served_by_first()?;
    for _ in 0..ROUNDS {
        let probe = probe()?;
        let killed = Instant::now();
        first.kill();
        let taken_over = take_over(&capture, killed)?;
        figures.time("takeover_after_last_advert_keepalived", taken_over);
        thread::sleep(Duration::from_millis(500));
        let seen = probe.stop()?;
        figures.time("kill9_gap_keepalived", seen.gap());
        figures.count("kill9_lost_keepalived", seen.lost());
        first.restart()?;
        served_by_first()?;
    }
    for _ in 0..ROUNDS {
        let probe = probe()?;
        first.stop()?;
        thread::sleep(Duration::from_millis(300));
        figures.count("graceful_lost_keepalived", probe.stop()?.lost());
        first.restart()?;
        served_by_first()?;
    }
    let cable = |state: &str| {
        lab.node("sw")
            .run("ip", &["link", "set", "dev", "lb1f", state])
    };
    for _ in 0..ROUNDS {
        let probe = probe()?;
        let cut = Instant::now();
        cable("down")?;
        take_over(&capture, cut)?;
        thread::sleep(Duration::from_millis(500));
        figures.time("cut_gap_keepalived", probe.stop()?.gap());
        cable("up")?;
        served_by_first()?;
    }
    drop(second);
    Ok(())
}
