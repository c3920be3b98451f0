//! Shared texts that are often empty: as serde stores a string, read with one allocation, or none
//! for the empty one.

use std::{fmt, sync::Arc};

use serde::{Deserializer, Serializer, de};

/// A text to share.
pub(crate) fn shared(text: &str) -> Arc<str> {
    if text.is_empty() { Arc::default() } else { text.into() }
}

pub(crate) fn serialize<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(text)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
    struct Visitor;

    impl de::Visitor<'_> for Visitor {
        type Value = Arc<str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Arc<str>, E> {
            Ok(shared(text))
        }
    }

    from.deserialize_str(Visitor)
}
