//! Reads one value as the type that is wanted, or reports what it is instead.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::context::{Context, Kind, Problem};
use super::document::{Data, Node};
use super::duration::{format_duration, guess_duration, parse_duration};
use super::model::{Choice, Command, User};
use super::names;
use super::reader::Table;
use super::source::Span;

/// A value that is being read.
#[derive(Debug)]
pub(super) struct Value<'a> {
    cx: &'a Context,
    data: &'a Data,
    path: String,
    span: Span,
}

impl<'a> Value<'a> {
    pub fn new(cx: &'a Context, data: &'a Data, path: String, span: Span) -> Self {
        Self {
            cx,
            data,
            path,
            span,
        }
    }

    pub fn span(&self) -> Span {
        self.span
    }

    /// Reports a fault of this value. Returns `None`, for the end of a function.
    pub fn fail<T>(&self, problem: Problem) -> Option<T> {
        self.cx.error(self.span, &self.path, problem);
        None
    }

    /// Reports this value where `id` existed before in the same `space`. `what` ends a sentence that begins with `id`.
    pub fn unique(&self, space: &str, id: &str, what: &str) {
        self.cx.unique(space, id, &self.path, self.span, what);
    }

    /// As [`Self::unique`], for a member of a list.
    pub fn unique_in_list(&self, id: &str) {
        let list = self.path.rsplit_once('[').map_or("", |(list, _)| list);
        self.unique(list, id, "is listed twice");
    }

    /// The text, if this is a string; reports nothing.
    pub fn text(&self) -> Option<&'a str> {
        match self.data {
            Data::String(text) => Some(text),
            _ => None,
        }
    }

    /// The member `key`, if this is a table that has it; reports nothing.
    pub fn entry(&self, key: &str) -> Option<Value<'a>> {
        let Data::Table(entries) = self.data else {
            return None;
        };
        let entry = entries.get(key)?;
        let path = format!("{}.{key}", self.path);
        Some(Value::new(self.cx, &entry.node.data, path, entry.node.span))
    }

    pub fn is_table(&self) -> bool {
        matches!(self.data, Data::Table(_))
    }

    pub fn as_table(&self) -> Option<Table<'a>> {
        match self.data {
            Data::Table(entries) => {
                let path = self.path.clone();
                Some(Table::new(self.cx, entries, path, self.span))
            }
            Data::Boolean(true) => {
                let problem = Problem::new("wrong type, true").expected("a table");
                self.fail(problem.suggest(Some("{}")))
            }
            _ => self.wrong_type("a table"),
        }
    }

    pub fn boolean(&self) -> Option<bool> {
        match self.data {
            Data::Boolean(value) => Some(*value),
            Data::String(text) => {
                let guess = match text.to_ascii_lowercase().as_str() {
                    "true" | "yes" | "on" => Some("true"),
                    "false" | "no" | "off" => Some("false"),
                    _ => None,
                };
                let problem =
                    Problem::new("wrong type, a string").expected("true or false, without quotes");
                self.fail(problem.suggest(guess))
            }
            _ => self.wrong_type("true or false"),
        }
    }

    /// A whole number within `range`.
    pub fn integer<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: Copy + Display + Into<i64> + TryFrom<i64>,
    {
        let (low, high) = (*range.start(), *range.end());
        let wanted = format!("a whole number {low}..{high}");
        match self.data {
            Data::Integer(Some(number)) if (low.into()..=high.into()).contains(number) => {
                T::try_from(*number).ok()
            }
            Data::Integer(number) => {
                let number = number.map_or(String::new(), |number| format!("{number} is "));
                self.fail(Problem::new(format!("{number}out of range")).expected(wanted))
            }
            Data::String(text) => {
                let number = text.trim().parse::<i64>().ok();
                let number = number.filter(|n| (low.into()..=high.into()).contains(n));
                let guess = number.map(|number| number.to_string());
                self.fail(
                    Problem::new("wrong type, a string")
                        .expected(wanted)
                        .suggest(guess),
                )
            }
            _ => self.wrong_type(&wanted),
        }
    }

    /// A string that is not empty.
    pub fn string(&self) -> Option<String> {
        match self.expect_text("a string")? {
            "" => self.fail(Problem::new("empty").expected("a text")),
            text => Some(text.to_owned()),
        }
    }

    /// A string; reports other types. `wanted` says what it should hold.
    pub fn expect_text(&self, wanted: &str) -> Option<&'a str> {
        match self.data {
            Data::String(text) => Some(text),
            _ => self.wrong_type(wanted),
        }
    }

    /// One of a fixed set of words. Where the word meant is clear, reading goes on with it after the report.
    pub fn choice<T: Choice>(&self) -> Option<T> {
        let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
        let value = |text: &str| T::WORDS.iter().find(|(word, _)| *word == text);
        let wanted = format!("one of {}", names::listed(&words));
        let text = self.expect_text(&wanted)?;
        if let Some((_, value)) = value(text) {
            return Some(*value);
        }
        let last = self.path.rsplit('.').next().unwrap_or_default();
        let (note, guess) = names::unknown_word(last, text, &words);
        let message = format!("unknown value `{}`{note}", names::quote(text));
        let problem = Problem::new(message).expected(wanted);
        self.cx
            .error(self.span, &self.path, problem.suggest_text(guess.as_ref()));
        guess.and_then(|guess| value(&guess).map(|(_, value)| *value))
    }

    /// A duration within `range`.
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let (low, high) = (*range.start(), *range.end());
        let wanted = format!(
            "a duration {}..{}",
            format_duration(low),
            format_duration(high)
        );
        match self.data {
            Data::String(text) => match parse_duration(text) {
                Some(duration) if range.contains(&duration) => Some(duration),
                Some(_) => {
                    let message = format!("`{text}` is out of range");
                    self.fail(Problem::new(message).expected(wanted))
                }
                None => {
                    let message = format!("`{}` is no duration", names::quote(text));
                    let wanted = format!("{wanted}, such as \"10ms\", \"1s\", \"1h30m\"");
                    let problem = Problem::new(message).expected(wanted);
                    self.fail(problem.suggest_text(guess_duration(text)))
                }
            },
            Data::Integer(Some(number)) => {
                let problem = Problem::new("wrong type, a number without a unit").expected(wanted);
                self.fail(problem.suggest_text(guess_duration(&number.to_string())))
            }
            Data::Float(number) => {
                let problem = Problem::new("wrong type, a number without a unit").expected(wanted);
                self.fail(problem.suggest_text(guess_duration(number)))
            }
            _ => self.wrong_type(&wanted),
        }
    }

    /// A list, each member read by `read`; those it gives up on are left out.
    pub fn list<T>(&self, read: impl Fn(&Value<'a>) -> Option<T>) -> Option<Vec<T>> {
        match self.data {
            Data::List(_) => Some(self.list_of("values", read)),
            Data::String(text) => self.single("a list", text),
            _ => self.wrong_type("a list"),
        }
    }

    /// Reports a string in place of a list.
    fn single<T>(&self, wanted: &str, text: &str) -> Option<T> {
        let problem = Problem::new("wrong type, a string").expected(wanted);
        self.fail(problem.suggest(Some(format!("[{text:?}]"))))
    }

    /// As [`Self::list`], and reports a list that is empty.
    pub fn some_list<T>(&self, of: &str, read: impl Fn(&Value<'a>) -> Option<T>) -> Option<Vec<T>> {
        match self.data {
            Data::List(list) if list.is_empty() => {
                let wanted = format!("at least one of: {of}");
                self.fail(Problem::new("an empty list").expected(wanted))
            }
            Data::List(_) => Some(self.list_of(of, read)),
            Data::String(text) => self.single(&format!("a list of {of}"), text),
            _ => self.wrong_type(&format!("a list of {of}")),
        }
    }

    /// The members of a list; reports other types. `of` says what it should hold.
    pub fn list_of<T>(&self, of: &str, read: impl Fn(&Value<'a>) -> Option<T>) -> Vec<T> {
        let Data::List(list) = self.data else {
            let nothing: Option<()> = self.wrong_type(&format!("a list of {of}"));
            return nothing.map(|()| Vec::new()).unwrap_or_default();
        };
        let member = |(index, node): (usize, &'a Node)| {
            let path = format!("{}[{index}]", self.path);
            self.cx.remember(&path, node.span);
            read(&Value::new(self.cx, &node.data, path, node.span))
        };
        list.iter().enumerate().filter_map(member).collect()
    }

    /// An absolute path.
    pub fn path_name(&self) -> Option<PathBuf> {
        let text = self.expect_text("an absolute path")?;
        if !text.starts_with('/') || text.contains('\0') {
            let message = format!("`{}` is no absolute path", names::quote(text));
            return self.fail(Problem::new(message).expected("a path that begins with /"));
        }
        Some(PathBuf::from(text))
    }

    /// A program with arguments.
    pub fn command(&self) -> Option<Command> {
        let wanted = "a list of a program's absolute path and its arguments (there is no shell)";
        if let Data::String(text) = self.data {
            let words: Vec<&str> = text.split_whitespace().collect();
            let plain = !text.contains(['"', '\'', '$', '|', ';', '&', '>', '<', '\\', '`']);
            let guess = (plain && text.starts_with('/')).then(|| format!("{words:?}"));
            return self.fail(
                Problem::new("wrong type, a string")
                    .expected(wanted)
                    .suggest(guess),
            );
        }
        let command = self.some_list("a program and its arguments", |word| {
            let text = word.expect_text("a string")?;
            if text.contains('\0') {
                return word.fail(Problem::new("a NUL byte").expected("a text without one"));
            }
            Some(text.to_owned())
        })?;
        match command.first() {
            Some(program) if program.starts_with('/') => Some(command),
            Some(program) => {
                let program = names::quote(program);
                let message = format!("the program `{program}` is no absolute path");
                self.fail(Problem::new(message).expected(wanted))
            }
            None => None,
        }
    }

    /// `user` or `user:group`.
    pub fn user(&self) -> Option<User> {
        let wanted = "\"user\" or \"user:group\"";
        let text = self.expect_text(wanted)?;
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let good = |name: &str| {
            !name.is_empty()
                && name.len() <= 32
                && !name.starts_with('-')
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_.-$".contains(c))
        };
        if !good(user) || !group.is_none_or(good) {
            let message = format!("`{}` names no user", names::quote(text));
            return self.fail(Problem::new(message).expected(wanted));
        }
        Some(User {
            user: user.to_owned(),
            group: group.map(str::to_owned),
        })
    }

    /// A name as instances, services and the like have it: fit for logs, metrics, command lines and environments.
    pub fn name(&self) -> Option<String> {
        let wanted =
            "a name of 1..63 bytes without spaces, quotes, backslashes or control characters";
        let text = self.expect_text(wanted)?;
        let bad = |c: char| c.is_whitespace() || c.is_control() || "\"'`\\".contains(c);
        if text.is_empty() || text.len() > 63 || text.contains(bad) {
            let message = format!("`{}` cannot be a name", names::quote(text));
            return self.fail(Problem::new(message).expected(wanted));
        }
        Some(text.to_owned())
    }

    /// A name that declares something of `kind`.
    pub fn declared_name(&self, kind: Kind) -> Option<String> {
        let name = self.name()?;
        self.cx.declare(kind, &name, &self.path, self.span);
        Some(name)
    }

    /// The name of something of `kind` that is declared somewhere.
    pub fn reference(&self, kind: Kind) -> Option<String> {
        let name = self.string()?;
        self.cx.refer(kind, &name, &self.path, self.span);
        Some(name)
    }

    /// The name of a network interface.
    pub fn interface(&self) -> Option<String> {
        let wanted = "the name of a network interface, 1..15 bytes";
        let text = self.expect_text(wanted)?;
        // As the kernel's dev_valid_name().
        let bad = |c: char| c.is_whitespace() || c == '/' || c == ':' || c.is_control();
        if text.is_empty() || text.len() > 15 || matches!(text, "." | "..") || text.contains(bad) {
            let message = format!("`{}` cannot name an interface", names::quote(text));
            return self.fail(Problem::new(message).expected(wanted));
        }
        Some(text.to_owned())
    }

    /// Reports that the value has another type than is wanted.
    pub fn wrong_type<T>(&self, wanted: &str) -> Option<T> {
        let message = format!("wrong type, {}", self.data.kind());
        self.fail(Problem::new(message).expected(wanted))
    }
}
