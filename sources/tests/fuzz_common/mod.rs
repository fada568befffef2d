//! Texts cut and mixed at random: what both short forms of the fuzz targets do to their seeds.
#![allow(unreachable_pub, reason = "the tests that share it are crates of their own")]

/// Manifests of every form.
pub const SEEDS: &[&str] = &[
    include_str!("../../fuzz/seeds/manifests/service.yaml"),
    include_str!("../../fuzz/seeds/manifests/slice.yaml"),
    include_str!("../../fuzz/seeds/manifests/pod.yaml"),
    include_str!("../../fuzz/seeds/manifests/list.yaml"),
    include_str!("../../fuzz/seeds/manifests/list.json"),
    include_str!("../../fuzz/seeds/manifests/odd.yaml"),
];

/// Pieces of syntax that change what is around them.
const TOKENS: &[&str] = &[
    "---\n",
    "...\n",
    "- ",
    ": ",
    "\n",
    "\n  ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "|",
    "|-",
    ">",
    "&a ",
    "*a",
    "!!int ",
    "#",
    "%",
    ",",
    "null",
    "~",
    "0",
    "-1",
    "65536",
    "99999999999999999999",
    "1e9",
    "\t",
    "\r\n",
    "\0",
    "\u{feff}",
    "\u{2028}",
    "é",
    "items:\n",
    "\"items\":[",
    "kind: List\n",
    "<<: ",
    "? ",
    "\\",
    "\\u0000",
    "127.0.0.1",
    "::ffff:10.0.0.1",
    "fe80::1%eth0",
    "10.0.0.0/8",
];

/// xorshift64*: the same texts on every run.
pub struct Random(pub u64);

impl Random {
    /// A number from 0 to below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end.max(1)
    }

    /// Changes the text at one place.
    pub fn mutate(&mut self, text: &mut Vec<u8>) {
        let at = self.below(text.len() + 1);
        let to = (at + self.below(12)).min(text.len());
        match self.below(7) {
            0 => drop(text.drain(at..to)),
            1 => drop(text.splice(at..at, TOKENS[self.below(TOKENS.len())].bytes())),
            2 => drop(text.splice(at..to, TOKENS[self.below(TOKENS.len())].bytes())),
            3 => {
                if let Some(byte) = text.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            4 => {
                let copied = text[at..(at + self.below(200)).min(text.len())].to_vec();
                let to = self.below(text.len() + 1);
                drop(text.splice(to..to, copied));
            }
            5 => {
                let other = SEEDS[self.below(SEEDS.len())].as_bytes();
                let from = self.below(other.len());
                let end = (from + self.below(200)).min(other.len());
                drop(text.splice(at..at, other[from..end].iter().copied()));
            }
            _ => text.truncate(at),
        }
    }
}
