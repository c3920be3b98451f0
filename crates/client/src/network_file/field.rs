//! Typed access to a document, in which every failure knows the field's path and its rule.
//!
//! A [`Field`] is a value and the way to it; paths become text only when something is wrong.
//! Must not know what the document is about.

use std::fmt::{self, Write as _};

use quorate_core::Name;

use super::document::{Node, Value};

/// A field breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invalid {
    /// Where it is, in bytes, if the format says.
    pub(super) offset: Option<usize>,
    pub(super) field: String,
    pub(super) rule: String,
}

/// A value and the way to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'d, 'p> {
    node: &'d Node,
    parent: Option<&'p Field<'d, 'p>>,
    segment: Segment<'d>,
}

#[derive(Debug, Clone, Copy)]
enum Segment<'d> {
    Root,
    Key(&'d str),
    Index(usize),
}

impl<'d, 'p> Field<'d, 'p> {
    /// The whole document.
    pub(super) fn root(node: &'d Node) -> Self {
        Self { node, parent: None, segment: Segment::Root }
    }

    /// This field breaks a rule.
    pub(super) fn invalid(&self, rule: impl Into<String>) -> Invalid {
        Invalid { offset: self.node.offset, field: self.path(), rule: rule.into() }
    }

    /// `processes[3].needs`; empty for the whole document.
    pub(super) fn path(&self) -> String {
        let mut way: Vec<&Self> = Vec::new();
        let mut at = Some(self);
        while let Some(field) = at {
            way.push(field);
            at = field.parent;
        }
        way.iter().rev().fold(String::new(), |mut path, field| {
            push_segment(&mut path, field.segment);
            path
        })
    }

    fn mismatch(&self, expected: &str) -> Invalid {
        self.invalid(format!("must be {expected}, is {}", Shown(&self.node.value)))
    }

    /// A table may have these keys and no others.
    pub(super) fn only(&self, keys: &[&str]) -> Result<(), Invalid> {
        let Value::Table(entries) = &self.node.value else {
            return Err(self.mismatch("a table"));
        };
        match entries.iter().find(|entry| !keys.contains(&entry.key.as_str())) {
            Some(entry) => {
                let mut field = self.path();
                push_segment(&mut field, Segment::Key(&entry.key));
                let rule = format!("unknown key; known: {}", keys.join(", "));
                Err(Invalid { offset: entry.offset, field, rule })
            }
            None => Ok(()),
        }
    }

    /// All entries of a table, by key.
    pub(super) fn entries(
        &self,
    ) -> Result<impl Iterator<Item = (&'d str, Field<'d, '_>)>, Invalid> {
        match &self.node.value {
            Value::Table(entries) => Ok(entries.iter().map(|entry| {
                let segment = Segment::Key(&entry.key);
                (entry.key.as_str(), Field { node: &entry.node, parent: Some(self), segment })
            })),
            _ => Err(self.mismatch("a table")),
        }
    }

    /// A table's entry. A null is the same as none.
    pub(super) fn optional(&self, key: &str) -> Result<Option<Field<'d, '_>>, Invalid> {
        let found = self.entries()?.find(|(found, _)| *found == key);
        Ok(found.map(|(_, field)| field).filter(|field| field.node.value != Value::Null))
    }

    /// A table's entry that must be there.
    pub(super) fn required(&self, key: &str) -> Result<Field<'d, '_>, Invalid> {
        self.optional(key)?.ok_or_else(|| {
            let mut field = self.path();
            push_segment(&mut field, Segment::Key(key));
            Invalid { offset: self.node.offset, field, rule: "is missing".to_owned() }
        })
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Result<impl ExactSizeIterator<Item = Field<'d, '_>>, Invalid> {
        match &self.node.value {
            Value::List(items) => Ok(items.iter().enumerate().map(|(at, node)| Field {
                node,
                parent: Some(self),
                segment: Segment::Index(at),
            })),
            _ => Err(self.mismatch("a list")),
        }
    }

    /// Whether it is a table.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.node.value, Value::Table(_))
    }

    /// A text.
    pub(super) fn text(&self) -> Result<&'d str, Invalid> {
        match &self.node.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.mismatch("a text")),
        }
    }

    /// A text of 1 to `bytes_max` bytes.
    pub(super) fn bounded_text(&self, bytes_max: usize) -> Result<&'d str, Invalid> {
        let text = self.text()?;
        if text.is_empty() || text.len() > bytes_max {
            return Err(
                self.invalid(format!("must have 1 to {bytes_max} bytes, has {}", text.len()))
            );
        }
        Ok(text)
    }

    /// A text that is a name.
    pub(super) fn name(&self) -> Result<Name, Invalid> {
        let text = self.text()?;
        Name::new(text).map_err(|_| {
            self.invalid(format!("must match {}, is {}", Name::PATTERN, Shown(&self.node.value)))
        })
    }

    /// A whole number within bounds.
    pub(super) fn integer(&self, min: u64, max: u64) -> Result<u64, Invalid> {
        let Value::Integer(number) = &self.node.value else {
            return Err(self.mismatch("a whole number"));
        };
        match u64::try_from(*number) {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ if *number < i128::from(min) => Err(self.mismatch(&format!("at least {min}"))),
            _ => Err(self.mismatch(&format!("at most {max}"))),
        }
    }

    /// A whole number within bounds.
    pub(super) fn integer_u32(&self, min: u32, max: u32) -> Result<u32, Invalid> {
        let number = self.integer(min.into(), max.into())?;
        u32::try_from(number).map_err(|_| self.mismatch("a 32-bit number"))
    }

    /// A number that is 0 or more, and finite.
    pub(super) fn amount(&self) -> Result<f64, Invalid> {
        let number = match &self.node.value {
            #[expect(clippy::cast_precision_loss, reason = "an amount is measured, not counted")]
            Value::Integer(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            _ => None,
        };
        number
            .filter(|number| number.is_finite() && *number >= 0.0)
            .ok_or_else(|| self.mismatch("a number of at least 0"))
    }
}

fn push_segment(path: &mut String, segment: Segment<'_>) {
    match segment {
        Segment::Root => {}
        Segment::Key(key) => {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(key);
        }
        Segment::Index(at) => {
            // Writing to a string cannot fail.
            let _ = write!(path, "[{at}]");
        }
    }
}

/// A value in an error message: short, whatever it is.
struct Shown<'v>(&'v Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHARACTERS_MAX: usize = 64;
        match self.0 {
            Value::Null => f.write_str("null"),
            Value::Boolean(value) => write!(f, "{value}"),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Float(number) => write!(f, "{number:?}"),
            Value::Other(text) => write!(f, "{}", text.chars().take(64).collect::<String>()),
            Value::Text(text) if text.chars().nth(CHARACTERS_MAX).is_some() => {
                let start: String = text.chars().take(CHARACTERS_MAX).collect();
                write!(f, "{start:?}... of {} bytes", text.len())
            }
            Value::Text(text) => write!(f, "{text:?}"),
            Value::List(_) => f.write_str("a list"),
            Value::Table(_) => f.write_str("a table"),
        }
    }
}
