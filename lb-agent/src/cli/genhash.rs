//! `lb-agent genhash`: the digest of what a server answers now, for `digest` of an http or https check.

use super::output;
use crate::health::{
    Origin,
    deadline::Deadline,
    http::{self, Answer},
    https,
    tls::{Protocol, Verify},
};
use anyhow::{Context as _, bail};
use hyper::http::Uri;
use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    time::Duration,
};

/// What to ask for.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Such as `http://10.0.0.11/health` or `https://www.example.com/`.
    url: String,
    /// Ask this address, rather than the one that the URL names: ADDRESS:PORT.
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: Option<SocketAddr>,
    /// The Host header, rather than the URL's host.
    #[arg(long)]
    host: Option<String>,
    /// The name that TLS asks for, rather than the host.
    #[arg(long)]
    sni: Option<String>,
    /// Speak HTTP/2, over https.
    #[arg(long)]
    http2: bool,
    /// How long it may take.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Asks, and prints the digest; how it came about goes to stderr.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let url: Uri = args
        .url
        .parse()
        .with_context(|| format!("`{}` is no URL", args.url))?;
    let (is_https, own_port) = match url.scheme_str() {
        Some("http") => (false, 80),
        Some("https") => (true, 443),
        _ => bail!("`{}` is no URL of http or https", args.url),
    };
    if args.http2 && !is_https {
        bail!("HTTP/2 is spoken over https");
    }
    let authority = url
        .authority()
        .with_context(|| format!("`{}` names no host", args.url))?;
    let to = match args.address {
        Some(to) => to,
        None => resolve(authority.host(), authority.port_u16().unwrap_or(own_port))?,
    };
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let host = args.host.as_deref().unwrap_or(authority.as_str());
    let request = http::Request::for_digest(path, host);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let answer = runtime.block_on(async {
        let deadline = Deadline::after(args.timeout);
        if !is_https {
            return Ok(http::check(to, &Origin::default(), &request, &deadline).await?);
        }
        let protocol = match args.http2 {
            true => Protocol::Http2,
            false => Protocol::Http1,
        };
        let request = https::Request::new(request, args.sni.as_deref(), Verify::Nothing, protocol)?;
        anyhow::Ok(https::check(to, &Origin::default(), &request, &deadline).await?)
    })?;
    let Answer { status, body } = answer;
    let body = body.context("no body was read")?;
    let digest = body.digest.context("no digest was made")?;
    output::complain(&format_args!(
        "HTTP {status} from {to}, {} bytes",
        body.bytes
    ));
    output::say(&format_args!("{digest}\n"))?;
    Ok(())
}

fn resolve(host: &str, port: u16) -> anyhow::Result<SocketAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = (host, port)
        .to_socket_addrs()
        .with_context(|| format!("look up {host}"))?;
    { found }
        .next()
        .with_context(|| format!("{host} has no address"))
}
