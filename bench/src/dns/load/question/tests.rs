#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;

const FILE: &str = "\
# name type rcode data
one.default.svc.cluster.local A NOERROR 10.96.0.1
two.default.svc.cluster.local. A NOERROR 10.0.0.1 10.0.0.2

no.such.name. AAAA NXDOMAIN
_http._tcp.one.default.svc.cluster.local. SRV NOERROR 0 50 80 a.one.cluster.local. 0 50 80 B.one.cluster.local.
1.0.96.10.in-addr.arpa. PTR NOERROR one.default.svc.cluster.local.
dns-version.cluster.local. TXT NOERROR 1.1.0
. NS NOERROR
";

const STYLE: Style = Style { id: 0x1234, bits: 0x0123_4567_89ab_cdef, edns: None };

fn asked(question: &Question, style: Style) -> Vec<u8> {
    let mut room = vec![0xee; 512];
    let length = question.write(style, &mut room);
    room.truncate(length);
    room
}

/// An answer to a question, with records of its name.
fn answer(question: &Question, rcode: u8, records: &[(u16, &[u8])]) -> Vec<u8> {
    let mut message = asked(question, STYLE);
    message[2] |= 0x80;
    message[3] |= rcode;
    message[7] = records.len() as u8;
    for (rtype, data) in records {
        message.extend([0xc0, 12]);
        message.extend(rtype.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 30, 0, data.len() as u8]);
        message.extend(*data);
    }
    message
}

#[test]
fn a_question_is_the_name_in_another_case_each_time() {
    let questions = parse(FILE).unwrap();
    for question in &questions {
        let plain = asked(question, Style { bits: 0, ..STYLE });
        let mut bits = 1u64;
        for _ in 0..50 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let other = asked(question, Style { bits, ..STYLE });
            assert!(other.eq_ignore_ascii_case(&plain));
            assert_eq!(other[other.len() - 4..], plain[plain.len() - 4..]);
        }
    }
    let one = asked(&questions[0], Style { bits: 0, ..STYLE });
    assert_eq!(one[..12], [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(one[12..], *b"\x03one\x07default\x03svc\x07cluster\x05local\0\0\x01\0\x01");
    assert_ne!(asked(&questions[0], STYLE), one);
    let edns = asked(&questions[0], Style { edns: Some(1232), ..STYLE });
    assert_eq!(edns[one.len()..], [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    assert_eq!(edns[11], 1);
    // Every letter changes, and only letters.
    let upper = asked(&questions[0], Style { bits: u64::MAX, ..STYLE });
    assert_eq!(upper[12..], *b"\x03ONE\x07DEFAULT\x03SVC\x07CLUSTER\x05LOCAL\0\0\x01\0\x01");
}

#[test]
fn right_answers_are_right_in_any_order() {
    let q = parse(FILE).unwrap();
    assert_eq!(q[0].check(STYLE, &answer(&q[0], 0, &[(A, &[10, 96, 0, 1])])), Ok(()));
    let (first, second) = ((A, [10, 0, 0, 1]), (A, [10, 0, 0, 2]));
    for (a, b) in [(first, second), (second, first)] {
        assert_eq!(q[1].check(STYLE, &answer(&q[1], 0, &[(a.0, &a.1), (CNAME, b"\0"), (b.0, &b.1)])), Ok(()));
    }
    assert_eq!(q[2].check(STYLE, &answer(&q[2], 3, &[])), Ok(()));
    // Names: whole, and with a pointer to the question's `.cluster.local`, whose case is another.
    let whole = b"\0\0\0\x32\0\x50\x01a\x03one\x07cluster\x05local\0";
    let local = 12 + q[3].length - 4 - 15;
    let compressed = [b"\0\0\0\x32\0\x50\x01b\x03one".as_slice(), &[0xc0, local as u8]].concat();
    assert_eq!(q[3].check(STYLE, &answer(&q[3], 0, &[(SRV, &compressed), (SRV, whole)])), Ok(()));
    let target = b"\x03one\x07default\x03svc\x07cluster\x05local\0";
    assert_eq!(q[4].check(STYLE, &answer(&q[4], 0, &[(PTR, target)])), Ok(()));
    assert_eq!(q[5].check(STYLE, &answer(&q[5], 0, &[(TXT, b"\x051.1.0")])), Ok(()));
}

#[test]
fn wrong_answers_are_told() {
    let q = parse(FILE).unwrap();
    let right = [(A, [10, 0, 0, 1].as_slice()), (A, &[10, 0, 0, 2])];
    let good = answer(&q[1], 0, &right);
    let with = |at: usize, byte: u8| {
        let mut message = good.clone();
        message[at] = byte;
        q[1].check(STYLE, &message)
    };
    assert_eq!(q[1].check(STYLE, &good), Ok(()));
    assert_eq!(with(0, 0), Err("another id"));
    assert_eq!(with(2, 0), Err("no answer to a query"));
    assert_eq!(with(2, 0x83), Err("truncated"));
    assert_eq!(with(3, 3), Err("another rcode"));
    assert_eq!(with(5, 2), Err("not one question"));
    assert_eq!(with(13, good[13] ^ 0x20), Err("another question"));
    assert_eq!(with(12 + q[1].length - 1, 3), Err("another question"));
    assert_eq!(with(good.len() - 1, 3), Err("a record that isn't right"));
    assert_eq!(with(good.len() - 1, 1), Err("a record that isn't right"));
    assert_eq!(with(7, 1), Err("a record is missing"));
    assert_eq!(with(7, 3), Err("records that end early"));
    for length in 0..good.len() {
        assert!(q[1].check(STYLE, &good[..length]).is_err());
    }
    // A name that points to itself.
    let looped = answer(&q[4], 0, &[(PTR, &[0xc0, (12 + q[4].length + 12) as u8])]);
    assert_eq!(q[4].check(STYLE, &looped), Err("a record that isn't right"));
}

#[test]
fn lines_that_are_no_questions_are_told_with_their_number() {
    for (line, why) in [
        ("name A", "line 1: a line is: name type rcode [data...]"),
        ("name B NOERROR", "line 1: no type: B"),
        ("name A FINE", "line 1: no rcode: FINE"),
        ("name A NOERROR 10.0.0", "line 1: data of A: 10.0.0: invalid IPv4 address syntax"),
        ("name SRV NOERROR 0 0 1", "line 1: data of SRV: 0: SRV has priority, weight, port and target"),
        ("name MX NOERROR mail.", "line 1: data of MX: mail.: can't be checked"),
        ("a..b A NOERROR", "line 1: no name: a..b"),
        ("# nothing", "no questions"),
    ] {
        assert_eq!(format!("{:#}", parse(line).unwrap_err()), why);
    }
}

#[test]
fn a_question_mark_is_another_letter_each_time() {
    let questions = parse("????????.fresh.test. A NOERROR 192.0.2.1\n").unwrap();
    let mut names = std::collections::BTreeSet::new();
    let mut bits = 1u64;
    for _ in 0..1000 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut name = asked(&questions[0], Style { bits, ..STYLE }).split_off(12);
        assert_eq!(name[0], 8);
        assert!(name[1..9].iter().all(|byte| matches!(byte.to_ascii_lowercase(), b'p'..=b'w')), "{name:?}");
        assert!(name[9..].eq_ignore_ascii_case(b"\x05fresh\x04test\0\0\x01\0\x01"));
        name.make_ascii_lowercase();
        names.insert(name);
    }
    assert!(names.len() > 990, "{}", names.len());
    // A label of 63 bytes begins with what is a question mark elsewhere.
    let long = format!("{}.test. A NOERROR", "a".repeat(63));
    assert_eq!(asked(&parse(&long).unwrap()[0], Style { bits: 0, ..STYLE })[12], 63);
}
