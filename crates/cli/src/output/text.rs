//! Bytes as text: in JSON as they are or as base64, in tables on one line.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::ser::SerializeMap;

/// The widest a value gets in a table, in characters.
const CELL_CHARS_MAX: usize = 64;

/// A field of a JSON object that holds bytes: its name for text, and for base64.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BytesField {
    text: &'static str,
    base64: &'static str,
}

/// `key`, or `key_base64`.
pub(crate) const KEY: BytesField = BytesField { text: "key", base64: "key_base64" };
/// `value`, or `value_base64`.
pub(crate) const VALUE: BytesField = BytesField { text: "value", base64: "value_base64" };
/// `previous`, or `previous_base64`.
pub(crate) const PREVIOUS: BytesField = BytesField { text: "previous", base64: "previous_base64" };

impl BytesField {
    /// Adds the bytes to a JSON object: as text when they are UTF-8, else as base64.
    pub(crate) fn serialize<M: SerializeMap>(
        self,
        map: &mut M,
        bytes: &[u8],
    ) -> Result<(), M::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => map.serialize_entry(self.text, text),
            Err(_) => map.serialize_entry(self.base64, &BASE64_STANDARD.encode(bytes)),
        }
    }

    /// The name for text.
    pub(crate) const fn name(self) -> &'static str {
        self.text
    }
}

/// Bytes for a table's cell: whole, without control characters.
pub(crate) fn cell(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.chars().map(printable).collect(),
        Err(_) => format!("<{} bytes>", bytes.len()),
    }
}

/// Bytes for a table's cell, cut when they are long.
pub(crate) fn short_cell(bytes: &[u8]) -> String {
    shorten(&cell(bytes))
}

/// Text for a table's cell, cut when it is long.
pub(crate) fn shorten(text: &str) -> String {
    if text.chars().count() <= CELL_CHARS_MAX {
        return text.to_owned();
    }
    let head: String = text.chars().take(CELL_CHARS_MAX - 1).collect();
    format!("{head}…")
}

fn printable(c: char) -> char {
    if c.is_control() { '·' } else { c }
}

/// What may be absent, as a cell.
pub(crate) fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_one_line_of_bounded_width() {
        assert_eq!(cell(b"a\tb\nc\x1b[31m"), "a·b·c·[31m");
        assert_eq!(cell(&[0xff, 0xfe]), "<2 bytes>");
        let long = short_cell("ä".repeat(1000).as_bytes());
        assert_eq!(long.chars().count(), CELL_CHARS_MAX);
        assert!(long.ends_with('…'));
        assert_eq!(short_cell(b"short"), "short");
    }
}
