//! Tables like that of `docker ps`: no lines, and a heading in capitals.

use comfy_table::{ContentArrangement, presets};

use crate::legible::legible;

/// The width of a table that need not be wide.
const WIDTH: usize = 100;
/// No column is cut to less than this.
const NARROWEST: usize = 10;
/// The spaces between two columns.
const GAP: usize = 2;

/// A table in the making.
#[derive(Debug)]
pub(super) struct Grid {
    wide: bool,
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    head: &'static str,
    cells: Vec<String>,
}

/// Whether a column is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// Always.
    Always,
    /// Where a cell has content.
    Filled,
    /// Where the table may be wide.
    Wide,
}

// === impl Grid ===

impl Grid {
    /// Without columns yet.
    pub(super) fn new(wide: bool) -> Self {
        Self { wide, columns: Vec::new() }
    }

    /// With one more column.
    pub(super) fn with<T>(
        mut self,
        head: &'static str,
        shown: Shown,
        rows: &[T],
        cell: impl Fn(&T) -> String,
    ) -> Self {
        let cells: Vec<_> = rows.iter().map(|row| legible(&cell(row))).collect();
        let is_shown = match shown {
            Shown::Always => true,
            Shown::Filled => cells.iter().any(|cell| cell != "-"),
            Shown::Wide => self.wide,
        };
        if is_shown {
            self.columns.push(Column { head, cells });
        }
        self
    }

    /// Its lines, from the left margin on and without spaces at their ends.
    pub(super) fn lines(mut self) -> String {
        if !self.wide {
            self.narrow();
        }
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.columns.iter().map(|column| column.head));
        let rows = self.columns.first().map_or(0, |column| column.cells.len());
        for row in 0..rows {
            table.add_row(self.columns.iter().map(|column| column.cells[row].clone()));
        }
        let lines = table.lines().map(|line| {
            let line = line.trim_end();
            line.strip_prefix(' ').unwrap_or(line).to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Cuts the cells of the widest columns until the table is not too wide.
    fn narrow(&mut self) {
        loop {
            let widths = self.columns.iter().map(Column::width);
            let total = widths.sum::<usize>() + GAP * self.columns.len().saturating_sub(1);
            let widest = self.columns.iter_mut().max_by_key(|column| column.width());
            let Some(widest) = widest.filter(|widest| widest.width() > NARROWEST) else { return };
            let Some(over) = total.checked_sub(WIDTH).filter(|over| *over > 0) else { return };
            let most = widest.width().saturating_sub(over.min(4)).max(widest.head.len());
            if most == widest.width() {
                return;
            }
            widest.cells.iter_mut().for_each(|cell| *cell = cut(cell, most));
        }
    }
}

// === impl Column ===

impl Column {
    fn width(&self) -> usize {
        let widths = self.cells.iter().map(|cell| cell.chars().count());
        widths.max().unwrap_or_default().max(self.head.len())
    }
}

/// At most this many letters, with a sign where some are left out.
pub(in crate::cli) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_of_what_is_in_it() {
        let rows = ["\x1b[2J"];
        let table = Grid::new(true).with("NAME", Shown::Always, &rows, ToString::to_string).lines();
        assert_eq!(table, "NAME\n\\u{1b}[2J");
    }

    #[test]
    fn a_table_is_as_wide_as_it_may_be() {
        let rows = ["x".repeat(90), "short".to_owned()];
        let grid = |wide| {
            Grid::new(wide)
                .with("NAME", Shown::Always, &rows, Clone::clone)
                .with("NONE", Shown::Filled, &rows, |_| "-".to_owned())
                .with("SIZE", Shown::Wide, &rows, |row| row.len().to_string())
                .with("LENGTH", Shown::Always, &rows, |row| row.len().to_string().repeat(6))
        };
        let widest = |text: &str| text.lines().map(|line| line.chars().count()).max();
        let narrow = grid(false).lines();
        assert_eq!(widest(&narrow), Some(WIDTH), "{narrow}");
        assert!(narrow.contains("x…  909090") && !narrow.contains("SIZE"), "{narrow}");
        let wide = grid(true).lines();
        assert!(wide.contains(&rows[0]) && wide.contains("SIZE"), "{wide}");
        assert!(!wide.contains("NONE"), "{wide}");
    }
}
