//! Everything that goes to standard output, through one writer.
//!
//! Tables for people, or one JSON object a line for programs. What is written at once is written
//! whole, under the lock of standard output. The submodules are pure: they make text from values
//! and know neither clients nor commands.

pub(crate) mod alerts;
pub(crate) mod bench;
pub(crate) mod cluster;
pub(crate) mod connections;
pub(crate) mod events;
pub(crate) mod failover;
pub(crate) mod followed;
pub(crate) mod graph;
pub(crate) mod notices;
pub(crate) mod plan;
pub(crate) mod pools;
pub(crate) mod records;
pub(crate) mod reshaping;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod snapshot;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod workers;

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

pub(crate) use self::table::Table;

/// How results look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for people
    Table,
    /// One JSON object a line for programs
    Json,
}

/// The one writer to standard output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// How results look.
    pub(crate) format: Format,
}

impl Output {
    /// Whether programs read the output.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Writes rows: a table, or a JSON object a line.
    pub(crate) fn rows<R: Row>(self, rows: &[R]) -> anyhow::Result<()> {
        match self.format {
            Format::Table => {
                let mut table = Table::new(R::COLUMNS);
                rows.iter().for_each(|row| table.push(row.cells()));
                self.text(&table.to_string())
            }
            Format::Json => self.text(&json_lines(rows)?),
        }
    }

    /// Writes one result: a line for people, or a JSON object.
    pub(crate) fn one<R: Serialize>(self, line: &str, row: &R) -> anyhow::Result<()> {
        match self.format {
            Format::Table => self.text(&format!("{line}\n")),
            Format::Json => self.text(&json_lines(std::slice::from_ref(row))?),
        }
    }

    /// Writes text as it is.
    pub(crate) fn text(self, text: &str) -> anyhow::Result<()> {
        self.bytes(text.as_bytes())
    }

    /// Writes bytes as they are.
    #[expect(clippy::unused_self, reason = "an Output in hand is the leave to write")]
    pub(crate) fn bytes(self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()?;
        Ok(())
    }
}

/// Something that is shown as a row of a table, or as a JSON object.
pub(crate) trait Row: Serialize {
    /// The columns of the table.
    const COLUMNS: &'static [Column];

    /// A cell for each column.
    fn cells(&self) -> Vec<String>;
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// Aligned to the left.
    Left(&'static str),
    /// Aligned to the right: numbers.
    Right(&'static str),
}

/// One JSON object a line.
fn json_lines<R: Serialize>(rows: &[R]) -> serde_json::Result<String> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&serde_json::to_string(row)?);
        text.push('\n');
    }
    Ok(text)
}
