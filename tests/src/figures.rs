//! What a benchmark found: `target/bench/NAME.json`, one form for all of them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// One case: its median over the rounds, and their spread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// As in `dr4_tcp_established`.
    pub case: String,
    /// The median.
    pub value: f64,
    /// `ns`, `us`, `ms`, `ratio`, `count`, `per_second`, `bytes` …
    pub unit: String,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How often it was measured.
    pub rounds: u32,
}

impl Figure {
    /// The figure of these rounds; 0 for none.
    pub fn of_rounds(case: &str, unit: &str, rounds: &[f64]) -> Self {
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().map_or(0.0, round);
        Self {
            case: case.to_owned(),
            value: at(sorted.len() / 2),
            unit: unit.to_owned(),
            min: at(0),
            max: at(sorted.len().saturating_sub(1)),
            rounds: u32::try_from(rounds.len()).unwrap_or(u32::MAX),
        }
    }

    /// One line for whoever watches.
    pub fn line(&self) -> String {
        let [value, min, max] = [self.value, self.min, self.max].map(decimals);
        let unit = &self.unit;
        format!("{:26} {value:>9} {unit}  ({min} to {max})", self.case)
    }
}

/// Five digits are more than any of our clocks can tell.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10_f64.powi(4 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

/// A figure with as many decimals as its size deserves.
pub fn decimals(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 1000.0 => 0,
        size if size >= 10.0 => 1,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// Where the benchmark of this name leaves its figures, below `root`, the workspace.
pub fn file(root: &Path, name: &str) -> PathBuf {
    root.join("target/bench").join(format!("{name}.json"))
}

/// The workspace that this was built from.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Writes the figures of the benchmark `name` below `root`, the workspace.
pub fn write(root: &Path, name: &str, figures: &[Figure]) -> Result<()> {
    let file = file(root, name);
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(figures).context("figures as JSON")?;
    fs::write(&file, text + "\n").with_context(|| format!("write {}", file.display()))
}

/// Reads a file of figures. One without any is an error: that benchmark measured nothing.
pub fn read(file: &Path) -> Result<Vec<Figure>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("the benchmark wrote no {}", file.display()))?;
    let figures: Vec<Figure> =
        serde_json::from_str(&text).with_context(|| format!("parse {}", file.display()))?;
    if figures.is_empty() {
        bail!(
            "{} has no case: the benchmark measured nothing",
            file.display()
        );
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_and_the_spread_of_its_rounds() {
        let figure = Figure::of_rounds("x", "ns", &[3.0, 100.0, 1.0, 2.123_456, 4.0]);
        assert_eq!((figure.value, figure.min, figure.max), (3.0, 1.0, 100.0));
        assert_eq!(figure.rounds, 5);
        assert_eq!(Figure::of_rounds("x", "ns", &[2.123_456]).value, 2.1235);
    }

    #[test]
    fn a_case_without_a_unit_is_refused() {
        let json = r#"[{"case": "x", "value": 1, "min": 1, "max": 1, "rounds": 1}]"#;
        assert!(serde_json::from_str::<Vec<Figure>>(json).is_err());
    }
}
