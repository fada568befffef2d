//! Records as text. `cases.txt` was made with github.com/miekg/dns v1.1.72: a record, the message that has it as its
//! answer in hexadecimal, and the record as that library prints it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod zone;

use super::{data_from_text, record_from_text, ttl_from_text};
use crate::wire::{Class, Data, Message, Name, Type};

fn from_hex(text: &str) -> Vec<u8> {
    super::codec::from_hex(text.as_bytes()).unwrap()
}

/// Print that we make as dig, not as the library: hexadecimal digits are capitals, and IN isn't CLASS1.
fn folded(text: &str) -> String {
    text.to_ascii_lowercase().replace("class1\t", "in\t")
}

#[test]
fn every_type_is_read_and_shown_as_by_coredns() {
    let cases = match std::env::var("WIRE_TEXTS") {
        Ok(path) => std::fs::read_to_string(path).unwrap(),
        Err(_) => include_str!("tests/cases.txt").to_owned(),
    };
    let mut wrong = Vec::new();
    for line in cases.lines().filter(|line| !line.starts_with('#')) {
        let [text, wire, shown] = line.split('\t').take(3).collect::<Vec<_>>().try_into().unwrap();
        let shown = [&[shown], line.split('\t').skip(3).collect::<Vec<_>>().as_slice()].concat().join("\t");
        let message = Message::read(&from_hex(wire)).unwrap();
        let theirs = &message.answers[0];
        match record_from_text(text, None) {
            Ok(ours) if ours == *theirs => {}
            other => wrong.push(format!("{text}\n  {other:?}\n  {theirs:?}")),
        }
        if folded(&theirs.to_string()) != folded(&shown) {
            wrong.push(format!("{theirs}\n  {shown}"));
        }
        // What is shown means the same when it is read.
        match record_from_text(&theirs.to_string(), None) {
            Ok(again) if again == *theirs => {}
            other => wrong.push(format!("{theirs}\n  {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rfc3597_5_any_type_may_be_written_in_hexadecimal() {
    let a = record_from_text("a. TYPE1 \\# 4 0A 00 0001", None).unwrap();
    assert_eq!((a.rtype, a.data), (Type::A, Data::a([10, 0, 0, 1].into())));
    for (text, problem) in [
        ("a. A \\# 3 0a0000", "malformed for A"),
        ("a. TYPE65280 \\# 3 0a00", "where the length says 3"),
        ("a. TYPE65280 \\# 1 0g", "malformed hexadecimal"),
        ("a. TYPE65280 1.2.3.4", "can only be written as"),
    ] {
        let error = record_from_text(text, None).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[test]
fn rfc4034_a_1_algorithms_may_be_written_by_their_mnemonics() {
    for (mnemonic, number) in [
        ("RSASHA256", "DS 1 8 2 00", "DS 1 {} 2 00"),
        ("rsasha512", "CDS 1 10 2 00", "CDS 1 {} 2 00"),
        ("DELETE", "CDS 0 0 0 00", "CDS 0 {} 0 00"),
        ("ED448", "DLV 1 16 2 00", "DLV 1 {} 2 00"),
        ("RSASHA1-NSEC3-SHA1", "TA 1 7 2 00", "TA 1 {} 2 00"),
        ("ECDSAP256SHA256", "DNSKEY 257 3 13 AQID", "DNSKEY 257 3 {} AQID"),
        ("ED25519", "CDNSKEY 256 3 15 AQID", "CDNSKEY 256 3 {} AQID"),
        ("PRIVATEDNS", "KEY 256 3 253 AQID", "KEY 256 3 {} AQID"),
        ("ECDSAP384SHA384", "RRSIG A 14 2 60 2 1 7 x. AQID", "RRSIG A {} 2 60 2 1 7 x. AQID"),
        ("ECC-GOST", "SIG A 12 2 60 2 1 7 x. AQID", "SIG A {} 2 60 2 1 7 x. AQID"),
        ("PRIVATEOID", "CERT OID 1 254 AQID", "CERT OID 1 {} AQID"),
        ("IPIX", "CERT 4 1 5 AQID", "CERT {} 1 RSASHA1 AQID"),
    ]
    .map(|(mnemonic, number, text)| (text.replace("{}", mnemonic), number))
    {
        let read = |text: &str| record_from_text(&format!("a {text}"), None).map(|record| record.data);
        assert_eq!(read(&mnemonic).unwrap(), read(number).unwrap(), "{mnemonic}");
    }
    let error = record_from_text("a DS 1 RSASHA257 2 00", None).unwrap_err();
    assert!(error.to_string().contains("\"RSASHA257\" is no algorithm"), "{error}");
}

#[test]
fn a_record_may_leave_out_ttl_and_class_or_turn_them_round() {
    for text in
        ["a A 1.1.1.1", "a 3600 A 1.1.1.1", "a IN A 1.1.1.1", "a 1h IN A 1.1.1.1", " a IN 3600 A 1.1.1.1\nignored"]
    {
        assert_eq!(record_from_text(text, None).unwrap().to_string(), "a.\t3600\tIN\tA\t1.1.1.1");
    }
    assert_eq!(record_from_text("a ANY A 1.1.1.1", None).unwrap().class, Class::ANY);
    let origin = Name::parse("b").unwrap();
    assert_eq!(record_from_text("@ NS a", Some(&origin)).unwrap().to_string(), "b.\t3600\tIN\tNS\ta.b.");
    for text in ["", "a", "a 5", "a 5 6 A 1.1.1.1", "a IN IN A 1.1.1.1"] {
        assert!(record_from_text(text, None).is_err(), "{text}");
    }
}

#[test]
fn data_alone_is_read() {
    let data = data_from_text(Type::MX, "10 mail", Some(&Name::parse("x").unwrap())).unwrap();
    assert_eq!(data.to_mx(), Some((10, Name::parse("mail.x").unwrap())));
    assert_eq!(data_from_text(Type::MX, "", None), Ok(Data::default()));
}

#[test]
fn long_texts_are_split_at_255_bytes() {
    let long = "a".repeat(300);
    let record = record_from_text(&format!("a TXT \"{long}\""), None).unwrap();
    let texts = record.data.to_txt().unwrap().iter().map(|text| text.len()).collect::<Vec<_>>();
    assert_eq!(texts, [255, 45]);
    assert!(record_from_text(&format!("a HINFO \"{long}\" x"), None).is_err());
}

#[test]
fn ttls_have_units() {
    for (text, ttl) in [("0", 0), ("1h30m", 5400), ("1W2d", 777_600), ("1h5", 3605), ("4294967295", u32::MAX)] {
        assert_eq!(ttl_from_text(text), Some(ttl), "{text}");
    }
    for text in ["", "h", "4294967296", "1y", "-1", "99999w"] {
        assert_eq!(ttl_from_text(text), None, "{text}");
    }
}

#[test]
fn data_that_has_no_plain_text_is_shown_in_hexadecimal() {
    for (rtype, bytes) in [
        (Type::A, &b"\x01\x02"[..]),
        (Type::NSEC, b"\x00\x00\x02\x40\x00"),
        (Type::HTTPS, b"\x00\x01\x00\x00\x03\x00\x00\x00\x01\x00\x00"),
        (Type::APL, b"\x00\x03\x08\x00"),
        (Type::LOC, b"\x01\x12\x16\x13\x80\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00"),
    ] {
        let shown = Data::from_bytes(bytes).shown(rtype).to_string();
        assert!(shown.starts_with(&format!("\\# {} ", bytes.len())), "{rtype}: {shown}");
    }
}

#[test]
fn rfc9460_2_1_parameters_are_put_in_order_and_checked() {
    let shown = |text: &str| record_from_text(text, None).map(|record| record.data.shown(Type::HTTPS).to_string());
    assert_eq!(shown("a HTTPS 1 . port=53 alpn=h2,h3").unwrap(), "1 . alpn=\"h2,h3\" port=\"53\"");
    assert_eq!(
        shown("a HTTPS 1 . alpn=\"f\\\\\\\\oo\\\\,bar,h2\"").unwrap(),
        "1 . alpn=\"f\\\\\\092oo\\\\\\044bar,h2\""
    );
    for text in ["port=x", "port=1 port=2", "nokey=1", "ipv4hint=::1", "alpn=", "no-default-alpn=1", "ech=!"] {
        assert!(shown(&format!("a HTTPS 1 . {text}")).is_err(), "{text}");
    }
}
