//! How values of this crate are stored and sent between coordinators: a format version byte, then
//! bincode's standard configuration.

use serde::{Serialize, de::DeserializeOwned};

/// The version that [`encode`] writes.
pub const FORMAT: u8 = 1;

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
    let mut bytes = vec![FORMAT];
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())
        .expect("writing to a Vec does not fail, and every type of this crate is encodable");
    bytes
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
    let (value, used) = bincode::serde::decode_from_slice(rest, bincode::config::standard())
        .map_err(|error| DecodeError::Damaged(error.to_string()))?;
    if used == rest.len() { Ok(value) } else { Err(DecodeError::Damaged("bytes left over".into())) }
}
