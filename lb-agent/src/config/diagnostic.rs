//! What is wrong with a configuration, and how it is printed.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong, or worth saying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the configuration holds in spite of it.
    pub severity: Severity,
    /// The file it is in.
    pub file: PathBuf,
    /// The place in the file; `None`: the file as a whole.
    pub snippet: Option<Snippet>,
    /// The key, with its tables: `service.web.scheduler`. Members of lists without a name have their index, from 0.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub expected: Option<String>,
    /// What was probably meant, as it is to be written.
    pub suggestion: Option<String>,
    /// Other places that have to do with it.
    pub notes: Vec<Note>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is not accepted.
    Error,
    /// The configuration is accepted.
    Warning,
}

/// A place in a file, with its line as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The line's text, cut if it is very long.
    pub text: String,
    /// Characters of `text` in front of what is meant.
    pub indent: usize,
    /// Characters of `text` that are meant, at least 1.
    pub width: usize,
}

/// Another place that has to do with a diagnostic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The file it is in.
    pub file: PathBuf,
    /// The place in the file.
    pub snippet: Option<Snippet>,
    /// What is there.
    pub message: String,
}

/// Everything that is wrong with a configuration, sorted by place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Never empty.
    pub errors: Vec<Diagnostic>,
}

impl Diagnostic {
    /// Line, from 1; 0 if the file as a whole is meant.
    pub fn line(&self) -> usize {
        self.snippet.as_ref().map_or(0, |snippet| snippet.line)
    }

    /// Column in characters, from 1; 0 if the file as a whole is meant.
    pub fn column(&self) -> usize {
        self.snippet.as_ref().map_or(0, |snippet| snippet.column)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        position(f, self.snippet.as_ref())?;
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, ": {severity}: ")?;
        if !self.key.is_empty() {
            write!(f, "key `{}`: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; did you mean `{suggestion}`?")?;
        }
        if let Some(snippet) = &self.snippet {
            write!(f, "\n{snippet}")?;
        }
        for note in &self.notes {
            write!(f, "\n{}", note.file.display())?;
            position(f, note.snippet.as_ref())?;
            write!(f, ": note: {}", note.message)?;
            if let Some(snippet) = &note.snippet {
                write!(f, "\n{snippet}")?;
            }
        }
        Ok(())
    }
}

fn position(f: &mut fmt::Formatter<'_>, snippet: Option<&Snippet>) -> fmt::Result {
    match snippet {
        Some(Snippet { line, column, .. }) => write!(f, ":{line}:{column}"),
        None => Ok(()),
    }
}

impl fmt::Display for Snippet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.to_string();
        let gutter = " ".repeat(line.len());
        let indent = " ".repeat(self.indent);
        let carets = "^".repeat(self.width);
        write!(f, "{line} | {}\n{gutter} | {indent}{carets}", self.text)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.errors {
            writeln!(f, "{error}\n")?;
        }
        match self.errors.len() {
            1 => f.write_str("1 error, nothing was changed"),
            n => write!(f, "{n} errors, nothing was changed"),
        }
    }
}

impl std::error::Error for Report {}
