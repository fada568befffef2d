//! `transfer` by TCP and TLS, with a whole server: AXFR, IXFR, who may, and NOTIFY.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::plugins::testing::{ask, ask_by, build, question, refused, services};
use crate::server::{Running, Settings, secure_testing};
use crate::wire::{Data, Opcode, Soa};

const ZONE: &str = "@ 60 SOA ns root 5 3600 600 86400 60\n@ 60 NS ns\nns 60 A 10.0.0.1\nwww 60 A 10.0.0.2\n";

fn folder(zone: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("db"), zone).unwrap();
    folder
}

fn start(folder: &Path, text: &str) -> (Running, u16) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let conf = folder.join("Corefile");
    std::fs::write(&conf, text).unwrap();
    (Running::start(Settings { conf, port, threads: 1, prepare: None, ahead: None }, services()).unwrap(), port)
}

/// All messages of an answer by TCP, until the records end with the SOA they began with.
fn transfer(port: u16, message: &Message) -> Vec<Message> {
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(&[&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()).unwrap();
    let mut messages: Vec<Message> = Vec::new();
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        messages.push(Message::read(&answer).unwrap());
        let count: usize = messages.iter().map(|message| message.answers.len()).sum();
        let is_last = messages.last().unwrap().answers.last().is_none_or(|record| record.rtype == Type::SOA);
        if is_last && (count != 1 || message.questions[0].rtype == Type::IXFR) {
            return messages;
        }
    }
}

fn ixfr(serial: u32) -> Message {
    let mut message = question("example.org.", Type::IXFR);
    let (mname, rname) = (Name::root(), Name::root());
    let soa = Data::soa(&Soa { mname, rname, serial, refresh: 0, retry: 0, expire: 0, minimum: 0 });
    message.authorities.push(Record::new(Name::parse("example.org.").unwrap(), Type::SOA, 0, soa));
    message
}

#[test]
fn a_zone_is_given_whole_and_an_old_one_by_the_whole() {
    let folder = folder(ZONE);
    let (running, port) = start(folder.path(), "example.org {\nfile db\ntransfer {\nto *\n}\n}\n");
    for asked in [question("example.org.", Type::AXFR), ixfr(4)] {
        let messages = transfer(port, &asked);
        let types: Vec<_> = messages.iter().flat_map(|message| &message.answers).map(|record| record.rtype).collect();
        assert_eq!(types, [Type::SOA, Type::NS, Type::A, Type::A, Type::SOA]);
        assert!(messages[0].flags.aa() && messages[0].id == 7);
    }
    for serial in [5, 6] {
        let messages = transfer(port, &ixfr(serial));
        assert_eq!((messages.len(), messages[0].answers.len()), (1, 1), "the secondary has it already");
    }
    running.stop();
}

/// A zone of 20,005 records, counting the SOA twice.
fn large() -> String {
    let host = |n: u32| format!("host-{n} 60 A 10.1.{}.{}\n", n / 256 % 256, n % 256);
    ZONE.lines().map(|line| format!("{line}\n")).chain((0..20_000).map(host)).collect()
}

#[test]
fn a_large_zone_comes_whole_by_tls() {
    // RFC 9103 §6.3. By QUIC: in the tests of that.
    let folder = folder(&large());
    let lines = format!("file {}\ntransfer {{\nto *\n}}", folder.path().join("db").display());
    let case = secure_testing::start("tls", "", &lines);
    let said = case.kdig(&["+tls", "example.org", "AXFR"]);
    let told = said.lines().find(|line| line.starts_with(";; Received ")).unwrap_or(&said);
    assert!(told.ends_with(" messages, 20005 records)"), "{told}");
    let hosts: std::collections::BTreeSet<_> = said.lines().filter(|line| line.starts_with("host-")).collect();
    assert_eq!(hosts.len(), 20_000);
    case.running.stop();
}

#[test]
fn a_large_zone_takes_several_messages() {
    let folder = folder(&large());
    let (running, port) = start(folder.path(), "example.org {\nfile db\ntransfer {\nto 127.0.0.1\n}\n}\n");
    let messages = transfer(port, &question("example.org.", Type::AXFR));
    let count: usize = messages.iter().map(|message| message.answers.len()).sum();
    assert_eq!(count, 20_005);
    assert!(messages.len() > 5 && messages.iter().all(|message| message.questions.len() == 1 && message.id == 7));
    running.stop();
}

#[test]
fn who_may_not_is_refused() {
    let folder = folder(ZONE);
    let instance = |to: &str| {
        let text = format!("example.org {{\nfile db\ntransfer {{\nto {to}\n}}\n}}\n");
        build(&text, folder.path(), &services()).unwrap()
    };
    let axfr = question("example.org.", Type::AXFR);
    assert_eq!(ask_by(&instance("192.0.2.1"), &axfr, Transport::Tcp).rcode(), Rcode::REFUSED);
    assert_eq!(ask(&instance("*"), &axfr).rcode(), Rcode::REFUSED, "by UDP");
    assert_eq!(ask_by(&instance("127.0.0.1"), &axfr, Transport::Tcp).rcode(), Rcode::NOERROR);
    // A name in the zone is no zone; IXFR must say what is known.
    assert_eq!(
        ask_by(&instance("*"), &question("www.example.org.", Type::AXFR), Transport::Tcp).rcode(),
        Rcode::REFUSED
    );
    assert_eq!(ask_by(&instance("*"), &question("example.org.", Type::IXFR), Transport::Tcp).rcode(), Rcode::SERVFAIL);
}

#[test]
fn secondaries_are_told_of_changes() {
    let folder = folder(ZONE);
    let secondary = UdpSocket::bind("127.0.0.1:0").unwrap();
    secondary.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let text = format!(
        "example.org {{\nfile db {{\nreload 20ms\n}}\ntransfer {{\nto {}\nsource 127.0.0.1\n}}\n}}\n",
        secondary.local_addr().unwrap()
    );
    let (running, _) = start(folder.path(), &text);
    let mut packet = [0; 512];
    // At the start, and when the file has another serial.
    for serial in [6, 7] {
        let (length, from) = secondary.recv_from(&mut packet).unwrap();
        let message = Message::read(&packet[..length]).unwrap();
        assert!(message.flags.opcode() == Opcode::NOTIFY && message.flags.aa() && !message.flags.qr());
        assert_eq!(message.questions[0].to_string(), "example.org.\tIN\tSOA");
        let mut answer = message.clone();
        answer.flags.set_qr(true);
        let mut bytes = Vec::new();
        answer.write(&mut bytes);
        secondary.send_to(&bytes, from).unwrap();
        std::fs::write(folder.path().join("db"), ZONE.replace("root 5", &format!("root {serial}"))).unwrap();
    }
    running.stop();
}

#[test]
fn what_is_wrong_is_told() {
    for (body, told) in [
        ("transfer", "names nobody who may take the zones"),
        ("transfer {\nto\n}", "to: takes at least 1 argument"),
        ("transfer {\nto example.org\n}", "Corefile:3: to: \"example.org\" is no address"),
        ("transfer {\nto *\nsource x\n}", "source: \"x\" is not an IP address"),
        ("transfer {\nto *\nsource ::1\nsource ::1\n}", "stands twice"),
        ("transfer {\ntoo *\n}", "did you mean to?"),
    ] {
        let problem = refused(&format!(". {{\n{body}\n}}\n"));
        assert!(problem.contains(told), "{body}: {problem}");
    }
    assert!(is_newer(1, u32::MAX) && is_newer(2, 1) && !is_newer(1, 2) && !is_newer(1, 1));
}
