//! `file`: which zone answers, what falls through, and reading anew. What a zone answers: tests/zones.rs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;
use crate::plugins::testing::{ask, build, dnssec_question, question, refused, services, shown};
use crate::wire::{Rcode, Type};

fn zone(serial: u32) -> String {
    format!("@ 60 SOA ns root {serial} 3600 600 86400 60\n@ 60 NS ns\nwww 60 A 10.0.0.{serial}\na.b 60 A 10.0.0.9\n")
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("db"), zone(1)).unwrap();
    folder
}

#[test]
fn one_file_may_serve_several_zones() {
    let folder = folder();
    let instance = build(". {\nfile db example.org example.net\n}\n", folder.path(), &services()).unwrap();
    for name in ["www.example.org.", "WWW.example.net."] {
        let answer = ask(&instance, &question(name, Type::A));
        assert_eq!(shown(&answer), [format!("{name} A 10.0.0.1")]);
        assert!(answer.flags.aa() && answer.authorities.len() == 1);
    }
    // No other plugin: what is of no zone is refused; AXFR without `transfer` too.
    assert_eq!(ask(&instance, &question("example.com.", Type::A)).rcode(), Rcode::REFUSED);
    assert_eq!(ask(&instance, &question("example.org.", Type::AXFR)).rcode(), Rcode::REFUSED);
    let answer = ask(&instance, &dnssec_question("nowhere.example.org.", Type::A));
    assert_eq!((answer.rcode(), answer.authorities[0].rtype), (Rcode::NXDOMAIN, Type::SOA));
}

#[test]
fn what_is_not_there_falls_through() {
    let folder = folder();
    let text = "example.org {\nfile db {\nfallthrough b.example.org x.example.org\n}\nwhoami\n}\n";
    let instance = build(text, folder.path(), &services()).unwrap();
    let by_whoami = |name: &str| !ask(&instance, &question(name, Type::A)).additionals.is_empty();
    assert!(by_whoami("x.example.org.") && by_whoami("b.example.org.") && !by_whoami("y.example.org."));
    // The name is there, the type is not.
    assert!(ask(&instance, &question("a.b.example.org.", Type::TXT)).additionals.is_empty());
}

#[test]
fn a_zone_is_read_anew_when_its_serial_changes() {
    let folder = folder();
    let path = folder.path().join("db");
    let held = Arc::new(Held::new(&Name::parse("example.org.").unwrap(), None));
    let mut reader = Reader { held: held.clone(), path: path.clone(), by_time: false, modified: None };
    reader.begin().unwrap();
    std::fs::write(&path, zone(1).replace("10.0.0.9", "10.0.0.8")).unwrap();
    let before = held.get().unwrap();
    reader.look();
    assert!(Arc::ptr_eq(&before, &held.get().unwrap()), "the same serial");
    std::fs::write(&path, zone(2)).unwrap();
    reader.look();
    assert_eq!(held.serial(), Some(2));
    std::fs::write(&path, "www 60 A nonsense\n").unwrap();
    reader.look();
    assert_eq!(held.serial(), Some(2), "a broken file leaves the zone");
    std::fs::remove_file(&path).unwrap();
    reader.look();
    assert!(held.get().is_some(), "a file that is gone leaves the zone");
}

#[test]
fn what_is_wrong_is_told() {
    let folder = folder();
    std::fs::write(folder.path().join("bad"), "@ 60 SOA ns root 1 1 1 1 1\nwww 60 A nonsense\n").unwrap();
    std::fs::write(folder.path().join("headless"), "www 60 A 10.0.0.1\n").unwrap();
    let told = |body: &str| match build(&format!(". {{\n{body}\n}}\n"), folder.path(), &services()) {
        Ok(_) => panic!("{body} is accepted"),
        Err(problem) => problem.to_string(),
    };
    assert!(told("file bad example.org").contains("bad:2: A"), "{}", told("file bad example.org"));
    assert!(told("file headless example.org").contains("there is no SOA record for example.org."));
    assert!(told("file missing {\nreload 0\n}").contains("missing:0:"), "{}", told("file missing {\nreload 0\n}"));
    assert!(refused(". {\nfile\n}\n").contains("file: takes at least 1 argument"));
    assert!(told("file db {\nreloadd 5s\n}").contains("did you mean reload?"));
    // A file that is not there yet is waited for.
    assert!(build(". {\nfile missing\n}\n", folder.path(), &services()).is_ok());
}
