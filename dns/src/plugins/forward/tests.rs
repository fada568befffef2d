//! Whole servers that forward to real sockets: options, faults, health.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};

use super::*;
use crate::corefile::{self, CorefileError};
use crate::feed::Feed;
use crate::plugin::Services;
use crate::server::{Instance, Running, Settings};
use crate::upstream::tests::{Fake, bytes, good, question, reply};
use crate::wire::{Message, Type};

mod malformed;
mod options;
mod real;

pub(crate) fn services() -> Arc<Services> {
    Arc::new(Services::new(Arc::new(Feed::default()), vec!["127.0.0.1".parse().unwrap()], "test"))
}

/// A server that runs, and what asks it.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) services: Arc<Services>,
    pub(crate) running: Option<Running>,
    /// Of the Corefile.
    _folder: tempfile::TempDir,
}

impl Served {
    pub(crate) fn start(corefile: &str) -> Served {
        Served::start_with(corefile, services())
    }

    pub(crate) fn start_with(corefile: &str, services: Arc<Services>) -> Served {
        Served::start_at(corefile, services, free().port())
    }

    pub(crate) fn start_at(corefile: &str, services: Arc<Services>, port: u16) -> Served {
        Served::start_on(corefile, services, port, 1)
    }

    /// On so many threads.
    pub(crate) fn start_on(corefile: &str, services: Arc<Services>, port: u16, threads: usize) -> Served {
        let folder = tempfile::tempdir().unwrap();
        let conf = folder.path().join("Corefile");
        std::fs::write(&conf, corefile).unwrap();
        let settings = Settings { conf, port, threads, prepare: None, ahead: None };
        let running = Running::start(settings, services.clone()).unwrap();
        Served { address: ([127, 0, 0, 1], port).into(), services, running: Some(running), _folder: folder }
    }

    pub(crate) fn ask(&self, message: &Message) -> Message {
        let socket = self.send(message);
        receive(&socket)
    }

    pub(crate) fn send(&self, message: &Message) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.connect(self.address).unwrap();
        socket.send(&bytes(message)).unwrap();
        socket
    }

    pub(crate) fn rcode(&self, name: &str) -> Rcode {
        self.ask(&question(name, Type::A)).rcode()
    }

    pub(crate) fn page(&self) -> String {
        self.services.metrics.page()
    }
}

pub(crate) fn receive(socket: &UdpSocket) -> Message {
    let mut bytes = [0; 65_535];
    let length = socket.recv(&mut bytes).unwrap();
    Message::read(&bytes[..length]).unwrap()
}

/// An address at which nobody listens.
pub(crate) fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn build(corefile: &str) -> Result<Instance, CorefileError> {
    let read = corefile::parse(corefile, "Corefile", std::path::Path::new("/"), &|_| None).unwrap();
    Instance::build(&read, std::path::Path::new("/"), 53, &services())
}

fn last_byte(message: &Message) -> u8 {
    *message.answers[0].data.as_bytes().last().unwrap()
}

#[test]
fn at_the_end_what_is_out_is_answered() {
    // The upstream holds its answer back until nobody listens here any more.
    let (release, held) = std::sync::mpsc::channel();
    let held = std::sync::Mutex::new(held);
    let fake = Fake::start(move |seen| {
        held.lock().unwrap().recv().unwrap();
        good(seen, 1)
    });
    let mut served = Served::start(&format!(". {{\n forward . {}\n}}\n", fake.address));
    let waiting = served.send(&question("example.org.", Type::A));
    until("it is asked", || fake.asked() == 1);
    let running = served.running.take().unwrap();
    let ending = std::thread::spawn(move || running.stop());
    until("it is closed", || std::net::TcpStream::connect(served.address).is_err());
    release.send(()).unwrap();
    assert_eq!(last_byte(&receive(&waiting)), 1);
    ending.join().unwrap();
}

#[test]
fn who_asks_without_pause_holds_up_neither_connections_nor_the_end() {
    let mut served = Served::start(". {\n hosts {\n  192.0.2.1 example.org\n }\n}\n");
    let asked = question("example.org.", Type::A);
    assert_eq!(last_byte(&served.ask(&asked)), 1);
    let running = served.running.take().unwrap();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let mut stream = std::net::TcpStream::connect(served.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                let asked = bytes(&asked);
                while !is_over.load(Ordering::Relaxed) {
                    let _ = socket.send_to(&asked, served.address);
                }
            });
        }
        // Connections have their turn too.
        let asked = bytes(&asked);
        let framed = [&(asked.len() as u16).to_be_bytes()[..], &asked].concat();
        let answered = stream.write_all(&framed).and_then(|()| stream.read_exact(&mut [0; 12])).is_ok();
        let ending = scope.spawn(move || running.stop());
        let began = Instant::now();
        while !ending.is_finished() && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let ended = ending.is_finished();
        is_over.store(true, Ordering::Relaxed);
        assert!(answered && ended, "within 20 s: answered by TCP: {answered}; ended: {ended}");
    });
}

#[test]
fn a_question_is_forwarded_and_its_answer_relayed() {
    let fake = Fake::start(|seen| good(seen, 1));
    let served = Served::start(&format!(". {{\n forward . {}\n}}\n", fake.address));
    let asked = question("wWw.example.org.", Type::A);
    let answer = served.ask(&asked);
    assert_eq!((answer.id, last_byte(&answer), answer.answers[0].ttl), (7, 1, 60));
    assert!(answer.questions[0].name.eq_exact(&asked.questions[0].name) && answer.flags.ra());
    let page = served.page();
    let count = format!(
        "coredns_proxy_request_duration_seconds_count{{proxy_name=\"forward\",rcode=\"NOERROR\",to=\"{}\"}} 1\n",
        fake.address
    );
    assert!(page.contains(&count), "{page}");
    let misses = format!(
        "coredns_proxy_conn_cache_misses_total{{proto=\"udp\",proxy_name=\"forward\",to=\"{}\"}} 1\n",
        fake.address
    );
    assert!(page.contains(&misses), "{page}");
}

#[test]
fn a_dead_upstream_is_passed_over_and_comes_back() {
    let alive = Fake::start(|seen| good(seen, 1));
    let dead = free();
    let served = Served::start(&format!(
        ". {{\n forward . {dead} {} {{\n  policy sequential\n  health_check 100ms\n max_fails 1\n }}\n}}\n",
        alive.address
    ));
    // The first question already: the error has the next one tried.
    assert_eq!(last_byte(&served.ask(&question("example.org.", Type::A))), 1);
    let failures = format!("coredns_proxy_healthcheck_failures_total{{proxy_name=\"forward\",to=\"{dead}\"}} ");
    let failed = || {
        let page = served.page();
        let at = page.find(&failures).map_or(0, |at| at + failures.len());
        page[at..].lines().next().and_then(|count| count.parse::<u32>().ok()).unwrap_or(0)
    };
    until("it is down", || failed() >= 3);
    let back = Fake::start_at(dead, |seen| good(seen, 2));
    until("it is asked again", || last_byte(&served.ask(&question("example.org.", Type::A))) == 2);
    // It answers: nobody checks any more.
    let (checked, asked) = (failed(), back.asked());
    for _ in 0..20 {
        assert_eq!(last_byte(&served.ask(&question("example.org.", Type::A))), 2);
    }
    assert_eq!((failed(), back.asked()), (checked, asked + 20));
}

#[test]
fn one_upstream_alone_is_tried_even_if_it_is_down_and_recovers() {
    let dead = free();
    let served = Served::start(&format!(". {{\n forward . {dead} {{\n  health_check 100ms\n  max_fails 1\n }}\n}}\n"));
    until("all are down", || {
        assert_eq!(served.rcode("example.org."), Rcode::SERVFAIL);
        !served.page().contains("coredns_forward_healthcheck_broken_total 0\n")
    });
    let back = Fake::start_at(dead, |seen| good(seen, 2));
    assert_eq!(last_byte(&served.ask(&question("example.org.", Type::A))), 2);
    drop(back);
}

#[test]
fn failfast_does_not_ask_when_all_are_down() {
    let dead = free();
    let served = Served::start(&format!(
        ". {{\n forward . {dead} {{\n  health_check 100ms\n  max_fails 1\n  failfast_all_unhealthy_upstreams\n }}\n}}\n"
    ));
    until("all are down", || {
        assert_eq!(served.rcode("example.org."), Rcode::SERVFAIL);
        !served.page().contains("coredns_forward_healthcheck_broken_total 0\n")
    });
    let taken = || {
        served
            .page()
            .lines()
            .filter(|line| line.starts_with("coredns_proxy_conn_cache"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let before = taken();
    assert_eq!(served.rcode("example.org."), Rcode::SERVFAIL);
    assert_eq!(taken(), before);
}

#[test]
fn more_than_max_concurrent_are_refused_at_once_and_other_blocks_go_on() {
    let silent = Fake::start(|_| Vec::new());
    let good_one = Fake::start(|seen| good(seen, 1));
    let served = Served::start(&format!(
        ". {{\n forward . {} {{\n  max_concurrent 2\n }}\n}}\nexample.org {{\n forward . {}\n}}\n",
        silent.address, good_one.address
    ));
    let _waiting: Vec<_> = (0..2).map(|_| served.send(&question("example.com.", Type::A))).collect();
    until("they are out", || silent.asked() >= 2);
    let began = Instant::now();
    assert_eq!(served.rcode("example.com."), Rcode::REFUSED);
    assert_eq!(served.rcode("www.example.org."), Rcode::NOERROR);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(served.page().contains("coredns_forward_max_concurrent_rejects_total 1\n"));
}

#[test]
fn truncation_is_relayed_and_prefer_udp_asks_again_by_tcp() {
    let fake = || {
        Fake::start(|seen| {
            if seen.by == By::Tcp {
                return good(seen, 1);
            }
            let mut cut = reply(&seen.message);
            cut.flags.set_tc(true);
            vec![bytes(&cut)]
        })
    };
    let (one, two, three) = (fake(), fake(), fake());
    let served = Served::start(&format!(
        "a {{\n forward . {}\n}}\nb {{\n forward . {} {{\n prefer_udp\n }}\n}}\nc {{\n forward . {} {{\n force_tcp\n }}\n}}\n",
        one.address, two.address, three.address
    ));
    let cut = served.ask(&question("x.a.", Type::A));
    assert!(cut.flags.tc() && cut.answers.is_empty());
    assert_eq!(last_byte(&served.ask(&question("x.b.", Type::A))), 1);
    assert_eq!((two.asked(), two.connections()), (2, 1));
    assert_eq!(last_byte(&served.ask(&question("x.c.", Type::A))), 1);
    assert_eq!((three.asked(), three.connections()), (1, 1));
}

#[test]
fn next_failover_and_except() {
    let of = |rcode: Rcode| {
        Fake::start(move |seen| {
            let mut message = reply(&seen.message);
            message.set_rcode(rcode);
            vec![bytes(&message)]
        })
    };
    let (denies, fails, empty) = (of(Rcode::NXDOMAIN), of(Rcode::SERVFAIL), of(Rcode::NOERROR));
    let answers = Fake::start(|seen| good(seen, 1));
    let served = Served::start(&format!(
        "a {{\n forward . {denies} {{\n next nxdomain\n }}\n forward . {answers}\n}}\n\
         b {{\n forward . {fails} {answers} {{\n policy sequential\n failover SERVFAIL\n }}\n}}\n\
         c {{\n forward . {empty} {{\n next_on_nodata\n }}\n forward . {answers}\n}}\n\
         d {{\n forward . {denies} {{\n except x.d\n next NXDOMAIN\n }}\n whoami\n}}\n\
         e {{\n forward x.e {answers}\n forward e {denies}\n}}\n",
        denies = denies.address,
        fails = fails.address,
        empty = empty.address,
        answers = answers.address,
    ));
    for name in ["x.a.", "x.b.", "x.c.", "y.x.e."] {
        assert_eq!(last_byte(&served.ask(&question(name, Type::A))), 1, "{name}");
    }
    // After the last forward nothing is tried for an rcode, as in CoreDNS; what is excepted goes on.
    for (name, rcode) in [("y.d.", Rcode::NXDOMAIN), ("y.x.d.", Rcode::NOERROR), ("e.", Rcode::NXDOMAIN)] {
        assert_eq!(served.rcode(name), rcode, "{name}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (body, line, reason) in [
        ("forward", 2, "takes at least 2 arguments"),
        ("forward .", 2, "takes at least 2 arguments"),
        ("forward . 10.0.0.1 {\n  policy best\n }", 3, "\"best\" is no policy; known are random"),
        ("forward . 10.0.0.1 {\n  max_fails -1\n }", 3, "not a whole number"),
        ("forward . 10.0.0.1 {\n  max_fail 1\n }", 3, "did you mean max_fails?"),
        ("forward . 10.0.0.1 {\n  force_tcp yes\n }", 3, "takes no argument"),
        ("forward . 10.0.0.1 {\n  health_check 1s norec\n }", 3, "use no_rec"),
        ("forward . 10.0.0.1 {\n  health_check\n }", 3, "takes 1 to 4"),
        ("forward . 10.0.0.1 {\n  next NOPE\n }", 3, "is no response code"),
        ("forward . 10.0.0.1 {\n  failover NOERROR\n }", 3, "can't be failed over"),
        ("forward . 10.0.0.1 {\n  max_age 5s\n }", 2, "less than expire"),
        ("forward . 10.0.0.1 {\n  read_timeout 0s\n }", 3, "more than 0"),
        ("forward . 10.0.0.1 {\n  tls /no/such.pem\n }", 3, "/no/such.pem"),
        ("forward . 10.0.0.1 {\n  source_address x\n }", 3, "not an IP address"),
        ("forward . tls://10.0.0.1%a {\n  tls_servername b\n }", 2, "both set"),
        ("forward . https://10.0.0.1", 2, "use tls://"),
        (
            "forward . 1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5 1.1.1.6 1.1.1.7 1.1.1.8 1.1.1.9 1.1.1.10 1.1.1.11 1.1.1.12 1.1.1.13 1.1.1.14 1.1.1.15 1.1.1.16",
            2,
            "at most 15",
        ),
    ] {
        let problem = build(&format!(". {{\n {body}\n}}\n")).err().expect(body).to_string();
        assert!(problem.starts_with(&format!("Corefile:{line}: ")) && problem.contains(reason), "{body}: {problem}");
    }
}
