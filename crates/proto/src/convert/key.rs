//! Kinds, keys and selectors.
//!
//! `KIND_UNSPECIFIED` means `KIND_ENTRY` in a key or selector, and nothing in a filter.

use quorate_core::{Key, KeyRange, Kind};

use super::{ConvertError, Within, required};
use crate::v1;

/// Internal kinds have no name outside: no caller sees records of theirs.
impl From<Kind> for v1::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Entry => Self::Entry,
            Kind::Worker => Self::Worker,
            Kind::Network => Self::Network,
            Kind::Partition => Self::Partition,
            Kind::Connection => Self::Connection,
            Kind::Setting => Self::Setting,
            Kind::Session => Self::Session,
            Kind::Load => Self::Load,
            Kind::Member => Self::Member,
            Kind::ConnectionStatus => Self::ConnectionStatus,
            Kind::Pool => Self::Pool,
            Kind::Allocation => Self::Allocation,
            Kind::Alert => Self::Alert,
            Kind::Window | Kind::Reply => Self::Unspecified,
        }
    }
}

/// Reads a kind; None for `KIND_UNSPECIFIED`.
pub(crate) fn kind(number: i32) -> Result<Option<Kind>, ConvertError> {
    let unknown = |_| ConvertError::new("", format!("unknown kind {number}"));
    Ok(match v1::Kind::try_from(number).map_err(unknown)? {
        v1::Kind::Unspecified => None,
        v1::Kind::Entry => Some(Kind::Entry),
        v1::Kind::Worker => Some(Kind::Worker),
        v1::Kind::Network => Some(Kind::Network),
        v1::Kind::Partition => Some(Kind::Partition),
        v1::Kind::Connection => Some(Kind::Connection),
        v1::Kind::Setting => Some(Kind::Setting),
        v1::Kind::Session => Some(Kind::Session),
        v1::Kind::Load => Some(Kind::Load),
        v1::Kind::Member => Some(Kind::Member),
        v1::Kind::ConnectionStatus => Some(Kind::ConnectionStatus),
        v1::Kind::Pool => Some(Kind::Pool),
        v1::Kind::Allocation => Some(Kind::Allocation),
        v1::Kind::Alert => Some(Kind::Alert),
    })
}

fn kind_or_entry(number: i32) -> Result<Kind, ConvertError> {
    kind(number).map(|kind| kind.unwrap_or(Kind::Entry)).within("kind")
}

impl From<Key> for v1::Key {
    fn from(key: Key) -> Self {
        Self { kind: v1::Kind::from(key.kind).into(), key: key.bytes }
    }
}

impl TryFrom<v1::Key> for Key {
    type Error = ConvertError;

    fn try_from(key: v1::Key) -> Result<Self, ConvertError> {
        Ok(Self { kind: kind_or_entry(key.kind)?, bytes: key.key })
    }
}

/// A message's `key` field, which must be set.
pub(crate) fn required_key(key: Option<v1::Key>) -> Result<Key, ConvertError> {
    Key::try_from(required(key, "key")?).within("key")
}

impl From<KeyRange> for v1::Selector {
    fn from(range: KeyRange) -> Self {
        use v1::selector::Target;
        let kind = v1::Kind::from(range.kind()).into();
        let target = match range {
            KeyRange::Single(key) => Target::Key(key.bytes),
            KeyRange::Prefix(_, prefix) => Target::Prefix(prefix),
            KeyRange::Bounds { start, end, .. } => Target::Bounds(v1::KeyBounds { start, end }),
        };
        Self { kind, target: Some(target) }
    }
}

impl TryFrom<v1::Selector> for KeyRange {
    type Error = ConvertError;

    fn try_from(selector: v1::Selector) -> Result<Self, ConvertError> {
        use v1::selector::Target;
        let kind = kind_or_entry(selector.kind)?;
        match selector.target {
            None => Err(ConvertError::new("", "one of key, prefix and bounds must be set")),
            Some(Target::Key(bytes)) => Ok(Self::Single(Key { kind, bytes })),
            Some(Target::Prefix(prefix)) => Ok(Self::Prefix(kind, prefix)),
            Some(Target::Bounds(v1::KeyBounds { start, end })) => {
                Ok(Self::Bounds { kind, start, end })
            }
        }
    }
}

/// A message's selector in the field of that name, which must be set.
///
/// # Errors
/// [`ConvertError`] when it is absent or names no records.
pub fn required_range(
    selector: Option<v1::Selector>,
    field: &str,
) -> Result<KeyRange, ConvertError> {
    KeyRange::try_from(required(selector, field)?).within(field)
}
