//! `auto`: zones come, change and go with their files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;
use crate::plugins::testing::refused;

fn zone(serial: u32) -> String {
    format!("@ 60 SOA ns root {serial} 3600 600 86400 60\n@ 60 NS ns\nwww 60 A 10.0.0.{serial}\n")
}

fn walker(folder: &Path, pattern: &str, template: &str) -> Walker {
    let (pattern, template) = (Regex::new(pattern).unwrap(), template.replace('{', "${"));
    let (folder, found) = (folder.to_owned(), Found::default());
    Walker { folder, pattern, template, found, readers: Vec::new(), changed: None }
}

fn served(walker: &Walker) -> Vec<(String, Option<u32>)> {
    walker.found.load().iter().map(|held| (held.origin.to_string(), held.serial())).collect()
}

#[test]
fn zones_follow_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let mut walker = walker(folder.path(), r"db\.(.*)", "{1}");
    std::fs::write(file("db.Example.org"), zone(1)).unwrap();
    std::fs::write(file("notes"), "nothing").unwrap();
    std::fs::write(file("db.broken.org"), "www 60 A 10.0.0.1\n").unwrap();
    walker.look();
    assert_eq!(served(&walker), [("example.org.".to_owned(), Some(1))]);
    // A changed serial, a file in a folder below, and one that is mended.
    std::fs::write(file("db.Example.org"), zone(2)).unwrap();
    std::fs::create_dir(file("more")).unwrap();
    std::fs::write(file("more/db.example.net"), zone(1)).unwrap();
    std::fs::write(file("more/db.example.org"), zone(9)).unwrap();
    std::fs::write(file("db.broken.org"), zone(3)).unwrap();
    walker.look();
    let mut all = served(&walker);
    all.sort();
    let expected = [("broken.org.", 3), ("example.net.", 1), ("example.org.", 2)];
    assert_eq!(all, expected.map(|(name, serial)| (name.to_owned(), Some(serial))));
    std::fs::remove_file(file("db.Example.org")).unwrap();
    std::fs::remove_dir_all(file("more")).unwrap();
    walker.look();
    assert_eq!(served(&walker), [("broken.org.".to_owned(), Some(3))]);
}

#[test]
fn names_are_made_by_the_template() {
    let walker = walker(Path::new("/nonexistent"), r"^([a-z]+)\.db\.(.*)$", "{2}.{1}");
    let origin = |file: &str| walker.origin(Path::new(file)).map(|name| name.to_string());
    assert_eq!(origin("/zones/www.db.example.org"), Some("example.org.www.".into()));
    assert_eq!(origin("/zones/db.example.org"), None);
}

#[test]
fn what_is_wrong_is_told() {
    for (body, told) in [
        ("auto", "has no folder; add `directory DIR`"),
        ("auto {\ndirectory /tmp db\\.(.*)\n}", "has a regular expression and no template"),
        ("auto {\ndirectory /tmp db {1}\n}", "db has no group"),
        ("auto {\ndirectory /tmp (db {1}\n}", "(db: regex parse error"),
        ("auto {\ndirectory /tmp\nreload x\n}", "is not a duration"),
        ("auto {\ndirectoryy /tmp\n}", "did you mean directory?"),
    ] {
        let problem = refused(&format!(". {{\n{body}\n}}\n"));
        assert!(problem.contains(told), "{body}: {problem}");
    }
}
