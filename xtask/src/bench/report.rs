//! `cargo xtask bench --report`: `docs/performance.md` and its charts, from what the benchmarks wrote.
//!
//! Nothing is measured here, and nothing is left out: a benchmark that did not run is named as such.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, bail};
use clap::ValueEnum as _;
use lb_tests::figures::{self, Figure, decimals};

use super::Name;
use super::chart::{self, Row};
use super::goals::{Goal, PEERS};
use crate::child;
use crate::say::say;
use crate::workspace;

/// The page, and the folder of its charts, below the workspace.
const PAGE: &str = "docs/performance.md";
const CHARTS: &str = "docs/performance";

/// Writes the page anew.
pub fn write() -> anyhow::Result<()> {
    let root = workspace::root();
    let mut page = String::from(
        "# Performance\n\nWritten by `cargo xtask bench --report` from the files that the benchmarks left in `target/bench`. \
         Figures of a shared machine drift by a tenth and more: ratios of one run hold better than absolute times, and\n\
         the spread over the rounds says how far to trust each.\n\n",
    );
    page.push_str(&machine());
    let charts = root.join(CHARTS);
    fs::create_dir_all(&charts).with_context(|| format!("create {}", charts.display()))?;
    let mut missing = Vec::new();
    for &name in Name::value_variants() {
        let file = figures::file(&root, name.as_str());
        if file.exists() {
            let measured = fs::metadata(&file).and_then(|data| data.modified());
            page.push_str(&section(
                name,
                &figures::read(&file)?,
                measured.ok(),
                &charts,
            )?);
        } else {
            missing.push(format!("`cargo xtask bench {}`", name.as_str()));
        }
    }
    if missing.len() == Name::value_variants().len() {
        bail!(
            "there is nothing to report in target/bench: run a benchmark first, such as `cargo xtask bench packet`"
        );
    }
    if !missing.is_empty() {
        let _ = writeln!(
            page,
            "## Not measured\n\nNo figures were there of {}.",
            missing.join(", ")
        );
    }
    let file = root.join(PAGE);
    fs::write(&file, page.trim_end().to_owned() + "\n")
        .with_context(|| format!("write {}", file.display()))?;
    say!("written to {PAGE}");
    Ok(())
}

fn section(
    name: Name,
    figures: &[Figure],
    measured: Option<SystemTime>,
    charts: &Path,
) -> anyhow::Result<String> {
    let bench = name.as_str();
    let about = name.about();
    let measured = measured.map_or_else(String::new, |time| format!(", {}", day(time)));
    let mut text = format!(
        "## {}\n\n{}\n\n`cargo xtask bench {bench}`{measured}.\n\n",
        about.title, about.method
    );
    text.push_str("| case | median | unit | least to most | goal | |\n| --- | ---: | --- | ---: | ---: | --- |\n");
    for figure in figures {
        let goal = Goal::of(&figure.case);
        let verdict = goal.map_or("", |goal| {
            if goal.is_met(figure.value) {
                "met"
            } else {
                "**not met**"
            }
        });
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} to {} | {} | {verdict} |",
            figure.case,
            decimals(figure.value),
            figure.unit,
            decimals(figure.min),
            decimals(figure.max),
            goal.map_or_else(String::new, Goal::words),
        );
    }
    text.push('\n');
    for unit in units(figures) {
        let peers = peers_of(bench, &unit);
        let rows = figures
            .iter()
            .filter(|figure| figure.unit == unit)
            .map(|figure| Row {
                figure,
                goal: Goal::of(&figure.case),
                is_peer: false,
            })
            .chain(peers.iter().map(|figure| Row {
                figure,
                goal: None,
                is_peer: true,
            }))
            .collect::<Vec<_>>();
        let file = format!("{bench}-{unit}.svg");
        let svg = chart::bars(&format!("{}, {}", about.title, words(&unit)), &unit, &rows);
        fs::write(charts.join(&file), svg).with_context(|| format!("write {file}"))?;
        let _ = writeln!(
            text,
            "![{}, {}](performance/{file})\n",
            about.title,
            words(&unit)
        );
    }
    for source in sources(bench) {
        let _ = writeln!(text, "Peers: {source}.\n");
    }
    Ok(text)
}

/// The units of these figures, each once, in their order.
fn units(figures: &[Figure]) -> Vec<String> {
    let mut units: Vec<String> = Vec::new();
    for figure in figures {
        if !units.contains(&figure.unit) {
            units.push(figure.unit.clone());
        }
    }
    units
}

/// The peers' figures; all of them are nanoseconds.
fn peers_of(bench: &str, unit: &str) -> Vec<Figure> {
    let here = PEERS
        .iter()
        .filter(|peer| peer.bench == bench && unit == "ns");
    here.map(|peer| Figure::of_rounds(peer.case, unit, &[peer.value]))
        .collect()
}

fn sources(bench: &str) -> Vec<&'static str> {
    let mut sources: Vec<_> = PEERS
        .iter()
        .filter(|peer| peer.bench == bench)
        .map(|peer| peer.source)
        .collect();
    sources.dedup();
    sources
}

fn words(unit: &str) -> &str {
    match unit {
        "ns" => "nanoseconds",
        "us" => "microseconds",
        "ms" => "milliseconds",
        "per_second" => "per second",
        other => other,
    }
}

/// What it was measured on.
fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let rustc = child::output(Command::new("rustc").arg("--version")).unwrap_or_default();
    format!(
        "Machine: {model}, {count} CPUs, Linux {}, {}; report of {}.\n\n",
        kernel.trim(),
        rustc.trim(),
        day(SystemTime::now())
    )
}

/// Such as `2026-11-21`, UTC.
fn day(time: SystemTime) -> String {
    let mut text = humantime::format_rfc3339_seconds(time).to_string();
    text.truncate("2026-11-21".len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_says_which_goals_are_met_and_draws_each_unit() -> anyhow::Result<()> {
        let charts = std::env::temp_dir().join(format!("lb-report-{}", std::process::id()));
        fs::create_dir_all(&charts)?;
        let figures = [
            Figure::of_rounds("dr4_syn", "ns", &[19.0, 21.0, 19.5]),
            Figure::of_rounds("dr6_tcp_established", "ns", &[27.0]),
            Figure::of_rounds("odd", "bytes", &[7.0]),
        ];
        let text = section(
            Name::Packet,
            &figures,
            Some(SystemTime::UNIX_EPOCH),
            &charts,
        );
        let drawn = fs::read_to_string(charts.join("packet-ns.svg"));
        let other = fs::exists(charts.join("packet-bytes.svg"));
        fs::remove_dir_all(&charts)?;
        let (text, drawn) = (text?, drawn?);
        assert!(
            text.contains("| `dr4_syn` | 19.5 | ns | 19.0 to 21.0 | ≤ 20 | met |"),
            "{text}"
        );
        assert!(text.contains("| ≤ 26 | **not met** |"), "{text}");
        assert!(text.contains("1970-01-01"), "{text}");
        assert!(
            drawn.contains("Katran") && !drawn.contains(">odd<"),
            "{drawn}"
        );
        assert!(other?, "a chart for each unit");
        Ok(())
    }
}
