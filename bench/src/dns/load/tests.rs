//! Against a server on a thread: a right one, one that lies, one that is silent, one that stalls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

const QUESTIONS: &str = "one.cluster.local. A NOERROR 10.0.0.1\ntwo.cluster.local. A NOERROR 10.0.0.1\n";

/// Runs a load against a server that answers 10.0.0.1, where `answers` lets it and after changing the answer.
fn load(address: &str, set: impl Fn(&mut LoadArgs), answers: impl Fn(u64, &mut Vec<u8>) -> bool + Sync) -> Summary {
    let server = UdpSocket::bind(address).unwrap();
    server.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let name = format!("bowline-load-{}-{:?}", std::process::id(), thread::current().id());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, QUESTIONS).unwrap();
    let mut args = LoadArgs {
        server: server.local_addr().unwrap(),
        questions: file.clone(),
        clients: 50,
        seconds: 0.3,
        rate: None,
        edns: None,
        sockets: Kind::Auto,
        pid: Some(std::process::id()),
        cpu: None,
        aside: None,
    };
    set(&mut args);
    let done = AtomicBool::new(false);
    let summary = thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 4096];
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                let Ok((length, peer)) = server.recv_from(&mut buffer) else { continue };
                let mut answer = buffer[..length].to_vec();
                answer[2] |= 0x80;
                answer[7] = 1;
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 10, 0, 0, 1]);
                if answers(count, &mut answer) {
                    server.send_to(&answer, peer).unwrap();
                }
                count += 1;
            }
        });
        let summary = run(&args);
        done.store(true, Ordering::Relaxed);
        summary.unwrap()
    });
    std::fs::remove_file(file).unwrap();
    summary
}

#[test]
fn every_right_answer_counts() {
    for (address, sockets) in [("127.0.0.1:0", Kind::Shared), ("127.0.0.1:0", Kind::Own), ("[::1]:0", Kind::Auto)] {
        let summary = load(address, |args| args.sockets = sockets, |_, _| true);
        summary.check().unwrap();
        assert_eq!((summary.sent, summary.lost, summary.wrong), (summary.answered, 0, 0));
        assert!(summary.server_cpus.is_some_and(|cpus| cpus > 0.0), "{summary:?}");
        assert!(summary.p50 > 0.0 && summary.p50 <= summary.p99 && summary.p99 <= summary.max, "{summary:?}");
    }
}

#[test]
fn one_wrong_answer_fails_a_run() {
    for sockets in [Kind::Shared, Kind::Own] {
        let lie = |count, answer: &mut Vec<u8>| {
            if count == 7
                && let Some(last) = answer.last_mut()
            {
                *last = 2;
            }
            true
        };
        let summary = load("127.0.0.1:0", |args| args.sockets = sockets, lie);
        assert_eq!(summary.wrong, 1);
        assert_eq!(summary.answered + 1, summary.sent);
        let text = summary.check().unwrap_err().to_string();
        assert!(text.ends_with("cluster.local. A: a record that isn't right"), "{text}");
    }
}

#[test]
fn one_missing_answer_fails_a_run() {
    for sockets in [Kind::Shared, Kind::Own] {
        let summary = load("127.0.0.1:0", |args| args.sockets = sockets, |count, _| count != 7);
        assert_eq!((summary.lost, summary.wrong), (1, 0));
        assert_eq!(summary.answered + 1, summary.sent);
        assert!(summary.check().is_err());
    }
}

#[test]
fn names_aside_are_answers_without_a_latency() {
    for (aside, counts) in [("two.", true), ("", false)] {
        let summary = load("127.0.0.1:0", |args| args.aside = Some(aside.to_owned()), |_, _| true);
        summary.check().unwrap();
        assert_eq!(summary.sent, summary.answered);
        assert_eq!(summary.max > 0.0, counts, "{summary:?}");
    }
}

/// Half of the questions fall into the stall or wait for it: the median tells, though few were asked late.
#[test]
fn a_stall_is_charged_to_all_that_were_due_in_it() {
    let stall = Duration::from_millis(200);
    let rate = |args: &mut LoadArgs| (args.rate, args.seconds, args.clients) = (Some(2000.0), 0.3, 10);
    let stalled = |count, _: &mut Vec<u8>| {
        if count == 20 {
            thread::sleep(stall);
        }
        true
    };
    let summary = load("127.0.0.1:0", rate, stalled);
    summary.check().unwrap();
    assert!(summary.sent <= 601, "{summary:?}");
    assert!(summary.p90 >= 150_000.0, "{summary:?}");
    assert!(summary.p50 >= 40_000.0, "{summary:?}");
}
