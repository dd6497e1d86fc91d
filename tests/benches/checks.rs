//! What health checks cost the agent, how late they start, what memory they take, and how soon packets obey a result.
//!
//! The first three with the agent's own tasks in this process, on a thread of their own, against servers on loopback:
//! 2,000 checks a second. The last in the lab, by an agent with 100 services of which one loses its real server.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lb_agent::config::{HttpRequest, StatusRange};
use lb_agent::health::{
    Driver, Kind, Origin, Probe, Spec, State, Status, Target, TargetId, Timing, driver, http,
};
use lb_tests::director::{Director, real_server, service};
use lb_tests::figures::{self, Figure};
use lb_tests::lab::{Lab, Options, wait_until};
use nix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Checks, each once a second.
const CHECKS: u32 = 2_000;
const INTERVAL: Duration = Duration::from_secs(1);
/// Rounds of a second each.
const ROUNDS: usize = 9;
/// Servers that share them.
const SERVERS: u32 = 20;
/// Services of the agent whose flips are timed.
const SERVICES: u32 = 100;
const DEADLINE: Duration = Duration::from_secs(20);
fn main() -> Result<()> {
    let mut figures = Vec::new();
    let request = HttpRequest {
        path: "/".to_owned(),
        host: None,
        status: vec![StatusRange {
            first: 200,
            last: 299,
        }],
        digest: None,
        body_regex: Some("well".to_owned()),
    };
    let http = http::Request::new(&request).context("a request")?;
    for (kind, cpu) in [
        (Kind::Tcp, "tcp_check_cpu"),
        (Kind::Http(vec![http]), "http_check_cpu"),
    ] {
        // Checks have a thread of their own, as they have in the agent: its CPU time is theirs alone.
        let measured = thread::scope(|scope| scope.spawn(|| measure(kind)).join());
        let measured =
            measured.map_err(|_| anyhow::anyhow!("the checks' thread has panicked"))??;
        figures.push(Figure::of_rounds(cpu, "us", &measured.cpu_us));
        if cpu == "tcp_check_cpu" {
            figures.push(Figure::of_rounds(
                "check_lateness_p99",
                "ms",
                &measured.late_ms,
            ));
            figures.push(Figure::of_rounds(
                "memory_2000_checks",
                "MiB",
                &[measured.mib],
            ));
        }
    }
    figures.push(Figure::of_rounds("flip", "ms", &flips()?));
    for figure in &figures {
        println!("{}", figure.line());
    }
    figures::write(&figures::workspace(), "checks", &figures)
}

struct Measured {
    /// For one check, by round.
    cpu_us: Vec<f64>,
    /// Of the 99th percentile of checks, by round.
    late_ms: Vec<f64>,
    /// That all of them take.
    mib: f64,
}

fn measure(kind: Kind) -> Result<Measured> {
    let servers = (0..SERVERS).map(|_| serve()).collect::<Result<Vec<_>>>()?;
    let before = resident_mib()?;
    let targets = (0..CHECKS).map(|number| {
        let to = servers[(number % SERVERS) as usize];
        Target {
            id: TargetId(number),
            spec: Spec {
                probe: Probe {
                    address: to.ip(),
                    port: to.port(),
                    origin: Origin::default(),
                    kinds: [kind.clone()].into(),
                },
                timing: Timing {
                    interval: INTERVAL,
                    timeout: Duration::from_secs(5),
                    fall: NonZeroU32::MIN,
                    rise: NonZeroU32::MIN,
                    retry_interval: INTERVAL,
                },
            },
            initial: State::Up,
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (events, mut told) = mpsc::channel(driver::EVENTS);
        let checks = Driver::spawn(targets, events, CancellationToken::new());
        // All have had their first run by then.
        tokio::time::sleep(3 * INTERVAL).await;
        let mut measured = Measured {
            cpu_us: Vec::new(),
            late_ms: Vec::new(),
            mib: resident_mib()? - before,
        };
        for _ in 0..ROUNDS {
            let (runs, cpu) = (count(&checks), thread_cpu());
            tokio::time::sleep(INTERVAL).await;
            let cpu = thread_cpu() - cpu;
            let runs = count(&checks) - runs;
            ensure!(runs > u64::from(CHECKS) / 2, "{runs} runs in {INTERVAL:?}");
            measured.cpu_us.push(cpu.as_secs_f64() * 1e6 / runs as f64);
            measured.late_ms.push(late_p99(&checks));
        }
        checks.stop().await;
        let failed = told.try_recv();
        ensure!(failed.is_err(), "a check has failed: {failed:?}");
        Ok(measured)
    })
}

fn all(checks: &Driver) -> impl Iterator<Item = Status> + '_ {
    (0..CHECKS).filter_map(|number| checks.status(TargetId(number)))
}

fn count(checks: &Driver) -> u64 {
    all(checks).map(|status| status.runs).sum()
}

fn late_p99(checks: &Driver) -> f64 {
    let last = all(checks).filter_map(|status| status.last);
    let mut late: Vec<Duration> = last.map(|run| run.late).collect();
    late.sort_unstable();
    let at = late.len().saturating_sub(1) * 99 / 100;
    late.get(at).copied().unwrap_or_default().as_secs_f64() * 1e3
}

/// A server on loopback that answers every connection like a web server, for as long as this process lives.
fn serve() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen on loopback")?;
    let to = listener.local_addr()?;
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nall well";
    thread::spawn(move || {
        let listener = Arc::new(listener);
        while let Ok((mut stream, _)) = listener.accept() {
            let mut head = [0; 1024];
            // A check that wants nothing more is gone already.
            let _ = stream.read(&mut head);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    Ok(to)
}

fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

fn resident_mib() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/statm").context("read /proc/self/statm")?;
    let pages = text.split_whitespace().nth(1).context("resident pages")?;
    Ok(pages.parse::<f64>()? * 4096.0 / 1024.0 / 1024.0)
}

/// Milliseconds from the end of a check until packets obey it, by round.
fn flips() -> Result<Vec<f64>> {
    let lab = Lab::up(&Options { real_servers: 2 })?;
    let mut director = Director::in_lab(lab, &config())?;
    let mut flips = Vec::new();
    for _ in 0..ROUNDS {
        director.wait_for_state("service-0", "10.1.0.21:8000", "up")?;
        settle(&director)?;
        director.servers[0].kill();
        director.wait_for_state("service-0", "10.1.0.21:8000", "down")?;
        let status = director.agent.status()?;
        let found = real_server(&status, "service-0", "10.1.0.21:8000");
        ensure!(found["share_percent"] == 0.0, "{found}");
        let flip = status["flip_us"].as_f64().context("a flip")?;
        flips.push(flip / 1e3);
        director.servers[0].restart()?;
    }
    Ok(flips)
}

/// Waits until nothing has changed for longer than any grace period.
fn settle(director: &Director) -> Result<()> {
    let mut last = (None, Instant::now());
    wait_until(DEADLINE, "nothing to change", || {
        let status = director
            .agent
            .status()
            .map_err(|error| format!("{error:#}"))?;
        let generation = status["generation"].as_u64();
        ensure_string(service(&status, "service-0")["state"] == "up", &status)?;
        if last.0 != generation {
            last = (generation, Instant::now());
        }
        match last.1.elapsed() > Duration::from_millis(200) {
            true => Ok(()),
            false => Err(format!("generation {generation:?}")),
        }
    })
}

fn ensure_string(is_so: bool, status: &serde_json::Value) -> Result<(), String> {
    match is_so {
        true => Ok(()),
        false => Err(status.to_string()),
    }
}

/// One service that rs1 serves, and many that rs2 does.
fn config() -> String {
    let mut text = "router_id = \"lb1\"\ninterfaces = [\"eth0\"]\n".to_owned();
    for number in 0..SERVICES {
        let port = 8000 + number;
        let host = if number == 0 { 21 } else { 22 };
        text += &format!(
            "[[service]]\nname = \"service-{number}\"\nlisten = [\"10.1.0.100:{port}\"]\nmode = \"dr\"\n\
             [service.check]\ntcp = {{}}\nport = 80\ninterval = \"100ms\"\nretry_interval = \"100ms\"\ntimeout = \"500ms\"\nfall = 1\n\
             [[service.real_server]]\naddress = \"10.1.0.{host}:{port}\"\n\
             [[service.real_server]]\naddress = \"10.1.0.23:{port}\"\ncheck.address = \"10.1.0.22\"\n"
        );
    }
    text
}
