//! `timeouts`: its bounds, and that streams keep to them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use super::*;
use crate::plugin::Timeouts;
use crate::plugins::testing::{build, question, refused, services};
use crate::server::{Running, Settings};
use crate::wire::Type;

#[test]
fn set_ups_as_in_coredns() {
    for (text, says) in [
        ("timeouts {\n read 30s\n}", "accepted"),
        ("timeouts {\n read 1m\n write 2m\n}", "accepted"),
        ("timeouts {\n idle 1h\n}", "accepted"),
        ("timeouts {\n read 10\n write 20\n idle 60\n}", "accepted"),
        ("timeouts {\n maxtcpqueries 128\n}", "accepted"),
        ("timeouts {\n maxtcpqueries -1\n}", "accepted"),
        ("timeouts", "sets nothing"),
        ("timeouts {\n}", "sets nothing"),
        ("timeouts 10s", "takes no argument"),
        ("timeouts {\n read\n}", "takes one argument"),
        ("timeouts {\n read 30s 20s\n}", "takes one argument"),
        ("timeouts {\n maxidle 2m\n}", "is no option"),
        ("timeouts {\n read ten\n}", "is not a duration"),
        ("timeouts {\n read 0s\n}", "is not from 1s to 24h"),
        ("timeouts {\n idle 48h\n}", "is not from 1s to 24h"),
        ("timeouts {\n maxtcpqueries 0\n}", "neither a number from 1 on nor -1"),
    ] {
        let told = refused(&format!("example.org {{\n {text}\n whoami\n}}\n"));
        assert!(told.contains(says), "{text}: {told}");
    }
    let text = "example.org {\n timeouts {\n read 5s\n maxtcpqueries 2\n}\n}\n";
    let instance = build(text, Path::new(""), &services()).unwrap();
    let timeouts = instance.servers().values().next().unwrap().timeouts();
    let expected = Timeouts { read: Duration::from_secs(5), questions: Some(2), ..Timeouts::default() };
    assert_eq!(timeouts, expected);
}

#[test]
fn a_connection_ends_when_it_is_idle_or_has_asked_enough() {
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let conf = folder.path().join("Corefile");
    let text = format!("example.org:{port} {{\n whoami\n timeouts {{\n idle 1s\n maxtcpqueries 3\n}}\n}}\n");
    std::fs::write(&conf, text).unwrap();
    let running =
        Running::start(Settings { conf, port: 53, threads: 1, prepare: None, ahead: None }, services()).unwrap();
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    };
    let mut raw = Vec::new();
    question("example.org.", Type::A).write(&mut raw);
    let framed = [&(raw.len() as u16).to_be_bytes()[..], &raw].concat();
    let mut idle = connect();
    assert_eq!(idle.read_to_end(&mut Vec::new()).unwrap(), 0);
    let mut greedy = connect();
    greedy.write_all(&framed.repeat(3)).unwrap();
    let mut answers = Vec::new();
    greedy.read_to_end(&mut answers).unwrap();
    let length = usize::from(u16::from_be_bytes([answers[0], answers[1]]));
    assert_eq!(answers.len(), 3 * (length + 2));
    running.stop();
}
