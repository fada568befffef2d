//! Saved snapshots that no one would write: the files and their objects, cut and mixed at random (with a
//! checksum that is right), must never end the agent, and what was saved must be what is read. The same entry
//! as the fuzz target in `sources/fuzz`; this one runs everywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod fuzz_common;

use bowline_cluster::intern::Strings;
use bowline_sources::{manifest, parse, saved};
use fuzz_common::{Random, SEEDS};

/// How many texts are tried; a few seconds in a debug build.
const ROUNDS: usize = 2000;

/// A file, its objects alone, and those of the manifests that are read elsewhere.
fn seeds() -> Vec<Vec<u8>> {
    let file = include_bytes!("../fuzz/seeds/saved/format-1.json").to_vec();
    let first = file.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let last = file.len() - 1 - file.iter().rev().skip(1).position(|byte| *byte == b'\n').unwrap();
    let objects = file[first..last].to_vec();
    let mut lines = Vec::new();
    for seed in SEEDS {
        for object in parse::manifest("seed", seed.as_bytes(), &Strings::default()).objects {
            manifest::write(&object, &mut lines).unwrap();
            lines.push(b'\n');
        }
    }
    let manifests = SEEDS.iter().map(|seed| seed.as_bytes().to_vec());
    [file, objects, lines].into_iter().chain(manifests).collect()
}

#[test]
fn mutated_snapshots_are_refused_or_read_as_they_were_saved() {
    let seeds = seeds();
    let mut random = Random(0x0b0e_11e5);
    for round in 0..ROUNDS {
        let mut text = seeds[round % seeds.len()].clone();
        for _ in 0..=random.below(6) {
            random.mutate(&mut text);
        }
        saved::fuzz(&text);
    }
}

#[test]
fn the_seeds_themselves_survive() {
    for seed in seeds() {
        saved::fuzz(&seed);
    }
}
