//! Messages and zone files that no one would send: seeds, cut and mixed at random, must never end the server, what is
//! written or shown must be read the same again, and the fast way must read a question as the long one does. The same
//! entries as the fuzz targets `wire` and `question` in `dns/fuzz`; this one runs everywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use bowline_dns::fast;
use bowline_dns::wire::{Message, Name, fuzz, text::zone};

/// Messages with names, pointers, every type, EDNS; zone files; and questions as resolvers send them.
const SEEDS: [&[u8]; 12] = [
    include_bytes!("../fuzz/seeds/wire/message-0.bin"),
    include_bytes!("../fuzz/seeds/wire/message-1.bin"),
    include_bytes!("../fuzz/seeds/wire/message-2.bin"),
    include_bytes!("../fuzz/seeds/wire/every-type.bin"),
    include_bytes!("../fuzz/seeds/wire/every.zone"),
    include_bytes!("../fuzz/seeds/wire/odd.zone"),
    include_bytes!("../fuzz/seeds/question/plain.bin"),
    include_bytes!("../fuzz/seeds/question/edns.bin"),
    include_bytes!("../fuzz/seeds/question/cookie.bin"),
    include_bytes!("../fuzz/seeds/question/cookie-of-ours.bin"),
    include_bytes!("../fuzz/seeds/question/root.bin"),
    include_bytes!("../fuzz/seeds/question/padded.bin"),
];

/// How many inputs are tried; a few seconds in a debug build.
const ROUNDS: usize = 6000;

/// Bytes that change what is around them: pointers, lengths, counts, types, and the signs of zone files.
const TOKENS: [&[u8]; 20] = [
    b"\xC0\x0C",
    b"\xC0\x00",
    b"\xFF\xFF",
    b"\x00",
    b"\x3F",
    b"\x40",
    b"\x00\x29",
    b"\x00\xFA",
    b"\x00\x2E",
    b"\x00\x41",
    b"\xFF",
    b"(",
    b")",
    b"\"",
    b"\\",
    b";",
    b"\n",
    b"$TTL ",
    b"\\# 1 ",
    b"\n$ORIGIN ",
];

/// The same inputs on every run.
struct Random(fastrand::Rng);

impl Random {
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let random = &mut self.0;
        let at = random.usize(..=bytes.len());
        let end = (at + random.usize(..12)).min(bytes.len());
        let token = TOKENS[random.usize(..TOKENS.len())];
        match random.u8(..7) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..at, token.iter().copied())),
            2 => drop(bytes.splice(at..(at + token.len()).min(bytes.len()), token.iter().copied())),
            3 | 4 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.u8(..8);
                }
            }
            5 => {
                let other = SEEDS[random.usize(..SEEDS.len())];
                let from = random.usize(..other.len());
                let to = (from + random.usize(..100)).min(other.len());
                drop(bytes.splice(at..at, other[from..to].iter().copied()));
            }
            _ => bytes.truncate(at),
        }
    }
}

#[test]
fn mutated_bytes_are_read_alike_twice() {
    let rounds = std::env::var("FUZZ_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let mut random = Random(fastrand::Rng::with_seed(0xB0_11E5));
    for round in 0..rounds {
        let mut bytes = SEEDS[round % SEEDS.len()].to_vec();
        for _ in 0..=random.0.usize(..6) {
            random.mutate(&mut bytes);
        }
        fuzz(&bytes);
        fast::fuzz(&bytes);
    }
}

#[test]
fn the_seeds_themselves_are_read() {
    for seed in &SEEDS[..4] {
        assert!(Message::read(seed).unwrap().records().count() > 0);
        fuzz(seed);
    }
    for seed in &SEEDS[4..6] {
        let records = zone::Records::from_text(*seed, "seed", &Name::root()).with_default_ttl(3600);
        assert!(records.map(Result::unwrap).count() > 5);
        fuzz(seed);
    }
    let plain = SEEDS[6..].iter().filter(|seed| fast::Plain::default().read(seed));
    assert_eq!(plain.count(), 5, "all but the padded one take the fast way");
    SEEDS[6..].iter().for_each(|seed| fast::fuzz(seed));
}
