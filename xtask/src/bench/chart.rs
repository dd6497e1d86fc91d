//! A bar chart as SVG: one bar a case, its spread over the rounds, and where the goal is.

use std::fmt::Write as _;

use lb_tests::figures::{Figure, decimals};

use super::goals::{Bound, Goal};

/// Of a bar and the space below it, in pixels.
const ROW: usize = 26;
const BAR: usize = 14;
/// Where the bars begin, and how long the longest is.
const LEFT: usize = 230;
const WIDTH: usize = 480;
/// Room on the right for the figure.
const RIGHT: usize = 130;
const TOP: usize = 46;

/// One chart of figures that share a unit. Bars of a peer are another colour than ours.
pub fn bars(title: &str, unit: &str, rows: &[Row<'_>]) -> String {
    let most = rows
        .iter()
        .flat_map(|row| {
            [
                row.figure.value,
                row.figure.max,
                row.goal.map_or(0.0, |goal| goal.value),
            ]
        })
        .fold(0.0, f64::max);
    let scale = if most > 0.0 { WIDTH as f64 / most } else { 0.0 };
    let at = |value: f64| LEFT as f64 + value.max(0.0) * scale;
    let (width, height) = (LEFT + WIDTH + RIGHT, TOP + ROW * rows.len() + 30);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"26\" font-size=\"15\" fill=\"#222222\">{}</text>\n",
        escaped(title)
    );
    for (index, row) in rows.iter().enumerate() {
        let top = TOP + index * ROW;
        let middle = top + BAR / 2;
        let figure = row.figure;
        let colour = if row.is_peer { "#9aa5b1" } else { "#2f6fb0" };
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#222222\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>",
            LEFT - 8,
            middle + 4,
            escaped(&figure.case),
            at(figure.value) - LEFT as f64,
        );
        if figure.max > figure.min {
            let (from, to) = (at(figure.min), at(figure.max));
            let _ = writeln!(
                svg,
                "<path d=\"M{from:.1} {middle}H{to:.1}M{from:.1} {}v6M{to:.1} {}v6\" stroke=\"#222222\" fill=\"none\"/>",
                middle - 3,
                middle - 3
            );
        }
        if let Some(goal) = row.goal {
            let x = at(goal.value);
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {}v{}\" stroke=\"#c0392b\" stroke-width=\"2\" stroke-dasharray=\"3 2\"/>",
                top - 4,
                BAR + 8
            );
        }
        let goal = row.goal.map_or(0.0, |goal| goal.value);
        let label = at(figure.value.max(figure.max).max(goal)) + 8.0;
        let _ = writeln!(
            svg,
            "<text x=\"{label:.1}\" y=\"{}\" fill=\"#222222\">{} {}</text>",
            middle + 4,
            decimals(figure.value),
            escaped(unit)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\" fill=\"#666666\" font-size=\"11\">bar: median; line: least and most of the rounds; dashed: goal{}</text>\n</svg>",
        height - 10,
        if rows.iter().any(|row| row.is_peer) {
            "; grey: peers"
        } else {
            ""
        }
    );
    svg
}

/// A bar.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    /// What was measured.
    pub figure: &'a Figure,
    /// What it should be.
    pub goal: Option<Goal>,
    /// Whether it is somebody else's.
    pub is_peer: bool,
}

impl Goal {
    /// As a table shows it.
    pub fn words(self) -> String {
        let sign = match self.bound {
            Bound::AtMost => '≤',
            Bound::AtLeast => '≥',
        };
        format!("{sign} {}", self.value)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_figure() {
        let figures = [
            Figure::of_rounds("a<b", "ns", &[10.0]),
            Figure::of_rounds("c", "ns", &[5.0]),
        ];
        let rows: Vec<Row<'_>> = figures
            .iter()
            .map(|figure| Row {
                figure,
                goal: None,
                is_peer: false,
            })
            .collect();
        let svg = bars("T", "ns", &rows);
        assert!(svg.contains("width=\"480.0\""), "{svg}");
        assert!(svg.contains("width=\"240.0\""), "{svg}");
        assert!(svg.contains("a&lt;b"), "{svg}");
    }
}
