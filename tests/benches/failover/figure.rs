//! What was measured, round by round.

use lb_tests::figures::Figure;
use std::time::Duration;

/// All that was measured, in the order of its first round.
#[derive(Default)]
pub struct Figures(Vec<(String, &'static str, Vec<f64>)>);

impl Figures {
    /// One round's time.
    pub fn time(&mut self, case: &str, value: Duration) {
        self.add(case, "ms", value.as_secs_f64() * 1e3);
    }

    /// One round's count.
    pub fn count(&mut self, case: &str, value: usize) {
        self.add(case, "count", value as f64);
    }

    /// One round's size.
    pub fn bytes(&mut self, case: &str, value: u64) {
        self.add(case, "bytes", value as f64);
    }

    fn add(&mut self, case: &str, unit: &'static str, value: f64) {
        eprintln!("{case}: {value:.1} {unit}");
        match self.0.iter_mut().find(|(known, _, _)| known == case) {
            Some((_, _, values)) => values.push(value),
            None => self.0.push((case.to_owned(), unit, vec![value])),
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Figure> {
        let figure = |(case, unit, values): &(String, &'static str, Vec<f64>)| {
            Figure::of_rounds(case, unit, values)
        };
        self.0.iter().map(figure).collect()
    }
}
