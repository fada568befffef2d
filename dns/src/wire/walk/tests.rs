//! Outlines of messages, also of hostile ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::{Section, questions_end, records, skip_name};
use crate::wire::text::record_from_text;
use crate::wire::{Edns, Message, Name, Question, Type, WireError};

fn message() -> Vec<u8> {
    let record = |text| record_from_text(text, None).unwrap();
    let mut message = Message { answers: vec![record("a.b. 7 A 1.2.3.4")], ..Message::default() };
    message.questions.push(Question::new(Name::parse("a.b").unwrap(), Type::A));
    message.authorities.push(record("b. 8 NS a.b."));
    message.edns = Some(Edns::new(1232, false));
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    bytes
}

#[test]
fn records_are_found_with_their_ttls_and_data() {
    let bytes = message();
    let all: Vec<_> = records(&bytes).map(Result::unwrap).collect();
    let kinds: Vec<_> = all.iter().map(|outline| (outline.section, outline.rtype, outline.ttl)).collect();
    assert_eq!(
        kinds,
        [(Section::Answer, Type::A, 7), (Section::Authority, Type::NS, 8), (Section::Additional, Type::OPT, 0)]
    );
    assert_eq!(bytes[all[0].data.clone()], [1, 2, 3, 4]);
    assert_eq!(bytes[all[0].ttl_at..][..4], [0, 0, 0, 7]);
    assert_eq!(Name::read(&bytes, all[1].name).unwrap().0.to_string(), "b.");
    assert_eq!(all[2].data.end, bytes.len());
    assert_eq!(questions_end(&bytes), Ok(all[0].name));
}

#[test]
fn every_cut_is_an_error_and_the_last_item() {
    let bytes = message();
    for end in 0..bytes.len() {
        let mut walk = records(&bytes[..end]);
        assert!(walk.by_ref().any(|outline| outline.is_err()), "{end}");
        assert!(walk.next().is_none(), "{end}");
    }
}

#[test]
fn names_are_skipped_but_not_followed() {
    assert_eq!(skip_name(b"\x01a\xC0\x00", 0), Ok(4));
    assert_eq!(skip_name(b"\xC0\xFF", 0), Ok(2));
    assert_eq!(skip_name(b"\xC0", 0), Err(WireError::Short(0)));
    assert_eq!(skip_name(b"\x80", 0), Err(WireError::Label(0)));
    assert_eq!(skip_name(&[1; 600], 0), Err(WireError::Long(0)));
    assert_eq!(skip_name(b"", 9), Err(WireError::Short(9)));
}
