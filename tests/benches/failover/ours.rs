//! Two agents, real servers behind them.

use crate::{
    CONNECTIONS, DEADLINE, ROUNDS, TCP_PORT, UDP_PORT, capture::Capture, figure::Figures,
    probe::Probe,
};
use anyhow::{Context as _, Result, ensure};
use lb_tests::{
    crowd::{Crowd, Host},
    director::agent_binary,
    echo::Echo,
    lab::{Agent, Daemon, Lab, Options, VIP4, wait_until},
};
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// The argument that makes this program a server.
pub const SERVE: &str = "serve-connections";
/// What all connections may take to be answered.
const PATIENCE: Duration = Duration::from_secs(30);
/// MAC addresses of the directors' front legs.
const MACS: [[u8; 6]; 2] = [[2, 0, 10, 1, 0, 11], [2, 0, 10, 1, 0, 12]];

/// Serves connections until it is killed.
pub fn serve(endpoint: SocketAddr) -> Result<()> {
    lb_tests::crowd::raise_open_files()?;
    let _host = Host::here(endpoint)?;
    loop {
        thread::park();
    }
}

fn config(name: &str, priority: u8) -> String {
    let service = |name: &str, protocol: &str, port: u16| {
        let real_servers: String = (21..=23)
            .map(|host| format!("[[service.real_server]]\naddress = \"10.1.0.{host}\"\n"))
            .collect();
        format!(
            "[[service]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\nlisten = [\"{VIP4}:{port}\"]\nmode = \"dr\"\n\
             {real_servers}"
        )
    };
    format!(
        "router_id = \"{name}\"\ninterfaces = [\"eth0\", \"eth1\"]\n\
         [[vrrp]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvirtual_router_id = 51\npriority = {priority}\n\
         advert_interval = \"10ms\"\naddresses = [\"{VIP4}/24\"]\n{}{}",
        service("tcp", "tcp", TCP_PORT),
        service("udp", "udp", UDP_PORT),
    )
}

/// Both directors, and who answers.
struct Stage {
    first: Agent,
    second: Agent,
    _echoes: Vec<Echo>,
    _servers: Vec<Daemon>,
    capture: Capture,
    lab: Lab,
}

impl Stage {
    fn set() -> Result<Self> {
        let lab = Lab::up(&Options::default())?;
        let vip = format!("{VIP4}/32");
        let delete = ["address", "delete", vip.as_str(), "dev", "eth0"];
        lab.node("lb1").run("ip", &delete)?;
        let mut echoes = Vec::new();
        let mut servers = Vec::new();
        for node in lab.real_servers() {
            echoes.push(Echo::udp(node, SocketAddr::new(VIP4.into(), UDP_PORT))?);
            let mut command = node.command(std::env::current_exe()?);
            command.arg(SERVE).arg(format!("0.0.0.0:{TCP_PORT}"));
            servers.push(node.spawn("connections", command)?);
        }
        let binary = agent_binary()?;
        let capture = Capture::start(lab.node("cl1"));
        let stage = Self {
            first: lab.agent("lb1", &binary, &config("lb1", 150))?,
            second: lab.agent("lb2", &binary, &config("lb2", 100))?,
            _echoes: echoes,
            _servers: servers,
            capture,
            lab,
        };
        stage.wait_until_first_serves()?;
        Ok(stage)
    }

    fn wait_until_first_serves(&self) -> Result<()> {
        for (agent, state) in [(&self.first, "master"), (&self.second, "backup")] {
            wait_until(DEADLINE, "the elections", || {
                let status = agent.status().map_err(|error| format!("{error:#}"))?;
                match status["vrrp"][0]["state"] == state {
                    true => Ok(()),
                    false => Err(status["vrrp"].to_string()),
                }
            })?;
        }
        Ok(())
    }

    fn probe(&self) -> Result<Probe> {
        let probe = Probe::start(self.lab.node("cl1"), SocketAddr::new(VIP4.into(), UDP_PORT))?;
        thread::sleep(Duration::from_millis(300));
        Ok(probe)
    }

    fn cable(&self, state: &str) -> Result<()> {
        let arguments = ["link", "set", "dev", "lb1f", state];
        self.lab.node("sw").run("ip", &arguments).map(drop)
    }

    /// Waits for the second's first advert after an instant, and says how long after the first's last it came.
    fn taken_over(&self, since: Instant) -> Result<Duration> {
        take_over(&self.capture, since)
    }
}

/// From lb1's last advert to lb2's first one after `since`.
pub fn take_over(capture: &Capture, since: Instant) -> Result<Duration> {
    let mut found = None;
    wait_until(DEADLINE, "the other's adverts", || {
        let adverts = capture.adverts();
        let of = |mac: [u8; 6]| {
            adverts
                .iter()
                .filter(move |advert| advert.source_mac == mac)
        };
        let new = of(MACS[1]).find(|advert| advert.at > since);
        let last = new.and_then(|new| of(MACS[0]).rfind(|advert| advert.at < new.at));
        found = new.zip(last).map(|(new, last)| new.at - last.at);
        found.map(drop).ok_or("none")
    })?;
    found.context("waited for")
}

/// Everything that is measured of ours.
pub fn measure(figures: &mut Figures) -> Result<()> {
    let mut stage = Stage::set()?;
    for _ in 0..ROUNDS {
        let probe = stage.probe()?;
        let killed = Instant::now();
        stage.first.kill();
        figures.time("takeover_after_last_advert", stage.taken_over(killed)?);
        thread::sleep(Duration::from_millis(500));
        let seen = probe.stop()?;
        figures.time("kill9_gap", seen.gap());
        figures.count("kill9_lost", seen.lost());
        stage.first.restart()?;
        stage.wait_until_first_serves()?;
    }
    for _ in 0..ROUNDS {
        let probe = stage.probe()?;
        for order in ["release", "claim"] {
            stage.first.command(&["vrrp", order, "VI_1"])?;
            thread::sleep(Duration::from_millis(300));
        }
        figures.count("graceful_lost", probe.stop()?.lost());
        stage.wait_until_first_serves()?;
    }
    for _ in 0..ROUNDS {
        let probe = stage.probe()?;
        let cut = Instant::now();
        stage.cable("down")?;
        stage.taken_over(cut)?;
        thread::sleep(Duration::from_millis(500));
        figures.time("cut_gap", probe.stop()?.gap());
        stage.cable("up")?;
        stage.wait_until_first_serves()?;
    }
    connections(&mut stage, figures)
}

/// Settled connections, half of them idle, through a kill.
fn connections(stage: &mut Stage, figures: &mut Figures) -> Result<()> {
    let target = SocketAddr::new(VIP4.into(), TCP_PORT);
    let mut idle = Crowd::open(stage.lab.node("cl1"), target, CONNECTIONS)?;
    let mut active = idle.split_off(CONNECTIONS / 2);
    let is_over = AtomicBool::new(false);
    let killed = Instant::now();
    let lost = thread::scope(|scope| -> Result<usize> {
        let speaking = scope.spawn(|| {
            let mut lost = 0;
            while !is_over.load(Ordering::Relaxed) {
                let fate = active.speak(PATIENCE);
                lost = lost.max(fate.lost + fate.silent);
            }
            lost
        });
        stage.first.kill();
        let taken_over = stage.taken_over(killed);
        thread::sleep(Duration::from_secs(1));
        is_over.store(true, Ordering::Relaxed);
        let lost = speaking
            .join()
            .map_err(|_| anyhow::anyhow!("a speaker panicked"))?;
        taken_over.map(|_| lost)
    })?;
    let fate = idle.speak(PATIENCE);
    ensure!(fate.answered > 0, "nobody answers: {fate:?}");
    figures.count("tcp_resets_kill9", lost + fate.lost + fate.silent);
    Ok(())
}
