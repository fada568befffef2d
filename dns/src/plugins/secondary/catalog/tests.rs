//! Catalogs by RFC 9432.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::wire::text::record_from_text;
use crate::zone::Gathering;

fn read(records: &[&str]) -> Result<Vec<Member>, CatalogError> {
    let origin = Name::parse("catalog.example.").unwrap();
    let mut gathering = Gathering::new(&origin);
    for record in ["@ SOA invalid. invalid. 1 1 1 1 1", "@ NS invalid."].iter().chain(records) {
        gathering.insert(record_from_text(record, Some(&origin)).unwrap()).unwrap();
    }
    members(&Arc::new(gathering.finish().unwrap()))
}

#[test]
fn members_have_a_label_a_zone_and_perhaps_a_new_owner() {
    let members = read(&[
        "version TXT 2",
        "B.zones PTR Example.org.",
        "coo.b.zones PTR other.example.",
        "a.zones PTR example.net.",
        "group.a.zones TXT x",
    ])
    .unwrap();
    let shown: Vec<_> = members.iter().map(|member| (member.zone.to_string(), member.id.clone())).collect();
    assert_eq!(shown, [("example.net.".to_owned(), b"a".to_vec()), ("example.org.".to_owned(), b"b".to_vec())]);
    assert_eq!(members[1].new_owner, Name::parse("other.example.").ok());
}

#[test]
fn what_is_no_catalog_is_told() {
    for (records, told) in [
        (&["a.zones PTR example.org."][..], "must have one TXT record"),
        (&["version TXT 1"], "must have one TXT record"),
        (&["version TXT 2", "a.zones PTR x.", "a.zones PTR y."], "the member a lists more than one zone"),
        (&["version TXT 2", "a.zones PTR x.", "b.zones PTR x."], "x. is listed twice, as a and as b"),
        (&["version TXT 2", "a.zones PTR x.", "coo.a.zones PTR y.", "coo.a.zones PTR z."], "more than one new owner"),
    ] {
        let problem = read(records).unwrap_err();
        assert!(problem.to_string().contains(told), "{problem}");
    }
}
