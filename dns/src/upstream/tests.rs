//! A server for tests whose answers, faults and lies a closure decides; and questions to it, as a worker asks them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread::JoinHandle;

use super::*;
use crate::wire::{Data, Message, Name, Question, Record, Type};

mod connections;

/// What came to a fake server.
pub(crate) struct Seen {
    pub(crate) message: Message,
    pub(crate) by: By,
    pub(crate) from: SocketAddr,
}

type Answer = dyn Fn(&Seen) -> Vec<Vec<u8>> + Send + Sync;

/// A server on loopback, by UDP and TCP.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    state: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    answer: Box<Answer>,
    ended: AtomicBool,
    asked: AtomicUsize,
    connections: AtomicUsize,
    ports: Mutex<BTreeSet<u16>>,
}

impl Shared {
    fn answer(&self, raw: &[u8], by: By, from: SocketAddr) -> Vec<Vec<u8>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.ports.lock().unwrap().insert(from.port());
        let message = Message::read(raw).unwrap();
        (self.answer)(&Seen { message, by, from })
    }
    fn is_on(&self) -> bool {
        !self.ended.load(Ordering::SeqCst)
    }
}

const TICK: Duration = Duration::from_millis(20);

impl Fake {
    /// Starts one. The closure gives the messages that are sent back, as they are; none: silence.
    pub(crate) fn start(answer: impl Fn(&Seen) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Fake {
        let (streams, datagrams) = loop {
            let streams = TcpListener::bind("127.0.0.1:0").unwrap();
            if let Ok(datagrams) = UdpSocket::bind(streams.local_addr().unwrap()) {
                break (streams, datagrams);
            }
        };
        Fake::serve(streams, datagrams, Box::new(answer))
    }

    /// Starts one at an address that is free.
    pub(crate) fn start_at(
        address: SocketAddr,
        answer: impl Fn(&Seen) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Fake {
        let streams = TcpListener::bind(address).unwrap();
        Fake::serve(streams, UdpSocket::bind(address).unwrap(), Box::new(answer))
    }

    fn serve(streams: TcpListener, datagrams: UdpSocket, answer: Box<Answer>) -> Fake {
        let address = streams.local_addr().unwrap();
        let state = Arc::new(Shared {
            answer,
            ended: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            ports: Mutex::default(),
        });
        let (one, two) = (state.clone(), state.clone());
        let threads = vec![
            std::thread::spawn(move || serve_datagrams(&datagrams, &one)),
            std::thread::spawn(move || serve_streams(&streams, &two)),
        ];
        Fake { address, state, threads }
    }

    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
    /// The ports that questions came from.
    pub(crate) fn ports(&self) -> usize {
        self.state.ports.lock().unwrap().len()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

fn serve_datagrams(socket: &UdpSocket, state: &Shared) {
    socket.set_read_timeout(Some(TICK)).unwrap();
    let mut bytes = [0; 65_535];
    while state.is_on() {
        let Ok((length, from)) = socket.recv_from(&mut bytes) else { continue };
        for answer in state.answer(&bytes[..length], By::Udp, from) {
            let _ = socket.send_to(&answer, from);
        }
    }
}

fn serve_streams(listener: &TcpListener, state: &Arc<Shared>) {
    listener.set_nonblocking(true).unwrap();
    let mut threads = Vec::new();
    while state.is_on() {
        let Ok((stream, from)) = listener.accept() else {
            std::thread::sleep(TICK / 10);
            continue;
        };
        state.connections.fetch_add(1, Ordering::SeqCst);
        let state = state.clone();
        threads.push(std::thread::spawn(move || serve_stream(stream, from, &state)));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Until either side ends it. An empty message among the answers has it close the connection.
fn serve_stream(mut stream: TcpStream, from: SocketAddr, state: &Shared) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(TICK)).unwrap();
    let mut buffer: Vec<u8> = Vec::new();
    while state.is_on() {
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(length) => buffer.extend_from_slice(&bytes[..length]),
            Err(_) => continue,
        }
        while buffer.len() >= 2 {
            let length = usize::from(u16::from_be_bytes([buffer[0], buffer[1]]));
            if buffer.len() < 2 + length {
                break;
            }
            let message: Vec<u8> = buffer.drain(..2 + length).skip(2).collect();
            for answer in state.answer(&message, By::Tcp, from) {
                if answer.is_empty() {
                    return;
                }
                let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
                if stream.write_all(&framed).is_err() {
                    return;
                }
            }
        }
    }
}

pub(crate) fn bytes(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    bytes
}

pub(crate) fn question(name: &str, rtype: Type) -> Message {
    let mut message = Message { id: 7, ..Message::default() };
    message.flags.set_rd(true);
    message.questions.push(Question::new(Name::parse(name).unwrap(), rtype));
    message
}

/// An answer to a question, without records.
pub(crate) fn reply(to: &Message) -> Message {
    let mut message = Message { answers: Vec::new(), edns: None, ..to.clone() };
    message.flags.set_qr(true);
    message.flags.set_ra(true);
    message
}

/// The answer that a good server gives to every question for A: this address, for 60 seconds.
pub(crate) fn good(seen: &Seen, last: u8) -> Vec<Vec<u8>> {
    let mut message = reply(&seen.message);
    let name = seen.message.questions[0].name.clone();
    message.answers.push(Record::new(name, Type::A, 60, Data::a([192, 0, 2, last].into())));
    vec![bytes(&message)]
}

/// Runs on a thread as a worker's does.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

pub(crate) fn upstream(fake: &Fake, settings: Settings) -> Arc<Upstream> {
    Upstream::new(Endpoint { address: fake.address, tls: None }, settings, None)
}

fn short() -> Settings {
    Settings { timeout: Duration::from_millis(300), ..Settings::default() }
}

fn last_byte(answer: &[u8]) -> u8 {
    *Message::read(answer).unwrap().answers[0].data.as_bytes().last().unwrap()
}

#[test]
fn answers_come_by_udp_from_several_ports_and_by_connections_that_are_used_again() {
    let fake = Fake::start(|seen| good(seen, 1));
    run(async {
        let upstream = upstream(&fake, Settings::default());
        for _ in 0..40 {
            let answer = upstream.ask(&bytes(&question("www.example.org.", Type::A)), By::Udp).await.unwrap();
            assert_eq!(last_byte(&answer), 1);
        }
        assert_eq!(fake.ports(), 8);
        let asked = bytes(&question("www.example.org.", Type::A));
        let many = (0..40).map(|_| upstream.ask(&asked, By::Tcp));
        assert!(futures_util::future::join_all(many).await.iter().all(Result::is_ok));
        let opened = fake.connections();
        assert!((1..=40).contains(&opened), "{opened}");
        for _ in 0..40 {
            upstream.ask(&asked, By::Tcp).await.unwrap();
        }
        assert_eq!(fake.connections(), opened);
    });
    assert_eq!(fake.asked(), 120);
}

#[test]
fn a_dead_server_a_silent_one_and_a_lying_one() {
    let closed = { TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap() };
    let asked = bytes(&question("www.example.org.", Type::A));
    run(async {
        let dead = Upstream::new(Endpoint { address: closed, tls: None }, Settings::default(), None);
        // ICMP tells it, long before the time is over; and the next question is told anew.
        for by in [By::Udp, By::Udp, By::Tcp] {
            let trouble = dead.ask(&asked, by).await.unwrap_err();
            assert!(matches!(trouble, UpstreamError::Io(..)), "{trouble}");
            assert!(trouble.to_string().contains(&closed.to_string()), "{trouble}");
        }
        let silent = Fake::start(|_| Vec::new());
        for by in [By::Udp, By::Tcp] {
            let trouble = upstream(&silent, short()).ask(&asked, by).await.unwrap_err();
            assert!(matches!(trouble, UpstreamError::Silent(..)), "{trouble}");
        }
        // Forgeries with a wrong id, name, type or flag come before the right answer, and are ignored.
        let liar = Fake::start(|seen| {
            let right = good(seen, 1);
            let mut lies = Vec::new();
            for lie in 0..4 {
                let mut bytes = good(seen, 66).remove(0);
                match lie {
                    0 => bytes[1] ^= 1,
                    1 => bytes[13] ^= 1,
                    2 => bytes[12 + 17 + 1] ^= 16,
                    _ => bytes[2] &= 0x7f,
                }
                lies.push(bytes);
            }
            lies.push(vec![0; 3]);
            lies.extend(right);
            lies
        });
        for by in [By::Udp, By::Tcp] {
            assert_eq!(last_byte(&upstream(&liar, Settings::default()).ask(&asked, by).await.unwrap()), 1);
        }
    });
}

#[test]
fn a_connection_that_was_closed_is_opened_again() {
    // It answers once and closes.
    let fake = Fake::start(|seen| [good(seen, 1), vec![Vec::new()]].concat());
    let asked = bytes(&question("www.example.org.", Type::A));
    run(async {
        let upstream = upstream(&fake, Settings::default());
        for _ in 0..5 {
            assert_eq!(last_byte(&upstream.ask(&asked, By::Tcp).await.unwrap()), 1);
        }
    });
    assert_eq!(fake.connections(), 5);
}

#[test]
fn a_connection_that_fell_silent_is_given_up() {
    // As a server whose host has gone: nobody closes the connection, and nobody answers there any more.
    let first = Mutex::new(None);
    let fake = Fake::start(move |seen| {
        let mut first = first.lock().unwrap();
        match *first {
            None => {
                *first = Some(seen.from);
                good(seen, 1)
            }
            Some(silent) if silent == seen.from => Vec::new(),
            Some(_) => good(seen, 2),
        }
    });
    let asked = bytes(&question("www.example.org.", Type::A));
    run(async {
        let upstream = upstream(&fake, short());
        assert_eq!(last_byte(&upstream.ask(&asked, By::Tcp).await.unwrap()), 1);
        let trouble = upstream.ask(&asked, By::Tcp).await.unwrap_err();
        assert!(matches!(trouble, UpstreamError::Silent(..)), "{trouble}");
        assert_eq!(last_byte(&upstream.ask(&asked, By::Tcp).await.unwrap()), 2);
    });
    assert_eq!(fake.connections(), 2);
}

#[test]
fn random_case_must_come_back() {
    let fake = Fake::start(|seen| {
        let mut small = seen.message.clone();
        small.questions[0].name = small.questions[0].name.to_lower();
        let forged = Seen { message: small, by: seen.by, from: seen.from };
        [good(&forged, 66), good(seen, 1)].concat()
    });
    let asked = bytes(&question("www.a-name-with-many-letters.example.org.", Type::A));
    run(async {
        let upstream = upstream(&fake, Settings { random_case: true, ..Settings::default() });
        for _ in 0..20 {
            assert_eq!(last_byte(&upstream.ask(&asked, By::Udp).await.unwrap()), 1);
        }
    });
}
