//! `dnstap`: messages reach receivers of each kind, and a receiver that is slow or away keeps nobody waiting.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::frames::{CONTENT_TYPE, Control, control};
use crate::plugins::testing::{build, question, refused, services};
use crate::server::{Running, Settings};
use crate::wire::Type;

/// The frames that come until the sender ends or `count` are there, by the receiver's side of the protocol.
fn receive(stream: &mut (impl std::io::Read + std::io::Write), count: usize) -> Vec<Vec<u8>> {
    let word = |stream: &mut dyn std::io::Read| {
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).unwrap();
        u32::from_be_bytes(bytes)
    };
    let ready = control(Control::Ready, Some(CONTENT_TYPE));
    let mut found = vec![0; ready.len()];
    stream.read_exact(&mut found).unwrap();
    assert_eq!(found, ready);
    stream.write_all(&control(Control::Accept, Some(CONTENT_TYPE))).unwrap();
    stream.read_exact(&mut found).unwrap();
    assert_eq!(found, control(Control::Start, Some(CONTENT_TYPE)));
    let mut frames = Vec::new();
    while frames.len() < count {
        let length = word(stream) as usize;
        if length == 0 {
            let mut stop = vec![0; word(stream) as usize];
            stream.read_exact(&mut stop).unwrap();
            assert_eq!(stop, (Control::Stop as u32).to_be_bytes());
            stream.write_all(&control(Control::Finish, None)).unwrap();
            break;
        }
        let mut frame = vec![0; length];
        stream.read_exact(&mut frame).unwrap();
        frames.push(frame);
    }
    frames
}

struct Case {
    port: u16,
    conf: std::path::PathBuf,
    running: Running,
    folder: tempfile::TempDir,
}

fn start(dnstap: &str) -> Case {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let conf = folder.path().join("Corefile");
    std::fs::write(&conf, corefile(port, dnstap)).unwrap();
    let settings = Settings { conf: conf.clone(), port: 53, threads: 1, prepare: None, ahead: None };
    Case { port, conf, running: Running::start(settings, services()).unwrap(), folder }
}

fn corefile(port: u16, dnstap: &str) -> String {
    format!("example.org:{port} {{\n {dnstap}\n whoami\n}}\n")
}

fn ask(port: u16) -> Vec<u8> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut raw = Vec::new();
    question("a.example.org.", Type::A).write(&mut raw);
    socket.send_to(&raw, ("127.0.0.1", port)).unwrap();
    let mut answer = vec![0; 512];
    let length = socket.recv(&mut answer).unwrap();
    answer.truncate(length);
    answer
}

fn holds(frame: &[u8], part: &[u8]) -> bool {
    frame.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_receiver_at_a_socket_gets_questions_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tap.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let options = "{\n identity me\n version v1\n extra \"{name} {type}\"\n}";
    let case = start(&format!("dnstap unix://{} full {options}", path.display()));
    let (mut stream, _) = listener.accept().unwrap();
    let answer = ask(case.port);
    let frames = receive(&mut stream, 2);
    assert!(holds(&frames[0], b"\x0a\x02me\x12\x02v1\x1a\x10a.example.org. A"), "{frames:?}");
    // CLIENT_QUERY and CLIENT_RESPONSE, by UDP and IPv4.
    assert!(holds(&frames[0], &[0x08, 5, 0x10, 1, 0x18, 1]) && holds(&frames[1], &[0x08, 6, 0x10, 1, 0x18, 1]));
    assert!(holds(&frames[0], b"\x01a\x07example\x03org\0") && holds(&frames[1], &answer[12..40]));
}

#[test]
fn a_receiver_that_comes_later_gets_what_has_waited_and_a_reload_ends_it() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let case = start(&format!("dnstap tcp://127.0.0.1:{port}"));
    (0..3).for_each(|_| drop(ask(case.port)));
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    std::fs::write(&case.conf, corefile(case.port, "")).unwrap();
    case.running.reload().unwrap();
    // All six, then the end.
    assert_eq!(receive(&mut stream, 7).len(), 6);
    drop(case.folder);
}

#[test]
fn receivers_may_connect_to_us() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let case = start(&format!("dnstap listen tcp://127.0.0.1:{port}\n dnstap listen tap.sock full"));
    let began = Instant::now();
    let again = || {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut one = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(_) => again(),
        }
    };
    let mut other = loop {
        match UnixStream::connect(case.folder.path().join("tap.sock")) {
            Ok(stream) => break stream,
            Err(_) => again(),
        }
    };
    // Each gets what comes after it has connected: ask until both have enough.
    let is_enough = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_enough.load(std::sync::atomic::Ordering::Relaxed) {
                ask(case.port);
            }
        });
        let (one, other) = (receive(&mut one, 4), receive(&mut other, 4));
        is_enough.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(one.iter().all(|frame| frame.len() < 80) && other.iter().all(|frame| frame.len() > 80));
    });
}

#[test]
fn what_forward_asks_is_told_with_the_upstream() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tap.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let upstream = start("");
    let case = start("");
    let dnstap = format!("dnstap {} full\n forward . 127.0.0.1:{}", path.display(), upstream.port);
    std::fs::write(&case.conf, corefile(case.port, &dnstap)).unwrap();
    case.running.reload().unwrap();
    let mut stream = listener.accept().unwrap().0;
    ask(case.port);
    let frames = receive(&mut stream, 4);
    assert_eq!(frames.len(), 4);
    let address = [0x2a, 4, 127, 0, 0, 1];
    let told = frames.iter().filter(|frame| holds(frame, &address)).count();
    assert_eq!(told, 2, "{frames:?}");
}

#[test]
fn what_has_no_room_is_dropped_and_counted() {
    let services = services();
    // Nobody is there.
    let instance = build(&corefile(53, "dnstap nowhere.sock"), Path::new("/nonexistent"), &services).unwrap();
    let asked = question("example.org.", Type::A);
    for _ in 0..super::QUEUE {
        crate::plugins::testing::ask(&instance, &asked);
    }
    let page = services.metrics.page();
    let dropped = format!("bowline_dns_dnstap_dropped_total {}\n", super::QUEUE);
    assert!(page.contains(&dropped), "{page}");
}

#[test]
fn set_ups_as_in_coredns() {
    for (text, says) in [
        ("dnstap dnstap.sock", "accepted"),
        ("dnstap dnstap.sock full", "accepted"),
        ("dnstap unix:///tmp/dnstap.sock full 1024 2048", "accepted"),
        ("dnstap tcp://127.0.0.1:6000", "accepted"),
        ("dnstap tcp://[::1]:6000/ full", "accepted"),
        ("dnstap tls://127.0.0.1:6000 full {\n skipverify\n}", "accepted"),
        ("dnstap tcp://example.com:6000 full {\n identity NAME\n version VER\n extra EXTRA\n}", "accepted"),
        ("dnstap a.sock full\n dnstap tcp://example.com:6000", "accepted"),
        ("dnstap listen tcp://127.0.0.1:6000 full", "accepted"),
        ("dnstap", "names no socket"),
        ("dnstap listen", "names no socket"),
        ("dnstap a.sock half", "stands where only full may"),
        ("dnstap a.sock full 0", "is no write buffer in MiB from 1 to 1024"),
        ("dnstap a.sock full 1 4097", "is no multiple of 10000 messages from 1 to 4096"),
        ("dnstap a.sock full 1 1 1", "too many arguments"),
        ("dnstap tcp://127.0.0.1", "needs a host and a port"),
        ("dnstap listen tcp://localhost", "needs an IP address and a port"),
        ("dnstap listen tls://127.0.0.1:6000", "needs a certificate"),
        ("dnstap listen tls://127.0.0.1:6000 {\n tls a.crt a.key\n}", "a.crt can't be read"),
        ("dnstap tls://127.0.0.1:6000 {\n tls a.crt a.key\n}", "is for dnstap listen"),
        ("dnstap a.sock {\n unknown\n}", "is no option"),
    ] {
        let told = refused(&format!("example.org {{\n {text}\n whoami\n}}\n"));
        assert!(told.contains(says), "{text}: {told}");
    }
}
