//! The table of `docs/vrrp-conformance.md` names tests that exist, one row for each behaviour.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const ROWS: usize = 111;

fn functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let found = text.lines().filter_map(|line| {
                let (name, _) = line.trim_start().strip_prefix("fn ")?.split_once('(')?;
                Some(name.to_owned())
            });
            names.extend(found);
        }
    }
}

#[test]
fn every_behaviour_has_a_row_and_every_test_named_there_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut known = BTreeSet::new();
    for folder in ["lb-agent/src", "lb-agent/tests", "tests/tests"] {
        functions(&root.join(folder), &mut known);
    }
    let table = fs::read_to_string(root.join("docs/vrrp-conformance.md")).unwrap();
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| V"))
        .collect();
    assert_eq!(rows.len(), ROWS);
    for (number, row) in (1..).zip(rows) {
        assert!(row.starts_with(&format!("| V{number:02} |")), "{row}");
        let answer = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        assert!(!answer.trim().is_empty(), "{row}");
        for name in answer.split('`').skip(1).step_by(2) {
            // Names of one word are keys and functions; those of tests are sentences, some cut short by a star.
            let is_test = name.matches('_').count() > 2 && !name.contains(['/', '*', '.', '<']);
            assert!(!is_test || known.contains(name), "no test {name}: {row}");
        }
    }
}
