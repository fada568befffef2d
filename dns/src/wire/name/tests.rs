//! Names: their limits, their presentation form, and hostile messages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::net::IpAddr;

use super::{Name, NameError};
use crate::wire::WireError;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

#[test]
fn rfc1035_2_3_4_labels_have_at_most_63_bytes_and_names_255() {
    let long = "a".repeat(63);
    assert!(Name::parse(&long).is_ok());
    assert_eq!(Name::parse(&"a".repeat(64)), Err(NameError::LongLabel));
    // 3 labels of 64 bytes, one of 62, and the root's.
    let most = format!("{long}.{long}.{long}.{}", "a".repeat(61));
    assert_eq!(name(&most).as_wire().len(), 255);
    assert_eq!(Name::parse(&format!("{most}a")), Err(NameError::Long));
    assert_eq!(name(&most).prepend(b"a"), Err(NameError::Long));
    assert_eq!(Name::join(b"\x01a", &name(&most)), Err(NameError::Long));
}

#[test]
fn rfc1035_5_1_escapes_are_read_and_shown() {
    for (text, shown) in [
        ("a.example", "a.example."),
        (".", "."),
        ("a\\.b.c.", "a\\.b.c."),
        ("\\065.c", "A.c."),
        ("a b", "a\\ b."),
        ("\\000\\255", "\\000\\255."),
        ("\\@\\\\\\\"", "\\@\\\\\\\"."),
        ("*.x", "*.x."),
    ] {
        assert_eq!(name(text).to_string(), shown);
        assert!(name(&name(text).to_string()).eq_exact(&name(text)));
    }
    for (text, error) in [
        ("", NameError::Empty),
        (".a", NameError::EmptyLabel),
        ("a..b", NameError::EmptyLabel),
        ("a..", NameError::EmptyLabel),
        ("a\\", NameError::Escape),
        ("\\256", NameError::Escape),
    ] {
        assert_eq!(Name::parse(text), Err(error), "{text}");
    }
}

#[test]
fn rfc4343_case_is_kept_but_not_compared() {
    assert_eq!(name("Example.ORG"), name("example.org"));
    assert!(!name("Example.ORG").eq_exact(&name("example.org")));
    assert_eq!(name("Example.ORG").to_string(), "Example.ORG.");
    assert_eq!(name("Example.ORG").to_lower().to_string(), "example.org.");
    assert_eq!(HashSet::from([name("A"), name("a")]).len(), 1);
}

#[test]
fn rfc4034_6_1_names_are_ordered_by_labels_from_the_right() {
    let order = [
        "example",
        "a.example",
        "yljkjljk.a.example",
        "Z.a.example",
        "zABC.a.EXAMPLE",
        "z.example",
        "\\001.z.example",
        "*.z.example",
        "\\200.z.example",
    ];
    let sorted: Vec<Name> = order.iter().map(|text| name(text)).collect();
    let mut mixed = sorted.clone();
    mixed.reverse();
    mixed.sort();
    assert_eq!(mixed, sorted);
}

#[test]
fn labels_are_walked_from_both_ends() {
    let name = name("a.bb.ccc");
    assert_eq!(name.labels().collect::<Vec<_>>(), [&b"a"[..], b"bb", b"ccc"]);
    assert_eq!(name.labels().rev().collect::<Vec<_>>(), [&b"ccc"[..], b"bb", b"a"]);
    let mut both = name.labels();
    assert_eq!(
        (both.next(), both.next_back(), both.next(), both.next()),
        (Some(&b"a"[..]), Some(&b"ccc"[..]), Some(&b"bb"[..]), None)
    );
    assert_eq!((name.label_count(), Name::root().label_count()), (3, 0));
}

#[test]
fn parts_of_a_name() {
    let long = name("a.b.Example.org");
    assert_eq!(long.parent(), Some(name("b.example.org")));
    assert_eq!(Name::root().parent(), None);
    assert_eq!(long.suffix(2).to_string(), "Example.org.");
    assert_eq!((long.suffix(0), long.suffix(9)), (Name::root(), long.clone()));
    assert_eq!(long.before(&name("example.ORG")), Some(&b"\x01a\x01b"[..]));
    assert_eq!(long.before(&Name::root()).unwrap().len(), long.as_wire().len() - 1);
    assert!(!name("badexample.org").is_within(&name("example.org")));
    assert!(!name("org").is_within(&name("example.org")));
    // The bytes of a zone at the end of a label aren't the zone.
    assert!(!Name::from_wire(b"\x0aab\x07example\x00").unwrap().is_within(&name("example")));
    assert_eq!(Name::join(b"\x01a\x01b", &name("example.org")).unwrap(), long);
    assert_eq!(Name::join(b"\x00", &long), Err(NameError::Malformed));
    assert_eq!(Name::join(b"\x05a", &long), Err(NameError::Malformed));
    assert_eq!(long.prepend(b""), Err(NameError::EmptyLabel));
}

#[test]
fn rfc1035_3_5_and_rfc3596_2_5_addresses_have_names() {
    for (ip, text) in [
        ("10.0.200.1", "1.200.0.10.in-addr.arpa."),
        ("fd00::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa."),
    ] {
        let ip: IpAddr = ip.parse().unwrap();
        assert_eq!(Name::reverse_of(ip).to_string(), text);
        assert_eq!(name(&text.to_uppercase()).to_ip(), Some(ip));
        assert_eq!(name(text).parent().unwrap().to_ip(), None);
        assert_eq!(name(text).prepend(b"1").unwrap().to_ip(), None);
    }
    for text in ["01.0.0.10.in-addr.arpa", "256.0.0.10.in-addr.arpa", "+1.0.0.10.in-addr.arpa", "in-addr.arpa", "."] {
        assert_eq!(name(text).to_ip(), None, "{text}");
    }
}

#[test]
fn rfc1035_4_1_4_pointers_lead_backwards_only() {
    let read = |bytes: &[u8], at| Name::read(bytes, at).map(|(name, after)| (name.to_string(), after));
    assert_eq!(read(b"\x01a\x00\x01b\xC0\x00", 3), Ok(("b.a.".into(), 7)));
    assert_eq!(read(b"\x01a\x00\xC0\x00\xC0\x03", 5), Ok(("a.".into(), 7)));
    assert_eq!(read(b"\xC0\x00", 0), Err(WireError::Pointer(0)));
    assert_eq!(read(b"\x01a\xC0\x00", 0), Err(WireError::Pointer(0)));
    assert_eq!(read(b"\xC0\x02\x00", 0), Err(WireError::Pointer(0)));
    assert_eq!(read(b"\xC0\x02\xC0\x00", 2), Err(WireError::Pointer(2)));
    assert_eq!(read(b"\x00\xC0", 1), Err(WireError::Short(1)));
    assert_eq!(read(b"\x05ab", 0), Err(WireError::Short(0)));
    assert_eq!(read(b"", 0), Err(WireError::Short(0)));
    assert_eq!(read(b"\x00", usize::MAX), Err(WireError::Short(usize::MAX)));
    assert_eq!(read(b"\x40a\x00", 0), Err(WireError::Label(0)));
    // Labels in front of pointers to labels, until the name is too long.
    let mut bytes = vec![0];
    let mut last = 0_u16;
    for _ in 0..4 {
        let at = bytes.len() as u16;
        bytes.push(63);
        bytes.extend([b'a'; 63]);
        bytes.extend((0xC000 | last).to_be_bytes());
        last = at;
    }
    assert_eq!(read(&bytes, last.into()), Err(WireError::Long(last.into())));
}

#[test]
fn only_whole_uncompressed_names_are_taken_from_wire() {
    assert_eq!(Name::from_wire(b"\x01a\x00"), Ok(name("a")));
    for bytes in [&b""[..], b"\x01a", b"\x01a\x00\x00", b"\xC0\x00", b"\x40a\x00"] {
        assert_eq!(Name::from_wire(bytes), Err(NameError::Malformed));
    }
    assert_eq!(Name::from_wire(&[1; 256]), Err(NameError::Long));
}
