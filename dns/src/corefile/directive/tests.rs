//! What set-ups read, and what they say of what is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use super::Directive;
use crate::corefile::parse;

fn directive(text: &str) -> Directive {
    let corefile = parse(&format!(". {{\n{text}\n}}\n"), "Corefile", Path::new(""), &|_| None).unwrap();
    corefile.blocks[0].directives[0].clone()
}

#[test]
fn arguments_are_counted() {
    let cache = directive("cache 30 example.org");
    assert_eq!(cache.args_between(0, 3).unwrap(), ["30", "example.org"]);
    assert_eq!(cache.parse::<u32>(0, "a number of seconds").unwrap(), 30);
    let told = |result: Result<(), super::CorefileError>| result.unwrap_err().to_string();
    assert_eq!(told(cache.no_args()), "Corefile:2: cache: takes no argument, has 2: 30 example.org");
    assert_eq!(told(cache.one_arg().map(|_| ())), "Corefile:2: cache: takes one argument, has 2: 30 example.org");
    assert_eq!(
        told(cache.args_between(3, usize::MAX).map(|_| ())),
        "Corefile:2: cache: takes at least 3 arguments, has 2: 30 example.org"
    );
    assert_eq!(
        told(cache.parse::<u32>(1, "a number of seconds").map(|_| ())),
        "Corefile:2: cache: \"example.org\" is not a number of seconds"
    );
    assert_eq!(told(directive("loop {\n}").no_body()), "Corefile:2: loop: takes no { }; remove it");
    assert!(directive("loop").no_body().is_ok());
}

#[test]
fn durations_and_options() {
    let health = directive("health {\nlameduck 1m30s\nlameduk 5\n}");
    assert_eq!(health.body()[0].duration(0).unwrap(), Duration::from_secs(90));
    assert_eq!(
        health.body()[1].duration(0).unwrap_err().to_string(),
        "Corefile:4: lameduk: \"5\" is not a duration; write it as 5s, 1m30s or 100ms"
    );
    assert_eq!(
        health.body()[1].unknown_option(&["lameduck"]).to_string(),
        "Corefile:4: lameduk: is no option here; did you mean lameduck?"
    );
    assert_eq!(
        health.body()[1].unknown_option(&["ttl", "pods"]).to_string(),
        "Corefile:4: lameduk: is no option here; known are ttl, pods"
    );
}
