//! Written messages: pointers by RFC 1035 §4.1.4, and the records that stay when a message is cut.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cases;

use std::net::Ipv4Addr;

use crate::wire::text::record_from_text;
use crate::wire::{Data, Edns, Flags, Message, Name, Question, Record, Type};

fn record(text: &str) -> Record {
    record_from_text(text, None).unwrap()
}

fn written(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    bytes
}

fn limited(message: &Message, size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write_limited(&mut bytes, size);
    bytes
}

/// An answer with so many addresses.
fn addresses(count: u32) -> Message {
    let name = Name::parse("svc.ns.svc.cluster.local").unwrap();
    let mut message = Message { id: 7, flags: Flags(0x8400), ..Message::default() };
    message.questions.push(Question::new(name.clone(), Type::A));
    message.answers =
        (0..count).map(|host| Record::new(name.clone(), Type::A, 5, Data::a(Ipv4Addr::from(host)))).collect();
    message
}

#[test]
fn rfc1035_4_1_4_a_name_is_replaced_by_a_pointer_to_its_prior_occurrence() {
    let bytes = written(&addresses(1));
    assert_eq!(bytes[12 + 26 + 4..][..2], [0xC0, 12]);
    assert_eq!(bytes.len(), 12 + 26 + 4 + 2 + 10 + 4);
}

#[test]
fn rfc1035_4_1_4_a_list_of_labels_may_end_with_a_pointer() {
    let message =
        Message { answers: vec![record("a.b.c. A 1.2.3.4"), record("x.b.c. A 1.2.3.4")], ..Message::default() };
    let bytes = written(&message);
    assert_eq!(bytes[12 + 7 + 14..][..4], [1, b'x', 0xC0, 14]);
}

#[test]
fn rfc1035_4_1_4_pointers_reach_no_further_than_14_bits() {
    let answers = (0..2000).map(|host| record(&format!("h{host}.example.org. A 1.2.3.4"))).collect();
    let mut message = Message { answers, ..Message::default() };
    message.answers.push(record("far.away. A 1.2.3.4"));
    message.answers.push(record("far.away. A 1.2.3.5"));
    let bytes = written(&message);
    assert!(bytes.len() > 2 * 16384);
    assert_eq!(Message::read(&bytes).unwrap(), message);
    // Written twice in full: the first lies too far behind.
    assert_eq!(bytes.windows(9).filter(|bytes| bytes == b"\x03far\x04away").count(), 2);
}

#[test]
fn rfc3597_4_names_of_newer_types_are_written_in_full_but_pointed_at() {
    let srv = record("_http._tcp.svc. SRV 0 1 80 host.example.org.");
    let message =
        Message { answers: vec![srv], additionals: vec![record("host.example.org. A 1.2.3.4")], ..Message::default() };
    let bytes = written(&message);
    let target = bytes.windows(18).position(|bytes| bytes == b"\x04host\x07example\x03org\x00").unwrap();
    assert_eq!(bytes[target + 18..][..2], [0xC0, target as u8]);
}

#[test]
fn case_is_kept_so_names_that_differ_in_it_share_no_bytes() {
    let message =
        Message { answers: vec![record("a.Example. A 1.2.3.4"), record("a.example. A 1.2.3.4")], ..Message::default() };
    let read = Message::read(&written(&message)).unwrap();
    assert!(read.answers[0].name.eq_exact(&message.answers[0].name));
    assert!(read.answers[1].name.eq_exact(&message.answers[1].name));
}

#[test]
fn a_message_is_appended_behind_what_is_there() {
    let mut bytes = vec![0xAA, 0xBB];
    addresses(3).write(&mut bytes);
    assert_eq!(bytes[2..], written(&addresses(3)));
}

#[test]
fn rfc2181_9_tc_is_set_when_records_are_left_out() {
    let bytes = limited(&addresses(100), 512);
    let read = Message::read(&bytes).unwrap();
    // 42 bytes of header and question, 16 an address.
    assert_eq!((read.answers.len(), read.flags.tc()), (29, true));
    assert!(bytes.len() <= 512);
    let whole = Message::read(&limited(&addresses(29), 512)).unwrap();
    assert_eq!((whole.answers.len(), whole.flags.tc()), (29, false));
}

#[test]
fn rfc6891_6_2_3_a_limit_below_512_counts_as_512() {
    assert_eq!(limited(&addresses(100), 100), limited(&addresses(100), 512));
}

#[test]
fn rfc6891_7_opt_stays_in_a_message_that_is_cut() {
    let mut message = addresses(100);
    message.edns = Some(Edns::new(1232, true));
    let read = Message::read(&limited(&message, 512)).unwrap();
    assert_eq!(read.edns, message.edns);
    assert_eq!(read.answers.len(), 28);
}

#[test]
fn a_section_behind_one_that_was_cut_is_left_out_whole() {
    let mut message = addresses(100);
    message.authorities.push(record(". NS a."));
    message.additionals.push(record("a. A 1.2.3.4"));
    let read = Message::read(&limited(&message, 512)).unwrap();
    assert_eq!((read.authorities.len(), read.additionals.len()), (0, 0));
}

#[test]
fn rfc8945_5_1_tsig_stays_last_and_its_message_whole() {
    let mut message = addresses(100);
    message.edns = Some(Edns::new(512, false));
    let wire = b"\x0bhmac-sha256\x00\x00\x00\x00\x00\x00\x01\x01\x2c\x00\x00\x00\x07\x00\x00\x00\x00";
    message.additionals.push(Record::new(Name::root(), Type::TSIG, 0, Data::from_bytes(wire)));
    let bytes = limited(&message, 512);
    assert!(bytes.len() > 512);
    assert!(bytes.ends_with(wire));
    assert_eq!(Message::read(&bytes).unwrap(), message);
}

#[test]
fn data_that_is_not_made_as_its_type_asks_is_written_as_it_is() {
    let broken = Record::new(Name::root(), Type::MX, 0, Data::from_bytes(b"\x00\x01\x05ab"));
    let bytes = written(&Message { answers: vec![broken], ..Message::default() });
    assert!(bytes.ends_with(b"\x00\x05\x00\x01\x05ab"));
}
