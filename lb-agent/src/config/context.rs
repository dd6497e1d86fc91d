//! What one reading of a configuration gathers: sources, faults, warnings, where keys are, and which names exist.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use super::diagnostic::{Diagnostic, Note, Report, Severity};
use super::model::Config;
use super::names::nearest;
use super::source::{Sources, Span};
use super::{Loaded, names};

/// What is wrong with a value, without its place.
#[derive(Debug)]
pub(super) struct Problem {
    message: String,
    expected: Option<String>,
    suggestion: Option<String>,
    related: Vec<(Span, String)>,
}

impl Problem {
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            expected: None,
            suggestion: None,
            related: Vec::new(),
        }
    }

    /// Says what would be right.
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// Says what was probably meant, if there is a guess.
    pub fn suggest(mut self, suggestion: Option<impl Into<String>>) -> Self {
        self.suggestion = suggestion.map(Into::into);
        self
    }

    /// As [`Self::suggest`], for what is written in quotes.
    pub fn suggest_text(self, text: Option<impl AsRef<str>>) -> Self {
        self.suggest(text.map(|text| format!("\"{}\"", text.as_ref())))
    }

    /// Shows another place.
    pub fn related(mut self, span: Span, message: impl Into<String>) -> Self {
        self.related.push((span, message.into()));
        self
    }
}

/// Things that have names which others refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Vrrp,
    Script,
    SyncGroup,
    Service,
}

impl Kind {
    /// Its table, as it is written.
    pub fn table(self) -> &'static str {
        match self {
            Self::Vrrp => "[[vrrp]]",
            Self::Script => "[[script]]",
            Self::SyncGroup => "[[sync_group]]",
            Self::Service => "[[service]]",
        }
    }
}

/// The state of one reading. Shared by all readers, hence the cells; nothing is borrowed across a call.
#[derive(Debug, Default)]
pub(super) struct Context {
    sources: Sources,
    found: RefCell<Vec<(Span, Diagnostic)>>,
    /// Faults of a file as a whole, which have no span.
    whole_file: RefCell<Vec<Diagnostic>>,
    places: RefCell<BTreeMap<String, Span>>,
    unique: RefCell<HashMap<(String, String), Span>>,
    declared: RefCell<Vec<(Kind, String)>>,
    references: RefCell<Vec<Reference>>,
}

#[derive(Debug)]
struct Reference {
    kind: Kind,
    name: String,
    key: String,
    span: Span,
}

impl Context {
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps a file's text and returns its index.
    pub fn add_source(&mut self, path: PathBuf, text: String) -> usize {
        self.sources.add(path, text)
    }

    /// The path of a file.
    pub fn source_path(&self, file: usize) -> PathBuf {
        self.sources.path(file).to_owned()
    }

    /// Reports a fault of a file as a whole.
    pub fn file_error(&self, file: PathBuf, problem: Problem) {
        let diagnostic = self.diagnostic(Severity::Error, None, String::new(), problem);
        let diagnostic = Diagnostic { file, ..diagnostic };
        self.whole_file.borrow_mut().push(diagnostic);
    }

    /// Reports a fault.
    pub fn error(&self, span: Span, key: &str, problem: Problem) {
        self.push(Severity::Error, span, key, problem);
    }

    /// Reports a fault of a key that was read, or where it is absent, of the table it would be in.
    pub fn error_at(&self, key: &str, problem: Problem) {
        self.error(self.place(key), key, problem);
    }

    /// Reports what is allowed but probably not meant.
    pub fn warn_at(&self, key: &str, problem: Problem) {
        self.push(Severity::Warning, self.place(key), key, problem);
    }

    /// Remembers where a key is written.
    pub fn remember(&self, key: &str, span: Span) {
        self.places.borrow_mut().insert(key.to_owned(), span);
    }

    /// Whether a key is written.
    pub fn is_written(&self, key: &str) -> bool {
        self.places.borrow().contains_key(key)
    }

    /// Whether an error was reported about a key that is written.
    pub fn is_faulty(&self, key: &str) -> bool {
        let found = self.found.borrow();
        let is_error = |found: &Diagnostic| found.severity == Severity::Error;
        self.is_written(key)
            && found
                .iter()
                .any(|(_, found)| is_error(found) && found.key == key)
    }

    /// Where a key is written, or the innermost table around it that is.
    pub fn place(&self, key: &str) -> Span {
        place(&self.places.borrow(), key)
    }

    /// Takes note that `id` exists in `space`; reports it where it existed there before. `what` says what it is then,
    /// as in "`id` is listed twice".
    pub fn unique(&self, space: &str, id: &str, key: &str, span: Span, what: &str) {
        let slot = (space.to_owned(), id.to_owned());
        let first = *self.unique.borrow_mut().entry(slot).or_insert(span);
        if first != span {
            let problem = Problem::new(format!("`{}` {what}", names::quote(id)))
                .related(first, "first written here");
            self.error(span, key, problem);
        }
    }

    /// Takes note of a name that others may refer to.
    pub fn declare(&self, kind: Kind, name: &str, key: &str, span: Span) {
        let what = format!("is the name of another {}", kind.table());
        self.unique(kind.table(), name, key, span, &what);
        self.declared.borrow_mut().push((kind, name.to_owned()));
    }

    /// Takes note of a reference to a name, which may be declared later.
    pub fn refer(&self, kind: Kind, name: &str, key: &str, span: Span) {
        self.references.borrow_mut().push(Reference {
            kind,
            name: name.to_owned(),
            key: key.to_owned(),
            span,
        });
    }

    /// Reports all references to names that nothing has. Call once all tables are read.
    pub fn resolve_references(&self) {
        let declared = self.declared.borrow();
        for reference in self.references.borrow().iter() {
            let known: Vec<&str> = declared
                .iter()
                .filter(|(kind, _)| *kind == reference.kind)
                .map(|(_, name)| name.as_str())
                .collect();
            if known.contains(&reference.name.as_str()) {
                continue;
            }
            let table = reference.kind.table();
            let expected = match known.as_slice() {
                [] => format!("the name of a {table}, and there is none"),
                known => format!("the name of a {table}: {}", names::listed(known)),
            };
            let name = names::quote(&reference.name);
            let problem = Problem::new(format!("no {table} is named `{name}`"))
                .expected(expected)
                .suggest_text(nearest(&reference.name, &known));
            self.error(reference.span, &reference.key, problem);
        }
    }

    /// The outcome, if there is no document to go on with.
    pub fn into_report(self) -> Report {
        let (errors, _) = split(self.found, self.whole_file);
        Report { errors }
    }

    /// The outcome.
    pub fn finish(self, config: Config) -> Result<Loaded, Report> {
        let files = self.sources.paths().map(PathBuf::from).collect();
        let (errors, warnings) = split(self.found, self.whole_file);
        if !errors.is_empty() {
            return Err(Report { errors });
        }
        Ok(Loaded {
            config,
            warnings,
            files,
            places: Places {
                sources: self.sources,
                spans: self.places.into_inner(),
            },
        })
    }

    fn push(&self, severity: Severity, span: Span, key: &str, problem: Problem) {
        let diagnostic = self.diagnostic(severity, Some(span), key.to_owned(), problem);
        self.found.borrow_mut().push((span, diagnostic));
    }

    fn diagnostic(
        &self,
        severity: Severity,
        span: Option<Span>,
        key: String,
        problem: Problem,
    ) -> Diagnostic {
        Diagnostic {
            severity,
            file: span.map_or(PathBuf::new(), |span| self.source_path(span.file)),
            snippet: span.and_then(|span| self.sources.snippet(span)),
            key,
            message: problem.message,
            expected: problem.expected,
            suggestion: problem.suggestion,
            notes: problem
                .related
                .into_iter()
                .map(|(span, message)| self.note(span, message))
                .collect(),
        }
    }

    fn note(&self, span: Span, message: String) -> Note {
        Note {
            file: self.source_path(span.file),
            snippet: self.sources.snippet(span),
            message,
        }
    }
}

/// All that was found, sorted by place: errors and warnings.
fn split(
    found: RefCell<Vec<(Span, Diagnostic)>>,
    whole_file: RefCell<Vec<Diagnostic>>,
) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
    let mut found = found.into_inner();
    found.sort_by_key(|(span, _)| *span);
    found.dedup();
    let all = whole_file.into_inner().into_iter();
    all.chain(found.into_iter().map(|(_, diagnostic)| diagnostic))
        .partition(|diagnostic| diagnostic.severity == Severity::Error)
}

fn place(places: &BTreeMap<String, Span>, key: &str) -> Span {
    let start = Span {
        file: 0,
        start: 0,
        end: 0,
    };
    let mut found = outwards(key).filter_map(|key| places.get(key));
    found.next().copied().unwrap_or(start)
}

/// A key, then the tables and lists around it.
fn outwards(key: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(key), |key| {
        key.rfind(['.', '[']).map(|end| &key[..end])
    })
}

/// Where each key of a configuration is written.
#[derive(Debug)]
pub struct Places {
    sources: Sources,
    spans: BTreeMap<String, Span>,
}

impl Places {
    /// A warning about `key` (`service.web.listen`), for what only the host's state shows. Where the key is not written,
    /// the innermost table around it that is gives the place.
    pub fn warning(&self, key: &str, message: impl Into<String>) -> Diagnostic {
        let span = place(&self.spans, key);
        Diagnostic {
            severity: Severity::Warning,
            file: self.sources.path(span.file).to_owned(),
            snippet: self.sources.snippet(span),
            key: key.to_owned(),
            message: message.into(),
            expected: None,
            suggestion: None,
            notes: Vec::new(),
        }
    }
}
