//! Messages: header, counts that lie, EDNS, and the response code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::{Flags, Message, Question};
use crate::wire::{Edns, Name, Opcode, Rcode, Type, WireError};

/// A header with these counts and what follows it.
fn bytes(counts: [u8; 4], rest: &[u8]) -> Vec<u8> {
    let [questions, answers, authorities, additionals] = counts;
    let mut bytes = vec![0, 1, 0x81, 0x83, 0, questions, 0, answers, 0, authorities, 0, additionals];
    bytes.extend(rest);
    bytes
}

const QUESTION: &[u8] = b"\x01a\x00\x00\x01\x00\x01";
const OPT: &[u8] = b"\x00\x00\x29\x04\xD0\x01\x00\x80\x00\x00\x00";

#[test]
fn rfc1035_4_1_1_header() {
    let message = Message::read(&bytes([1, 0, 0, 0], QUESTION)).unwrap();
    assert_eq!((message.id, message.flags.0), (1, 0x8183));
    assert!(
        message.flags.qr() && message.flags.rd() && message.flags.ra() && !message.flags.aa() && !message.flags.tc()
    );
    assert_eq!((message.flags.opcode(), message.rcode()), (Opcode::QUERY, Rcode::NXDOMAIN));
    assert_eq!(message.questions[0], Question::new(Name::parse("a").unwrap(), Type::A));
    for end in 0..12 {
        assert!(matches!(Message::read(&bytes([0; 4], &[])[..end]), Err(WireError::Short(_))));
    }
}

#[test]
fn flags_are_set_one_by_one() {
    let mut flags = Flags::default().with_qr(true).with_opcode(Opcode::UPDATE).with_rcode(Rcode::REFUSED);
    assert_eq!(flags.0, 0x8000 | 5 << 11 | 5);
    flags.set_qr(false);
    flags.set_tc(true);
    flags.set_rcode(Rcode::NOERROR);
    flags.set_opcode(Opcode::QUERY);
    assert_eq!(flags.0, 0x0200);
    let all = Flags(0).with_aa(true).with_rd(true).with_ra(true).with_z(true).with_ad(true).with_cd(true);
    assert_eq!(all.0, 0x05F0);
    assert!(all.z() && all.ad() && all.cd());
}

#[test]
fn counts_may_lie_if_the_message_ends_between_records() {
    for counts in [[2, 0, 0, 0], [1, 9, 9, 9]] {
        let message = Message::read(&bytes(counts, QUESTION)).unwrap();
        assert_eq!((message.questions.len(), message.records().count()), (1, 0));
    }
    assert_eq!(Message::read(&bytes([9, 9, 9, 9], &[])).unwrap().questions.len(), 0);
    assert!(Message::read(&bytes([0, 1, 0, 0], b"\x00\x00\x01")).is_err());
}

#[test]
fn bytes_behind_the_last_record_are_ignored() {
    let message = Message::read(&bytes([1, 0, 0, 0], &[QUESTION, b"more"].concat())).unwrap();
    assert_eq!(message.questions.len(), 1);
}

#[test]
fn rfc6891_6_1_3_the_response_code_is_joined() {
    let mut message = Message::read(&bytes([0, 0, 0, 1], OPT)).unwrap();
    assert_eq!(message.rcode(), Rcode(0x13));
    let edns = Edns { rcode_high: 1, ..Edns::new(1232, true) };
    assert_eq!((message.edns.as_ref(), message.additionals.len()), (Some(&edns), 0));
    message.set_rcode(Rcode::BADVERS);
    assert_eq!((message.rcode(), message.flags.rcode()), (Rcode::BADVERS, Rcode::NOERROR));
    message.edns = None;
    message.set_rcode(Rcode::SERVFAIL);
    assert_eq!(message.rcode(), Rcode::SERVFAIL);
}

#[test]
fn rfc6891_6_1_1_of_two_opt_records_the_last_counts() {
    let other = b"\x00\x00\x29\x02\x00\x00\x00\x00\x00\x00\x00";
    let message = Message::read(&bytes([0, 0, 0, 2], &[other, OPT].concat())).unwrap();
    assert_eq!((message.edns.unwrap().size, message.additionals.len()), (1232, 1));
}

#[test]
fn data_must_be_made_as_its_type_asks() {
    let record = |rtype: u8, data: &[u8]| {
        let head = [&[0, 0, rtype, 0, 1, 0, 0, 0, 5, 0, data.len() as u8], data].concat();
        Message::read(&bytes([0, 1, 0, 0], &head))
    };
    for (rtype, data) in [
        (1, &b"\x01\x02\x03"[..]),
        (1, b"\x01\x02\x03\x04\x05"),
        (28, b"\x01"),
        (5, b"\x01a\x00\x00"),
        (16, b"\x05ab"),
        (47, b"\x00\x00\x00"),
        (47, b"\x00\x00\x21"),
    ] {
        assert_eq!(record(rtype, data), Err(WireError::Data { rtype: Type(rtype.into()), at: 23 }), "{rtype}");
    }
    let opt = b"\x00\x00\x29\x04\xD0\x00\x00\x00\x00\x00\x04\x00\x08\x00\x05";
    assert!(matches!(Message::read(&bytes([0, 0, 0, 1], opt)), Err(WireError::Data { rtype: Type::OPT, .. })));
    // RFC 2136 §2.4.1: no data is right for every type.
    for rtype in [1, 5, 6, 16, 33, 47] {
        assert_eq!(record(rtype, b"").unwrap().answers[0].data.as_bytes(), b"");
    }
}
