//! Upstreams whose answers are malformed or cut, in front of clients by UDP and TCP, with a cache between.

use std::net::TcpStream;

use super::*;
use crate::upstream::tests::Seen;

/// A right answer by an upstream, and then what becomes of it.
fn bent(seen: &Seen, bend: impl Fn(&mut Vec<u8>)) -> Vec<Vec<u8>> {
    let mut answer = good(seen, 1).remove(0);
    bend(&mut answer);
    vec![answer]
}

/// Where the answer's record begins: behind the question for `www.a.`, type A.
const RECORD: usize = 12 + 7 + 4;

/// Each way to be malformed, by the first label of the question.
fn malformed(seen: &Seen) -> Vec<Vec<u8>> {
    let name = seen.message.questions[0].name.to_string();
    bent(seen, |answer| match name.split('.').next().unwrap() {
        "slf" => answer[RECORD + 1] = RECORD as u8,
        "fwd" => answer[RECORD + 1] = RECORD as u8 + 8,
        "hdr" => answer[RECORD + 1] = 4,
        "lab" => answer[RECORD] = 0x40,
        "ext" => answer[RECORD] = 0x80,
        "rdl" => answer[RECORD + 11] = 3,
        "typ" => answer[RECORD + 3] = 28,
        "end" => answer.extend([0; 5]),
        "cnt" => answer[7] = 0,
        _ => {}
    })
}

const KINDS: [&str; 9] = ["slf", "fwd", "hdr", "lab", "ext", "rdl", "typ", "end", "cnt"];

fn by_tcp(served: &Served, message: &Message) -> Message {
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let bytes = bytes(message);
    stream.write_all(&[&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    Message::read(&answer).unwrap()
}

fn metric(served: &Served, name: &str, to: SocketAddr) -> u64 {
    let start = format!("{name}{{to=\"{to}\"}} ");
    let page = served.page();
    page.lines().find_map(|line| line.strip_prefix(start.as_str())).map_or(0, |count| count.parse().unwrap())
}

#[test]
fn malformed_answers_are_neither_passed_on_nor_kept() {
    let is_mended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mended = is_mended.clone();
    let fake = Fake::start(move |seen| if mended.load(Ordering::Relaxed) { good(seen, 1) } else { malformed(seen) });
    let served = Served::start(&format!(
        ". {{\n prometheus 127.0.0.1:0\n cache\n forward . {} {{\n  max_fails 0\n }}\n}}\n",
        fake.address
    ));
    for kind in KINDS {
        let asked = question(&format!("{kind}.a."), Type::A);
        for answer in [served.ask(&asked), by_tcp(&served, &asked)] {
            assert_eq!((answer.rcode(), answer.answers.len()), (Rcode::SERVFAIL, 0), "{kind}");
        }
    }
    // Twice each, by either way.
    assert_eq!(metric(&served, "bowline_dns_forward_malformed_answers_total", fake.address), KINDS.len() as u64 * 4);
    assert_eq!(served.ask(&question("www.a.", Type::A)).answers.len(), 1);
    // Nothing of it is kept.
    is_mended.store(true, Ordering::Relaxed);
    for kind in KINDS {
        assert_eq!(served.ask(&question(&format!("{kind}.a."), Type::A)).answers.len(), 1, "{kind}");
    }
}

#[test]
fn the_next_upstream_is_asked_after_a_malformed_answer() {
    let bad = Fake::start(malformed);
    let right = Fake::start(|seen| good(seen, 2));
    let corefile = format!(". {{\n forward . {} {} {{\n  policy sequential\n }}\n}}\n", bad.address, right.address);
    let served = Served::start(&corefile);
    for kind in KINDS {
        let asked = question(&format!("{kind}.a."), Type::A);
        for answer in [served.ask(&asked), by_tcp(&served, &asked)] {
            assert_eq!(answer.answers[0].data.as_bytes(), [192, 0, 2, 2], "{kind}");
        }
    }
}

#[test]
fn who_asks_for_what_is_cut_is_told_to_come_by_tcp() {
    // Datagrams lose their end, wherever that is; connections don't.
    let fake = Fake::start(|seen| {
        let length = seen.message.questions[0].name.labels().next().unwrap();
        let length: usize = std::str::from_utf8(length).unwrap().parse().unwrap();
        bent(seen, |answer| {
            if seen.by == By::Udp {
                answer.truncate(length);
            }
        })
    });
    let whole = RECORD + 16;
    let corefile = format!(". {{\n cache\n forward . {}\n}}\n", fake.address);
    let served = Served::start(&corefile);
    for length in [2, 3, 5, 11, 12, 14, 20, RECORD, RECORD + 1, RECORD + 9, RECORD + 12, whole - 1] {
        let asked = question(&format!("{length:03}.a."), Type::A);
        for _ in 0..2 {
            let answer = served.ask(&asked);
            assert!(answer.flags.tc() && answer.answers.is_empty(), "{length}: {answer:?}");
            assert_eq!((answer.rcode(), &answer.questions), (Rcode::NOERROR, &asked.questions), "{length}");
        }
        let answer = by_tcp(&served, &asked);
        assert!(!answer.flags.tc() && answer.answers.len() == 1, "{length}: {answer:?}");
        // It is kept from then on.
        assert_eq!(served.ask(&asked).answers.len(), 1, "{length}");
    }
    assert!(metric(&served, "bowline_dns_forward_cut_answers_total", fake.address) >= 12);
    // Where the Corefile prefers UDP, TCP is asked at once.
    let served = Served::start(&format!(". {{\n forward . {} {{\n  prefer_udp\n }}\n}}\n", fake.address));
    assert_eq!(served.ask(&question("030.a.", Type::A)).answers.len(), 1);
}

#[test]
fn an_answer_to_another_question_is_not_waited_on_for_long() {
    let fake = Fake::start(|seen| {
        let mut other = reply(&seen.message);
        match seen.message.questions[0].name.to_string().as_str() {
            "name.a." => other.questions[0].name = crate::wire::Name::parse("other.a.").unwrap(),
            "type.a." => other.questions[0].rtype = Type::AAAA,
            "two.a." => other.questions.push(other.questions[0].clone()),
            "none.a." => other.questions.clear(),
            _ => return vec![bytes(&seen.message)],
        }
        vec![bytes(&other)]
    });
    let served = Served::start(&format!(". {{\n forward . {} {{\n  max_fails 0\n }}\n}}\n", fake.address));
    for name in ["name.a.", "type.a.", "two.a.", "none.a.", "echo.a."] {
        let began = Instant::now();
        assert_eq!(served.rcode(name), Rcode::SERVFAIL, "{name}");
        assert!(began.elapsed() < Duration::from_millis(1900), "{name}: {:?}", began.elapsed());
    }
    assert_eq!(metric(&served, "bowline_dns_forward_malformed_answers_total", fake.address), 10);
}
