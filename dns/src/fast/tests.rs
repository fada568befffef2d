//! The fast way writes what the codec reads, and takes nothing that is not plain.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::wire::{Edns, Message, Name, Question, Record};

fn packet(name: &str, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message { id: 0x1234, ..Message::default() };
    message.flags.set_rd(true);
    message.questions.push(Question::new(Name::parse(name).unwrap(), Type::A));
    change(&mut message);
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    bytes
}

fn address() -> SocketAddr {
    "127.0.0.1:53".parse().unwrap()
}

/// An answer with these sections to a packet: copied behind the question and written there say the same.
fn answered(packet: &[u8], change: impl Fn(&mut Fast<'_>), answer: Section<'_>, rest: Section<'_>) -> Option<Message> {
    let write = |room: &mut [u8]| {
        let (answers_end, authorities_end) = (answer.bytes.len(), answer.bytes.len() + rest.bytes.len());
        let bytes = authorities_end + rest.bytes.len();
        room.get_mut(..bytes)?.copy_from_slice(&[answer.bytes, rest.bytes, rest.bytes].concat());
        let (answers, authorities, additionals) = (answer.count, rest.count, rest.count);
        Some(Written { answers_end, authorities_end, bytes, answers, authorities, additionals })
    };
    let by = |respond: &dyn Fn(&mut Fast<'_>) -> Step| {
        let (mut plain, mut out, mut random) = (Plain::default(), [0; 4096], fastrand::Rng::with_seed(1));
        assert!(plain.read(packet));
        let mut fast = Fast::new(&plain, packet, address(), address(), &mut out, &mut random);
        change(&mut fast);
        (respond(&mut fast) == Step::Answered).then(|| fast.answer().to_vec())
    };
    let copied = by(&|fast| fast.respond("test", Rcode::NOERROR, true, answer, rest, rest));
    assert_eq!(copied, by(&|fast| fast.compose("test", Rcode::NOERROR, true, write)));
    copied.map(|bytes| Message::read(&bytes).unwrap())
}

/// A record whose owner is the question's name.
fn a(last: u8) -> Vec<u8> {
    [&OWNER[..], &[0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 0, 0, last]].concat()
}

#[test]
fn an_answer_is_whole() {
    let asked = packet("Web.Default.svc.cluster.local.", |message| message.edns = Some(Edns::new(1232, true)));
    let (records, more) = ([a(1), a(2)].concat(), a(9));
    let section = Section { bytes: &records, count: 2, stride: 16 };
    let answer = answered(&asked, |_| {}, section, Section { bytes: &more, count: 1, stride: 0 }).unwrap();
    let question = Message::read(&asked).unwrap();
    assert!(answer.questions[0].name.eq_exact(&question.questions[0].name));
    assert!(answer.answers[0].name.eq_exact(&question.questions[0].name));
    assert!(answer.flags.qr() && answer.flags.aa() && answer.flags.rd() && !answer.flags.ra());
    assert_eq!(
        (answer.id, answer.answers.len(), answer.authorities.len(), answer.additionals.len()),
        (0x1234, 2, 1, 1)
    );
    assert_eq!(answer.edns, Some(Edns::new(1232, true)));
}

#[test]
fn shuffled_answers_are_the_same_records_in_every_order() {
    let asked = packet("a.", |_| {});
    let records: Vec<u8> = (0..4).flat_map(a).collect();
    let (mut plain, mut out, mut random) = (Plain::default(), [0; 512], fastrand::Rng::with_seed(1));
    assert!(plain.read(&asked));
    let mut firsts = std::collections::BTreeMap::new();
    for _ in 0..4000 {
        let mut fast = Fast::new(&plain, &asked, address(), address(), &mut out, &mut random);
        fast.shuffle = true;
        let section = Section { bytes: &records, count: 4, stride: 16 };
        assert_eq!(
            fast.respond("", Rcode::NOERROR, true, section, Section::default(), Section::default()),
            Step::Answered
        );
        let message = Message::read(fast.answer()).unwrap();
        let mut seen: Vec<u8> = message.answers.iter().map(|record: &Record| record.data.as_bytes()[3]).collect();
        *firsts.entry(seen[0]).or_insert(0) += 1;
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3]);
    }
    assert!(firsts.values().all(|count| (800..1200).contains(count)), "{firsts:?}");
}

#[test]
fn what_does_not_fit_takes_the_long_way() {
    let records: Vec<u8> = (0..40).flat_map(a).collect();
    let section = Section { bytes: &records, count: 40, stride: 16 };
    assert!(answered(&packet("a.", |_| {}), |_| {}, section, Section::default()).is_none());
    let edns = packet("a.", |message| message.edns = Some(Edns::new(1232, false)));
    assert!(answered(&edns, |_| {}, section, Section::default()).is_some());
    assert!(answered(&edns, |fast| fast.limit = 512, section, Section::default()).is_none());
    // A client can't ask for less than 512 (RFC 6891 §6.2.3).
    let small = packet("a.", |message| message.edns = Some(Edns::new(100, false)));
    let few = Section { bytes: &records[..160], count: 10, stride: 16 };
    assert!(answered(&small, |_| {}, few, Section::default()).is_some());
}

#[test]
fn minimal_leaves_out_all_but_the_answer() {
    let (record, more) = (a(1), a(2));
    let section = Section { bytes: &record, count: 1, stride: 16 };
    let rest = Section { bytes: &more, count: 1, stride: 0 };
    let answer = answered(&packet("a.", |_| {}), |fast| fast.minimal = true, section, rest).unwrap();
    assert_eq!((answer.answers.len(), answer.authorities.len(), answer.additionals.len()), (1, 0, 0));
    let nothing = answered(&packet("a.", |_| {}), |fast| fast.minimal = true, Section::default(), rest).unwrap();
    assert_eq!(nothing.authorities.len(), 1, "a negative answer keeps its SOA");
}

#[test]
fn only_plain_questions_are_taken() {
    let mut plain = Plain::default();
    let good = packet("a.b.", |_| {});
    assert!(plain.read(&good));
    assert_eq!((plain.labels(), plain.suffix(1), plain.suffix(2)), (2, &b"\x01b\0"[..], &b"\0"[..]));
    let not_plain: [(&str, Vec<u8>); 10] = [
        ("an answer", packet("a.", |message| message.flags.set_qr(true))),
        ("another opcode", packet("a.", |message| message.flags.set_opcode(crate::wire::Opcode(4)))),
        ("another class", packet("a.", |message| message.questions[0].class = crate::wire::Class(3))),
        ("two questions", packet("a.", |message| message.questions.push(message.questions[0].clone()))),
        (
            "a record",
            packet("a.", |message| {
                let record = Record::new(Name::root(), Type::A, 0, crate::wire::Data::address(address().ip()));
                message.additionals.push(record);
            }),
        ),
        (
            "an option",
            packet("a.", |message| {
                message.edns = Some(Edns { options: vec![(3, vec![])], ..Edns::new(1232, false) });
            }),
        ),
        ("a cookie of no length that there is", packet("a.", |message| message.edns = Some(with_cookie(9)))),
        (
            "two cookies",
            packet("a.", |message| {
                let mut edns = with_cookie(8);
                edns.options.push(edns.options[0].clone());
                message.edns = Some(edns);
            }),
        ),
        ("version 1", packet("a.", |message| message.edns = Some(Edns { version: 1, ..Edns::new(1232, false) }))),
        ("more behind it", [&good[..], &[0]].concat()),
    ];
    for (what, packet) in not_plain {
        assert!(!plain.read(&packet), "{what}");
    }
    for cut in 0..good.len() {
        assert!(!plain.read(&good[..cut]), "{cut} bytes");
    }
    for length in [8, 16, 24, 40] {
        let good = packet("a.", |message| message.edns = Some(with_cookie(length)));
        assert!(plain.read(&good), "a cookie of {length} bytes");
        for cut in 0..good.len() {
            assert!(!plain.read(&good[..cut]), "{cut} bytes with a cookie");
        }
        assert!(!plain.read(&[&good[..], &[0]].concat()));
    }
    let mut pointer = good.clone();
    pointer[12] = 0xc0;
    assert!(!plain.read(&pointer));
}

fn with_cookie(length: usize) -> Edns {
    Edns { options: vec![(10, vec![7; length])], ..Edns::new(1232, true) }
}

#[test]
fn a_cookie_is_answered_within_the_answers_size() {
    let cookies = Cookies::default();
    let asked = packet("a.", |message| message.edns = Some(with_cookie(8)));
    let (mut plain, mut out, mut random) = (Plain::default(), [0; 4096], fastrand::Rng::with_seed(1));
    assert!(plain.read(&asked));
    let records: Vec<u8> = (0..4).flat_map(a).collect();
    let section = Section { bytes: &records, count: 4, stride: 16 };
    // Header, question, records, OPT with a cookie.
    let length = 12 + 7 + 64 + 11 + 4 + 24;
    for (limit, is_answered) in [(length, true), (length - 1, false)] {
        let mut fast = Fast::new(&plain, &asked, address(), address(), &mut out, &mut random);
        fast.answer_cookie(&cookies);
        fast.limit = limit;
        let step = fast.respond("", Rcode::NOERROR, true, section, Section::default(), Section::default());
        assert_eq!(step == Step::Answered, is_answered);
        if is_answered {
            assert_eq!(fast.answer().len(), length);
            let answer = Message::read(fast.answer()).unwrap();
            let said = cookie::Asked::of(answer.edns.as_ref()).unwrap().unwrap();
            assert!(cookies.is_ours(&said, address().ip()) && answer.edns.unwrap().dnssec_ok);
            assert_eq!(answer.answers.len(), 4);
        }
    }
    // The next question has none.
    let asked = packet("a.", |message| message.edns = Some(Edns::new(1232, false)));
    assert!(plain.read(&asked));
    let mut fast = Fast::new(&plain, &asked, address(), address(), &mut out, &mut random);
    fast.answer_cookie(&cookies);
    let none = Section::default();
    assert_eq!(fast.respond("", Rcode::NOERROR, true, none, none, none), Step::Answered);
    assert_eq!(Message::read(fast.answer()).unwrap().edns, Some(Edns::new(1232, false)));
}

#[test]
fn a_name_is_within_a_zone_at_a_label_only() {
    let asked = packet("xcluster.local.", |_| {});
    let (mut plain, mut out, mut random) = (Plain::default(), [0; 512], fastrand::Rng::with_seed(1));
    assert!(plain.read(&asked));
    let fast = Fast::new(&plain, &asked, address(), address(), &mut out, &mut random);
    assert_eq!(fast.before(b"\x07cluster\x05local\0"), None);
    assert_eq!(fast.before(b"\x05local\0"), Some(&b"\x08xcluster"[..]));
    assert_eq!(fast.before(b"\0").map(<[u8]>::len), Some(15));
}
