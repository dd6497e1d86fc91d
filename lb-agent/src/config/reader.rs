//! Walks a table: hands out its values by key, and in the end reports every key that nobody asked for.

use std::cell::RefCell;

use super::context::{Context, Problem};
use super::document::{Data, Entries, Entry};
use super::names;
use super::source::Span;
use super::value::Value;

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Table<'a> {
    cx: &'a Context,
    entries: &'a [Entry],
    /// `service.web`; empty for the document itself.
    path: String,
    span: Span,
    asked: RefCell<Vec<&'static str>>,
    /// Required keys that are not written, with what belongs there.
    missing: RefCell<Vec<(&'static str, String)>>,
}

impl<'a> Table<'a> {
    pub fn new(cx: &'a Context, entries: &'a Entries, path: String, span: Span) -> Self {
        cx.remember(&path, span);
        Self {
            cx,
            entries: &entries.0,
            path,
            span,
            asked: RefCell::default(),
            missing: RefCell::default(),
        }
    }

    pub fn cx(&self) -> &'a Context {
        self.cx
    }

    /// The full name of a key of this table.
    pub fn key(&self, key: &str) -> String {
        if self.path.is_empty() {
            return key.to_owned();
        }
        format!("{}.{key}", self.path)
    }

    /// The value of `key`, if it is written.
    pub fn get(&self, key: &'static str) -> Option<Value<'a>> {
        self.asked.borrow_mut().push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        let path = self.key(key);
        // A table's own span is its header's or its braces'; what is meant is better shown by the key.
        let span = match entry.node.data {
            Data::Table(_) => entry.key_span,
            _ => entry.node.span,
        };
        self.cx.remember(&path, span);
        Some(Value::new(self.cx, &entry.node.data, path, span))
    }

    /// The value of `key`, read by `read`; `None` if it is absent or wrong.
    pub fn read<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<T> {
        self.get(key).and_then(|value| read(&value))
    }

    /// As [`Self::read`], and reports an absent key. `expected` says what belongs there.
    pub fn required<T>(
        &self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<T> {
        read(&self.required_value(key, expected)?)
    }

    /// The value of `key`; an absent one is reported in the end.
    pub fn required_value(&self, key: &'static str, expected: &str) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            let missing = (key, expected.to_owned());
            self.missing.borrow_mut().push(missing);
        }
        value
    }

    /// Reads the table `key`; where it is absent, an empty one, so that each default is written once: in `read`.
    pub fn section<T>(&self, key: &'static str, read: impl FnOnce(&Table<'a>) -> T) -> T {
        const NOTHING: &Entries = &Entries(Vec::new());
        if let Some(value) = self.get(key)
            && let Some(table) = value.as_table()
        {
            return table.finish(read);
        }
        Table {
            cx: self.cx,
            entries: &NOTHING.0,
            path: self.key(key),
            span: self.span,
            asked: RefCell::default(),
            missing: RefCell::default(),
        }
        .finish(read)
    }

    /// Reads the table `key`; `None` if it is absent or no table.
    pub fn table<T>(&self, key: &'static str, read: impl FnOnce(&Table<'a>) -> T) -> Option<T> {
        let table = self.get(key)?.as_table()?;
        Some(table.finish(read))
    }

    /// Reads the list of tables `key`; those that `read` gives up on are left out. A table's own `named_by` takes the place
    /// of its index in paths.
    pub fn tables<T>(
        &self,
        key: &'static str,
        named_by: &str,
        read: impl Fn(&Table<'a>) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let element = |value: &Value<'a>| {
            let is_fit = |name: &&str| !name.is_empty() && !name.chars().any(char::is_control);
            let name = value.entry(named_by).and_then(|name| name.text());
            let name = name.filter(is_fit);
            let table = value.as_table()?;
            match name {
                Some(name) => table.renamed(format!("{}.{name}", self.key(key))),
                None => table,
            }
            .finish(&read)
        };
        value.list_of(&format!("tables, each under `[[{key}]]`"), element)
    }

    /// Calls `read`, then reports what is written and it did not ask for, and what it asked for in vain.
    pub fn finish<T>(self, read: impl FnOnce(&Table<'a>) -> T) -> T {
        let result = read(&self);
        let known = self.asked.borrow();
        let unknown = |entry: &&Entry| !known.contains(&entry.key.as_str());
        let mut meant = Vec::new();
        for entry in self.entries.iter().filter(unknown) {
            let problem = names::unknown_key(&entry.key, &known);
            let key = self.key(&names::quote(&entry.key));
            self.cx.error(entry.key_span, &key, problem);
            meant.extend(names::nearest(&entry.key, &known));
        }
        for (key, expected) in self.missing.borrow().iter() {
            // A misspelt key is one fault, not two.
            if !meant.iter().any(|meant| meant == key) {
                let problem = Problem::new("required, but not written").expected(expected);
                self.cx.error(self.span, &self.key(key), problem);
            }
        }
        drop(known);
        result
    }

    fn renamed(self, path: String) -> Self {
        self.cx.remember(&path, self.span);
        Self { path, ..self }
    }
}
