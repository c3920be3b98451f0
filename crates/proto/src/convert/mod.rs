//! Conversions between `quorate-core` and the messages of `quorate.v1`.
//!
//! Requests become core commands, with errors that name the field and the rule it broke; replies,
//! records and events become messages, and back for the client. Everything is pure.
//!
//! Invariants: what decodes here has the right shape, nothing more: limits and rules that span
//! fields are checked once, by `quorate_core::apply`. No input panics. Decoding what was encoded
//! gives the value back.

mod alert;
pub mod connection;
pub mod header;
pub mod key;
pub mod network;
pub mod plan;
pub mod pool;
pub mod record;
pub mod reshaping;
pub mod scaling;
pub mod transaction;
pub mod watch;
pub mod write;

use quorate_core::{Name, Rejection};

pub use header::{Consistency, Header};
pub use network::NetworkNumbers;
pub use transaction::PutKeys;
pub use watch::{ResumeToken, Start, WatchEvent, WatchSpec, WatchedChange};

/// A message is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct ConvertError {
    /// The field that broke the rule, as a path: `success[2].put.key`.
    pub field: String,
    /// The rule that it broke: `required`.
    pub rule: String,
}

impl ConvertError {
    /// A field broke a rule.
    #[must_use]
    pub fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { field: field.into(), rule: rule.into() }
    }

    /// The same error, seen from the message that holds the field's message as `outer`.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        let field = match self.field.as_str() {
            "" => outer.to_owned(),
            inner => format!("{outer}.{inner}"),
        };
        Self { field, ..self }
    }
}

impl From<ConvertError> for Rejection {
    fn from(error: ConvertError) -> Self {
        Self::invalid(error.field, error.rule)
    }
}

/// Adds where an error happened.
pub(crate) trait Within<T> {
    /// Puts `outer.` before the error's field.
    fn within(self, outer: &str) -> Result<T, ConvertError>;
    /// Puts `outer[index].` before the error's field.
    fn within_item(self, outer: &str, index: usize) -> Result<T, ConvertError>;
}

impl<T> Within<T> for Result<T, ConvertError> {
    fn within(self, outer: &str) -> Self {
        self.map_err(|error| error.within(outer))
    }

    fn within_item(self, outer: &str, index: usize) -> Self {
        self.map_err(|error| error.within(&format!("{outer}[{index}]")))
    }
}

/// The value of a field that must be set.
pub(crate) fn required<T>(value: Option<T>, field: &str) -> Result<T, ConvertError> {
    value.ok_or_else(|| ConvertError::new(field, "required"))
}

/// Converts every item; an error names the item's number.
pub(crate) fn each<T, U>(
    items: Vec<T>,
    field: &str,
    convert: impl Fn(T) -> Result<U, ConvertError>,
) -> Result<Vec<U>, ConvertError> {
    let convert_one = |(index, item)| convert(item).within_item(field, index);
    items.into_iter().enumerate().map(convert_one).collect()
}

/// Reads a name that may be absent, as an empty text.
pub(crate) fn optional_name(text: &str, field: &str) -> Result<Option<Name>, ConvertError> {
    if text.is_empty() { Ok(None) } else { name(text, field).map(Some) }
}

/// A name that may be absent, as a text that may be empty.
pub(crate) fn name_or_empty(name: Option<&Name>) -> String {
    name.map(|name| name.as_str().to_owned()).unwrap_or_default()
}

/// Reads a name; an error names `field`, and with an empty one the message that holds the name.
pub fn name(text: &str, field: &str) -> Result<Name, ConvertError> {
    Name::new(text).map_err(|_| ConvertError::new(field, format!("must match {}", Name::PATTERN)))
}
