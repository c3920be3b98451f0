//! How values of this crate are stored and sent between coordinators: a format version byte, then
//! bincode's standard configuration.
//!
//! Fields and variants are stored by position: new variants go to the end of their enum, and any
//! other change of a stored type needs another [`FORMAT`]. A test holds the bytes of each.
//!
//! Invariant: decoding never panics and allocates in proportion to what it was given, whatever
//! the bytes claim.

use std::borrow::Cow;

use serde::{Serialize, de::DeserializeOwned};

/// The version that [`encode`] writes.
pub const FORMAT: u8 = 5;

/// What most values take at most, so that encoding them allocates once.
const USUAL: usize = 512;

/// The bytes are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// There are no bytes.
    #[error("empty")]
    Empty,
    /// Written by another version.
    #[error("format version {0}, this build reads version {FORMAT}")]
    Format(u8),
    /// Not decodable.
    #[error("damaged: {0}")]
    Damaged(String),
}

/// Encodes a value.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL);
    bytes.push(FORMAT);
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())
        .expect("writing to a Vec does not fail, and every type of this crate is encodable");
    bytes
}

/// Encodes a value into `room`; one that takes more, into memory of its own.
pub(crate) fn encode_within<'a, T: Serialize>(room: &'a mut [u8], value: &T) -> Cow<'a, [u8]> {
    let config = bincode::config::standard();
    room[0] = FORMAT;
    match bincode::serde::encode_into_slice(value, &mut room[1..], config) {
        Ok(used) => Cow::Borrowed(&room[..=used]),
        Err(_) => Cow::Owned(encode(value)),
    }
}

/// Decodes a value; all bytes must be used.
///
/// # Errors
/// [`DecodeError`] when the bytes are not one whole value of this format.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (&version, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if version != FORMAT {
        return Err(DecodeError::Format(version));
    }
    let (value, used) = decode_part(rest)?;
    if used == rest.len() { Ok(value) } else { Err(DecodeError::Damaged("bytes left over".into())) }
}

/// Decodes a value that bytes begin with, without the version byte, and tells how many it took.
/// For formats that hold several values and say themselves which version they are of.
///
/// # Errors
/// [`DecodeError::Damaged`] when the bytes do not begin with a value.
pub fn decode_part<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), DecodeError> {
    // bincode counts what it reads before it allocates, numbers at their full width: up to eight
    // times what they take. The limit is a constant of the type, hence the steps.
    match bytes.len() {
        len if len <= SMALL => decode_within::<T, { 16 * SMALL }>(bytes),
        len if len <= MIDDLE => decode_within::<T, { 16 * MIDDLE }>(bytes),
        len if len <= LARGE => decode_within::<T, { 16 * LARGE }>(bytes),
        _ => decode_within::<T, { u32::MAX as usize }>(bytes),
    }
}

const SMALL: usize = 64 << 10;
const MIDDLE: usize = 1 << 20;
const LARGE: usize = 16 << 20;

fn decode_within<T: DeserializeOwned, const LIMIT: usize>(
    bytes: &[u8],
) -> Result<(T, usize), DecodeError> {
    let config = bincode::config::standard().with_limit::<LIMIT>();
    bincode::serde::decode_from_slice(bytes, config)
        .map_err(|error| DecodeError::Damaged(error.to_string()))
}
