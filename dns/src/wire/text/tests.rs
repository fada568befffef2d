//! Records as text. `cases.txt` was made with github.com/miekg/dns v1.1.72: a record, the message that has it as its
//! answer in hexadecimal, and the record as that library prints it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod zone;

use super::{record_from_text, ttl_from_text};
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
