//! Answers for names that are not known: the nearest known one, or ours for keepalived's and HAProxy's.

mod foreign;

use super::context::Problem;
use foreign::{KEYS, WORDS};

/// A text that others wrote, fit for a message: control characters escaped, cut if it is long.
pub(super) fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    let short: String = text
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    let short = short.replace("\\\"", "\"").replace("\\'", "'");
    match text.chars().count() > LONGEST {
        true => format!("{short}…"),
        false => short,
    }
}

/// Names with commas between them, the first ones of many.
pub(super) fn listed(names: &[&str]) -> String {
    const MOST: usize = 24;
    let shown: Vec<String> = names.iter().take(MOST).map(|name| quote(name)).collect();
    let rest = names.len().saturating_sub(MOST);
    match rest {
        0 => shown.join(", "),
        rest => format!("{} and {rest} more", shown.join(", ")),
    }
}

/// What is wrong with a key that a table does not have.
pub(super) fn unknown_key(key: &str, known: &[&'static str]) -> Problem {
    // A name of another program is rarely a slip in one of ours.
    if let Some(foreign) = KEYS.iter().find(|foreign| foreign.names.contains(&key)) {
        let message = format!("unknown key {}; {}", foreign.from, foreign.answer);
        return Problem::new(message);
    }
    let problem = Problem::new("unknown key");
    match nearest(key, known) {
        Some(near) => problem.suggest(Some(near)),
        None if known.is_empty() => problem.expected("an empty table"),
        None => problem.expected(format!("one of {}", listed(known))),
    }
}

/// What to say of an unknown value of `key`, and what was probably meant.
pub(super) fn unknown_word(key: &str, word: &str, known: &[&str]) -> (String, Option<String>) {
    let lower = word.to_ascii_lowercase();
    let same = known.iter().find(|known| known.eq_ignore_ascii_case(word));
    if let Some(same) = same {
        return (String::new(), Some((*same).to_owned()));
    }
    let foreign = WORDS
        .iter()
        .find(|foreign| foreign.key == key && foreign.words.contains(&lower.as_str()));
    match foreign {
        Some(foreign) => {
            let note = format!(" (from {}); {}", foreign.from, foreign.answer);
            (note, foreign.ours.map(str::to_owned))
        }
        None => (String::new(), nearest(word, known)),
    }
}

/// The known name nearest to what was written, if one is near enough.
pub(super) fn nearest(written: &str, known: &[&str]) -> Option<String> {
    let letters = written.chars().count();
    if letters > 64 {
        return None;
    }
    let folded = written.to_lowercase().replace('-', "_");
    let most = (letters / 3).max(1);
    known
        .iter()
        .map(|name| (distance(&folded, &name.to_lowercase()), *name))
        .filter(|(distance, name)| *distance <= most && *distance < name.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name.to_owned())
}

/// Letters to insert, drop, change or swap with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    // `table[i][j]`: from the first i letters of a to the first j of b.
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let changed = usize::from(a[i - 1] != b[j - 1]);
                    let dropped = table[i - 1][j].min(table[i][j - 1]) + 1;
                    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    let swap = if swapped {
                        table[i - 2][j - 2] + 1
                    } else {
                        usize::MAX
                    };
                    dropped.min(table[i - 1][j - 1] + changed).min(swap)
                }
            };
        }
    }
    table[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_slip_counts_one() {
        for slip in [
            "scheduler",
            "schedulr",
            "schedullr",
            "shceduler",
            "xscheduler",
        ] {
            let expected = usize::from(slip != "scheduler");
            assert_eq!(distance(slip, "scheduler"), expected, "{slip}");
        }
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn far_names_are_not_suggested() {
        assert_eq!(nearest("banana", &["mode", "name", "listen"]), None);
        assert_eq!(nearest("m", &["on"]), None);
        assert_eq!(
            nearest("advert-interval", &["advert_interval"]).as_deref(),
            Some("advert_interval")
        );
    }

    #[test]
    fn hostile_text_is_made_harmless() {
        assert_eq!(quote("a\u{1b}[31m"), "a\\u{1b}[31m");
        assert_eq!(quote(&"x".repeat(100)).chars().count(), 61);
    }

    #[test]
    fn no_foreign_name_is_listed_twice() {
        let mut names: Vec<&str> = KEYS
            .iter()
            .flat_map(|foreign| foreign.names)
            .copied()
            .collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
