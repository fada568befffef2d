//! Tables for people: columns as wide as their widest cell, two spaces between, as kubectl prints them.

/// Renders rows under a head; every row has as many cells as the head.
pub(crate) fn render(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut one = String::new();
        for (cell, width) in cells.zip(&widths) {
            one.push_str(cell);
            one.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
        }
        text.push_str(one.trim_end());
        text.push('\n');
    };
    line(&mut head.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests;
