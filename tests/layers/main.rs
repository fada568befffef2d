//! Dependencies point one way: each crate of the workspace knows those that docs/architecture.md says it knows, and no
//! other.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The lines `crate -> crate crate` of the document.
fn told() -> Arrows {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, after) = text.split_once("## Who knows whom\n").unwrap();
    let section = after.split("\n## ").next().unwrap();
    let arrow = |line: &str| {
        let (from, to) = line.strip_prefix("    ")?.split_once(" ->")?;
        Some((from.trim().to_owned(), to.split_whitespace().map(str::to_owned).collect()))
    };
    section.lines().filter_map(arrow).collect()
}

/// What the manifests say; tests may know more.
fn are() -> Arrows {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--locked", "--format-version", "1"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let out = cargo.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let metadata: Value = serde_json::from_slice(&out.stdout).unwrap();
    let short = |name: &Value| name.as_str().unwrap().trim_start_matches("bowline-").to_owned();
    let mut arrows = Arrows::new();
    for package in metadata["packages"].as_array().unwrap() {
        let known = package["dependencies"].as_array().unwrap().iter();
        let known = known.filter(|one| one["path"].is_string() && one["kind"].is_null());
        arrows.insert(short(&package["name"]), known.map(|one| short(&one["name"])).collect());
    }
    arrows
}

#[test]
fn crates_know_those_that_the_architecture_names() {
    assert_eq!(are(), told(), "docs/architecture.md, \"Who knows whom\", and the manifests");
}

#[test]
fn there_is_no_circle() {
    let mut left = are();
    while !left.is_empty() {
        let free: Vec<String> = left
            .iter()
            .filter(|(_, known)| known.iter().all(|one| !left.contains_key(one)))
            .map(|(name, _)| name.clone())
            .collect();
        assert!(!free.is_empty(), "a circle among {:?}", left.keys());
        free.iter().for_each(|name| drop(left.remove(name)));
    }
}
