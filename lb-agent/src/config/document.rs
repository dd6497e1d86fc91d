//! A parsed TOML document as a tree that knows where each part is written, over all files included.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::Span;

/// A table, in the order it is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries(pub Vec<Entry>);

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub key_span: Span,
    pub node: Node,
}

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub span: Span,
    pub data: Data,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Data {
    String(String),
    /// `None`: too large for 64 bits.
    Integer(Option<i64>),
    Float(String),
    Boolean(bool),
    Datetime,
    List(Vec<Node>),
    Table(Entries),
}

impl Data {
    /// The type, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a decimal number",
            Self::Boolean(_) => "true or false",
            Self::Datetime => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl Entries {
    /// The tree of a parsed document.
    pub fn of(file: usize, table: &DeTable<'_>) -> Self {
        let mut entries: Vec<Entry> = table
            .iter()
            .map(|(key, value)| Entry {
                key: key.get_ref().clone().into_owned(),
                key_span: span(file, key.span()),
                node: Node::of(file, value),
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_span);
        Self(entries)
    }

    /// The entry of a key.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }

    /// The last key of this name, at any depth, that is written before a place.
    pub fn last_before(&self, key: &str, place: Span) -> Option<Span> {
        let of = |entry: &Entry| {
            let own = (entry.key == key && entry.key_span < place).then_some(entry.key_span);
            own.max(entry.node.last_before(key, place))
        };
        self.0.iter().filter_map(of).max()
    }
}

impl Node {
    fn of(file: usize, value: &Spanned<DeValue<'_>>) -> Self {
        let data = match value.get_ref() {
            DeValue::String(text) => Data::String(text.clone().into_owned()),
            DeValue::Integer(number) => {
                Data::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
            }
            DeValue::Float(number) => Data::Float(number.as_str().to_owned()),
            DeValue::Boolean(value) => Data::Boolean(*value),
            DeValue::Datetime(_) => Data::Datetime,
            DeValue::Array(list) => {
                Data::List(list.iter().map(|node| Self::of(file, node)).collect())
            }
            DeValue::Table(table) => Data::Table(Entries::of(file, table)),
        };
        Self {
            span: span(file, value.span()),
            data,
        }
    }

    fn last_before(&self, key: &str, place: Span) -> Option<Span> {
        match &self.data {
            Data::Table(table) => table.last_before(key, place),
            Data::List(list) => {
                let each = list.iter().filter_map(|node| node.last_before(key, place));
                each.max()
            }
            _ => None,
        }
    }

    /// Whether this is a list of tables only, which further files may append to.
    pub fn is_list_of_tables(&self) -> bool {
        match &self.data {
            Data::List(list) => list.iter().all(|node| matches!(node.data, Data::Table(_))),
            _ => false,
        }
    }
}

/// A range of the parser as a span of a file.
pub(super) fn span(file: usize, range: std::ops::Range<usize>) -> Span {
    Span {
        file,
        start: range.start,
        end: range.end,
    }
}
