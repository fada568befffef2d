//! Configurations and variables that no one would give: seeds, cut and mixed at random, must never end plugin or agent, and
//! must mean the same to both. The same entries as the fuzz targets in `cni/protocol/fuzz`; this one runs everywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use bowline_cni_protocol::{Environment, NetConf, fuzz};

const INPUTS: [&[u8]; 5] = [
    include_bytes!("../fuzz/seeds/input/containerd-1.6.json"),
    include_bytes!("../fuzz/seeds/input/containerd-1.6-del.json"),
    include_bytes!("../fuzz/seeds/input/cri-o.json"),
    include_bytes!("../fuzz/seeds/input/gc.json"),
    include_bytes!("../fuzz/seeds/input/old-result.json"),
];

const ENVIRONMENTS: [&[u8]; 5] = [
    include_bytes!("../fuzz/seeds/environment/containerd-1.6-add.bin"),
    include_bytes!("../fuzz/seeds/environment/containerd-1.6-del.bin"),
    include_bytes!("../fuzz/seeds/environment/add.bin"),
    include_bytes!("../fuzz/seeds/environment/del.bin"),
    include_bytes!("../fuzz/seeds/environment/status.bin"),
];

/// How many texts of each kind are tried; a few seconds in a debug build.
const ROUNDS: usize = 20_000;

/// Values and syntax that change what is around them.
const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "null",
    "true",
    "0",
    "-1",
    "65536",
    "4294967296",
    "18446744073709551615",
    "1e9",
    "\"\"",
    "{}",
    "[]",
    "[[",
    "]]",
    "\"0.2.0\"",
    "\"1.1.0\"",
    "\"::/0\"",
    "\"10.1.0.0/33\"",
    "\"fe80::1%eth0\"",
    "\\u0000",
    "\u{feff}",
    "\0",
    "=",
    ";",
    "/",
    "..",
    "CNI_IFNAME=",
    "CNI_COMMAND=CHECK\0",
    "\"prevResult\":{",
    "\"ip4\":{\"ip\":",
];

/// xorshift64*: the same texts on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end.max(1)
    }

    /// Changes the text at one place.
    fn mutate(&mut self, text: &mut Vec<u8>) {
        let at = self.below(text.len() + 1);
        let to = (at + self.below(12)).min(text.len());
        match self.below(5) {
            0 => drop(text.drain(at..to)),
            1 => drop(text.splice(at..at, TOKENS[self.below(TOKENS.len())].bytes())),
            2 => drop(text.splice(at..to, TOKENS[self.below(TOKENS.len())].bytes())),
            3 => {
                if let Some(byte) = text.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            _ => {
                let copied = text[at..(at + self.below(200)).min(text.len())].to_vec();
                let to = self.below(text.len() + 1);
                drop(text.splice(to..to, copied));
            }
        }
    }
}

/// What became of the seeds, one changed text after another.
fn try_all(seeds: &[&[u8]], tried: fn(&[u8])) {
    let mut random = Random(0x0b0e_11e5);
    for round in 0..ROUNDS {
        let mut text = seeds[round % seeds.len()].to_vec();
        for _ in 0..=random.below(4) {
            random.mutate(&mut text);
        }
        tried(&text);
    }
}

#[test]
fn mutated_configurations_mean_the_same_to_plugin_and_agent() {
    try_all(&INPUTS, fuzz::input);
}

#[test]
fn mutated_variables_pass_only_as_names() {
    try_all(&ENVIRONMENTS, fuzz::environment);
}

#[test]
fn the_seeds_themselves_are_read() {
    for seed in INPUTS {
        fuzz::input(seed);
        NetConf::from_json(&serde_json::from_slice(seed).unwrap()).unwrap();
    }
    for seed in ENVIRONMENTS {
        fuzz::environment(seed);
        let value = |name: &str| {
            let text = std::str::from_utf8(seed).unwrap();
            text.split('\0').find_map(|pair| Some(pair.strip_prefix(name)?.strip_prefix('=')?.into()))
        };
        assert!(Environment::read(value).unwrap().is_some());
    }
}
