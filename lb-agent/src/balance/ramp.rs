//! Slow start: the share that a recovered real server has of its weight, while it warms up.
//!
//! In [`STEPS`] equal steps, the first at once: each is a new table, and moves some flows. A weight is a whole number and
//! often 1, so all weights of the service are multiplied while one is ramped ([`scale`]); that moves nothing by itself,
//! for a table depends on the ratios of weights alone.

use std::time::{Duration, Instant};

/// Steps from nothing to the whole weight.
pub const STEPS: u32 = 10;

/// The way back of one real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ramp {
    began: Instant,
    over: Duration,
}

impl Ramp {
    /// One that begins now; `None` where it would take no time.
    pub fn new(now: Instant, over: Duration) -> Option<Self> {
        (!over.is_zero()).then_some(Self { began: now, over })
    }

    /// Steps taken by now, of [`STEPS`]; `None`: it is over.
    pub fn step(&self, now: Instant) -> Option<u32> {
        let gone = now.saturating_duration_since(self.began);
        (1..STEPS).find(|&step| gone < self.until(step))
    }

    /// When the next step is due; `None`: it is over.
    pub fn next_step(&self, now: Instant) -> Option<Instant> {
        Some(self.began + self.until(self.step(now)?))
    }

    /// From its begin to the end of this step.
    fn until(&self, step: u32) -> Duration {
        self.over / STEPS * step
    }
}

/// What all weights are multiplied by while one of them is ramped: enough for the steps, and no weight beyond 65535.
pub fn scale(heaviest: u16) -> u16 {
    let room = u16::MAX / heaviest.max(1);
    room.min(STEPS as u16)
}

/// The share of `weight`, multiplied already, after so many steps; at least 1, or it would have none.
pub fn ramped(weight: u16, step: u32) -> u16 {
    let share = u32::from(weight) * step / STEPS;
    u16::try_from(share).unwrap_or(weight).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_even_and_end() {
        let now = Instant::now();
        let ramp = Ramp::new(now, Duration::from_secs(100)).expect("it takes time");
        let after = |secs| now + Duration::from_secs(secs);
        let steps: Vec<_> = [0, 9, 10, 55, 89, 90, 1000]
            .map(|s| ramp.step(after(s)))
            .into();
        assert_eq!(
            steps,
            [Some(1), Some(1), Some(2), Some(6), Some(9), None, None]
        );
        assert_eq!(ramp.next_step(after(0)), Some(after(10)));
        assert_eq!(ramp.next_step(after(10)), Some(after(20)));
        assert_eq!(ramp.next_step(after(85)), Some(after(90)));
        assert_eq!(ramp.next_step(after(90)), None);
        assert_eq!(Ramp::new(now, Duration::ZERO), None);
    }

    #[test]
    fn a_weight_is_never_too_large_nor_nothing() {
        assert_eq!(
            (
                scale(0),
                scale(1),
                scale(6553),
                scale(6554),
                scale(u16::MAX)
            ),
            (10, 10, 10, 9, 1)
        );
        assert_eq!(
            (
                ramped(10, 1),
                ramped(10, 9),
                ramped(1, 1),
                ramped(u16::MAX, 5)
            ),
            (1, 9, 1, 32767)
        );
    }
}
