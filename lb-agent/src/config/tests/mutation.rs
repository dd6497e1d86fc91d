//! Files that are anything: an answer, never a panic.

use proptest::prelude::*;

use super::example::{EXAMPLE, keys};
use super::*;

/// Texts that have a meaning somewhere, to be put where they have none.
const PIECES: [&str; 16] = [
    "\"\"",
    "-1",
    "{}",
    "[]",
    "[[]]",
    "9223372036854775808",
    "1e400",
    "nan",
    "true",
    "\"::\"",
    "1979-05-27",
    "\"255.255.255.255/33\"",
    "\"99999999999999999999d\"",
    "\"\\u0000\"",
    "[{}, 1, \"ß\"]",
    "\"[::1%1]:0\"",
];

#[test]
fn a_large_configuration_is_read_in_time_that_grows_with_its_size() {
    let mut text = String::new();
    for service in 0..1000_u16 {
        let [high, low] = service.to_be_bytes();
        text += &format!(
            "[[service]]\nname = \"s{service}\"\nlisten = [\"10.1.{high}.{low}:80\"]\nmode = \"dr\"\n"
        );
        text += "check = { tcp = {}, interval = \"1s\" }\n";
        for server in 1..=10 {
            text += &format!(
                "[[service.real_server]]\naddress = \"10.{server}.{high}.{low}:80\"\nweight = {server}\n"
            );
        }
    }
    let begun = std::time::Instant::now();
    assert_eq!(config(&text).services.len(), 1000);
    // Reading this takes a fraction of a second; with a cost in the square of its size, minutes.
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    println!("{} bytes in {:?}", text.len(), begun.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((0..EXAMPLE.len(), any::<u8>()), 1..6)) {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        let _ = parsed(bytes).map_err(|report| report.to_string());
    }

    #[test]
    fn cut_and_doubled_text_never_panics(from in 0..EXAMPLE.len(), length in 0..2000_usize, at in 0..EXAMPLE.len()) {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        let piece: Vec<u8> = bytes.iter().skip(from).take(length).copied().collect();
        bytes.splice(at..at, piece);
        let _ = parsed(&bytes).map_err(|report| report.to_string());
        bytes.truncate(at);
        let _ = parsed(&bytes).map_err(|report| report.to_string());
    }

    #[test]
    fn values_of_other_types_never_panic_and_keep_their_place(index in any::<prop::sample::Index>(), piece in prop::sample::select(&PIECES)) {
        let keys = keys(EXAMPLE);
        let key = index.get(&keys);
        let line_start = EXAMPLE[..key.start].rfind('\n').map_or(0, |newline| newline + 1);
        // Only keys that begin a line: the rest of the line is theirs.
        prop_assume!(EXAMPLE[line_start..key.start].trim().is_empty());
        let line_end = EXAMPLE[key.start..].find('\n').map_or(EXAMPLE.len(), |end| key.start + end);
        let text = format!("{} = {piece}{}", &EXAMPLE[..key.end], &EXAMPLE[line_end..]);
        match parsed(&text) {
            Err(report) => {
                for error in &report.errors {
                    prop_assert!(error.line() > 0, "{error}");
                }
            }
            // What is left out must be reported: nothing disappears from a configuration that is accepted.
            Ok(loaded) => {
                let real_servers: usize = loaded.config.services.iter().map(|s| s.real_servers.len()).sum();
                let found = (loaded.config.vrrp.len(), loaded.config.services.len(), real_servers);
                prop_assert_eq!(found, (1, 3, 4), "{}", text);
            }
        }
    }
}
