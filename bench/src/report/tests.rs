#![allow(clippy::unwrap_used)] // a test ends by panicking

use super::*;

#[test]
fn dates_are_those_of_the_calendar() {
    assert_eq!(date(0), (1970, 1, 1));
    assert_eq!(date(11_016), (2000, 2, 29));
    assert_eq!(date(20_789), (2026, 12, 2));
    assert_eq!(date(-1), (1969, 12, 31));
}

#[test]
fn a_table_counts_the_goals_that_are_met() {
    let mut table = Table::new().unwrap();
    table.add(Row::plain("a", "1", "2"));
    table.add(Row::plain("b", "1 µs", "2").goal(">= 1", true));
    table.add(Row::plain("c", "1", "2").goal(">= 2", false));
    let text = table.to_string();
    assert!(text.contains("| b    | 1 µs     | 2                   | >= 1 | yes |\n"), "{text}");
    assert!(text.ends_with("\n1 of 2 goals met\n"), "{text}");
    let mut json = Vec::new();
    table.json(&mut json).unwrap();
    assert_eq!(String::from_utf8(json).unwrap().lines().count(), 3);
}
