//! Network files: from a text that a person or another program wrote to a [`NetworkSpec`].
//!
//! Two formats: Quorate's own TOML (its keys are in `from_toml`'s rules, samples are in
//! `config/networks`) and WfFormat 1.5, the JSON of recorded scientific workflows.
//!
//! ```text
//! text -> document (values with positions) -> field (typed access, paths) -> format -> canonical spec
//! ```
//!
//! Owns the two mappings and what is said when a file is wrong: file, line, field and rule.
//! Invariants: the result is canonical and refers to nothing that is not there, so that the same
//! network gives the same spec in whatever order its file is written; nothing is guessed and
//! nothing ignored, except what WfFormat has beside a network. Limits that are settings of the
//! cluster are its business, as is how a network is partitioned.

mod canonical;
mod document;
mod error;
mod field;
mod from_toml;
mod from_wfformat;
mod to_toml;

use std::{fs::File, io::Read, path::Path};

use quorate_core::NetworkSpec;

pub use error::{FileError, Position};
pub use to_toml::to_toml;

use document::Node;
use field::{Field, Invalid};

/// The largest network file that is read: 256 MiB, some millions of processes.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// How a network file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Quorate's own.
    Toml,
    /// WfFormat 1.5: JSON.
    WfFormat,
}

impl Format {
    /// By the file's extension, or by the text where that says nothing: a JSON object begins
    /// with a brace, and no TOML file does.
    #[must_use]
    pub fn detect(file: &Path, text: &str) -> Self {
        let extension = file.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("toml") => Self::Toml,
            Some("json") => Self::WfFormat,
            _ if text.trim_start().starts_with('{') => Self::WfFormat,
            _ => Self::Toml,
        }
    }
}

/// Reads a network file.
///
/// # Errors
/// [`FileError`], which names the file, and the line or field with the rule that is broken.
pub fn read(file: &Path) -> Result<NetworkSpec, FileError> {
    let unreadable = |source| FileError::Unreadable { file: file.to_owned(), source };
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(unreadable)?;
    opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(FileError::TooLarge { file: file.to_owned() });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        FileError::Syntax {
            file: file.to_owned(),
            position: Position::after(&String::from_utf8_lossy(valid)),
            message: "not UTF-8 text".to_owned(),
        }
    })?;
    parse(&text, Format::detect(file, &text), file)
}

/// Reads a network from a text. `file` is what errors call it.
///
/// What the text leaves to the coordinator (partitions, strategy) is left to it in the spec:
/// see [`PartitionPolicy::default`](quorate_core::PartitionPolicy).
///
/// # Errors
/// [`FileError`], which names the line or field with the rule that is broken.
pub fn parse(text: &str, format: Format, file: &Path) -> Result<NetworkSpec, FileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document = match format {
        Format::Toml => Node::from_toml(text),
        Format::WfFormat => Node::from_json(text),
    };
    let document = document.map_err(|error| FileError::Syntax {
        file: file.to_owned(),
        position: error.position,
        message: error.message,
    })?;
    let root = Field::root(&document);
    let spec = match format {
        Format::Toml => from_toml::network(&root),
        Format::WfFormat => from_wfformat::network(&root),
    };
    spec.map_err(|Invalid { offset, field, rule }| FileError::Invalid {
        file: file.to_owned(),
        position: offset.map(|offset| Position::of(text, offset)),
        field,
        rule,
    })
}
