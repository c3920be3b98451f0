//! A list that is followed: a table and then marked lines, or a JSON object a line.

use quorate_core::Revision;
use serde::Serialize;

use super::{
    Column::{Left, Right},
    Output, Row, Table,
};

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It is new.
    New,
    /// It is another one now.
    Changed,
    /// It is gone; it is shown as it was.
    Gone,
}

impl Mark {
    fn sign(self) -> char {
        match self {
            Self::New => '+',
            Self::Changed => '~',
            Self::Gone => '-',
        }
    }
}

/// A list that was shown, with the widths of its columns.
#[derive(Debug)]
pub(crate) struct Shown {
    widths: Vec<usize>,
}

/// A row with what happened to it. `op` is `list` for what was there at the beginning.
#[derive(Serialize)]
struct Line<'a, R> {
    op: &'static str,
    revision: u64,
    created: bool,
    #[serde(flatten)]
    row: &'a R,
}

impl Shown {
    /// Shows the list as it is at a revision.
    pub(crate) fn list<R: Row>(output: Output, at: Revision, rows: &[R]) -> anyhow::Result<Self> {
        let (revision, created) = (at.get(), false);
        if output.is_json() {
            let line = |row| Line { op: "list", revision, created, row };
            rows.iter().try_for_each(|row| output.one("", &line(row)))?;
        } else {
            let mut table = Table::new(R::COLUMNS);
            rows.iter().for_each(|row| table.push(row.cells()));
            output.text(&table.to_string())?;
        }
        let mut shown = Self { widths: R::COLUMNS.iter().map(|it| it.name().len()).collect() };
        rows.iter().for_each(|row| shown.widen(&row.cells()));
        Ok(shown)
    }

    /// Shows what a revision changed.
    pub(crate) fn changes<R: Row>(
        &mut self,
        output: Output,
        at: Revision,
        rows: &[(Mark, R)],
    ) -> anyhow::Result<()> {
        for (mark, row) in rows {
            if output.is_json() {
                let op = if *mark == Mark::Gone { "delete" } else { "put" };
                let (revision, created) = (at.get(), *mark == Mark::New);
                output.one("", &Line { op, revision, created, row })?;
            } else {
                let line = self.line(*mark, at, row);
                output.text(&line)?;
            }
        }
        Ok(())
    }

    fn line<R: Row>(&mut self, mark: Mark, at: Revision, row: &R) -> String {
        let cells = row.cells();
        self.widen(&cells);
        let mut line = format!("{} {}", mark.sign(), at.get());
        for ((column, width), cell) in R::COLUMNS.iter().zip(&self.widths).zip(&cells) {
            line.push_str("  ");
            line.push_str(&match column {
                Left(_) => format!("{cell:<width$}"),
                Right(_) => format!("{cell:>width$}"),
            });
        }
        format!("{}\n", line.trim_end())
    }

    fn widen(&mut self, cells: &[String]) {
        for (width, cell) in self.widths.iter_mut().zip(cells) {
            *width = cell.chars().count().max(*width);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Column, *};

    #[derive(Serialize)]
    struct Named(&'static str, u32);

    impl Row for Named {
        const COLUMNS: &'static [Column] = &[Left("NAME"), Right("N")];

        fn cells(&self) -> Vec<String> {
            vec![self.0.to_owned(), self.1.to_string()]
        }
    }

    #[test]
    fn lines_are_marked_and_aligned() {
        let mut shown = Shown { widths: vec![4, 3] };
        assert_eq!(shown.line(Mark::New, Revision(7), &Named("a", 1)), "+ 7  a       1\n");
        assert_eq!(shown.line(Mark::Gone, Revision(8), &Named("longer", 2)), "- 8  longer    2\n");
        assert_eq!(shown.line(Mark::Changed, Revision(9), &Named("a", 3)), "~ 9  a         3\n");
    }
}
