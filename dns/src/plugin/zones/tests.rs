//! The longest zone counts; without arguments it is the block's, or for `fallthrough` everything.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::corefile::SourceLine;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn option(args: &[&str]) -> Directive {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Directive { name: "fallthrough".into(), args, body: None, place: SourceLine { file: "f".into(), line: 1 } }
}

#[test]
fn the_longest_zone_counts() {
    let zones = Zones::new(["org.", "Example.org.", "a.b."].map(name));
    assert_eq!(zones.of(&name("x.EXAMPLE.org.")), Some(&name("example.org.")));
    assert_eq!(zones.of(&name("xexample.org.")), Some(&name("org.")));
    assert_eq!(zones.of(&name("b.")), None);
}

#[test]
fn fallthrough_without_zones_lets_everything_go_on() {
    assert!(!Fallthrough::default().lets(&name("a.")));
    assert!(Fallthrough::read(&option(&[])).unwrap().lets(&name("a.")));
    let reverse = Fallthrough::read(&option(&["in-addr.arpa", "10.0.0.0/8"])).unwrap();
    assert!(reverse.lets(&name("1.in-addr.arpa.")) && !reverse.lets(&name("a.")));
    assert!(Fallthrough::read(&option(&["a..b"])).unwrap_err().to_string().starts_with("f:1: fallthrough: a..b"));
}
