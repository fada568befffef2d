//! Shuffling in the bytes of a message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use super::*;
use crate::wire::text::record_from_text;
use crate::wire::{Edns, Message, Name, Question};

fn message(answers: &[&str]) -> Message {
    let mut message = Message { edns: Some(Edns::new(1232, false)), ..Message::default() };
    message.questions.push(Question::new(Name::parse("a.example.").unwrap(), Type::A));
    message.answers = answers.iter().map(|text| record_from_text(text, None).unwrap()).collect();
    message.additionals = vec![record_from_text("b.example. 5 IN AAAA ::1", None).unwrap()];
    message
}

#[test]
fn every_order_comes_and_nothing_else_changes() {
    let addresses = ["a.example. 5 IN A 1.1.1.1", "a.example. 5 IN A 2.2.2.2", "a.example. 5 IN A 3.3.3.3"];
    let before = message(&[&["x.example. 5 IN CNAME a.example."], &addresses[..]].concat());
    let mut bytes = Vec::new();
    before.write(&mut bytes);
    let (mut orders, mut random) = (BTreeSet::new(), fastrand::Rng::with_seed(7));
    for _ in 0..200 {
        assert!(shuffle(&mut bytes, &mut random));
        let mut after = Message::read(&bytes).unwrap();
        orders.insert(after.answers[1..].iter().map(|r| r.data.to_ip(Type::A).unwrap()).collect::<Vec<_>>());
        after.answers[1..].sort_by_key(|record| record.data.to_ip(Type::A));
        assert_eq!(after, before);
    }
    assert_eq!(orders.len(), 6);
}

#[test]
fn what_must_be_taken_apart_is_left_alone() {
    for answers in [
        &["a.example. 5 IN A 1.1.1.1", "a.example. 6 IN A 2.2.2.2"][..],
        &["a.example. 5 IN A 1.1.1.1", "b.example. 5 IN A 2.2.2.2"],
        &["a.example. 5 IN A 1.1.1.1", "a.example. 5 IN AAAA ::2"],
        &["a.example. 5 IN A 1.1.1.1", "x.example. 5 IN CNAME a.example."],
        &["a.example. 5 IN MX 1 a.example.", "a.example. 5 IN MX 1 b.example."],
    ] {
        let mut bytes = Vec::new();
        message(answers).write(&mut bytes);
        let before = bytes.clone();
        assert!(!shuffle(&mut bytes, &mut fastrand::Rng::new()), "{answers:?}");
        assert_eq!(bytes, before);
    }
    assert!(!shuffle(&mut [0, 1, 2], &mut fastrand::Rng::new()));
}
