//! Several files as one, and files that cannot be read.

use super::*;

const SERVICE: &str =
    "[[service]]\nname = \"NAME\"\nlisten = [\"192.0.2.1:PORT\"]\nmode = \"dr\"\n";

fn service(name: &str, port: u16) -> String {
    SERVICE
        .replace("NAME", name)
        .replace("PORT", &port.to_string())
}

fn refused(path: &Path) -> Report {
    match parse(path) {
        Ok(loaded) => panic!("accepted: {:#?}", loaded.config),
        Err(report) => report,
    }
}

#[test]
fn lists_of_tables_append_in_the_order_of_names() {
    let folder = Folder::new();
    let main = format!("include = [\"conf.d/*.toml\"]\n{}", service("main", 1));
    let main = folder.write("lb.toml", main);
    folder.write("conf.d/b.toml", service("b", 3));
    folder.write("conf.d/a.toml", service("a", 2));
    folder.write("conf.d/.hidden.toml", "no TOML");
    folder.write("conf.d/c.toml.off", "no TOML");
    let loaded = parse(&main).expect("holds");
    let names: Vec<&str> = loaded
        .config
        .services
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    assert_eq!(names, ["main", "a", "b"]);
    assert_eq!(loaded.files.len(), 3);
}

#[test]
fn files_that_include_each_other_are_read_once() {
    let folder = Folder::new();
    let main = folder.write(
        "lb.toml",
        "include = [\"*.toml\"]\n[log]\nlevel = \"warn\"\n",
    );
    folder.write(
        "more.toml",
        "include = [\"lb.toml\", \"more.toml\"]\nrouter_id = \"b\"\n",
    );
    let loaded = parse(&main).expect("holds");
    assert_eq!(loaded.config.router_id, "b");
    assert_eq!(loaded.files.len(), 2);
}

#[test]
fn a_table_or_name_in_two_files_is_an_error_that_shows_both() {
    let folder = Folder::new();
    let main = format!(
        "include = [\"a.toml\"]\n[log]\nlevel = \"warn\"\n{}",
        service("web", 1)
    );
    let main = folder.write("lb.toml", main);
    folder.write(
        "a.toml",
        format!("\n[log]\nformat = \"json\"\n{}", service("web", 2)),
    );
    let report = refused(&main);
    assert_eq!(report.errors.len(), 2, "{report}");
    for (error, (line, first)) in report.errors.iter().zip([(2, 2), (5, 5)]) {
        assert!(error.file.ends_with("a.toml"), "{error}");
        assert_eq!(error.line(), line, "{error}");
        let note = &error.notes[0];
        assert!(note.file.ends_with("lb.toml"), "{error}");
        assert_eq!(
            note.snippet.as_ref().map(|s| s.line),
            Some(first),
            "{error}"
        );
    }
}

#[test]
fn a_fault_in_an_included_file_has_its_place_there() {
    let folder = Folder::new();
    let main = folder.write("lb.toml", "include = [\"a.toml\"]\n");
    folder.write("a.toml", "\n\n[log]\nlevel = \"wran\"\n");
    let report = refused(&main);
    let text = report.to_string();
    assert!(
        text.contains("a.toml:4:9: error: key `log.level`: unknown value `wran`"),
        "{text}"
    );
}

#[test]
fn a_named_file_must_exist_and_a_pattern_must_be_one() {
    let folder = Folder::new();
    let main = folder.write(
        "lb.toml",
        "include = [\"none.toml\", \"[\", \"nothing-*.toml\", 3]\n",
    );
    let report = refused(&main);
    assert_eq!(report.errors.len(), 3, "{report}");
    assert!(
        report.errors[0]
            .message
            .contains("there is no file `none.toml`"),
        "{report}"
    );
    assert!(
        report.errors[1].message.contains("is no pattern"),
        "{report}"
    );
    assert!(report.errors[2].message.contains("wrong type"), "{report}");
}

#[test]
fn files_that_cannot_be_read_are_named_with_the_reason() {
    let folder = Folder::new();
    let missing = folder.0.join("missing.toml");
    let text = refused(&missing).to_string();
    assert!(
        text.starts_with(&format!("{}: error: cannot read", missing.display())),
        "{text}"
    );
    assert!(text.contains("no such file"), "{text}");
    assert!(text.ends_with("1 error, nothing was changed"), "{text}");
    let text = refused(&folder.0).to_string();
    assert!(text.contains("it is a directory"), "{text}");
    let latin = folder.write("latin.toml", b"# one\nrouter_id = \"\xe4\"\n");
    let text = refused(&latin).to_string();
    assert!(
        text.contains("is not UTF-8: a wrong byte in line 2"),
        "{text}"
    );
}

#[test]
fn broken_toml_is_shown_with_line_and_column() {
    let report = parsed("[log\nlevel = \"info\"\n\nx = = 3\n").expect_err("broken");
    let places: Vec<_> = report
        .errors
        .iter()
        .map(|e| (e.line(), e.column()))
        .collect();
    assert_eq!(places, [(1, 5), (4, 5)], "{report}");
    assert!(
        report.to_string().contains("error: not valid TOML: "),
        "{report}"
    );
}

#[test]
fn a_key_twice_in_one_table_is_shown_with_both_places() {
    let text = "[log]\nlevel = \"info\"\nformat = \"text\"\nlevel = \"warn\"\n";
    let report = parsed(text).expect_err("twice");
    assert_eq!(report.errors.len(), 1, "{report}");
    let error = &report.errors[0];
    assert_eq!(error.line(), 4, "{report}");
    assert_eq!(
        error.notes[0].snippet.as_ref().map(|s| s.line),
        Some(2),
        "{report}"
    );
}
