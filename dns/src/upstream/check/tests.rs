//! What is an answer to a question, and what is not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;
use crate::upstream::tests::{bytes, question, reply};
use crate::wire::{Data, Edns, Message, Record, Type};

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
    assert!(matches!(asked.judge(&bytes(&small), Came::Datagram), Verdict::Answer(_)));
    asked.exact = true;
    assert_eq!(asked.judge(&bytes(&small), Came::Datagram), Verdict::Foreign);
    assert!(matches!(asked.judge(&bytes(&reply(&message)), Came::Datagram), Verdict::Answer(_)));
}

#[test]
fn a_refusal_may_leave_the_question_out() {
    let (message, asked) = asked();
    let mut bare = reply(&message);
    bare.questions.clear();
    assert_eq!(asked.judge(&bytes(&bare), Came::Datagram), Verdict::Foreign);
    bare.set_rcode(Rcode::FORMERR);
    let Verdict::Answer(answer) = asked.judge(&bytes(&bare), Came::Datagram) else { panic!("it is an answer") };
    let answer = Message::read(&answer).unwrap();
    assert_eq!((answer.questions, answer.flags.rcode()), (message.questions, Rcode::FORMERR));
}

fn with_address() -> (Message, Asked, Vec<u8>) {
    let (message, asked) = asked();
    let mut whole = reply(&message);
    let name = message.questions[0].name.clone();
    whole.answers.push(Record::new(name, Type::A, 60, Data::a([192, 0, 2, 1].into())));
    whole.edns = Some(Edns::new(1232, false));
    (message, asked, bytes(&whole))
}

fn is_truncated(answer: &[u8], asked: &Message) {
    let read = Message::read(answer).unwrap();
    assert!(read.flags.tc() && read.flags.qr() && read.flags.rd() && read.records().count() == 0, "{read:?}");
    assert_eq!((read.rcode(), &read.questions), (Rcode::NOERROR, &asked.questions));
}

#[test]
fn a_datagram_cut_anywhere_becomes_an_answer_that_says_so() {
    let (message, asked, whole) = with_address();
    for end in 2..whole.len() {
        match asked.judge(&whole[..end], Came::Datagram) {
            Verdict::Stub(answer) if end < 12 + 17 + 4 => is_truncated(&answer, &message),
            Verdict::Cut(answer, WireError::Short(_)) if end >= 12 + 17 + 4 => is_truncated(&answer, &message),
            verdict => panic!("{end}: {verdict:?}"),
        }
        // A connection loses nothing.
        let verdict = asked.judge(&whole[..end], Came::Stream);
        let is_short = matches!(verdict, Verdict::Malformed(WireError::Short(_)));
        assert!(if end < 12 + 17 + 4 { verdict == Verdict::Foreign } else { is_short }, "{end}: {verdict:?}");
    }
    let Verdict::Answer(cut) = asked.judge(&whole[..40], Came::LongDatagram) else { panic!("it is an answer") };
    is_truncated(&cut, &message);
    assert_eq!(asked.judge(&whole, Came::Datagram), Verdict::Answer(whole.clone()));
    // A beginning that is another question's, or none of an answer, is nobody's.
    let mut other = whole.clone();
    other[14] ^= 1;
    assert_eq!(asked.judge(&other[..20], Came::Datagram), Verdict::Foreign);
    let mut question = whole;
    question[2] &= 0x7f;
    assert_eq!(asked.judge(&question[..20], Came::Datagram), Verdict::Foreign);
    assert_eq!(asked.judge(&question[..3], Came::Datagram), Verdict::Foreign);
}

#[test]
fn what_is_malformed_is_told_unless_it_says_itself_that_it_was_truncated() {
    let (message, asked, whole) = with_address();
    let address = 12 + 17 + 4 + 2;
    let wrong = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        bytes
    };
    for bytes in [
        wrong(&|bytes| bytes.push(0)),
        wrong(&|bytes| bytes[address - 1] = 33),
        wrong(&|bytes| bytes[address - 2] = 0x40),
        wrong(&|bytes| bytes[address + 1] = 28),
        wrong(&|bytes| bytes[7] = 0),
    ] {
        for came in [Came::Datagram, Came::Stream] {
            assert!(matches!(asked.judge(&bytes, came), Verdict::Malformed(_)), "{bytes:?}");
        }
        let mut truncated = bytes;
        truncated[2] |= TRUNCATED;
        assert!(matches!(asked.judge(&truncated, Came::Stream), Verdict::Malformed(_)));
        let Verdict::Answer(answer) = asked.judge(&truncated, Came::Datagram) else { panic!("it is truncated") };
        is_truncated(&answer, &message);
    }
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
