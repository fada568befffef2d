//! What is whole, and each way in which a message can fail to be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::check;
use crate::wire::text::record_from_text;
use crate::wire::{Edns, Message, Name, Question, Type, WireError, edns::option};

/// The question's name ends here: `a.example.`, written at 12.
const QUESTION_END: usize = 12 + 11 + 4;

/// A message with counts of records, its question, and these bytes behind it.
fn message(counts: [u8; 3], rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 7, 0x81, 0x80, 0, 1, 0, counts[0], 0, counts[1], 0, counts[2]];
    bytes.extend_from_slice(b"\x01a\x07example\x00\x00\x01\x00\x01");
    bytes.extend_from_slice(rest);
    bytes
}

/// A record in wire form, its RDLENGTH as given.
fn record(owner: &[u8], rtype: Type, length: usize, data: &[u8]) -> Vec<u8> {
    let numbers = [rtype.0.to_be_bytes(), [0, 1], [0, 0], [0, 60], (length as u16).to_be_bytes()];
    [owner, numbers.as_flattened(), data].concat()
}

/// One answer of this type with this data.
fn one(rtype: Type, data: &[u8]) -> Vec<u8> {
    message([1, 0, 0], &record(b"\xC0\x0C", rtype, data.len(), data))
}

fn opt(owner: &[u8], options: &[u8]) -> Vec<u8> {
    record(owner, Type::OPT, options.len(), options)
}

fn is_data(result: Result<(), WireError>) -> bool {
    matches!(result, Err(WireError::Data { .. }))
}

#[test]
fn what_servers_send_is_whole() {
    let text = |text| record_from_text(text, None).unwrap();
    let mut all = Message::default();
    all.questions.push(Question::new(Name::parse("a.example.").unwrap(), Type::ANY));
    all.answers = [
        "a.example. 60 CNAME b.example.",
        "b.example. 60 A 192.0.2.1",
        "b.example. 60 AAAA 2001:db8::1",
        "b.example. 60 TXT \"one\" \"\" \"two\"",
        "b.example. 60 MX 10 mail.b.example.",
        "b.example. 60 SRV 1 2 3 mail.b.example.",
        "b.example. 60 NAPTR 1 2 \"s\" \"SIP+D2U\" \"\" _sip._udp.b.example.",
        "b.example. 60 CAA 0 issue \"ca.example\"",
        "b.example. 60 SVCB 1 . alpn=\"h2,h3\" port=\"443\" ipv4hint=\"192.0.2.1\" ipv6hint=\"2001:db8::1\"",
        "b.example. 60 HTTPS 0 c.example.",
        "b.example. 60 TYPE65280 \\# 3 616263",
        "b.example. 60 APL",
        "b.example. 60 DS 1 8 2 00",
        "b.example. 60 LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000.00m 10.00m",
    ]
    .map(text)
    .to_vec();
    all.authorities = vec![
        text("example. 60 SOA ns.example. root.example. 1 2 3 4 5"),
        text("b.example. 60 NSEC c.example. A MX RRSIG NSEC TYPE1234"),
        text("0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example. 60 NSEC3 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr"),
    ];
    let mut edns = Edns::new(1232, true);
    edns.options = vec![
        (option::NSID, b"x".to_vec()),
        (option::SUBNET, vec![0, 1, 24, 0, 192, 0, 2]),
        (option::COOKIE, vec![1; 24]),
        (option::EDE, vec![0, 22]),
        (option::PADDING, vec![0; 40]),
    ];
    all.edns = Some(edns);
    let mut bytes = Vec::new();
    all.write(&mut bytes);
    assert_eq!(check(&bytes), Ok(()));
    // Cut anywhere it ends too early, and nothing else is said of it.
    for end in 0..bytes.len() {
        assert!(matches!(check(&bytes[..end]), Err(WireError::Short(_))), "{end}: {:?}", check(&bytes[..end]));
    }
}

#[test]
fn counts_and_ends_must_be_right() {
    let record = record(b"\xC0\x0C", Type::A, 4, &[192, 0, 2, 1]);
    assert_eq!(check(&message([1, 0, 0], &record)), Ok(()));
    assert_eq!(check(&message([0, 0, 0], &record)), Err(WireError::Behind(QUESTION_END)));
    assert_eq!(check(&message([1, 0, 0], &[&record[..], &[0]].concat())), Err(WireError::Behind(QUESTION_END + 16)));
    assert_eq!(check(&message([2, 0, 0], &record)), Err(WireError::Short(QUESTION_END + 16)));
    assert_eq!(check(&message([0, 0, 9], &record)), Err(WireError::Short(QUESTION_END + 16)));
    assert_eq!(check(&[0; 11]), Err(WireError::Short(0)));
    assert_eq!(check(&[0; 12]), Ok(()));
}

#[test]
fn pointers_lead_to_labels_before_them() {
    let owned = |owner: &[u8]| check(&message([1, 0, 0], &record(owner, Type::A, 4, &[192, 0, 2, 1])));
    let here = QUESTION_END as u8;
    let pointer = Err(WireError::Pointer(QUESTION_END));
    // Whole names, parents, the root's label.
    for target in [12, 14, 22] {
        assert_eq!(owned(&[0xC0, target]), Ok(()), "{target}");
    }
    for target in [
        here,     // to itself
        here + 1, // into itself
        here + 2, // forward
        0,        // into the header
        4,
        11,
        13, // into a label
        15,
        23, // into the question's type
        255,
    ] {
        assert_eq!(owned(&[0xC0, target]), pointer, "{target}");
    }
    assert_eq!(owned(&[0xFF, 0xFF]), pointer);
    // Labels, and then a pointer to them: a circle.
    assert_eq!(owned(&[1, b'x', 0xC0, here]), pointer);
    // Into a TTL, which the cache changes: its zeros would be the root.
    let two = [record(b"\xC0\x0C", Type::A, 4, &[192, 0, 2, 1]), record(&[0xC0, here + 6], Type::A, 4, &[1; 4])];
    assert_eq!(check(&message([2, 0, 0], &two.concat())), Err(WireError::Pointer(QUESTION_END + 16)));
    // A pointer may lead to a pointer.
    let two = [record(b"\xC0\x0C", Type::A, 4, &[192, 0, 2, 1]), record(&[0xC0, here], Type::A, 4, &[1; 4])];
    assert_eq!(check(&message([2, 0, 0], &two.concat())), Ok(()));
    // To a name in data, also of an unknown type; not into a text.
    for (rtype, data, expected) in [
        (Type::CNAME, &b"\x01x\x00"[..], Ok(())),
        (Type(65_280), b"\x01x\x00", Ok(())),
        (Type::TXT, b"\x01x", Err(WireError::Pointer(QUESTION_END + 12 + 2))),
    ] {
        let first = record(b"\xC0\x0C", rtype, data.len(), data);
        let at = here + 12;
        let second = record(&[0xC0, at], Type::A, 4, &[1; 4]);
        let result = check(&message([2, 0, 0], &[first, second].concat()));
        let expected = expected.map_err(|_| WireError::Pointer(QUESTION_END + 12 + data.len()));
        assert_eq!(result, expected, "{rtype}");
    }
}

#[test]
fn names_have_known_labels_and_255_bytes() {
    let owned = |owner: &[u8]| check(&message([1, 0, 0], &record(owner, Type::A, 4, &[192, 0, 2, 1])));
    for kind in [0x40, 0x80, 0x41, 0xBF] {
        assert_eq!(owned(&[kind, 0]), Err(WireError::Label(QUESTION_END)), "{kind:#x}");
        assert_eq!(owned(&[1, b'x', kind, 0]), Err(WireError::Label(QUESTION_END)), "{kind:#x}");
    }
    let labels = |bytes: usize| -> Vec<u8> { (0..bytes / 2).flat_map(|_| [1, b'x']).collect() };
    assert_eq!(owned(&[&labels(254)[..], &[0]].concat()), Ok(()));
    assert_eq!(owned(&[&labels(256)[..], &[0]].concat()), Err(WireError::Long(QUESTION_END)));
    // With a pointer: the question's name has 11 bytes.
    assert_eq!(owned(&[&labels(244)[..], &[0xC0, 12]].concat()), Ok(()));
    assert_eq!(owned(&[&labels(246)[..], &[0xC0, 12]].concat()), Err(WireError::Long(QUESTION_END)));
}

#[test]
fn pointers_to_pointers_take_bounded_time() {
    // Each owner points at the one before it: the last names would take thousands of steps each.
    let mut rest = record(b"\xC0\x0C", Type::NULL, 0, &[]);
    for n in 1..200_u16 {
        let before = (0xC000 | (QUESTION_END as u16 + (n - 1) * 12)).to_be_bytes();
        rest.extend(record(&before, Type::NULL, 0, &[]));
    }
    let result = check(&message([200, 0, 0], &rest));
    assert_eq!(result, Err(WireError::Pointer(QUESTION_END + 126 * 12 + 12)), "{result:?}");
}

#[test]
fn data_fills_its_length() {
    for (rtype, right) in [
        (Type::A, &[192, 0, 2, 1][..]),
        (Type::AAAA, &[0; 16]),
        (Type::NS, b"\x01x\xC0\x0C"),
        (Type::CNAME, b"\xC0\x0C"),
        (Type::PTR, b"\x01x\x00"),
        (Type::DNAME, b"\x01x\x00"),
        (Type::MX, b"\x00\x0A\xC0\x0C"),
        (Type::SRV, b"\x00\x01\x00\x02\x00\x03\x01x\x00"),
        (Type::SOA, &[b"\x01x\x00\xC0\x0C".as_slice(), &[0; 20]].concat()),
        (Type::NSEC, b"\x01x\x00\x00\x01\x40"),
        (Type::CSYNC, b"\x00\x00\x00\x01\x00\x02\x00\x01\x40"),
        (Type::NSEC3PARAM, b"\x01\x00\x00\x00\x02xy"),
        (Type::EUI48, &[1; 6]),
        (Type::L64, &[0; 10]),
        (Type::LOC, &[0; 16]),
        (Type::SVCB, b"\x00\x01\x00\x00\x03\x00\x02\x01\xBB"),
        (Type::HIP, b"\x02\x01\x00\x02hhkk\x01x\x00"),
    ] {
        assert_eq!(check(&one(rtype, right)), Ok(()), "{rtype}");
        // One byte less, one more, none.
        assert!(is_data(check(&one(rtype, &right[..right.len() - 1]))), "{rtype}");
        assert!(is_data(check(&one(rtype, &[right, &[0x60]].concat()))) || rtype == Type::HIP, "{rtype}");
        assert!(is_data(check(&one(rtype, &[]))), "{rtype}");
        // An RDLENGTH that ends inside the data, with the rest of it behind.
        let mut split = record(b"\xC0\x0C", rtype, right.len() - 1, right);
        split.extend(record(b"\xC0\x0C", Type::A, 4, &[1; 4]));
        assert!(check(&message([2, 0, 0], &split)).is_err(), "{rtype}");
        // One that ends behind the message: as if it had been cut.
        let long = record(b"\xC0\x0C", rtype, right.len() + 1, right);
        assert!(matches!(check(&message([1, 0, 0], &long)), Err(WireError::Short(_))), "{rtype}");
    }
    // No data names what an update deletes.
    let mut update = one(Type::A, &[]);
    update[QUESTION_END + 5] = 255;
    assert_eq!(check(&update), Ok(()));
    // Names of the rendezvous servers of HIP are never compressed.
    assert_eq!(check(&one(Type::HIP, b"\x02\x01\x00\x02hhkk\xC0\x0C")), Err(WireError::Label(QUESTION_END + 12 + 8)));
}

#[test]
fn texts_bitmaps_and_parameters_are_made_as_they_should() {
    for (rtype, data) in [
        (Type::TXT, &b"\x05abc"[..]),
        (Type::TXT, b"\x01a\x02b"),
        (Type::HINFO, b"\x01a"),
        (Type::CAA, b"\x00\x09issue"),
        (Type::NAPTR, b"\x00\x01\x00\x02\x01s\x09SIP\x00\x00"),
        // A window without bits, one of 33 bytes, one that goes back, one twice.
        (Type::NSEC, b"\x01x\x00\x00\x00"),
        (Type::NSEC, &[b"\x01x\x00\x00\x21".as_slice(), &[1; 33]].concat()),
        (Type::NSEC, b"\x01x\x00\x01\x01\x40\x00\x01\x40"),
        (Type::NSEC, b"\x01x\x00\x00\x01\x40\x00\x01\x40"),
        (Type::NSEC3, b"\x01\x00\x00\x00\x00\x01h\x00"),
        // A parameter that is cut, keys that don't ascend, values that don't fit.
        (Type::SVCB, b"\x00\x01\x00\x00\x03\x00\x09\x01\xBB"),
        (Type::SVCB, b"\x00\x01\x00\x00\x03\x00\x02\x01\xBB\x00\x01\x00\x03\x02h2"),
        (Type::SVCB, b"\x00\x01\x00\x00\x03\x00\x02\x01\xBB\x00\x03\x00\x02\x01\xBB"),
        (Type::HTTPS, b"\x00\x01\x00\x00\x03\x00\x03\x01\xBB\x00"),
        (Type::HTTPS, b"\x00\x01\x00\x00\x01\x00\x03\x05h2"),
        (Type::HTTPS, b"\x00\x01\x00\x00\x04\x00\x05\x01\x02\x03\x04\x05"),
        (Type::HTTPS, b"\x00\x01\x00\x00\x06\x00\x04\x01\x02\x03\x04"),
        (Type::HTTPS, b"\x00\x01\x00\x00\x02\x00\x01\x00"),
        (Type::HTTPS, b"\x00\x01\x00\x00\x00\x00\x01\x00"),
        (Type::APL, b"\x00\x01\x18\x04\x0A\x00"),
        (Type::IPSECKEY, b"\x01\x04\x02key"),
        (Type::IPSECKEY, b"\x01\x01\x02\x0A\x00"),
    ] {
        assert!(is_data(check(&one(rtype, data))), "{rtype} {data:?}: {:?}", check(&one(rtype, data)));
    }
}

#[test]
fn there_is_one_opt_of_the_root_with_whole_options() {
    let with = |counts, records: &[Vec<u8>]| check(&message(counts, &records.concat()));
    let good = opt(b"\x00", b"\x00\x03\x00\x01x");
    assert_eq!(with([0, 0, 1], std::slice::from_ref(&good)), Ok(()));
    for (counts, records, at) in [
        ([0, 0, 2], vec![good.clone(), good.clone()], 16),
        ([1, 0, 0], vec![good.clone()], 0),
        ([0, 1, 0], vec![good.clone()], 0),
        ([0, 0, 1], vec![opt(b"\xC0\x0C", &[])], 0),
        ([0, 0, 1], vec![opt(b"\x01x\x00", &[])], 0),
        // A pointer to the root's label is no root's label.
        ([0, 0, 1], vec![opt(b"\xC0\x16", &[])], 0),
    ] {
        assert_eq!(with(counts, &records), Err(WireError::Opt(QUESTION_END + at)));
    }
    for options in [
        &b"\x00"[..],
        b"\x00\x03\x00",
        b"\x00\x03\x00\x05x",
        b"\x00\x08\x00\x03\x00\x01\x18",
        b"\x00\x08\x00\x05\x00\x03\x18\x00\x0A",
        b"\x00\x08\x00\x05\x00\x01\x21\x00\x0A",
        b"\x00\x0A\x00\x03abc",
        b"\x00\x0F\x00\x01\x00",
        b"\x00\x0B\x00\x01\x00",
        b"\x00\x09\x00\x02\x00\x00",
    ] {
        assert!(is_data(with([0, 0, 1], &[opt(b"\x00", options)])), "{options:?}");
    }
}
