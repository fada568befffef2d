//! Manifests that no one would write: seeds, cut and mixed at random, must never end the agent, and must
//! mean the same each time. The same entry as the fuzz target in `sources/fuzz`; this one runs everywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod fuzz_common;

use bowline_sources::parse::fuzz;
use fuzz_common::{Random, SEEDS};

/// How many texts are tried; a few seconds in a debug build.
const ROUNDS: usize = 2000;

#[test]
fn mutated_manifests_are_read_alike_twice() {
    let mut random = Random(0x0b0e_11e5);
    for round in 0..ROUNDS {
        let mut text = SEEDS[round % SEEDS.len()].as_bytes().to_vec();
        for _ in 0..=random.below(6) {
            random.mutate(&mut text);
        }
        fuzz(&text);
    }
}

#[test]
fn the_seeds_themselves_are_read() {
    let strings = bowline_cluster::intern::Strings::default();
    for seed in SEEDS {
        let manifest = bowline_sources::parse::manifest("seed", seed.as_bytes(), &strings);
        assert!(!manifest.objects.is_empty(), "{seed}");
        assert_eq!(manifest.problems, [], "{seed}");
    }
}
