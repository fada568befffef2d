//! Columns line up.

use super::render;

#[test]
fn columns_line_up_and_lines_have_no_tail() {
    let rows = [vec!["a".to_owned(), "x".to_owned()], vec!["bbbbbb".to_owned(), String::new()]];
    assert_eq!(render(&["NAME", "B"], &rows), "NAME    B\na       x\nbbbbbb\n");
}
