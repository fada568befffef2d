//! Weight files: what they may say, and that changes are seen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;

#[test]
fn a_file_is_read_and_what_is_wrong_is_told_with_its_line() {
    let names = parse("# c\n\nwww.Example.com\n100.64.1.1 3\n100.64.1.2 1\n w2.example.com.\n::1 255\n").unwrap();
    let weights = &names[&Name::parse("WWW.example.com").unwrap()];
    assert_eq!(weights[..], [("100.64.1.1".parse().unwrap(), 3), ("100.64.1.2".parse().unwrap(), 1)]);
    for (text, line, says) in [
        ("a\n10.0.0.1\n", 2, "has no weight"),
        ("10.0.0.1 3\n", 1, "need a name"),
        ("a\n10.0.0.1 0\n", 2, "from 1 to 255"),
        ("a\n10.0.0.1 256\n", 2, "from 1 to 255"),
        ("a\n\nten 3\n", 3, "no IP address"),
        ("a\n10.0.0.1 3 4\n", 2, "too many words"),
    ] {
        let (at, told) = parse(text).unwrap_err();
        assert!(at == line && told.contains(says), "{text}: {at}: {told}");
    }
}

#[test]
fn a_file_that_changes_is_read_again_and_a_wrong_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    // It may come later.
    let weights = Weights::read(path.clone(), RELOAD).unwrap();
    assert!(Weights::read(path.clone(), Duration::ZERO).is_err());
    let known = || weights.current.load().names.len();
    std::fs::write(&path, "a\n10.0.0.1 3\n").unwrap();
    weights.look();
    assert_eq!(known(), 1);
    std::fs::write(&path, "a\n10.0.0.1 3000\n").unwrap();
    weights.look();
    assert_eq!(known(), 1);
    std::fs::write(&path, "a\nb\n").unwrap();
    weights.look();
    assert_eq!(known(), 2);
}
