//! The time since boot, which goes on while the host sleeps and which nobody can set.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// CLOCK_BOOTTIME in the type of the machines. `Instant` itself stands still while a host is suspended, and then a master
/// would not notice that it has slept.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    boot: Duration,
}

impl Clock {
    /// One that begins now.
    pub fn start() -> Self {
        Self {
            origin: Instant::now(),
            boot: since_boot().unwrap_or_default(),
        }
    }

    /// Now.
    pub fn now(&self) -> Instant {
        match since_boot() {
            Some(boot) => self.origin + boot.saturating_sub(self.boot),
            None => Instant::now(),
        }
    }

    /// How long until then; zero where it has passed.
    pub fn until(&self, then: Instant) -> Duration {
        then.saturating_duration_since(self.now())
    }
}

fn since_boot() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .ok()
        .map(Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_with_the_monotonic_clock_while_the_host_is_awake() {
        let clock = Clock::start();
        let before = Instant::now();
        let now = clock.now();
        assert!(now + Duration::from_millis(100) > before);
        assert!(now < Instant::now() + Duration::from_millis(100));
        assert_eq!(clock.until(now - Duration::from_secs(1)), Duration::ZERO);
        assert!(clock.until(now + Duration::from_secs(9)) > Duration::from_secs(5));
    }
}
