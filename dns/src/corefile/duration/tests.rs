//! As Go's time.ParseDuration.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use proptest::prelude::*;

use super::parse;

#[test]
fn reads_what_go_reads() {
    let cases = [
        ("0", 0),
        ("-0", 0),
        ("5s", 5_000_000_000),
        ("+5s", 5_000_000_000),
        ("1m30s", 90_000_000_000),
        ("100ms", 100_000_000),
        ("1.5h", 5_400_000_000_000),
        (".5s", 500_000_000),
        ("1.s", 1_000_000_000),
        ("1h2m3s4ms5us6ns", 3_723_004_005_006),
        ("12µs", 12_000),
        ("12μs", 12_000),
        ("0.3333333333333333333h", 1_200_000_000_000 - 1),
        ("9223372036854775807ns", i64::MAX as u64),
    ];
    for (text, nanos) in cases {
        assert_eq!(parse(text), Some(Duration::from_nanos(nanos)), "{text}");
    }
}

#[test]
fn refuses_the_rest() {
    for text in ["", "3", "-1s", "s", ".s", "1x", "1 s", "9223372036854775808ns", "9999999999h", "1s5", "--0", "+"] {
        assert_eq!(parse(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn never_panics(text in "[0-9.+a-zµ-]{0,40}") {
        let _ = parse(&text);
    }

    #[test]
    fn whole_seconds_come_back(seconds in 0_u64..1_000_000) {
        prop_assert_eq!(parse(&format!("{seconds}s")), Some(Duration::from_secs(seconds)));
    }
}
