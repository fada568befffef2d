//! Patterns against real folders.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;

use super::{is_match, matches};

#[test]
fn one_star_and_one_question_mark() {
    let cases = [
        ("a.server", "*.server", true),
        (".server", "*.server", true),
        ("server", "*.server", false),
        ("a.server.bak", "*.server", false),
        ("ab", "a*b", true),
        ("a", "a*a", false),
        ("aa", "a*a", true),
        ("b1.x", "b?.*", true),
        ("é.x", "?.x", true),
        ("ab.x", "?.x", false),
    ];
    for (name, pattern, expected) in cases {
        assert_eq!(is_match(name, pattern), expected, "{name} {pattern}");
    }
}

#[test]
fn files_are_sorted_and_folders_may_be_patterns() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.server", "a.server", "c.override", "x/1.server", "y/0.server"] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let found = |pattern: &str| {
        let found = matches(folder.path(), pattern).unwrap();
        found.iter().map(|path| path.strip_prefix(folder.path()).unwrap().display().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found("*.server"), ["a.server", "b.server"]);
    assert_eq!(found("*/?.server"), ["x/1.server", "y/0.server"]);
    assert_eq!(found("c.override"), ["c.override"]);
    assert!(found("absent").is_empty());
    assert!(found("absent/*").is_empty());
    let whole = folder.path().join("x/*").display().to_string();
    assert_eq!(matches(std::path::Path::new("elsewhere"), &whole).unwrap(), [folder.path().join("x/1.server")]);
    assert!(matches(folder.path(), "*/*").is_err());
    assert!(matches(folder.path(), "[ab].server").is_err());
}
