//! What needs no server: duplicates, long names, circles. The rest is held against CoreDNS in tests/zones.rs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use super::*;
use crate::wire::text::record_from_text;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn zone(records: &[&str]) -> Zone {
    let mut gathering = Gathering::new(&name("example.org."));
    for record in ["example.org. SOA ns.example.org. root.example.org. 1 2 3 4 5"].iter().chain(records) {
        gathering.insert(record_from_text(record, None).unwrap()).unwrap();
    }
    gathering.finish().unwrap()
}

#[test]
fn a_record_stands_once_and_strays_not_at_all() {
    let zone = zone(&["a.example.org. A 10.0.0.1", "A.example.org. A 10.0.0.1", "a.example.net. A 10.0.0.1"]);
    assert_eq!(zone.names(), 2);
    assert_eq!(zone.lookup(&name("a.example.org."), Type::A, false).answers.len(), 1);
}

#[test]
fn a_zone_needs_an_soa_and_has_no_nsec3() {
    assert!(Gathering::new(&name("example.org.")).finish().unwrap_err().to_string().contains("no SOA"));
    let record = record_from_text("x.example.org. NSEC3PARAM 1 0 0 -", None).unwrap();
    assert!(Gathering::new(&name("example.org.")).insert(record).unwrap_err().to_string().contains("NSEC3"));
}

#[test]
fn a_dname_that_makes_a_name_too_long_is_yxdomain() {
    let label = "x".repeat(63);
    let target = [label.as_str(); 3].join(".");
    let zone = zone(&[&format!("d.example.org. DNAME {target}.")]);
    let asked = name(&format!("{label}.d.example.org."));
    assert_eq!(zone.lookup(&asked, Type::A, false).end, End::TooLong);
}

#[test]
fn aliases_in_a_circle_end() {
    let zone = zone(&[
        "a.example.org. CNAME b.example.org.",
        "b.example.org. CNAME a.example.org.",
        "d.example.org. DNAME d.example.org.",
    ]);
    let found = zone.lookup(&name("a.example.org."), Type::A, false);
    assert_eq!((found.answers.len(), found.end), (2, End::Success));
    assert_eq!(zone.lookup(&name("x.d.example.org."), Type::A, false).end, End::Circle);
}

#[test]
fn a_wildcard_alias_that_leads_back_to_itself_is_a_circle() {
    let zone = zone(&[
        "*.w.example.org. CNAME x.w.example.org.",
        "*.t.example.org. CNAME b.example.org.",
        "b.example.org. CNAME x.t.example.org.",
        "*.s.example.org. CNAME *.s.example.org.",
    ]);
    let end = |name: &str, rtype| zone.lookup(&self::name(name), rtype, false).end;
    for rtype in [Type::A, Type::MX, Type::TXT] {
        assert_eq!(end("x.w.example.org.", rtype), End::Circle);
        assert_eq!(end("x.t.example.org.", rtype), End::Circle);
    }
    assert_eq!(end("a.w.example.org.", Type::A), End::Elsewhere(name("x.w.example.org.")), "a question of its own");
    // As with a plain alias of itself, and with CoreDNS: the wildcard's own name is there.
    assert_eq!(end("a.s.example.org.", Type::A), End::Success);
    assert_eq!(end("x.w.example.org.", Type::CNAME), End::Success);
}

#[test]
fn a_chain_of_nine_aliases_keeps_its_address() {
    let mut records: Vec<String> =
        (1..12).map(|n| format!("a{n}.example.org. CNAME a{}.example.org.", n + 1)).collect();
    records.push("a12.example.org. A 10.0.0.1".into());
    let zone = zone(&records.iter().map(String::as_str).collect::<Vec<_>>());
    // Held against CoreDNS 1.14.7.
    for (first, answers, last) in [(11, 2, Type::A), (4, 9, Type::A), (3, 10, Type::A), (2, 10, Type::CNAME)] {
        let found = zone.lookup(&name(&format!("a{first}.example.org.")), Type::A, false);
        let last_found = found.answers.last().map(|record| record.rtype);
        assert_eq!((found.answers.len(), last_found, found.end), (answers, Some(last), End::Success), "a{first}");
    }
}

#[test]
fn the_apex_without_other_records_is_there() {
    // RFC 2308 §2.2; CoreDNS says NXDOMAIN.
    assert_eq!(zone(&[]).lookup(&name("example.org."), Type::A, false).end, End::NoData);
}

#[test]
fn a_copy_has_every_record_but_the_soa() {
    let zone = zone(&["a.example.org. A 10.0.0.1", "a.example.org. A 10.0.0.2", "b.example.org. TXT x"]);
    let copied: Vec<_> = Copying::new(std::sync::Arc::new(zone)).map(|record| record.rtype).collect();
    assert_eq!(copied, [Type::A, Type::A, Type::TXT]);
}
