//! Columns that line up. Colours are kept apart from the text, or they would count as width.

/// How a cell stands out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Not at all.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Worth a look.
    Odd,
    /// Worth getting up.
    Bad,
}

impl Tone {
    /// The text in this tone.
    pub fn paint(self, text: &str, colour: bool) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Good => "32",
            Self::Odd => "33",
            Self::Bad => "1;31",
        };
        if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A piece of a row.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// One that stands out.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: clean(&text.into()), tone }
    }
}

/// The text without control characters: nothing that a name or a message contains may break the columns, or reach the
/// terminal as a command.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl<T: ToString> From<T> for Cell {
    fn from(value: T) -> Self {
        Self::toned(value.to_string(), Tone::Plain)
    }
}

/// A table under construction.
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

struct Column {
    head: &'static str,
    right: bool,
}

impl Table {
    /// Columns by their heads; a head that begins with `>` makes its column flush right, as numbers like it.
    pub fn new(heads: &[&'static str]) -> Self {
        let columns = heads.iter().map(|head| match head.strip_prefix('>') {
            Some(head) => Column { head, right: true },
            None => Column { head, right: false },
        });
        Self { columns: columns.collect(), rows: Vec::new() }
    }

    /// Adds a row, a cell for each column.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells.into());
    }

    /// The lines, each behind the indent; the heads alone if there are no rows.
    pub fn render(&self, indent: &str, colour: bool) -> String {
        let heads: Vec<Cell> = self.columns.iter().map(|column| Cell::from(column.head)).collect();
        let mut out = String::new();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let cells = row.iter().enumerate().map(|(index, cell)| self.padded(index, cell, colour));
            let line = format!("{indent}{}", cells.collect::<Vec<_>>().join("  "));
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    fn padded(&self, index: usize, cell: &Cell, colour: bool) -> String {
        let pad = " ".repeat(self.width(index).saturating_sub(length(&cell.text)));
        let text = cell.tone.paint(&cell.text, colour);
        if self.columns[index].right { pad + &text } else { text + &pad }
    }

    fn width(&self, index: usize) -> usize {
        let cells = self.rows.iter().map(|row| length(&row[index].text));
        cells.max().unwrap_or(0).max(length(self.columns[index].head))
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_blanks() {
        let mut table = Table::new(&["NAME", ">SLOTS", "WHY"]);
        table.row(["web1".into(), 5.into(), "".into()]);
        table.row(["a-longer-name".into(), 16_384.into(), "first".into()]);
        assert_eq!(
            table.render("  ", false),
            "  NAME           SLOTS  WHY\n  web1               5\n  a-longer-name  16384  first\n"
        );
    }

    #[test]
    fn colours_do_not_count_as_width() {
        let mut table = Table::new(&["A", "B"]);
        table.row([Cell::toned("up", Tone::Good), "x".into()]);
        table.row(["down".into(), "y".into()]);
        assert_eq!(table.render("", true), "A     B\n\x1b[32mup\x1b[0m    x\ndown  y\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(&["A"]);
        table.row(["x\x1b[2J\ny".into()]);
        assert_eq!(table.render("", false), "A\nx [2J y\n");
    }
}
