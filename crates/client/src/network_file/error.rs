//! Why a network file was refused.
//!
//! Invariant: every error names the file; one about the content also names the line or the field,
//! and the rule.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// A network file was refused.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It could not be read.
    #[error("{}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is larger than [`FILE_BYTES_MAX`](super::FILE_BYTES_MAX).
    #[error("{}: larger than {} bytes", file.display(), super::FILE_BYTES_MAX)]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// It is not in the format at all.
    #[error("{}:{position}: {message}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Where reading stopped.
        position: Position,
        /// What was expected.
        message: String,
    },
    /// A field breaks a rule.
    #[error("{}: {rule}", place(file, *position, field))]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Where the field is; unknown in JSON.
        position: Option<Position>,
        /// The field as a path, such as `processes[3].needs.cpu_millis`. Empty: the file itself.
        field: String,
        /// The rule, and what is there instead.
        rule: String,
    },
}

impl FileError {
    /// The field that breaks a rule, as a path.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid { field, .. } => Some(field),
            _ => None,
        }
    }

    /// The rule that is broken.
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        match self {
            Self::Invalid { rule, .. } => Some(rule),
            _ => None,
        }
    }

    /// Where in the file, if known.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Syntax { position, .. } => Some(*position),
            Self::Invalid { position, .. } => *position,
            Self::Unreadable { .. } | Self::TooLarge { .. } => None,
        }
    }
}

/// A place in a text, both from 1. Shown as `line:column`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Position {
    /// Of the byte at this offset; the end for one beyond.
    #[must_use]
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self::after(&text[..end])
    }

    /// Right after this text.
    #[must_use]
    pub(super) fn after(text: &str) -> Self {
        let line = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let start = text.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line, column: text[start..].chars().count() + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// `net.toml:12:3: processes[3].id`, as far as it is known.
fn place(file: &Path, position: Option<Position>, field: &str) -> String {
    let mut place = file.display().to_string();
    if let Some(position) = position {
        place.push_str(&format!(":{position}"));
    }
    if !field.is_empty() {
        place.push_str(&format!(": {field}"));
    }
    place
}
