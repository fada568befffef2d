//! Corefiles that no one would write: seeds, cut and mixed at random, must never end the server, and must mean the
//! same each time. The same entry as the fuzz target in `dns/fuzz`; this one runs everywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use bowline_dns::corefile::fuzz;

/// What distributions ship, NodeLocal's template, and ConfigMaps of kube-dns.
const SEEDS: [&str; 10] = [
    include_str!("corefiles/kubeadm.Corefile"),
    include_str!("corefiles/nodelocal.Corefile"),
    include_str!("corefiles/aks.Corefile"),
    include_str!("corefiles/gke.Corefile"),
    include_str!("corefiles/openshift.Corefile"),
    include_str!("corefiles/gardener.Corefile"),
    include_str!("corefiles/kube-dns.yaml"),
    include_str!("../fuzz/seeds/corefile/kube-dns.json"),
    include_str!("../fuzz/seeds/corefile/snippets.Corefile"),
    include_str!("../fuzz/seeds/corefile/quotes.Corefile"),
];

/// How many texts are tried; a few seconds in a debug build.
const ROUNDS: usize = 3000;

/// Text that changes what is around it.
const TOKENS: [&str; 20] = [
    "{",
    "}",
    " {\n",
    "}\n",
    "\"",
    "\\",
    "#",
    ",",
    "\n",
    "\r",
    "import a\n",
    "(a) {\n",
    "{$A}",
    "{%",
    ":",
    "/9",
    "://",
    "__PILLAR__",
    "\u{feff}",
    "\u{a0}",
];

#[test]
fn mutated_corefiles_are_read_alike_twice() {
    // The same texts on every run.
    let mut random = fastrand::Rng::with_seed(0x0b0e_11e5);
    for round in 0..ROUNDS {
        let mut text = SEEDS[round % SEEDS.len()].as_bytes().to_vec();
        for _ in 0..=random.usize(..6) {
            let at = random.usize(..=text.len());
            let end = (at + random.usize(..12)).min(text.len());
            let token = TOKENS[random.usize(..TOKENS.len())];
            match random.u8(..4) {
                0 => drop(text.drain(at..end)),
                1 => drop(text.splice(at..end, token.bytes())),
                2 => drop(text.splice(at..at, token.bytes())),
                _ => {
                    let copy = text[at..end].to_vec();
                    drop(text.splice(at..at, copy));
                }
            }
        }
        fuzz(&text);
    }
}
