//! How long a router waits, and when it speaks next.

use std::time::{Duration, Instant};

use super::packet::Version;

/// How long one backup lets others go first: the higher its priority, the shorter.
///
/// RFC 3768 §6.1: `(256 - Priority) / 256` seconds, whatever the interval. RFC 9568 §6.1:
/// `(256 - Priority) * Active_Adver_Interval / 256`. Not rounded to centiseconds: keepalived's is not either.
pub fn skew(version: Version, priority: u8, interval: Duration) -> Duration {
    let whole = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => interval,
    };
    whole * (256 - u32::from(priority)) / 256
}

/// How long a backup waits for an advert until it takes over.
///
/// RFC 3768 §6.1 and RFC 9568 §6.1: `3 * interval + skew`; the 3 is `down_adverts` here.
pub fn master_down(
    version: Version,
    priority: u8,
    interval: Duration,
    down_adverts: u8,
) -> Duration {
    interval * u32::from(down_adverts) + skew(version, priority, interval)
}

/// How long to listen for a master that may be there: one whole interval of it, and half of one for what is late.
pub fn listening(interval: Duration) -> Duration {
    interval * 3 / 2
}

/// The turn after `due`, one that came at `now`. Turns stay `period` apart however late each is served, so that lateness
/// never adds up; but turns that were missed altogether are not made up for.
pub fn next_turn(due: Instant, period: Duration, now: Instant) -> Instant {
    let next = due + period;
    if next > now { next } else { now + period }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn micros(duration: Duration) -> u128 {
        duration.as_micros()
    }

    // V47
    #[test]
    fn skew_of_version_3_is_a_part_of_the_interval_and_of_version_2_a_part_of_a_second() {
        for (interval, v3) in [
            (S, 609_375),
            (S / 10, 60_937),
            (S / 100, 6_093),
            (2 * S, 1_218_750),
        ] {
            assert_eq!(micros(skew(Version::V3, 100, interval)), v3);
            assert_eq!(micros(skew(Version::V2, 100, interval)), 609_375);
        }
        assert_eq!(micros(skew(Version::V3, 255, S)), 3_906);
        assert_eq!(micros(skew(Version::V3, 1, S)), 996_093);
    }

    // V46, V48, V63
    #[test]
    fn a_master_is_down_after_three_intervals_and_skew_or_as_many_as_asked_for() {
        assert_eq!(micros(master_down(Version::V3, 100, 2 * S, 3)), 7_218_750);
        assert_eq!(micros(master_down(Version::V2, 100, S, 3)), 3_609_375);
        assert_eq!(micros(master_down(Version::V3, 100, S / 100, 3)), 36_093);
        assert_eq!(micros(master_down(Version::V2, 100, 5 * S, 2)), 10_609_375);
    }

    // V17
    #[test]
    fn lateness_never_adds_up_and_missed_turns_are_not_made_up_for() {
        let start = Instant::now();
        let mut due = start;
        for turn in 1..=100 {
            let late = Duration::from_millis(turn * 37 % 990);
            due = next_turn(due, S, due + late);
        }
        assert_eq!(due, start + 100 * S);
        let missed = due + 5 * S;
        assert_eq!(next_turn(due, S, missed), missed + S);
    }
}
