//! Reads the main file and what it includes, as one document.
//!
//! Patterns are relative to the file that has them. Lists of tables append in the order read: a file first, then what it
//! includes, sorted by name within a pattern. Everything else may be written once, in any of the files. A file is read once
//! however often it is included.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use glob::MatchOptions;
use toml::de::DeTable;

use super::context::{Context, Problem};
use super::document::{Data, Entries, Entry, span};
use super::names::quote;
use super::source::Span;
use super::value::Value;

/// A `*` does not match hidden files, as in a shell.
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Configurations are written by hand: what is larger is some other file.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// The document of all files together; `None` if one cannot be read or is no TOML, which is then reported.
pub(super) fn read(cx: &mut Context, path: &Path) -> Option<Entries> {
    let mut files = Files::default();
    let mut document = Entries::default();
    files.add(path);
    let mut good = true;
    let mut next = 0;
    while let Some((path, included_at)) = files.queue.get(next).cloned() {
        match text(&path) {
            Ok(text) => match parse(cx, &path, text) {
                Some(entries) => {
                    good &= files.include(cx, &path, &entries).is_some();
                    merge(cx, &mut document, entries);
                }
                None => good = false,
            },
            Err(problem) => {
                good = false;
                match included_at {
                    Some(span) => cx.error(span, "include", problem),
                    None => cx.file_error(path, problem),
                }
            }
        }
        next += 1;
    }
    good.then_some(document)
}

/// The files to read, in order, each once.
#[derive(Default)]
struct Files {
    queue: Vec<(PathBuf, Option<Span>)>,
    known: Vec<PathBuf>,
}

impl Files {
    fn add(&mut self, path: &Path) {
        self.known.push(identity(path));
        self.queue.push((path.to_owned(), None));
    }

    /// Queues what the patterns of a file match; `None` if a pattern is wrong.
    fn include(&mut self, cx: &Context, path: &Path, entries: &Entries) -> Option<()> {
        let Some(entry) = entries.get("include") else {
            return Some(());
        };
        let value = Value::new(cx, &entry.node.data, "include".into(), entry.node.span);
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut good = Some(());
        for (pattern, span) in value.list(|one| Some((one.string()?, one.span())))? {
            match matches(folder, &pattern) {
                Ok(found) => self.add_included(found, span),
                Err(problem) => {
                    cx.error(span, "include", problem);
                    good = None;
                }
            }
        }
        good
    }

    fn add_included(&mut self, found: Vec<PathBuf>, span: Span) {
        for path in found {
            let identity = identity(&path);
            if !self.known.contains(&identity) {
                self.known.push(identity);
                self.queue.push((path, Some(span)));
            }
        }
    }
}

fn identity(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// What a pattern matches, sorted. A pattern without wildcards must match.
fn matches(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, Problem> {
    let wild = pattern.contains(['*', '?', '[']);
    if !wild {
        let path = folder.join(pattern);
        return match path.exists() {
            true => Ok(vec![path]),
            false => Err(
                Problem::new(format!("there is no file `{}`", quote(pattern)))
                    .expected("a file, or a pattern with *, ? or [...], which may match nothing"),
            ),
        };
    }
    // The folder's own name is no pattern.
    let whole = match Path::new(pattern).is_absolute() {
        true => pattern.to_owned(),
        false => format!(
            "{}",
            Path::new(&glob::Pattern::escape(&folder.to_string_lossy()))
                .join(pattern)
                .display()
        ),
    };
    let wrong = |reason: &str| {
        let pattern = quote(pattern);
        Problem::new(format!("`{pattern}` is no pattern: {reason}"))
            .expected("a path with *, ? or [...]")
    };
    let found = glob::glob_with(&whole, MATCHING).map_err(|error| wrong(error.msg))?;
    let found: Result<Vec<PathBuf>, _> = found.collect();
    let mut found = found.map_err(|error| {
        let folder = error.path().display();
        Problem::new(format!(
            "cannot look into {folder}: {}",
            reason(error.error())
        ))
    })?;
    found.retain(|path| !path.is_dir());
    found.sort();
    Ok(found)
}

/// The text of a file.
fn text(path: &Path) -> Result<String, Problem> {
    let cannot = |error: io::Error| {
        let message = format!("cannot read {}: {}", path.display(), reason(&error));
        let cure = match error.kind() {
            io::ErrorKind::NotFound => Some("a configuration file (docs/lb.toml shows every key)"),
            io::ErrorKind::PermissionDenied => Some("to run as a user who may read it"),
            _ => None,
        };
        match cure {
            Some(cure) => Problem::new(message).expected(cure),
            None => Problem::new(message),
        }
    };
    let metadata = fs::metadata(path).map_err(cannot)?;
    if metadata.is_dir() {
        let message = format!("cannot read {}: it is a directory", path.display());
        return Err(Problem::new(message).expected("a file"));
    }
    if metadata.len() > MAX_FILE_BYTES {
        let message = format!("{} has {} bytes", path.display(), metadata.len());
        let most = format!("a configuration of at most {MAX_FILE_BYTES} bytes");
        return Err(Problem::new(message).expected(most));
    }
    String::from_utf8(fs::read(path).map_err(cannot)?).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = &error.as_bytes()[..good];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let message = format!(
            "{} is not UTF-8: a wrong byte in line {line}",
            path.display()
        );
        Problem::new(message).expected("a text file in UTF-8")
    })
}

/// The system's words for an error, in the case of ours.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// The tree of a file's text; `None` if it is no TOML, and all its faults are reported.
fn parse(cx: &mut Context, path: &Path, text: String) -> Option<Entries> {
    let (table, errors) = DeTable::parse_recoverable(&text);
    let file = cx.add_source(path.to_owned(), text.clone());
    let entries = Entries::of(file, table.get_ref());
    if errors.is_empty() {
        return Some(entries);
    }
    let mut lines = Vec::new();
    for error in errors {
        let place = span(file, error.span().unwrap_or_default());
        // One slip makes the parser stumble on: the first fault of a line is the one to mend.
        let line = text
            .get(..place.start)
            .map_or(0, |t| t.matches('\n').count());
        if !lines.contains(&line) {
            lines.push(line);
            let problem = Problem::new(format!("not valid TOML: {}", error.message()));
            let twice = error.message().starts_with("duplicate key");
            cx.error(
                place,
                "",
                if twice {
                    with_first(problem, &entries, &text, place)
                } else {
                    problem
                },
            );
        }
    }
    None
}

/// A key that is written twice is the parser's to find; shows where it is written first.
fn with_first(problem: Problem, entries: &Entries, text: &str, place: Span) -> Problem {
    let word = text.get(place.start..place.end).unwrap_or_default();
    let first = match word.is_empty() {
        true => None,
        false => entries.last_before(word.trim_matches(['"', '\'']), place),
    };
    match first {
        Some(first) => problem.related(first, "first written here"),
        None => problem,
    }
}

/// Adds a file's entries to the document.
fn merge(cx: &Context, document: &mut Entries, entries: Entries) {
    for entry in entries.0 {
        let Some(old) = document.0.iter_mut().find(|old| old.key == entry.key) else {
            document.0.push(entry);
            continue;
        };
        if entry.key == "include" {
            continue;
        }
        let appends = old.node.is_list_of_tables() && entry.node.is_list_of_tables();
        match (&mut old.node.data, entry.node.data) {
            (Data::List(all), Data::List(more)) if appends => all.extend(more),
            _ => {
                let Entry { key, key_span, .. } = entry;
                let problem = Problem::new("written in two files")
                    .expected(
                        "it in one of them (only lists of tables, such as [[service]], append)",
                    )
                    .related(old.key_span, "first written here");
                cx.error(key_span, &key, problem);
            }
        }
    }
}
