//! No text makes the reader panic, or work without bound.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::{env, read};
use crate::corefile::limits::{MAX_IMPORTS, MAX_NESTING, MAX_WORDS};
use crate::corefile::{parse, read as read_path};

#[test]
fn a_bomb_of_snippets_ends_early() {
    let mut text = "(s0) {\nlog\nlog\n}\n".to_string();
    for level in 1..64 {
        writeln!(text, "(s{level}) {{\nimport s{0}\nimport s{0}\n}}", level - 1).unwrap();
    }
    text.push_str(". {\nimport s63\n}");
    let told = read(&text).unwrap_err().to_string();
    assert!(told.ends_with(&format!("import: more than {MAX_IMPORTS} imports")), "{told}");
}

#[test]
fn a_bomb_of_words_ends_early() {
    let mut text = format!("(s) {{\n{}}}\n. {{\n", "log\n".repeat(1000));
    text.push_str(&"import s\n".repeat(2000));
    text.push('}');
    let told = read(&text).unwrap_err().to_string();
    assert!(told.contains("grows beyond all measure"), "{told}");
    let told = read(&"a ".repeat(MAX_WORDS + 1)).unwrap_err().to_string();
    assert!(told.contains("more than 1048576 words"), "{told}");
}

#[test]
fn a_bomb_of_files_ends_early() {
    let folder = tempfile::tempdir().unwrap();
    for level in 0..64 {
        fs::write(folder.path().join(format!("f{level}")), format!("import f{0}\nimport f{0}\n", level + 1)).unwrap();
    }
    fs::write(folder.path().join("f64"), "log\n").unwrap();
    fs::write(folder.path().join("Corefile"), ". {\nimport f0\n}").unwrap();
    let told = read_path(&folder.path().join("Corefile"), &env).unwrap_err().to_string();
    assert!(told.ends_with(&format!("import: more than {MAX_IMPORTS} imports")), "{told}");
}

#[test]
fn deep_blocks_and_imports_are_refused() {
    let depth = MAX_NESTING + 1;
    let told = read(&format!(". {{\n{}{}}}", "a {\n".repeat(depth), "}\n".repeat(depth))).unwrap_err().to_string();
    assert!(told.ends_with("blocks nest deeper than 32"), "{told}");
    assert!(read(&format!(". {{\n{}{}}}", "a {\n".repeat(depth - 1), "}\n".repeat(depth - 1))).is_ok());
    assert!(read(&"{\n".repeat(100_000)).is_err());
    assert!(read(&"(s) {\n".repeat(100_000)).is_err());
    let mut text = "(s0) {\nlog\n}\n".to_string();
    for level in 1..200 {
        writeln!(text, "(s{level}) {{\nimport s{}\n}}", level - 1).unwrap();
    }
    text.push_str(". {\nimport s199\n}");
    let told = read(&text).unwrap_err().to_string();
    assert!(told.ends_with("imports nest deeper than 100"), "{told}");
}

#[test]
fn values_that_grow_are_refused() {
    let big = |_: &str| Some("x".repeat(1 << 19));
    let told = parse(". {\nlog {$A}{$B}{$C}\n}", "Corefile", Path::new(""), &big).unwrap_err().to_string();
    assert!(told.contains("makes a word of more than 1048576 bytes"), "{told}");
    let text = format!(". {{\n{}}}", "log {$A}\n".repeat(200));
    let told = parse(&text, "Corefile", Path::new(""), &big).unwrap_err().to_string();
    assert!(told.contains("grows beyond all measure"), "{told}");
}

/// Pieces of Corefiles, so that random texts get past the first word.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec![
            "{", "}", "\n", "\n", " ", "\"", "\\\"", "#", ",", "import", "(s)", "s", "import s\n", "(s) {\n", ".", "a:53",
            "10.0.0.0/9", "tls://x", "{$ZONE}", "{%", "%}", "{$", "\r", "\t", ". {\n", "}\n", "log\n", "forward . a {\n",
        ])
        .prop_map(str::to_string),
        1 => "\\PC{0,4}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn never_panics(pieces in prop::collection::vec(piece(), 0..60)) {
        let text = pieces.concat();
        if let Ok(corefile) = read(&text) {
            prop_assert!(!corefile.blocks.is_empty());
            prop_assert!(corefile.blocks.iter().all(|block| !block.keys.is_empty()));
            prop_assert!(corefile.blocks.iter().flat_map(|block| &block.keys).all(|key| !key.zones.is_empty()));
            prop_assert_eq!(corefile.digest.len(), 128);
        }
    }

    /// What is read, written again, reads the same.
    #[test]
    fn written_again_it_is_the_same(
        blocks in prop::collection::vec(prop::collection::vec(("[a-z]{1,8}", prop::collection::vec("[a-z0-9 \"#{}\n]{0,6}", 0..4), any::<bool>()), 0..4), 1..4),
    ) {
        let quote = |word: &str| format!("\"{}\"", word.replace('"', "\\\""));
        let mut text = String::new();
        for block in &blocks {
            text.push_str("example.org {\n");
            for (name, args, has_body) in block {
                let args: Vec<String> = args.iter().filter(|arg| !["{", "}"].contains(&arg.as_str())).map(|arg| quote(arg)).collect();
                let args = args.join(" ");
                text.push_str(&if *has_body { format!("x{name} {args} {{\nx {args}\n}}\n") } else { format!("x{name} {args}\n") });
            }
            text.push_str("}\n");
        }
        let corefile = read(&text).map_err(|problem| TestCaseError::fail(format!("{problem}\n{text}")))?;
        prop_assert_eq!(corefile.blocks.len(), blocks.len());
        for (read, written) in corefile.blocks.iter().zip(&blocks) {
            let names: Vec<String> = read.directives.iter().map(|directive| directive.name.clone()).collect();
            prop_assert_eq!(names, written.iter().map(|(name, ..)| format!("x{name}")).collect::<Vec<_>>());
            for (directive, (_, args, has_body)) in read.directives.iter().zip(written) {
                let args: Vec<&String> = args.iter().filter(|arg| !["{", "}"].contains(&arg.as_str())).collect();
                prop_assert_eq!(directive.args.iter().collect::<Vec<_>>(), args);
                prop_assert_eq!(directive.body.is_some(), *has_body);
            }
        }
    }
}
