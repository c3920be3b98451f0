//! A document of either format as one tree of values, with positions where the format gives them.
//!
//! Invariants: numbers are kept exactly as long as they are whole; the keys of a table are
//! unique. Must not know what the document is about.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use toml::{Spanned, de::DeValue};

use super::error::Position;

/// A value and where it begins, in bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) offset: Option<usize>,
    pub(super) value: Value,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Boolean(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// A number that no field can take, or a date: as it is written.
    Other(String),
}

/// A key of a table with its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) offset: Option<usize>,
    pub(super) node: Node,
}

/// The text is not in the format.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) position: Position,
    pub(super) message: String,
}

impl Node {
    pub(super) fn from_toml(text: &str) -> Result<Self, SyntaxError> {
        let (table, errors) = toml::de::DeTable::parse_recoverable(text);
        // The parser goes on after an error; the first in the text is the cause of the others.
        let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
        if let Some(first) = errors.iter().min_by_key(|error| start(error)) {
            let position = Position::of(text, start(first));
            return Err(SyntaxError { position, message: first.message().to_owned() });
        }
        let root = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
        Ok(Self { offset: None, ..Self::of_toml(root) })
    }

    fn of_toml(spanned: Spanned<DeValue<'_>>) -> Self {
        let offset = Some(spanned.span().start);
        let value = match spanned.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => {
                match i128::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Value::Integer(number),
                    Err(_) => Value::Other(number.as_str().to_owned()),
                }
            }
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => Value::Float(number),
                Err(_) => Value::Other(number.as_str().to_owned()),
            },
            DeValue::Boolean(value) => Value::Boolean(value),
            DeValue::Datetime(date) => Value::Other(date.to_string()),
            DeValue::Array(list) => Value::List(list.into_iter().map(Self::of_toml).collect()),
            DeValue::Table(table) => {
                let entry = |(key, value): (Spanned<_>, _)| Entry {
                    offset: Some(key.span().start),
                    key: std::borrow::Cow::into_owned(key.into_inner()),
                    node: Self::of_toml(value),
                };
                Value::Table(table.into_iter().map(entry).collect())
            }
        };
        Self { offset, value }
    }

    pub(super) fn from_json(text: &str) -> Result<Self, SyntaxError> {
        serde_json::from_str(text).map_err(|error| SyntaxError {
            position: Position { line: error.line().max(1), column: error.column().max(1) },
            message: match error.to_string().rsplit_once(" at line ") {
                Some((message, _)) => message.to_owned(),
                None => error.to_string(),
            },
        })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = deserializer.deserialize_any(JsonVisitor)?;
        Ok(Self { offset: None, value })
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut table = Vec::new();
        while let Some((key, node)) = entries.next_entry::<String, Node>()? {
            table.push(Entry { key, offset: None, node });
        }
        table.sort_by(|a, b| a.key.cmp(&b.key));
        if let Some(twice) = table.windows(2).find(|two| two[0].key == two[1].key) {
            return Err(A::Error::custom(format_args!("duplicate key {:?}", twice[0].key)));
        }
        Ok(Value::Table(table))
    }
}
