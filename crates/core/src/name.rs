//! Names of networks, processes, workers and settings.
//!
//! Invariant: a [`Name`] matches `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`; it is checked once, when made.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A valid name. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// The text is no valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a name: it must match {}", Name::PATTERN)]
pub struct InvalidName {
    /// The text, cut to at most 64 characters.
    pub text: String,
}

impl Name {
    /// What a name looks like, for error messages.
    pub const PATTERN: &'static str = "[A-Za-z0-9][A-Za-z0-9._-]{0,127}";
    /// Most bytes of a name.
    pub const LEN_MAX: usize = 128;

    /// Checks and makes a name.
    ///
    /// # Errors
    /// [`InvalidName`] when the text does not match [`Name::PATTERN`].
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let valid = text.len() <= Self::LEN_MAX
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName { text: text.chars().take(64).collect() })
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a name that matches {}", Name::PATTERN)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Name, E> {
                Name::new(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}
