//! Upstreams by TCP that answer in order, and that close: what clients see of it, beside a CoreDNS in front of the same.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bowline_dns::wire::{Message, Rcode, Type};
use bowline_lab::Lab;
use bowline_lab::kubernetes::{Place, Server, binary};

use crate::server::{Dns, PATIENCE, addresses, ask, question};
use crate::upstream::{Upstream, answer, bytes};

/// How an upstream goes about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// It answers what comes by it in order.
    InOrder,
    /// It closes it behind so many answers, whatever else has come.
    Closes(usize),
    /// It resets it then.
    Resets(usize),
}

/// A server by TCP. Names that begin with "slow" wait until it is released.
struct Peer {
    address: SocketAddr,
    held: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    gate: Arc<(Mutex<bool>, Condvar)>,
    end: Arc<AtomicBool>,
}

impl Peer {
    fn start(habit: Habit) -> Peer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let peer = Peer {
            address: listener.local_addr().unwrap(),
            held: Arc::default(),
            connections: Arc::default(),
            gate: Arc::default(),
            end: Arc::default(),
        };
        let (held, connections) = (peer.held.clone(), peer.connections.clone());
        let (gate, end) = (peer.gate.clone(), peer.end.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                connections.fetch_add(1, Ordering::Relaxed);
                let (held, gate) = (held.clone(), gate.clone());
                thread::spawn(move || serve(stream.unwrap(), habit, &held, &gate));
            }
        });
        peer
    }

    fn release(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        self.release();
        let _ = TcpStream::connect(self.address);
    }
}

/// Ends with its connection.
fn serve(mut stream: TcpStream, habit: Habit, held: &AtomicUsize, gate: &(Mutex<bool>, Condvar)) {
    let mut count = 0;
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut message).is_err() {
            return;
        }
        if Message::read(&message).unwrap().questions[0].name.to_string().starts_with("slow") {
            held.fetch_add(1, Ordering::Relaxed);
            let is_open = gate.0.lock().unwrap();
            drop(gate.1.wait_while(is_open, |is_open| !*is_open).unwrap());
        }
        let answer = bytes(&answer(&message, [192, 0, 2, 1]));
        if stream.write_all(&[&(answer.len() as u16).to_be_bytes()[..], &answer].concat()).is_err() {
            return;
        }
        count += 1;
        match habit {
            Habit::Closes(most) if count == most => return,
            // What came and was not read makes a reset of the close.
            Habit::Resets(most) if count == most => {
                stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                let _ = stream.peek(&mut length);
                return;
            }
            _ => {}
        }
    }
}

/// A CoreDNS with this Corefile.
fn coredns(place: &Place, name: &str, corefile: &str) -> (Server, u16) {
    let folder = place.folder(name).unwrap();
    let file = folder.join("Corefile");
    std::fs::write(&file, corefile).unwrap();
    let port = crate::server::port();
    let mut server = Server::new(name, folder.join("log"));
    let mut command = place.command(binary("coredns").unwrap());
    server.start(command.arg("-conf").arg(&file).arg(format!("-dns.port={port}"))).unwrap();
    server.wait_until("it listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()).unwrap();
    (server, port)
}

/// A server of ours, and its port.
fn bowline(place: &Place, name: &str, corefile: &str) -> (Dns, u16) {
    let mut dns = Dns::start(place, name, corefile, &["--threads", "2"]);
    dns.wait("it listens", |dns| TcpStream::connect((Ipv4Addr::LOCALHOST, dns.port)).is_ok());
    let port = dns.port;
    (dns, port)
}

fn corefile(upstream: &Peer, options: &str) -> String {
    format!(". {{\n forward . {} {{\n  max_fails 0\n  {options}\n }}\n}}\n", upstream.address)
}

/// The answer by a connection of its own.
fn ask_by_tcp(port: u16, name: &str) -> Message {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let asked = question(name, Type::A, 7);
    stream.write_all(&[&(asked.len() as u16).to_be_bytes()[..], &asked].concat()).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    Message::read(&answer).unwrap()
}

/// Asks 200 quick names, 20 at a time; gives how many had no right answer.
fn without_answer(port: u16, by_tcp: bool) -> usize {
    let next = AtomicUsize::new(0);
    let wrong = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= 200 {
                        return;
                    }
                    let name = format!("quick-{n}.test");
                    let got = if by_tcp { ask_by_tcp(port, &name) } else { ask(port, &name, Type::A) };
                    if got.rcode() != Rcode::NOERROR || addresses(&got) != ["192.0.2.1"] {
                        wrong.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    wrong.into_inner()
}

/// Asks for a slow name, and waits as long as it takes.
fn ask_slow(port: u16, name: &str, by_tcp: bool) -> Rcode {
    if by_tcp {
        return ask_by_tcp(port, name).rcode();
    }
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(&question(name, Type::A, 7), (Ipv4Addr::LOCALHOST, port)).unwrap();
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).unwrap();
    Message::read(&buffer[..length]).unwrap().rcode()
}

/// Nobody waits for the slow ones; gives how many connections that took.
fn holds_up_no_other(who: &str, port: u16, upstream: &Peer, by_tcp: bool) -> usize {
    let slow: Vec<_> =
        (0..10).map(|n| thread::spawn(move || ask_slow(port, &format!("slow-{n}.test"), by_tcp))).collect();
    let began = Instant::now();
    while upstream.held.load(Ordering::Relaxed) < 10 {
        assert!(began.elapsed() < PATIENCE, "{who}: not all of the slow ones reach the upstream");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(without_answer(port, by_tcp), 0, "{who}");
    assert!(slow.iter().all(|slow| !slow.is_finished()), "{who}: they are still held");
    upstream.release();
    slow.into_iter().for_each(|slow| assert_eq!(slow.join().unwrap(), Rcode::NOERROR, "{who}"));
    upstream.connections.load(Ordering::Relaxed)
}

#[test]
fn slow_names_hold_up_no_other() {
    let lab = Lab::new("dns-in-order").unwrap();
    let place = Place::machine(&lab).unwrap();
    // What comes by UDP, where TCP is forced; and what comes by TCP goes on so by itself.
    for (options, by_tcp) in [("force_tcp\n  read_timeout 1m", false), ("read_timeout 1m", true)] {
        let upstream = Peer::start(Habit::InOrder);
        let (_dns, port) = bowline(&place, &format!("bowline-{by_tcp}"), &corefile(&upstream, options));
        let opened = holds_up_no_other("Bowline", port, &upstream, by_tcp);
        // For what is out at a time on two threads; and the slow ones are asked by another too.
        assert!(opened <= 80, "{opened}");
        let upstream = Peer::start(Habit::InOrder);
        let (_coredns, port) = coredns(&place, &format!("coredns-{by_tcp}"), &corefile(&upstream, options));
        holds_up_no_other("CoreDNS", port, &upstream, by_tcp);
    }
}

#[test]
fn what_is_out_when_the_upstream_closes_is_asked_again() {
    let lab = Lab::new("dns-closing").unwrap();
    let place = Place::machine(&lab).unwrap();
    for (name, habit) in [
        ("one", Habit::Closes(1)),
        ("three", Habit::Closes(3)),
        ("reset", Habit::Resets(1)),
        ("resets", Habit::Resets(3)),
    ] {
        let upstream = Peer::start(habit);
        let corefile = corefile(&upstream, "force_tcp");
        let (_dns, port) = bowline(&place, name, &corefile);
        assert_eq!(without_answer(port, false), 0, "{habit:?}");
        // It asks again what was closed, not what was reset.
        if matches!(habit, Habit::Closes(_)) {
            let (_coredns, port) = coredns(&place, &format!("coredns-{name}"), &corefile);
            assert_eq!(without_answer(port, false), 0, "{habit:?}: CoreDNS");
        }
    }
}

#[test]
fn what_is_stale_is_refreshed_by_an_upstream_without_tcp() {
    let lab = Lab::new("dns-refresh").unwrap();
    let place = Place::machine(&lab).unwrap();
    let turn = Arc::new(AtomicUsize::new(1));
    let shared = turn.clone();
    // At its port nobody listens by TCP.
    let upstream = Upstream::start(move |socket, question, from| {
        let mut message = answer(question, [192, 0, 2, shared.load(Ordering::Relaxed) as u8]);
        message.answers[0].ttl = 1;
        socket.send_to(&bytes(&message), from).unwrap();
    });
    let forward = format!("forward . {} {{\n  max_fails 0\n }}", upstream.address);
    let options = ["serve_stale 1h immediate", "serve_stale 1h verify"];
    let blocks: Vec<String> = options
        .iter()
        .enumerate()
        .map(|(n, options)| format!("{n}.test {{\n cache {{\n  success 1000 60 1\n  {options}\n }}\n {forward}\n}}\n"))
        .collect();
    let mut dns = Dns::start(&place, "dns", &blocks.concat(), &[]);
    for (n, options) in options.iter().enumerate() {
        let name = format!("www.{n}.test");
        turn.store(1, Ordering::Relaxed);
        assert_eq!(addresses(&dns.ask(&name, Type::A)), ["192.0.2.1"]);
        turn.store(2, Ordering::Relaxed);
        dns.wait(options, |dns| addresses(&dns.ask(&name, Type::A)) == ["192.0.2.2"]);
    }
}
