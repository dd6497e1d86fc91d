//! Real nginx on a node: it says its name, and serves files large enough to fill a connection.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::daemon::{self, Daemon};
use super::node::Node;
use super::wait_until;

/// The ports it listens on, IPv4 and IPv6.
const PORTS: [u16; 2] = [80, 8080];
/// Generous: on a busy machine it starts in a tenth of a second.
const DEADLINE: Duration = Duration::from_secs(10);
/// Files below `/bytes/`, by size in MiB. They are sparse: they take no space.
const FILES_MIB: [u64; 3] = [1, 16, 256];

/// Whether each request is written down: not for runs without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// One line for each request, see [`Nginx::requests`].
    On,
    /// No log.
    Off,
}

/// An nginx that answers `/` with its node's name, in the body and as the header `X-Real-Server`, and serves
/// `/bytes/1m`, `/bytes/16m` and `/bytes/256m`. Ends with this value.
#[derive(Debug)]
pub struct Nginx {
    node: Node,
    directory: PathBuf,
    daemon: Option<Daemon>,
}

/// One line of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asked.
    pub client: IpAddr,
    /// The address and port that was asked, the virtual one behind a director.
    pub server: SocketAddr,
    /// The path with its query.
    pub path: String,
    /// The HTTP status of the answer.
    pub status: u16,
}

impl Nginx {
    /// Starts it and waits until it listens.
    pub fn start(node: &Node, access_log: AccessLog) -> Result<Self> {
        let directory = node.directory().join("nginx");
        write_files(&directory, node.name(), access_log)?;
        let mut nginx = Self {
            node: node.clone(),
            directory,
            daemon: None,
        };
        nginx.restart()?;
        Ok(nginx)
    }

    /// Starts it again after [`Nginx::kill`] or [`Nginx::stop`], and waits until it listens. Does nothing to one that runs.
    pub fn restart(&mut self) -> Result<()> {
        if self.daemon.is_none() {
            let mut command = self.node.command("nginx");
            command.arg("-e").arg(self.directory.join("error.log"));
            command.arg("-c").arg(self.directory.join("nginx.conf"));
            let started = self.daemon.insert(self.node.spawn("nginx", command)?);
            wait_for_listener(&self.node, started)?;
        }
        Ok(())
    }

    /// Ends it as a crash would: connections are reset, new ones refused.
    pub fn kill(&mut self) {
        self.daemon = None;
    }

    /// Ends it as an operator would: it finishes the requests it has (nginx's SIGQUIT).
    pub fn stop(&mut self) -> Result<()> {
        match self.daemon.take() {
            // To the master alone: workers that get it from two sides count it twice and give up their requests.
            Some(mut daemon) => {
                nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(daemon.pid().cast_signed()),
                    Signal::SIGQUIT,
                )?;
                daemon.wait(DEADLINE).map(drop)
            }
            None => Ok(()),
        }
    }

    /// The node it runs on.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// What it has answered since it was first started. Empty with [`AccessLog::Off`].
    pub fn requests(&self) -> Result<Vec<Request>> {
        let path = self.directory.join("access.log");
        match fs::read_to_string(&path) {
            Ok(text) => text.lines().map(parse_request).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// The last lines of its error log.
    pub fn log_tail(&self, lines: usize) -> String {
        daemon::tail(&self.directory.join("error.log"), lines)
    }
}

fn parse_request(line: &str) -> Result<Request> {
    let mut fields = line.split('\t');
    let mut next = || {
        fields
            .next()
            .with_context(|| format!("the access log has a short line: {line}"))
    };
    let client = next()?
        .parse()
        .with_context(|| format!("client in {line}"))?;
    let address: IpAddr = next()?
        .parse()
        .with_context(|| format!("server in {line}"))?;
    let port = next()?.parse().with_context(|| format!("port in {line}"))?;
    let path = next()?.to_owned();
    let status = next()?
        .parse()
        .with_context(|| format!("status in {line}"))?;
    Ok(Request {
        client,
        server: SocketAddr::new(address, port),
        path,
        status,
    })
}

fn wait_for_listener(node: &Node, daemon: &Daemon) -> Result<()> {
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let endpoints = loopback
        .into_iter()
        .flat_map(|address| PORTS.map(|port| SocketAddr::new(address, port)));
    let endpoints: Vec<_> = endpoints.collect();
    node.enter(|| {
        wait_until(DEADLINE, &format!("{} to listen", daemon.name()), || {
            let seen = |error: &dyn std::fmt::Display| {
                format!("{error}; it wrote: {}", daemon.log_tail(5))
            };
            if let Some(status) = daemon.ended() {
                return Err(seen(&format!("it ended: {status}")));
            }
            for endpoint in &endpoints {
                TcpStream::connect(endpoint)
                    .map_err(|error| seen(&format!("{endpoint}: {error}")))?;
            }
            Ok(())
        })
    })?
}

fn write_files(directory: &Path, name: &str, access_log: AccessLog) -> Result<()> {
    let files = directory.join("www/bytes");
    fs::create_dir_all(&files).with_context(|| format!("make {}", files.display()))?;
    for size in FILES_MIB {
        let path = files.join(format!("{size}m"));
        let file = File::create(&path).with_context(|| format!("make {}", path.display()))?;
        file.set_len(size << 20)
            .with_context(|| format!("size {}", path.display()))?;
    }
    let path = directory.join("nginx.conf");
    fs::write(
        &path,
        config(&directory.display().to_string(), name, access_log),
    )
    .with_context(|| format!("write {}", path.display()))
}

/// A configuration that touches nothing outside `directory`.
fn config(directory: &str, name: &str, access_log: AccessLog) -> String {
    let log = match access_log {
        AccessLog::On => format!("{directory}/access.log lab"),
        AccessLog::Off => "off".to_owned(),
    };
    let listen: String = PORTS
        .iter()
        .map(|port| format!("listen {port}; listen [::]:{port}; "))
        .collect();
    format!(
        r#"daemon off;
user root;
worker_processes 1;
pid {directory}/nginx.pid;
events {{ worker_connections 16384; }}
http {{
    log_format lab "$remote_addr\t$server_addr\t$server_port\t$request_uri\t$status";
    access_log {log};
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000;
    keepalive_timeout 1h;
    add_header X-Real-Server {name} always;
    server {{
        {listen}
        location = / {{ return 200 "{name}\n"; }}
        location /bytes/ {{ root {directory}/www; }}
    }}
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_access_log_is_understood() {
        let request = parse_request("fd00:1::101\tfd00:1::100\t8080\t/?a=b\t200").unwrap();
        assert_eq!(request.client, "fd00:1::101".parse::<IpAddr>().unwrap());
        assert_eq!(request.server, "[fd00:1::100]:8080".parse().unwrap());
        assert_eq!((request.path.as_str(), request.status), ("/?a=b", 200));
    }

    #[test]
    fn a_cut_line_of_the_access_log_is_an_error() {
        assert!(parse_request("10.1.0.101\t10.1.0.100\t80\t/").is_err());
    }
}
