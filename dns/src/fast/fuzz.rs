//! What the fuzzer calls: the fast way reads a question as the long one does.

use std::net::{Ipv4Addr, SocketAddr};

use super::{Fast, Plain, Section, Step};
use crate::wire::{Class, Message, Opcode, Rcode};

/// Takes any bytes as a question.
///
/// # Panics
/// Never, or there is a defect: what is plain must be a message that says the same, and so must its answer.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let mut plain = Plain::default();
    if !plain.read(bytes) {
        return;
    }
    let read = Message::read(bytes);
    assert!(read.is_ok(), "what is plain is no message: {read:?}");
    let Ok(message) = read else { return };
    assert!(!message.flags.qr() && message.flags.opcode() == Opcode::QUERY && message.records().next().is_none());
    let [question] = &message.questions[..] else { return assert_eq!(message.questions.len(), 1) };
    assert_eq!((question.class, question.rtype), (Class::IN, plain.rtype()));
    assert_eq!((question.name.to_lower().as_wire(), question.name.label_count()), (plain.name(), plain.labels()));
    assert_eq!(message.edns.as_ref().map(|edns| (edns.size, edns.dnssec_ok)), plain.edns());
    assert_eq!(message.flags.cd(), plain.checking_disabled());

    let (mut out, mut random) = ([0; 4096], fastrand::Rng::with_seed(1));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
    let mut fast = Fast::new(&plain, bytes, address, address, &mut out, &mut random);
    let none = Section::default();
    assert_eq!(fast.respond("", Rcode::NOERROR, true, none, none, none), Step::Answered);
    let answer = Message::read(fast.answer());
    assert!(answer.is_ok(), "the answer is no message: {answer:?}");
    let Ok(answer) = answer else { return };
    assert_eq!((answer.id, &answer.questions), (message.id, &message.questions));
}
