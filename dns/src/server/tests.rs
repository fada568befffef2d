//! A server from Corefile to socket: whole answers to real questions over UDP and TCP, reloads, the end.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::feed::Feed;
use crate::wire::name::Name;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn services() -> Arc<Services> {
    Arc::new(Services::new(Arc::new(Feed::default()), vec!["127.0.0.1".parse().unwrap()], "test"))
}

fn settings(folder: &Path, port: u16, text: &str) -> Settings {
    let conf = folder.join("Corefile");
    std::fs::write(&conf, text).unwrap();
    Settings { conf, port, threads: 2, prepare: None, ahead: None }
}

fn question(name: &str, rtype: Type) -> Message {
    let mut message = Message { id: 7, ..Message::default() };
    message.flags.set_rd(true);
    message.questions.push(Question { name: Name::parse(name).unwrap(), rtype, class: Class::IN });
    message
}

fn bytes(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    bytes
}

fn ask_udp(port: u16, raw: &[u8]) -> Option<Message> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    socket.send(raw).unwrap();
    let mut answer = vec![0; 65_536];
    let length = socket.recv(&mut answer).ok()?;
    Some(Message::read(&answer[..length]).unwrap())
}

#[test]
fn a_question_is_answered_over_udp_and_over_tcp() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let running = Running::start(settings(folder.path(), port, "example.org {\n whoami\n}\n"), services()).unwrap();
    let asked = question("A.example.org.", Type::A);
    let answer = ask_udp(port, &bytes(&asked)).unwrap();
    assert_eq!((answer.id, answer.rcode(), answer.additionals.len()), (7, Rcode::NOERROR, 2));
    assert!(answer.flags.qr() && answer.flags.aa() && answer.flags.rd());
    assert!(answer.questions[0].name.eq_exact(&asked.questions[0].name));
    // Several questions at once over TCP, answered each.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let raw = bytes(&asked);
    let framed = [&(raw.len() as u16).to_be_bytes()[..], &raw].concat();
    stream.write_all(&framed.repeat(3)).unwrap();
    for _ in 0..3 {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(Message::read(&answer).unwrap().additionals.len(), 2);
    }
    running.stop();
}

#[test]
fn what_is_for_no_block_is_refused_and_what_is_no_question_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let _running = Running::start(settings(folder.path(), port, "example.org {\n whoami\n}\n"), services()).unwrap();
    let rcode_of = |message: &Message| ask_udp(port, &bytes(message)).unwrap().rcode();
    assert_eq!(rcode_of(&question("example.com.", Type::A)), Rcode::REFUSED);
    let mut status = question("example.org.", Type::A);
    status.flags.set_opcode(Opcode(2));
    assert_eq!(rcode_of(&status), Rcode::NOTIMP);
    let mut two = question("example.org.", Type::A);
    two.questions.push(two.questions[0].clone());
    assert_eq!(rcode_of(&two), Rcode::FORMERR);
    let mut chaos = question("example.org.", Type::A);
    chaos.questions[0].class = Class(3);
    assert_eq!(rcode_of(&chaos), Rcode::REFUSED);
    let mut version = question("example.org.", Type::A);
    version.edns = Some(crate::wire::Edns { version: 1, ..crate::wire::Edns::new(1232, false) });
    assert_eq!(rcode_of(&version), Rcode::BADVERS);
    let mut cut = bytes(&question("example.org.", Type::A));
    cut.truncate(20);
    assert_eq!(ask_udp(port, &cut).unwrap().rcode(), Rcode::FORMERR);
}

/// A question with a cookie of its own and this one of the server; both of the answer's, and its rcode.
fn ask_with_cookie(port: u16, mut message: Message, server: &[u8]) -> (Vec<u8>, Rcode) {
    let cookie = [&b"12345678"[..], server].concat();
    message.edns.get_or_insert(crate::wire::Edns::new(1232, false)).options.push((10, cookie));
    let answer = ask_udp(port, &bytes(&message)).unwrap();
    let edns = answer.edns.as_ref().unwrap();
    assert!(edns.options.iter().filter(|(code, _)| *code == 10).count() <= 1);
    (edns.option(10).unwrap_or_default().to_vec(), answer.rcode())
}

#[test]
fn every_answer_says_a_cookie_to_who_has_one() {
    let folder = tempfile::tempdir().unwrap();
    let (port, upstream) = (free_port(), free_port());
    // Each way to an answer: at once, by a plugin that waits, a whole message of another server, from the cache, a
    // failure, a refusal.
    let text = format!(
        "example.org {{\n whoami\n}}\nzone.test {{\n errors\n hosts {{\n  192.0.2.1 a.zone.test\n }}\n}}\n\
         far.test {{\n forward . 127.0.0.1:{upstream}\n}}\nkept.test {{\n cache\n forward . 127.0.0.1:{upstream}\n}}\n\
         named.test {{\n nsid me\n hosts {{\n  192.0.2.1 a.named.test\n }}\n}}\nfails.test {{\n errors\n}}\n\
         none.test {{\n template ANY ANY {{\n  rcode NXDOMAIN\n }}\n}}\n\
         far.test:{upstream} kept.test:{upstream} {{\n hosts {{\n  192.0.2.9 a.far.test a.kept.test\n }}\n}}\n"
    );
    let running = Running::start(settings(folder.path(), port, &text), services()).unwrap();
    let mut known: Vec<u8> = Vec::new();
    for (name, rcode) in [
        ("a.example.org.", Rcode::NOERROR),
        ("a.zone.test.", Rcode::NOERROR),
        ("b.zone.test.", Rcode::SERVFAIL),
        ("none.test.", Rcode::NXDOMAIN),
        ("a.far.test.", Rcode::NOERROR),
        ("b.far.test.", Rcode::SERVFAIL),
        ("a.kept.test.", Rcode::NOERROR),
        ("a.kept.test.", Rcode::NOERROR),
        ("a.named.test.", Rcode::NOERROR),
        ("fails.test.", Rcode::SERVFAIL),
        ("example.com.", Rcode::REFUSED),
    ] {
        for server in [&[][..], &[1; 8], &[9; 16], &[1; 32], &known.clone()] {
            for dnssec_ok in [false, true] {
                let mut asked = question(name, Type::A);
                asked.edns = Some(crate::wire::Edns::new(1232, dnssec_ok));
                let began = Instant::now();
                let cookie = loop {
                    let (cookie, said) = ask_with_cookie(port, asked.clone(), server);
                    assert_eq!((cookie.len(), &cookie[..8]), (24, &b"12345678"[..]), "{name}");
                    // A busy machine may take longer for what is forwarded than an upstream is given.
                    if said == rcode {
                        break cookie;
                    }
                    assert!(began.elapsed() < Duration::from_secs(60), "{name}: {said}");
                };
                if *server == known && !known.is_empty() {
                    assert_eq!(cookie[8..], known, "it is fresh, and the same on every thread");
                }
                known = cookie[8..].to_vec();
            }
        }
    }
    // Beside other options, in any order, and also where the message itself is wrong.
    let mut named = question("a.named.test.", Type::A);
    named.edns = Some(crate::wire::Edns { options: vec![(3, vec![])], ..crate::wire::Edns::new(1232, false) });
    assert_eq!(ask_with_cookie(port, named, &[]).0[8..12], [1, 0, 0, 0]);
    let mut status = question("a.example.org.", Type::A);
    status.flags.set_opcode(Opcode(2));
    let (cookie, rcode) = ask_with_cookie(port, status, &known);
    assert_eq!((&cookie[8..], rcode), (&known[..], Rcode::NOTIMP));
    let mut chaos = question("a.example.org.", Type::A);
    chaos.questions[0].class = Class(3);
    assert_eq!(ask_with_cookie(port, chaos, &known).0[8..], known);
    // The one who has none gets none.
    let mut plain = question("a.far.test.", Type::A);
    plain.edns = Some(crate::wire::Edns::new(1232, false));
    assert_eq!(ask_udp(port, &bytes(&plain)).unwrap().edns.unwrap().options, []);
    // No question, but for a cookie (RFC 7873 §5.4).
    let only = || Message { id: 9, ..Message::default() };
    assert_eq!(ask_with_cookie(port, only(), &[]).1, Rcode::NOERROR);
    assert_eq!(ask_with_cookie(port, only(), &known), ([&b"12345678"[..], &known].concat(), Rcode::NOERROR));
    let (cookie, rcode) = ask_with_cookie(port, only(), &[3; 16]);
    assert_eq!((cookie.len(), rcode), (24, Rcode::BADCOOKIE));
    assert_eq!(ask_udp(port, &bytes(&only())).unwrap().rcode(), Rcode::FORMERR);
    // Lengths that the RFC doesn't know; of two the first counts.
    for length in [0, 1, 7, 9, 15, 41, 200] {
        let mut asked = question("a.example.org.", Type::A);
        asked.edns =
            Some(crate::wire::Edns { options: vec![(10, vec![1; length])], ..crate::wire::Edns::new(1232, false) });
        let answer = ask_udp(port, &bytes(&asked)).unwrap();
        assert_eq!((answer.rcode(), answer.questions.len()), (Rcode::FORMERR, 1), "{length}");
        assert_eq!(answer.edns.unwrap().options, []);
        asked.edns.as_mut().unwrap().options.insert(0, (10, vec![1; 8]));
        assert_eq!(ask_udp(port, &bytes(&asked)).unwrap().rcode(), Rcode::NOERROR, "{length}");
    }
    running.stop();
}

#[test]
fn a_reload_serves_the_new_file_or_leaves_the_old_one_whole() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let settings = settings(folder.path(), port, "example.org {\n whoami\n}\n");
    let conf = settings.conf.clone();
    let services = services();
    let running = Running::start(settings, services.clone()).unwrap();
    let rcode = |name: &str| ask_udp(port, &bytes(&question(name, Type::A))).unwrap().rcode();
    std::fs::write(&conf, "example.com {\n whoam\n}\n").unwrap();
    let refused = running.reload().unwrap_err().to_string();
    assert!(refused.contains("Corefile:2") && refused.contains("did you mean whoami"), "{refused}");
    assert_eq!((rcode("example.org."), services.failed_reloads.get()), (Rcode::NOERROR, 1));
    std::fs::write(&conf, "example.com {\n whoami\n}\n").unwrap();
    running.reload().unwrap();
    assert_eq!((rcode("example.org."), rcode("example.com.")), (Rcode::REFUSED, Rcode::NOERROR));
    // An address that can't be had: the old one goes on.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = taken.local_addr().unwrap().port();
    std::fs::write(&conf, format!("example.net:{other} {{\n whoami\n}}\n")).unwrap();
    assert!(running.reload().unwrap_err().to_string().contains(&format!("127.0.0.1:{other}")));
    assert_eq!(rcode("example.com."), Rcode::NOERROR);
    let now: SocketAddr = taken.local_addr().unwrap();
    assert_eq!(now.port(), other);
}

#[test]
fn its_threads_have_a_pulse_as_long_as_they_work() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(settings(folder.path(), free_port(), ".\n whoami\n"), services()).unwrap();
    let mut pulse = running.pulse();
    let waited = Instant::now();
    assert!(!pulse.beat(), "nothing was asked before");
    while !pulse.beat() {
        assert!(waited.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
    assert_eq!(running.instance().not_ready(), None);
    running.stop();
    assert!(!pulse.beat() && !pulse.beat(), "they have ended, and asking does not keep them");
}

#[test]
fn so_many_questions_wait_and_no_more() {
    for (threads, most) in [(1, 8192), (2, 4096), (1000, 256)] {
        let tasks = tasks::Tasks::of_one_of(threads, Default::default());
        let mut places: Vec<_> = std::iter::from_fn(|| tasks.enter()).collect();
        assert_eq!(places.len(), most, "of one of {threads}");
        places.pop();
        assert!(tasks.enter().is_some(), "one has had its answer");
    }
}
