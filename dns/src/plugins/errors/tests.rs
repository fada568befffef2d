//! `errors`: what is told of failures, alone and together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::plugins::testing::{ask, build, question, refused, services};
use crate::wire::{Rcode, Type};

/// A pattern as the directive `consolidate` with these words makes it.
fn pattern(words: &str) -> Pattern {
    let text = format!(". {{\n errors {{\n consolidate {words}\n }}\n}}\n");
    let corefile = crate::corefile::parse(&text, "Corefile", Path::new(""), &|_| None).unwrap();
    Pattern::read(&corefile.blocks[0].directives[0].body()[0]).unwrap()
}

#[test]
fn failures_like_a_pattern_are_counted_and_told_once() {
    let pattern = pattern("5m \".* i/o timeout$\" warning");
    assert!(pattern.is_like("read udp 10.0.0.1:53->8.8.8.8:53: i/o timeout"));
    assert!(!pattern.is_like("i/o timeout, twice"));
    assert!(!pattern.count() && !pattern.count());
    let line = "plugin/errors: 2 errors like '.* i/o timeout$' occurred in last 5m0s";
    assert_eq!((pattern.summary().as_deref(), pattern.level), (Some(line), Level::Warning));
    assert_eq!(pattern.summary(), None);
}

#[test]
fn the_first_may_be_told_at_once() {
    let pattern = pattern("30s \"^Failed to .+\" error show_first");
    assert!(pattern.count());
    assert_eq!(pattern.summary(), None);
    assert!(pattern.count() && !pattern.count() && !pattern.count());
    let line = "plugin/errors: 3 errors like '^Failed to .+' occurred in last 30s";
    assert_eq!(pattern.summary().as_deref(), Some(line));
}

#[test]
fn a_period_ends_by_itself() {
    let pattern = Arc::new(pattern("10ms x info"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let task = tokio::spawn(pattern::summarize(pattern.clone()));
        pattern.count();
        while pattern.count.load(std::sync::atomic::Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        task.abort();
    });
}

#[test]
fn the_client_gets_the_rcode_whatever_is_told() {
    let instance = build("example.org {\n errors\n}\n", Path::new(""), &services()).unwrap();
    assert_eq!(ask(&instance, &question("example.org.", Type::A)).rcode(), Rcode::SERVFAIL);
}

#[test]
fn set_ups_as_in_coredns() {
    for (text, says) in [
        ("errors", "accepted"),
        ("errors stdout", "accepted"),
        ("errors errors.txt", "Corefile:2: errors: can't log to the file errors.txt"),
        ("errors a b", "takes 0 to 1 arguments"),
        ("errors {\n stacktrace\n}", "accepted"),
        ("errors {\n stacktrace\n consolidate 1m ^exact$\n consolidate 1m error\n}", "accepted"),
        ("errors {\n consolidate 5m \".* i/o timeout$\" warning\n consolidate 30s \"^Failed to .+\"\n}", "accepted"),
        ("errors {\n consolidate 5m \".* i/o timeout$\" warning show_first\n}", "accepted"),
        ("errors {\n consolidate 5m x show_first warning\n}", "then show_first"),
        ("errors {\n consolidate 5m x fatal\n}", "takes a level"),
        ("errors {\n consolidate 1m\n}", "Corefile:3: consolidate: takes 2 to 4 arguments"),
        ("errors {\n consolidate 0 [\n}", "is no pattern"),
        ("errors {\n consolidate nine x\n}", "is not a duration"),
        ("errors {\n stacktraces\n}", "did you mean stacktrace?"),
    ] {
        let told = refused(&format!("example.org {{\n {text}\n whoami\n}}\n"));
        assert!(told.contains(says), "{text}: {told}");
    }
    let long = "a".repeat(10_001);
    assert!(refused(&format!(". {{\n errors {{\n consolidate 1m {long}\n}}\n}}\n")).contains("longer than 10000"));
}
