//! What is an answer to a question, and what is not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;
use crate::upstream::tests::{bytes, question, reply};
use crate::wire::{Data, Message, Record, Type};

fn asked() -> (Message, Asked) {
    let message = question("www.Example.org.", Type::A);
    let asked = Asked::new(&bytes(&message)).unwrap();
    (message, asked)
}

#[test]
fn what_is_not_one_question_is_not_asked() {
    assert!(Asked::new(&[]).is_none());
    assert!(Asked::new(&[0; 12]).is_none());
    let mut two = bytes(&question("example.org.", Type::A));
    two[5] = 2;
    assert!(Asked::new(&two).is_none());
    let whole = bytes(&question("example.org.", Type::A));
    (0..whole.len()).for_each(|length| assert!(Asked::new(&whole[..length]).is_none(), "{length}"));
    let mut pointer = whole;
    pointer[12] = 0xc0;
    assert!(Asked::new(&pointer).is_none());
}

#[test]
fn letter_case_may_differ_unless_it_was_random() {
    let (message, mut asked) = asked();
    let mut small = reply(&message);
    small.questions[0].name = small.questions[0].name.to_lower();
    assert!(matches!(asked.judge(&bytes(&small), false), Verdict::Answer(_)));
    asked.exact = true;
    assert_eq!(asked.judge(&bytes(&small), false), Verdict::Foreign);
    assert!(matches!(asked.judge(&bytes(&reply(&message)), false), Verdict::Answer(_)));
}

#[test]
fn a_refusal_may_leave_the_question_out() {
    let (message, asked) = asked();
    let mut bare = reply(&message);
    bare.questions.clear();
    assert_eq!(asked.judge(&bytes(&bare), false), Verdict::Foreign);
    bare.set_rcode(Rcode::FORMERR);
    let Verdict::Answer(answer) = asked.judge(&bytes(&bare), false) else { panic!("it is an answer") };
    let answer = Message::read(&answer).unwrap();
    assert_eq!((answer.questions, answer.flags.rcode()), (message.questions, Rcode::FORMERR));
}

#[test]
fn what_is_cut_is_truncated_and_what_is_malformed_is_told() {
    let (message, asked) = asked();
    let mut whole = reply(&message);
    let name = message.questions[0].name.clone();
    whole.answers.push(Record::new(name, Type::A, 60, Data::a([192, 0, 2, 1].into())));
    let whole = bytes(&whole);
    for end in 0..whole.len() {
        let verdict = asked.judge(&whole[..end], false);
        let expected = if end < 12 + 17 + 4 { Verdict::Foreign } else { Verdict::Malformed };
        assert_eq!(verdict, expected, "{end}");
    }
    let Verdict::Answer(cut) = asked.judge(&whole[..40], true) else { panic!("it is an answer") };
    let cut = Message::read(&cut).unwrap();
    assert!(cut.flags.tc() && cut.answers.is_empty() && cut.questions == message.questions);
}

#[test]
fn random_letters_do_not_reach_clients() {
    let mut message = reply(&question("wWw.eXample.org.", Type::A));
    let name = message.questions[0].name.clone();
    message.answers.push(Record::new(name, Type::A, 60, Data::a([192, 0, 2, 1].into())));
    let mut answer = bytes(&message);
    // The owner written out, as some servers do.
    let owner = answer[12..29].to_vec();
    answer.splice(33..35, owner);
    restore_case(&mut answer);
    let answer = Message::read(&answer).unwrap();
    assert!(answer.answers[0].name.eq_exact(&answer.questions[0].name));
    assert!(answer.answers[0].name.eq_exact(&answer.questions[0].name.to_lower()));
}
