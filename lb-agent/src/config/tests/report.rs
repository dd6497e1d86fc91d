//! The text of a whole report, as an operator reads it.

use super::*;

/// What a first try by somebody who knows keepalived may look like.
const FAULTY: &str = r#"router_id = "edge 1"
[log]
level = "verbose"

[[service]]
name = "web"
listen = ["192.0.2.10:80", "192.0.2.10"]
lb_kind = "DR"
mode = "DR"
schedular = "mh"
table_size = 65536
quorum = "2"
[service.check]
tcp = {}
interval = 2
delay_loop = 6
[[service.real_server]]
address = "10.0.0.11:8080"
weight = 70000

[[service]]
name = "web"
listen = ["192.0.2.10:80"]
mode = "dr"
vrrp = "VI_2"
"#;

/// What is printed for it.
const REPORT: &str = include_str!("report.txt");

#[test]
fn report_names_every_fault_with_its_place() {
    let folder = Folder::new();
    let path = folder.write("lb.toml", FAULTY);
    let report = parse(&path).expect_err("faulty").to_string();
    let report = report.replace(&format!("{}/", folder.0.display()), "");
    assert_eq!(report.trim_end(), REPORT.trim_end(), "\n{report}");
}

#[test]
fn errors_are_sorted_by_place() {
    let errors = errors(FAULTY);
    let places: Vec<_> = errors.iter().map(|e| (e.line(), e.column())).collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn long_lines_and_control_characters_are_fit_for_a_terminal() {
    let many: String = (0..60).map(|number| format!("\"eth{number}\", ")).collect();
    let text = format!("interfaces = [{many}\"bad/name\", \"b\\u001b[31m\"]\n");
    let report = parsed(&text).expect_err("faulty");
    assert_eq!(report.errors.len(), 2, "{report}");
    for error in &report.errors {
        let snippet = error.snippet.as_ref().expect("a place");
        assert!(snippet.text.chars().count() <= 122, "{error}");
        let marked: String = snippet
            .text
            .chars()
            .skip(snippet.indent)
            .take(snippet.width)
            .collect();
        assert!(marked.starts_with("\"b"), "{error}");
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
    }
}

#[test]
fn names_that_cannot_be_are_kept_out_of_keys() {
    for name in ["", "a\\nb", "\\u001b[31m"] {
        let text =
            format!("[[service]]\nname = \"{name}\"\nlisten = [\"192.0.2.1:80\"]\nmode = \"dr\"\n");
        let errors = errors(&text);
        assert_eq!(errors[0].key, "service[0].name", "{name}");
    }
}

#[test]
fn a_file_that_says_nothing_to_serve_is_valid_with_a_warning() {
    let loaded = parsed("# all commented out\n").expect("holds");
    let warnings = loaded.warnings.as_slice();
    assert!(
        warnings[0].to_string().contains("nothing to serve"),
        "{warnings:?}"
    );
}

#[test]
fn warnings_of_others_find_their_place() {
    let text = "[[service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\nmode = \"dr\"\n";
    let loaded = parsed(text).expect("holds");
    let warning = loaded
        .places
        .warning("service.web.listen[0]", "not on this host");
    assert_eq!((warning.line(), warning.column()), (3, 11));
    let warning = loaded.places.warning("service.web.vrrp", "absent");
    assert_eq!(warning.line(), 1, "the table around it");
}
