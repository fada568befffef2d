//! Dependencies point one way: each crate of the workspace knows those that docs/architecture.md says it knows, and no
//! other; and a crate's modules know each other in no circle, those of `dns` as docs/dns-inside.md says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

mod modules;

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// Crates in which circles are left.
const NOT_YET: &[&str] = &["bowline", "ebpf", "lab"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The section of a document that says who knows whom.
fn section(document: &str) -> String {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let (_, after) = text.split_once("## Who knows whom\n").unwrap();
    after.split("\n## ").next().unwrap().to_owned()
}

/// The lines `crate -> crate crate` of the document.
fn told() -> Arrows {
    let section = section("docs/architecture.md");
    let arrow = |line: &str| {
        let (from, to) = line.strip_prefix("    ")?.split_once(" ->")?;
        Some((from.trim().to_owned(), to.split_whitespace().map(str::to_owned).collect()))
    };
    section.lines().filter_map(arrow).collect()
}

fn packages() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--locked", "--format-version", "1"]).current_dir(root());
    let out = cargo.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let metadata: Value = serde_json::from_slice(&out.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn short(name: &Value) -> String {
    name.as_str().unwrap().trim_start_matches("bowline-").to_owned()
}

/// What the manifests say; tests may know more.
fn are() -> Arrows {
    let mut arrows = Arrows::new();
    for package in packages() {
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

#[test]
fn the_modules_of_a_crate_know_each_other_in_no_circle() {
    for package in packages() {
        let src = Path::new(package["manifest_path"].as_str().unwrap()).with_file_name("src");
        if let Some(circle) =
            modules::circle(&modules::of(&src)).filter(|_| !NOT_YET.contains(&&*short(&package["name"])))
        {
            panic!("a circle in {}:\n{circle}", short(&package["name"]));
        }
    }
}

/// Each line of the document is a layer: its modules know those of the lines below, and not each other.
#[test]
fn the_modules_of_dns_know_those_of_the_layers_below() {
    let section = section("docs/dns-inside.md");
    let layers: Vec<Vec<&str>> =
        section.lines().filter_map(|line| Some(line.strip_prefix("    ")?.split_whitespace().collect())).collect();
    let layer_of = |module: &str| layers.iter().position(|layer| layer.contains(&module));
    let modules = modules::of(&root().join("dns/src"));
    let listed: BTreeSet<&str> = layers.iter().flatten().copied().collect();
    let are: BTreeSet<&str> = modules.keys().map(String::as_str).collect();
    assert_eq!(listed, are, "docs/dns-inside.md lists the modules of dns");
    let wrong: Vec<String> = modules
        .iter()
        .flat_map(|(module, known)| known.iter().map(move |(name, path)| (module, name, path)))
        .filter(|(module, name, _)| layer_of(module) >= layer_of(name))
        .map(|(module, name, path)| format!("{module} knows {name}, which is not below it: {}", path.display()))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
