//! Durations as they are written: `10ms`, `1.5s`, `1h30m`.

use std::fmt::Write;
use std::time::Duration;

/// Units with their length in nanoseconds, longest first.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
];

/// Reads numbers with units, longest unit first, each at most once. Decimals are allowed. `None`: not a duration, or one
/// above 584 years.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut nanos: u64 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail
            .find(|c: char| !c.is_ascii_lowercase())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        // The iterator goes on from the last unit: what is repeated or out of order is not found.
        let (_, length) = units.find(|(name, _)| *name == unit)?;
        nanos = nanos.checked_add(scaled(number, *length)?)?;
        rest = tail;
    }
    (!text.is_empty()).then(|| Duration::from_nanos(nanos))
}

/// `number × length`, exactly; `None` if it overflows or is no whole number of nanoseconds.
fn scaled(number: &str, length: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let digits: u128 = fraction.parse().ok()?;
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = digits * u128::from(length);
    if !part.is_multiple_of(scale) {
        return None;
    }
    whole
        .checked_mul(length)?
        .checked_add(u64::try_from(part / scale).ok()?)
}

/// Writes a duration as configurations have it, `1h30m`. What is less than a microsecond is left out.
pub fn format_duration(duration: Duration) -> String {
    let mut nanos = duration.as_nanos();
    let mut text = String::new();
    for (name, length) in UNITS {
        let count = nanos / u128::from(length);
        if count > 0 {
            let _ = write!(text, "{count}{name}");
            nanos %= u128::from(length);
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

/// What was probably meant by something that is no duration: a bare number of seconds, or a unit written otherwise.
pub(super) fn guess_duration(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase().replace([' ', '_'], "");
    let number_end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let unit = match unit {
        "" | "sec" | "secs" | "second" | "seconds" => "s",
        "msec" | "msecs" | "millisecond" | "milliseconds" => "ms",
        "usec" | "usecs" | "µs" | "microseconds" => "us",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hr" | "hrs" | "hour" | "hours" => "h",
        "day" | "days" => "d",
        other => other,
    };
    parse_duration(&format!("{number}{unit}")).map(format_duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_forms_are_read_exactly() {
        for (text, millis) in [
            ("10ms", 10),
            ("1s", 1_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("40.95s", 40_950),
            ("0s", 0),
            ("1d", 86_400_000),
        ] {
            let expected = Duration::from_millis(millis);
            assert_eq!(parse_duration(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "1",
            "s",
            "-1s",
            "1 s",
            "1S",
            "30m1h",
            "1s1s",
            "1.s",
            ".5s",
            "1..5s",
            "1x",
            "0.0000000001s",
            "600000000000000000000s",
            "99999999999d",
            "1s ",
            "١s",
        ] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn written_durations_are_read_back() {
        for micros in [0, 1, 999, 1_000, 40_950_000, 5_400_000_000, 90_061_001_001] {
            let duration = Duration::from_micros(micros);
            assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }
    }

    #[test]
    fn likely_meanings_are_guessed() {
        for (text, guess) in [
            ("10", "10s"),
            ("0.5", "500ms"),
            ("5 min", "5m"),
            ("90sec", "1m30s"),
        ] {
            assert_eq!(guess_duration(text).as_deref(), Some(guess), "{text}");
        }
        assert_eq!(guess_duration("soon"), None);
    }
}
