//! Who answers in an upstream's name, without its port, or without the question or its id, is not heard.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_dns::wire::{Name, Rcode, Type};
use bowline_lab::kubernetes::Place;
use bowline_lab::{Lab, wait_for};

use crate::server::{Dns, addresses};
use crate::upstream::{Upstream, answer, bytes};

/// How many questions are asked.
const QUESTIONS: usize = 60;
/// Datagrams that mean nothing, for each question.
const NOISE: usize = 200;
const FORGED: [u8; 4] = [203, 0, 113, 6];

#[test]
fn forged_answers_are_not_taken() {
    let lab = Lab::new("dns-forged").unwrap();
    let place = Place::machine(&lab).unwrap();
    let elsewhere = UdpSocket::bind("127.0.0.1:0").unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let upstream = Upstream::start(move |socket, question, from| {
        counted.fetch_add(1, Ordering::Relaxed);
        let forged = answer(question, FORGED);
        // The whole truth from another port: the kernel doesn't let it in.
        let _ = elsewhere.send_to(&bytes(&forged), from);
        // From the right one: all ids around it, another question, no answer, one that is cut, noise.
        for by in 1..=64 {
            let mut other = forged.clone();
            other.id = other.id.wrapping_add(by);
            socket.send_to(&bytes(&other), from).unwrap();
        }
        let mut other = forged.clone();
        other.questions[0].name = Name::parse("other.test").unwrap();
        socket.send_to(&bytes(&other), from).unwrap();
        let mut other = forged.clone();
        other.flags.set_qr(false);
        socket.send_to(&bytes(&other), from).unwrap();
        socket.send_to(&bytes(&forged)[..7], from).unwrap();
        for n in 0..NOISE {
            let noise: Vec<u8> = (0..n % 90).map(|at| (n * 31 + at * 7) as u8).collect();
            // Never the question's own id: that would be no noise.
            if noise.get(..2) != question.get(..2) {
                socket.send_to(&noise, from).unwrap();
            }
        }
        // The server's buffer may be full of that; then the question comes again.
        socket.send_to(&bytes(&answer(question, [192, 0, 2, 1])), from).unwrap();
    });
    let corefile = format!(
        ". {{\n    forward . {} {{\n        max_fails 0\n    }}\n    prometheus {{$METRICS}}\n}}\n",
        upstream.address
    );
    let dns = Dns::start(&place, "forged", &corefile, &["--threads", "2"]);
    for n in 0..QUESTIONS {
        let answer = dns.ask(&format!("name-{n}.test"), Type::A);
        let right = addresses(&answer) == ["192.0.2.1"];
        // Where the true answer was lost in the flood, that is said: by an error, or by TC, as of one that was cut.
        let is_told = answer.rcode() == Rcode::SERVFAIL || answer.flags.tc();
        assert!(right || is_told && answer.answers.is_empty(), "{answer:?}");
    }
    assert!(asked.load(Ordering::Relaxed) >= QUESTIONS);
    // As a client does whose answer was lost in the flood, which each question starts anew.
    let is_answered = || addresses(&dns.ask("after.test", Type::A)) == ["192.0.2.1"];
    wait_for("the true answer", Duration::from_secs(60), is_answered).unwrap();
    assert_eq!(dns.metric("coredns_panics_total"), 0.0);
}
