//! What is seen while it runs: a few lines that are drawn again in place, or on no terminal a line a second.

use std::fmt::Write as _;
use std::io::{IsTerminal, stdout};
use std::time::Duration;

use super::tally::Tally;
use super::watch::Seen;
use crate::say::{out, say};
use lb_tests::traffic::Latencies;

/// The width of the longest bar, in characters.
const BAR: u64 = 40;

/// The figures of the last second.
#[derive(Debug, Default)]
pub struct Second {
    /// Requests that ended.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// How long the answers took.
    pub latencies: Latencies,
}

/// The screen.
pub struct View {
    terminal: bool,
    /// How many lines of the live part are on the screen.
    drawn: usize,
}

impl View {
    /// For standard output, whatever it is.
    pub fn new() -> Self {
        Self {
            terminal: stdout().is_terminal(),
            drawn: 0,
        }
    }

    /// A line that stays.
    pub fn event(&mut self, at: Duration, text: &str) {
        self.erase();
        say!("{:5.1} s  {text}", at.as_secs_f64());
    }

    /// Draws the figures of now.
    pub fn draw(&mut self, at: Duration, second: &Second, tally: &Tally, seen: &Seen) {
        let head = head(at, second, seen);
        if self.terminal {
            self.erase();
            let bars = bars(tally);
            self.drawn = 1 + bars.len();
            say!("{head}");
            bars.iter().for_each(|line| say!("{line}"));
        } else {
            say!("{head}  {}", shares(tally));
        }
    }

    /// Takes the live part away: up over its lines, and clear to the end of the screen.
    pub fn erase(&mut self) {
        if self.drawn > 0 {
            out(format_args!("\x1b[{}A\x1b[J", self.drawn));
            self.drawn = 0;
        }
    }
}

fn head(at: Duration, second: &Second, seen: &Seen) -> String {
    let mut line = format!(
        "{:5.1} s  {} requests/s  {} failed",
        at.as_secs_f64(),
        second.requests,
        second.failed
    );
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let value = second
            .latencies
            .percentile(share)
            .map_or("-".into(), |value| {
                format!("{:.1}", value.as_secs_f64() * 1e3)
            });
        let _ = write!(line, "  {name} {value} ms");
    }
    match (&seen.error, seen.generation) {
        (None, Some(generation)) => {
            let _ = write!(
                line,
                "  generation {generation}  {}",
                seen.datapath.as_deref().unwrap_or("no datapath")
            );
        }
        (_, _) => line.push_str("  the agent does not answer"),
    }
    line
}

fn shares(tally: &Tally) -> String {
    let shares: Vec<_> = tally
        .per_real_server
        .iter()
        .map(|(server, count)| format!("{server} {count}"))
        .collect();
    shares.join("  ")
}

fn bars(tally: &Tally) -> Vec<String> {
    let most = tally
        .per_real_server
        .values()
        .copied()
        .max()
        .unwrap_or(0)
        .max(1);
    let bar = |(server, count): (&String, &u64)| {
        format!(
            "        {server:5}{count:8}  {}",
            "#".repeat((count * BAR / most) as usize)
        )
    };
    tally.per_real_server.iter().map(bar).collect()
}

/// The closing lines.
pub fn report(tally: &Tally, took: Duration, seen: &Seen) {
    let answered = tally.requests - tally.failed;
    say!(
        "\n{} requests in {:.1} s: {answered} answered, {} failed",
        tally.requests,
        took.as_secs_f64(),
        tally.failed
    );
    say!("  served by   {}", shares(tally));
    let millis = |share| {
        tally
            .latencies
            .percentile(share)
            .map_or("-".into(), |value| {
                format!("{:.2} ms", value.as_secs_f64() * 1e3)
            })
    };
    say!("  latency     p50 {}, p99 {}", millis(0.5), millis(0.99));
    say!(
        "  datapath    {}, generation {}",
        seen.datapath.as_deref().unwrap_or("-"),
        seen.generation.map_or("-".into(), |g| g.to_string())
    );
    if let Some(drill) = &tally.drill {
        let after =
            |moment: std::time::Instant| format!("{:.2} s", (moment - drill.killed).as_secs_f64());
        let failed = drill.failed_within_bound + drill.failed_after_bound;
        let last = drill
            .last_failure
            .map_or("no request failed".into(), |last| {
                format!(
                    "{failed} requests failed, the last {} after it",
                    after(last)
                )
            });
        let bound = tally.bound().as_secs_f64();
        say!(
            "  the kill    of {}: {last} (the check's bound is {bound:.1} s)",
            drill.server
        );
        if let Some(changed) = drill.table_changed {
            say!(
                "              the table without it was seen {} after the kill",
                after(changed)
            );
        }
        if let (Some(restored), Some(again)) = (drill.restored, drill.served_again) {
            say!(
                "              put back, it served again after {:.2} s",
                (again - restored).as_secs_f64()
            );
        }
    }
    if let Some(failover) = &tally.failover {
        let gap = failover.gap().map_or("no answer since".into(), |gap| {
            format!(
                "the longest time without an answer was {:.0} ms",
                gap.as_secs_f64() * 1e3
            )
        });
        let failed = failover.failed + failover.failed_after_bound;
        say!("  failover    {gap}, {failed} requests failed");
    }
}
