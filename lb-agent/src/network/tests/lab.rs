//! Two network namespaces with a veth pair between them, and patience with a deadline.

use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};

use crate::network::{NextHop, Resolver, ResolverOptions};

/// How long a test waits for anything. Far more than it takes; a busy machine must not make a test
/// fail.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The host under test is the namespace of the test's thread; the peer is kept alive by its file.
pub struct Lab {
    peer: File,
}

/// Runs a test on a fresh thread in a fresh namespace, or says why not.
pub fn in_lab<F>(name: &str, test: F)
where
    F: AsyncFnOnce(Lab) + Send + 'static,
{
    if !nix::unistd::geteuid().is_root() {
        skip(name, "needs root");
        return;
    }
    let body = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("make the peer's namespace");
        let peer = File::open("/proc/thread-self/ns/net").expect("hold the peer's namespace");
        unshare(CloneFlags::CLONE_NEWNET).expect("make the host's namespace");
        let lab = Lab { peer };
        // Without this a new link's IPv6 is silent for up to 2 s of duplicate address detection.
        lab.host_sysctl("ipv6/conf/default/accept_dad", "0");
        lab.peer_sysctl("ipv6/conf/default/accept_dad", "0");
        lab.host("link set lo up");
        lab.peer("link set lo up");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("make a runtime");
        runtime.block_on(test(lab));
    };
    if let Err(panic) = std::thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .expect("start a thread")
        .join()
    {
        std::panic::resume_unwind(panic);
    }
}

fn skip(name: &str, reason: &str) {
    let line = format!("skipped: {name}: {reason}");
    println!("{line}");
    if let Some(path) = std::env::var_os("LB_SKIP_LOG") {
        let mut log = File::options()
            .append(true)
            .create(true)
            .open(path)
            .expect("open the file that LB_SKIP_LOG names");
        writeln!(log, "{line}").expect("write to the file that LB_SKIP_LOG names");
    }
}

impl Lab {
    /// Runs `ip ARGUMENTS` on the host and returns what it prints.
    pub fn host(&self, arguments: &str) -> String {
        run(Command::new("ip").args(arguments.split_whitespace()))
    }

    /// Runs `ip ARGUMENTS` at the peer and returns what it prints.
    pub fn peer(&self, arguments: &str) -> String {
        run(Command::new("nsenter")
            .arg(format!("--net={}", self.peer_path()))
            .arg("ip")
            .args(arguments.split_whitespace()))
    }

    /// Feeds many `ip` commands at once to the host.
    pub fn host_batch(&self, lines: &str) {
        let mut ip = Command::new("ip")
            .args(["-force", "-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("start ip");
        ip.stdin
            .take()
            .expect("ip's input is a pipe")
            .write_all(lines.as_bytes())
            .expect("feed ip");
        assert!(
            ip.wait().expect("wait for ip").success(),
            "ip -batch failed"
        );
    }

    /// A veth pair: `host` here, `peer` there, both up, IPv6 usable at once.
    pub fn cable(&self, host: &str, peer: &str) {
        self.host(&format!(
            "link add {host} type veth peer name {peer} netns {}",
            self.peer_path()
        ));
        self.host(&format!("link set {host} up"));
        self.peer(&format!("link set {peer} up"));
    }

    /// An address on the host, without waiting for duplicate address detection.
    pub fn host_address(&self, interface: &str, address: &str) {
        self.host(&format!(
            "address add {address} dev {interface}{}",
            nodad(address)
        ));
    }

    /// An address at the peer, without waiting for duplicate address detection.
    pub fn peer_address(&self, interface: &str, address: &str) {
        self.peer(&format!(
            "address add {address} dev {interface}{}",
            nodad(address)
        ));
    }

    /// Sets `/proc/sys/net/KEY` on the host.
    pub fn host_sysctl(&self, key: &str, value: &str) {
        std::fs::write(format!("/proc/sys/net/{key}"), value)
            .unwrap_or_else(|error| panic!("set {key} to {value}: {error}"));
    }

    /// Sets `/proc/sys/net/KEY` at the peer.
    pub fn peer_sysctl(&self, key: &str, value: &str) {
        let script = format!("echo {value} > /proc/sys/net/{key}");
        run(Command::new("nsenter")
            .arg(format!("--net={}", self.peer_path()))
            .args(["sh", "-c", &script]));
    }

    /// The host's neighbour entry as `ip neigh` prints it; empty when there is none.
    pub fn neighbour(&self, interface: &str, address: &str) -> String {
        self.host(&format!("neigh show {address} dev {interface} nud all"))
    }

    fn peer_path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.peer.as_raw_fd())
    }
}

fn nodad(address: &str) -> &'static str {
    if address.contains(':') { " nodad" } else { "" }
}

fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A resolver with short intervals, for these targets.
pub async fn resolver(targets: &[&str]) -> Resolver {
    let resolver = Resolver::start(ResolverOptions::default())
        .await
        .expect("start the resolver");
    resolver.set_targets(ips(targets));
    resolver
}

pub fn ips(targets: &[&str]) -> Vec<IpAddr> {
    targets.iter().map(|target| ip(target)).collect()
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an IP address in a test")
}

/// Waits until a target's next hop is as expected and says how long it took.
pub async fn wait(
    resolver: &Resolver,
    target: &str,
    expected: impl Fn(&NextHop) -> bool,
) -> NextHop {
    let start = Instant::now();
    let mut next_hops = resolver.next_hops();
    let mut seen = Vec::new();
    let waiting = async {
        loop {
            let now = next_hops.borrow_and_update().get(&ip(target)).cloned();
            if let Some(now) = now.clone().filter(|now| expected(now)) {
                return now;
            }
            if seen.last() != Some(&now) {
                seen.push(now);
            }
            next_hops.changed().await.expect("the resolver is alive");
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(found) => {
            println!("{target}: {found} after {:?}", start.elapsed());
            found
        }
        Err(_) => panic!("{target} did not become what was expected; seen: {seen:#?}"),
    }
}

/// Waits until a target is resolved to this MAC address.
pub async fn wait_mac(resolver: &Resolver, target: &str, expected: [u8; 6]) -> NextHop {
    wait(
        resolver,
        target,
        |hop| matches!(hop, NextHop::Resolved { mac, .. } if *mac == expected),
    )
    .await
}

/// Waits until a target is unresolved for a reason that contains this text.
pub async fn wait_reason(resolver: &Resolver, target: &str, text: &str) -> NextHop {
    wait(
        resolver,
        target,
        |hop| matches!(hop, NextHop::Unresolved { reason } if reason.contains(text)),
    )
    .await
}

/// Looks again and again until a text is as expected.
pub async fn poll(
    what: &str,
    look: impl Fn() -> String,
    expected: impl Fn(&str) -> bool,
) -> String {
    let start = Instant::now();
    loop {
        let seen = look();
        if expected(&seen) {
            return seen;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: last seen {seen:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
