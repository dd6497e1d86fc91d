//! The text of the files read, and places in it.

use std::path::{Path, PathBuf};

use super::diagnostic::Snippet;

/// A stretch of one file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    /// Index of the file in [`Sources`].
    pub file: usize,
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

/// All files read so far. The first is the main one.
#[derive(Debug, Default)]
pub(super) struct Sources {
    files: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    text: String,
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
}

/// Characters of a source line that a message shows at most.
const SHOWN: usize = 120;
/// Characters shown in front of the marked part of a line that is cut.
const LEAD: usize = 40;

impl Sources {
    /// Keeps a file and returns its index.
    pub fn add(&mut self, path: PathBuf, text: String) -> usize {
        let newlines = text.match_indices('\n').map(|(newline, _)| newline + 1);
        let lines = std::iter::once(0).chain(newlines).collect();
        self.files.push(Source { path, text, lines });
        self.files.len() - 1
    }

    /// Path of a file; empty if there is none of this index.
    pub fn path(&self, file: usize) -> &Path {
        self.files
            .get(file)
            .map_or(Path::new(""), |source| source.path.as_path())
    }

    /// Paths of all files, in the order they were read.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|source| source.path.as_path())
    }

    /// The line that a span begins on, as it is shown to people.
    pub fn snippet(&self, span: Span) -> Option<Snippet> {
        let Source { text, lines, .. } = self.files.get(span.file)?;
        let start = floor(text, span.start);
        let line = lines.partition_point(|line_start| *line_start <= start);
        let line_start = *lines.get(line.checked_sub(1)?)?;
        let line_end = lines.get(line).map_or(text.len(), |next| next - 1);
        let end = floor(text, span.end).clamp(start, line_end);
        let column = text[line_start..start].chars().count();
        let width = text[start..end].trim_end().chars().count().max(1);
        let (line_text, indent, width) = shown(&text[line_start..line_end], column, width);
        Some(Snippet {
            line,
            column: column + 1,
            text: line_text,
            indent,
            width,
        })
    }
}

/// The nearest character boundary at or before `offset`.
fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// Makes a line fit for a terminal: no control characters, and cut around the marked part if it is long.
fn shown(line: &str, column: usize, width: usize) -> (String, usize, usize) {
    let printable = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    let line = line.trim_end();
    let length = line.chars().count();
    if length <= SHOWN {
        return (line.chars().map(printable).collect(), column, width);
    }
    let first = column.saturating_sub(LEAD);
    let mut text = String::new();
    if first > 0 {
        text.push('…');
    }
    text.extend(line.chars().skip(first).take(SHOWN).map(printable));
    if first + SHOWN < length {
        text.push('…');
    }
    let indent = column - first + usize::from(first > 0);
    (text, indent, width.min(SHOWN - (column - first)).max(1))
}
