//! Floods: what is sent in bounded numbers from many addresses takes bounded memory, and names of the cluster go on being
//! answered.
//!
//! What bounds it: 8,192 questions may wait for upstreams, 8,192 connections be open at an address; no room is made for a
//! message before it has come; the cache has its size.

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use bowline_dns::wire::{Message, Rcode, Type};
use bowline_lab::Lab;
use bowline_lab::kubernetes::Place;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::server::{Dns, PATIENCE, addresses, ask, question};
use crate::upstream::{Upstream, answer, bytes};

/// The most memory that the process may ever have had, in KiB.
const MOST: u64 = 160 << 10;
/// Addresses that a flood comes from.
const SOURCES: usize = 400;
/// Datagrams of a flood.
const DATAGRAMS: usize = 60_000;
/// Questions that the upstream must have seen of a flood, so that it was one.
const SEEN: usize = 6_000;
/// As many are kept open (`server::stream`).
const CONNECTIONS: usize = 8192;
/// So many more are opened.
const BEYOND: usize = 300;

const STATE: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: default}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.0.80, ports: [{port: 80}]}
";
const COREFILE: &str = "
. {
    timeouts {
        read 2m
        idle 2m
    }
    kubernetes cluster.local
    forward mute.test MUTE
    forward . ECHO
    cache 30
    prometheus {$METRICS}
}
";

/// Numbers that look random and are the same in every run (Marsaglia's xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Sockets at addresses of 127.0.0.0/8.
fn sources(numbers: &mut Numbers) -> Vec<UdpSocket> {
    let address = |n: u64| Ipv4Addr::new(127, (n >> 16) as u8, (n >> 8) as u8, (n as u8).clamp(1, 254));
    (0..SOURCES).map(|_| UdpSocket::bind((address(numbers.next()), 0)).unwrap()).collect()
}

/// Sends what `make` makes. Answers are not taken.
fn flood(dns: &Dns, make: impl Fn(usize, &mut Numbers) -> Vec<u8>) {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let sources = sources(&mut numbers);
    for n in 0..DATAGRAMS {
        let datagram = make(n, &mut numbers);
        let to = (Ipv4Addr::LOCALHOST, dns.port);
        // A full buffer of its own is as good as a lost packet.
        let _ = sources[n % SOURCES].send_to(&datagram, to);
    }
}

fn noise(_: usize, numbers: &mut Numbers) -> Vec<u8> {
    let length = numbers.next() as usize % 700;
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| numbers.next().to_be_bytes()).collect();
    bytes.truncate(length);
    bytes
}

/// A question with bytes changed, so that some of it still makes sense.
fn damaged(n: usize, numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = question("web.default.svc.cluster.local", Type::A, n as u16);
    for _ in 0..1 + numbers.next() % 4 {
        let at = numbers.next() as usize % bytes.len();
        bytes[at] = numbers.next() as u8;
    }
    bytes
}

fn distinct(n: usize, numbers: &mut Numbers) -> Vec<u8> {
    question(&format!("x{:016x}.{n}.mute.test", numbers.next()), Type::A, numbers.next() as u16)
}

/// Connections that say nothing, or announce a message that never comes; more than may be open.
fn connections(dns: &Dns) -> Vec<TcpStream> {
    let open = |n: usize| {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, dns.port)).unwrap();
        if n.is_multiple_of(2) {
            // Closed already where it is one too many.
            let _ = std::io::Write::write(&mut &stream, &[0xff, 0xff, 0]);
        }
        stream.set_nonblocking(true).unwrap();
        stream
    };
    (0..CONNECTIONS + BEYOND).map(open).collect()
}

fn is_closed(mut stream: &TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// Names of the cluster, asked without pause until `done`: how many, and the longest wait.
fn keep_asking(port: u16, done: &AtomicBool, count: &AtomicUsize) {
    while !done.load(Ordering::Relaxed) {
        let (name, right) = match count.load(Ordering::Relaxed) % 2 {
            0 => ("web.default.svc.cluster.local", Rcode::NOERROR),
            _ => ("none.default.svc.cluster.local", Rcode::NXDOMAIN),
        };
        let answer = ask(port, name, Type::A);
        assert_eq!(answer.rcode(), right, "{answer:?}");
        assert_eq!(addresses(&answer).len(), usize::from(right == Rcode::NOERROR));
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn floods_take_bounded_memory_and_no_answers_of_the_cluster() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let lab = Lab::new("dns-flood").unwrap();
    let place = Place::machine(&lab).unwrap();
    let state = lab.folder("state").unwrap();
    std::fs::write(state.join("state.yaml"), STATE).unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let mute = Upstream::start(move |_, _, _| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let echo = Upstream::start(|socket, asked, from| {
        // What came of the floods may be no question that this reads.
        if Message::read(asked).is_ok_and(|message| message.questions.len() == 1) {
            let _ = socket.send_to(&bytes(&answer(asked, [192, 0, 2, 9])), from);
        }
    });
    let corefile = COREFILE.replace("MUTE", &mute.address.to_string()).replace("ECHO", &echo.address.to_string());
    let mut dns =
        Dns::start(&place, "flood", &corefile, &["--threads", "2", "--state", &format!("files:{}", state.display())]);
    dns.wait("the state is read", |dns| {
        ask(dns.port, "web.default.svc.cluster.local", Type::A).rcode() == Rcode::NOERROR
    });
    let before = dns.memory("VmRSS");
    let (done, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let asker = scope.spawn(|| keep_asking(dns.port, &done, &count));
        let mut last = 0;
        // How many were answered while a flood went on, and what it took until then.
        let mut tell = |what: &str, began: Instant| {
            // One is asked and answered in full after the flood.
            let now = count.load(Ordering::Relaxed);
            let until = Instant::now() + PATIENCE;
            while count.load(Ordering::Relaxed) < now + 2 && !asker.is_finished() {
                assert!(Instant::now() < until, "{what}: names of the cluster are no longer answered");
                thread::yield_now();
            }
            let now = count.load(Ordering::Relaxed);
            println!(
                "{what}: {:.1?}, {} names of the cluster answered, at most {} KiB",
                began.elapsed(),
                now - last,
                dns.memory("VmHWM")
            );
            last = now;
        };
        let began = Instant::now();
        flood(&dns, noise);
        tell("noise", began);
        let began = Instant::now();
        flood(&dns, damaged);
        tell("damaged questions", began);
        let began = Instant::now();
        flood(&dns, distinct);
        tell("names for an upstream that is silent", began);
        let began = Instant::now();
        let streams = connections(&dns);
        let until = Instant::now() + PATIENCE;
        while streams.iter().filter(|stream| is_closed(stream)).count() < BEYOND {
            assert!(Instant::now() < until, "more than {CONNECTIONS} connections are open");
        }
        tell("silent connections", began);
        drop(streams);
        done.store(true, Ordering::Relaxed);
    });
    let (most, seen) = (dns.memory("VmHWM"), seen.load(Ordering::Relaxed));
    println!("{before} KiB before, at most {most} KiB; the silent upstream has seen {seen} questions");
    assert!(seen >= SEEN, "no flood: the silent upstream has seen {seen} questions");
    assert!(most < MOST, "{most} KiB, of {before} before");
    // As before.
    dns.wait("it answers by TCP", |dns| {
        dns.ask_by_tcp("web.default.svc.cluster.local", Type::A)
            .is_some_and(|answer| addresses(&answer) == ["10.96.0.80"])
    });
    assert_eq!(addresses(&dns.ask("www.example.org", Type::A)), ["192.0.2.9"]);
    assert_eq!(dns.metric("coredns_panics_total"), 0.0);
    assert!(!dns.log().contains("panicked"), "{}", dns.log());
    dns.server.stop().unwrap();
}
