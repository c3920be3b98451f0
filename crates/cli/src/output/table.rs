//! Aligned columns under a header, without colours, so that they survive pipes.

use std::fmt;

use super::Column;

/// Space between columns.
const GAP: &str = "  ";

/// A table. Invariant: each row has a cell for each column.
#[derive(Debug)]
pub(crate) struct Table {
    columns: &'static [Column],
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(columns: &'static [Column]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row with a cell for each column.
    pub(crate) fn push(&mut self, row: Vec<String>) {
        debug_assert_eq!(row.len(), self.columns.len(), "a cell for each column");
        self.rows.push(row);
    }

    fn width(&self, index: usize) -> usize {
        let header = self.columns[index].name().chars().count();
        let cells = self.rows.iter().map(|row| row[index].chars().count());
        cells.max().unwrap_or(0).max(header)
    }

    fn line<'a>(
        &self,
        f: &mut fmt::Formatter<'_>,
        widths: &[usize],
        cells: impl Iterator<Item = &'a str>,
    ) -> fmt::Result {
        let mut line = String::new();
        for ((column, width), cell) in self.columns.iter().zip(widths).zip(cells) {
            if !line.is_empty() {
                line.push_str(GAP);
            }
            line.push_str(&match column {
                Column::Left(_) => format!("{cell:<width$}"),
                Column::Right(_) => format!("{cell:>width$}"),
            });
        }
        writeln!(f, "{}", line.trim_end())
    }
}

impl Column {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Left(name) | Self::Right(name) => name,
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<_> = (0..self.columns.len()).map(|index| self.width(index)).collect();
        self.line(f, &widths, self.columns.iter().map(|column| column.name()))?;
        self.rows.iter().try_for_each(|row| self.line(f, &widths, row.iter().map(String::as_str)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[Column::Left("NAME"), Column::Right("N"), Column::Left("STATE")];

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_space() {
        let mut table = Table::new(COLUMNS);
        table.push(vec!["a".into(), "12345".into(), "up".into()]);
        table.push(vec!["größer".into(), "1".into(), String::new()]);
        assert_eq!(
            table.to_string(),
            "NAME        N  STATE\n\
             a       12345  up\n\
             größer      1\n"
        );
    }

    #[test]
    fn an_empty_table_has_a_header() {
        assert_eq!(Table::new(COLUMNS).to_string(), "NAME  N  STATE\n");
    }
}
