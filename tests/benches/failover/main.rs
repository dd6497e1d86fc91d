//! What clients notice when the master of two directors goes, beside keepalived in the same run.
//!
//! Adverts every 10 ms. `kill9`: the agent, or keepalived with all its children, gets SIGKILL; its host lives on. `cut`: the
//! host's cable is pulled. The gap is the longest time between two answers to a client that sends a datagram each
//! millisecond: through direct routing to real servers with the agent; with keepalived from a server on the directors
//! themselves, since there is nothing here that it could steer. Besides, what 250 instances cost.

#[expect(dead_code, reason = "the tests ask more of it")]
#[path = "../../tests/lab_vrrp/capture.rs"]
mod capture;
mod figure;
mod instances;
mod ours;
mod probe;
mod theirs;

use anyhow::Context as _;
use figure::Figures;
use lb_tests::figures;
use std::time::Duration;

/// Of each drill.
const ROUNDS: usize = 5;
/// Beside what elections take here.
const DEADLINE: Duration = Duration::from_secs(30);
/// Settled connections.
const CONNECTIONS: usize = 10_000;
/// Where datagrams are answered.
const UDP_PORT: u16 = 7001;
/// Where connections are.
const TCP_PORT: u16 = 7000;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    // As a server of its own, because one process may not have all those connections twice.
    if let [_, verb, endpoint] = &arguments[..]
        && verb == ours::SERVE
    {
        return ours::serve(endpoint.parse()?);
    }
    lb_tests::crowd::raise_open_files()?;
    let mut figures = Figures::default();
    ours::measure(&mut figures).context("two agents")?;
    theirs::measure(&mut figures).context("two keepalived")?;
    instances::measure(&mut figures).context("250 instances")?;
    figures::write(&figures::workspace(), "failover", &figures.all())
}
