//! DNS over QUIC, asked by kdig.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use crate::server::secure_testing::{ask_quic, many_hosts, start};

#[test]
fn questions_are_answered_and_counted() {
    let case = start("quic", "", &many_hosts());
    let said = case.kdig(&["+quic", "one.example.org", "A"]);
    assert!(said.contains("status: NOERROR") && said.contains("10.1.0.1"), "{said}");
    let said = case.kdig(&["+quic", "many.example.org", "A"]);
    assert_eq!(said.matches("10.0.0.").count(), 200, "{said}");
    let page = case.services.metrics.page();
    let line =
        format!("coredns_dns_quic_responses_total{{server=\"quic://127.0.0.1:{}\",status=\"0x0\"}} 2", case.port);
    assert!(page.contains(&line), "{page}");
    case.running.stop();
}

#[test]
fn a_message_with_an_id_breaks_the_protocol() {
    let case = start("quic", "", "whoami");
    let answers = ask_quic(&case, case.port, &[b"\0\x0c\0\x07\x01\0\0\0\0\0\0\0\0\0"]);
    assert_eq!(answers, Err(2));
    let page = case.services.metrics.page();
    assert!(page.contains("status=\"0x2\"} 1"), "{page}");
}

#[test]
fn a_zone_comes_whole_in_the_messages_of_one_stream() {
    // RFC 9250 §4.2: each with its length in front.
    let folder = tempfile::tempdir().unwrap();
    let hosts: String = (0..20_000).map(|n| format!("host-{n} 60 A 10.1.{}.{}\n", n / 256, n % 256)).collect();
    std::fs::write(folder.path().join("db"), format!("@ 60 SOA ns root 5 3600 600 86400 60\n{hosts}")).unwrap();
    let case = start("quic", "", &format!("file {}\ntransfer {{\nto *\n}}", folder.path().join("db").display()));
    let question = b"\0\0\0\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\xfc\0\x01";
    let length = (question.len() as u16).to_be_bytes();
    let answers = ask_quic(&case, case.port, &[&[&length[..], question].concat()]).unwrap();
    let (mut rest, mut messages) = (&answers[0][..], Vec::new());
    while let Some((length, after)) = rest.split_first_chunk() {
        let (message, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
        messages.push(crate::wire::Message::read(message).unwrap());
        rest = after;
    }
    let count: usize = messages.iter().map(|message| message.answers.len()).sum();
    assert!(count == 20_002 && messages.len() > 5 && rest.is_empty(), "{count} {}", messages.len());
    assert!(messages.iter().all(|message| message.id == 0));
    case.running.stop();
}
