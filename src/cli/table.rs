//! Columns for people, cut to the width of the terminal. Pure.

use super::clean;

/// Blanks between columns.
const GAP: usize = 2;
/// No column is cut below this.
const NARROWEST: usize = 8;

/// A heading, and on which side its cells stand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// Texts.
    Left(&'static str),
    /// What is to be copied from here, and so never cut while the others can give way.
    Whole(&'static str),
    /// Numbers.
    Right(&'static str),
}

/// Rows of cells; what they say is cleaned when it comes in.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: vec![],
        }
    }

    /// Adds a row.
    pub(crate) fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells = cells.into_iter().map(|cell| clean::line(cell.as_ref()));
        self.rows.push(cells.collect());
    }

    /// The lines of it, the heading first, no wider than this.
    #[must_use]
    pub(crate) fn lines(&self, width: Option<usize>) -> Vec<String> {
        let heads: Vec<String> = self.columns.iter().map(|c| c.head().to_owned()).collect();
        let all: Vec<&Vec<String>> = std::iter::once(&heads).chain(&self.rows).collect();
        let widths = self.widths(&all, width);
        let lines = all.iter().map(|cells| {
            let cells = cells.iter().zip(&self.columns).zip(&widths);
            let cells = cells.map(|((cell, column), width)| column.padded(cell, *width));
            let line = cells.collect::<Vec<_>>().join(&" ".repeat(GAP));
            cut(line.trim_end(), width.unwrap_or(usize::MAX))
        });
        lines.collect()
    }

    /// What each column needs, or less where that is too much: the widest gives way first.
    fn widths(&self, all: &[&Vec<String>], width: Option<usize>) -> Vec<usize> {
        let needs = |index: usize| {
            let cells = all.iter().filter_map(|cells| cells.get(index));
            cells.map(|cell| measure(cell)).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..self.columns.len()).map(needs).collect();
        let room = width.unwrap_or(usize::MAX);
        let gaps = GAP * self.columns.len().saturating_sub(1);
        loop {
            let over = (widths.iter().sum::<usize>() + gaps).saturating_sub(room);
            let yielding = widths.iter_mut().zip(&self.columns);
            let yielding = yielding.filter(|(_, column)| !matches!(column, Column::Whole(_)));
            let Some(widest) = yielding.map(|(width, _)| width).max() else {
                return widths;
            };
            if over == 0 || *widest <= NARROWEST {
                return widths;
            }
            *widest -= 1;
        }
    }
}

impl Column {
    fn head(self) -> &'static str {
        match self {
            Self::Left(head) | Self::Whole(head) | Self::Right(head) => head,
        }
    }

    fn padded(self, cell: &str, width: usize) -> String {
        let cell = cut(cell, width);
        let blanks = " ".repeat(width.saturating_sub(measure(&cell)));
        match self {
            Self::Left(_) | Self::Whole(_) => cell + &blanks,
            Self::Right(_) => blanks + &cell,
        }
    }
}

/// How many columns of a terminal a text takes.
#[must_use]
pub(crate) fn measure(text: &str) -> usize {
    console::measure_text_width(text)
}

/// The beginning of a text that fits, with a sign where it was cut.
#[must_use]
pub(crate) fn cut(text: &str, width: usize) -> String {
    console::truncate_str(text, width, "…").into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(rows: &[[&str; 3]]) -> Table {
        let columns = [
            Column::Left("host"),
            Column::Right("n"),
            Column::Left("says"),
        ];
        let mut table = Table::new(&columns);
        for row in rows {
            table.row(row);
        }
        table
    }

    #[test]
    fn numbers_stand_on_the_right_and_nothing_trails() {
        let table = table(&[["sw1", "7", "a"], ["switch2", "1234", "b"]]);
        assert_eq!(
            table.lines(None),
            [
                "host        n  says",
                "sw1         7  a",
                "switch2  1234  b"
            ]
        );
    }

    #[test]
    fn the_widest_column_gives_way() {
        let table = table(&[["sw1", "7", "a very long text that nobody needs to the end"]]);
        let lines = table.lines(Some(26));
        assert_eq!(lines[1], "sw1   7  a very long text…");
    }

    #[test]
    fn what_is_to_be_copied_is_never_cut_while_others_can_give_way() {
        let mut table = Table::new(&[Column::Whole("id"), Column::Left("says")]);
        table.row(["0123456789ab", "a long text that nobody needs"]);
        assert_eq!(table.lines(Some(24))[1], "0123456789ab  a long te…");
    }

    #[test]
    fn wide_characters_take_two_places() {
        let table = table(&[["日本", "7", "x"], ["abcd", "7", "x"]]);
        let lines = table.lines(None);
        assert_eq!(measure(&lines[1]), measure(&lines[2]));
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(
            cells in proptest::collection::vec("\\PC{0,30}", 3..12),
            width in 1_usize..100,
        ) {
            let rows: Vec<[&str; 3]> = cells
                .chunks_exact(3)
                .map(|row| [row[0].as_str(), row[1].as_str(), row[2].as_str()])
                .collect();
            for line in table(&rows).lines(Some(width)) {
                prop_assert!(measure(&line) <= width, "{:?}", line);
            }
        }
    }
}
