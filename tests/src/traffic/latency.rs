//! Percentiles of any number of durations in fixed memory.

use std::time::Duration;

/// Buckets for each doubling: a percentile is at most 1/16 too large.
const STEPS: usize = 16;
/// Doublings from 1 µs on: up to an hour, and the last bucket takes what is longer.
const DOUBLINGS: usize = 32;

/// A histogram with logarithmic buckets of microseconds.
#[derive(Clone, Debug)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: vec![0; STEPS * DOUBLINGS],
            total: 0,
        }
    }
}

impl Latencies {
    /// Adds one.
    pub fn add(&mut self, latency: Duration) {
        let last = self.counts.len() - 1;
        self.counts[bucket(latency).min(last)] += 1;
        self.total += 1;
    }

    /// The duration that `share` (0 to 1) of all do not exceed, rounded up by at most a sixteenth. None: there are none.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        found.map(upper_end)
    }
}

/// Values below `STEPS` µs have a bucket each; above, the doubling and the next four bits below the highest choose it.
fn bucket(latency: Duration) -> usize {
    let micros = latency.as_micros().min(u64::MAX.into()) as usize;
    if micros < STEPS {
        return micros;
    }
    let shift = micros.ilog2() - STEPS.ilog2();
    shift as usize * STEPS + (micros >> shift)
}

/// The largest whole number of microseconds that falls into the bucket.
fn upper_end(bucket: usize) -> Duration {
    if bucket < 2 * STEPS {
        return Duration::from_micros(bucket as u64);
    }
    let shift = bucket / STEPS - 1;
    let mantissa = bucket % STEPS + STEPS;
    Duration::from_micros((((mantissa + 1) as u64) << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_at_most_a_sixteenth_too_large_and_never_too_small() {
        for micros in (0..200_000).step_by(7).chain([1 << 20, 1 << 30]) {
            let mut latencies = Latencies::default();
            latencies.add(Duration::from_micros(micros));
            let found = latencies.percentile(0.5).unwrap().as_micros() as u64;
            assert!(
                found >= micros && found <= micros + micros / 16,
                "{micros} came back as {found}"
            );
        }
    }

    #[test]
    fn percentiles_split_what_was_added() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(0.5), None);
        (0..99).for_each(|_| latencies.add(Duration::from_micros(10)));
        latencies.add(Duration::from_secs(3600 * 24));
        assert_eq!(latencies.percentile(0.5), Some(Duration::from_micros(10)));
        assert_eq!(latencies.percentile(0.99), Some(Duration::from_micros(10)));
        assert!(latencies.percentile(1.0).unwrap() > Duration::from_secs(3600));
    }
}
