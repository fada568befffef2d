//! Misspelt names find what was meant; others find nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::nearest;

const KNOWN: [&str; 6] = ["forward", "cache", "kubernetes", "prometheus", "log", "loop"];

#[test]
fn finds_what_was_meant() {
    let cases = [
        ("foward", Some("forward")),
        ("forwrad", Some("forward")),
        ("Cache", Some("cache")),
        ("kubernets", Some("kubernetes")),
        ("prometeus", Some("prometheus")),
        ("lop", Some("log")),
        ("zzz", None),
        ("proxy", None),
        ("", None),
    ];
    for (name, meant) in cases {
        assert_eq!(nearest(name, KNOWN), meant, "{name}");
    }
}

#[test]
fn long_names_are_not_compared() {
    assert_eq!(nearest(&"a".repeat(10_000), KNOWN), None);
}
