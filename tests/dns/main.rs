//! `bowline dns` in CoreDNS's place: the same objects in a real API server, both servers beside each other under the
//! same Corefile, and thousands of questions that both must answer alike.
//!
//! Each Corefile of `corefiles/` is one case. `BOWLINE_DNS_ONLY=WORD...` runs some of them, and of
//! the other parts those named `metrics`, `changes` and `lies`; `BOWLINE_DNS_SEED=N` asks
//! the same questions again, `BOWLINE_DNS_PEER=coredns` compares CoreDNS with itself. What may differ has a rule in
//! `rules.rs` and its reason in docs/dns-differences.md.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod answers;
mod ask;
mod case;
mod changes;
mod client;
mod compare;
mod ground;
mod metrics;
mod names;
mod objects;
mod odd;
mod pair;
mod random;
mod report;
mod rules;
mod upstreams;

use std::time::Instant;

use ground::Ground;

#[test]
fn bowline_answers_as_coredns_does() {
    let (began, seed) = (Instant::now(), answers::seed());
    println!("BOWLINE_DNS_SEED={seed}");
    let only = std::env::var("BOWLINE_DNS_ONLY").unwrap_or_default();
    let is_wanted = |part: &str| only.is_empty() || only.split_whitespace().any(|word| word == part);
    let ground = Ground::new("dns-alike");
    println!("the API server has the objects after {:.1?}", began.elapsed());
    let mut failed = answers::differences(&ground, seed);
    println!("rules used: {:?}; {:.1?}", rules::used(), began.elapsed());
    if is_wanted("metrics") {
        failed.extend(metrics::differences(&ground).into_iter().map(|what| format!("in /metrics: {what}")));
    }
    if is_wanted("changes") {
        failed.extend(changes::differences(&ground, seed));
    }
    if is_wanted("lies") {
        failed.extend(changes::lies(&ground).into_iter().map(|what| format!("never true: {what}")));
    }
    println!("done after {:.1?}", began.elapsed());
    for what in &failed {
        println!("\n==== {what}");
    }
    assert!(failed.is_empty(), "BOWLINE_DNS_SEED={seed}: {} differences, listed above", failed.len());
}
