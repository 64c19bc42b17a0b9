//! Tables of text for terminals.

use std::fmt::Write as _;

/// Columns as wide as their widest cell, two blanks between them. Control characters of what others wrote are not let
/// through to the terminal.
pub fn render(head: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(head[column].len())
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut row = String::new();
        for (cell, width) in cells.zip(&widths) {
            write!(row, "{cell:<width$}  ").expect("a string takes all text");
        }
        text.push_str(row.trim_end());
        text.push('\n');
    };
    line(&mut head.iter().copied());
    for row in &rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

/// One line, without control characters.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_escape_sequences_do_not_reach_the_terminal() {
        let rows = [vec!["ä".to_owned(), "b".to_owned()], vec!["lang\x1b[31m".to_owned(), String::new()]];
        assert_eq!(render(&["ID", "STATUS"], &rows), "ID         STATUS\nä          b\nlang [31m\n");
    }
}
