//! Upstreams that send malformed, cut, late or no answers, by UDP, TCP and TLS: what clients of both servers see, and
//! how long they wait. The upstream's certificate is what `openssl req -x509` makes, and is its own authority.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bowline_dns::wire::{Data, Edns, Message, Name, Question, Record, Type};
use bowline_lab::Lab;
use bowline_lab::kubernetes::{Place, Server, binary};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::ground::{PATIENCE, port};

/// How an upstream is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Udp,
    Tcp,
    Tls,
}

/// The address of a right answer.
const RIGHT: &str = "192.0.2.1";
/// How late the slow answers are, and how long both servers wait for one.
const SLOW: Duration = Duration::from_millis(400);
const READ_TIMEOUT: &str = "800ms";
/// How much longer than CoreDNS's a client of ours may wait, on a machine that is busy with other things.
const SLACK: Duration = Duration::from_secs(3);

/// The kinds of upstreams, each with what clients see where it is asked by UDP, and by TCP or TLS; and whether CoreDNS
/// may do otherwise, for the reason in docs/dns-differences.md.
const KINDS: &[(&str, &str, &str, bool)] = &[
    ("right", RIGHT, RIGHT, false),
    ("slow", RIGHT, RIGHT, false),
    ("never", "SERVFAIL", "SERVFAIL", false),
    // A pointer to itself, forward, into the header; labels of unknown kinds; a name of more than 255 bytes.
    ("self", "SERVFAIL", "SERVFAIL", true),
    ("ahead", "SERVFAIL", "SERVFAIL", true),
    ("header", "SERVFAIL", "SERVFAIL", true),
    ("label40", "SERVFAIL", "SERVFAIL", true),
    ("label80", "SERVFAIL", "SERVFAIL", true),
    ("long", "SERVFAIL", "SERVFAIL", true),
    // Data that doesn't fit: too short for its type, of another, none; counts and an end that don't.
    ("rdlength", "SERVFAIL", "SERVFAIL", true),
    ("type", "SERVFAIL", "SERVFAIL", true),
    ("nodata", "SERVFAIL", "SERVFAIL", true),
    ("behind", "SERVFAIL", "SERVFAIL", true),
    ("fewer", "SERVFAIL", "SERVFAIL", true),
    ("opts", "SERVFAIL", "SERVFAIL", true),
    ("other", "SERVFAIL", "SERVFAIL", true),
    // Fewer records than are counted: cut between two, as far as a datagram's reader can know.
    ("more", "TC", "SERVFAIL", true),
    // Datagrams that lost their end. By connections the answer comes whole.
    ("cut7", "TC", RIGHT, true),
    ("cut18", "TC", RIGHT, true),
    ("cut-owner", "TC", RIGHT, true),
    ("cut-head", "TC", RIGHT, true),
    ("cut-data", "TC", RIGHT, true),
    ("cut-opt", "TC", RIGHT, true),
];

fn kind_of(message: &Message) -> String {
    String::from_utf8_lossy(message.questions[0].name.labels().next().unwrap_or_default()).into_owned()
}

/// What an upstream of the question's kind sends; None for silence.
fn answer(raw: &[u8], way: Way) -> Option<Vec<u8>> {
    let asked = Message::read(raw).ok()?;
    let kind = kind_of(&asked);
    let mut message = Message { id: asked.id, flags: asked.flags.with_qr(true), ..Message::default() };
    message.questions.clone_from(&asked.questions);
    let name = message.questions[0].name.clone();
    message.answers.push(Record::new(name, Type::A, 60, Data::a(RIGHT.parse().unwrap())));
    message.edns = asked.edns.as_ref().map(|_| Edns::new(1232, false));
    if kind == "other" {
        message.questions[0].name = Name::parse("another.example.").unwrap();
        message.answers.clear();
    }
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    let record = 12 + asked.questions[0].name.as_wire().len() + 4;
    let is_udp = way == Way::Udp;
    match kind.as_str() {
        "never" => return None,
        "slow" => thread::sleep(SLOW),
        "self" => bytes[record + 1] = record as u8,
        "ahead" => bytes[record + 1] = record as u8 + 12,
        "header" => bytes[record + 1] = 4,
        "label40" => bytes[record] = 0x40,
        "label80" => bytes[record] = 0x80,
        "long" => drop(bytes.splice(record..record, [[1, b'x']; 130].as_flattened().iter().copied())),
        "rdlength" => bytes[record + 11] = 3,
        "type" => bytes[record + 3] = 28,
        "nodata" => {
            bytes[record + 11] = 0;
            bytes.drain(record + 12..record + 16);
        }
        "behind" => bytes.extend([0; 5]),
        "fewer" => bytes[7] = 0,
        "more" => bytes[11] = 9,
        "opts" => {
            let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
            bytes.truncate(record + 16);
            bytes.extend([opt, opt].as_flattened());
            bytes[11] = 2;
        }
        "cut7" if is_udp => bytes.truncate(7),
        "cut18" if is_udp => bytes.truncate(18),
        "cut-owner" if is_udp => bytes.truncate(record + 1),
        "cut-head" if is_udp => bytes.truncate(record + 7),
        "cut-data" if is_udp => bytes.truncate(record + 14),
        "cut-opt" if is_udp => bytes.truncate(bytes.len() - 3),
        _ => {}
    }
    Some(bytes)
}

/// The upstream, by UDP and TCP at one address and by TLS at another; it ends when dropped.
struct Upstream {
    plain: SocketAddr,
    tls: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

impl Upstream {
    fn start(folder: &Path) -> Upstream {
        let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout up.key -out up.crt -days 30 \
                     -subj /CN=up -addext subjectAltName=DNS:dns.test,IP:127.0.0.1";
        let made = Command::new("openssl").args(words.split_whitespace()).current_dir(folder).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let chain = CertificateDer::pem_file_iter(folder.join("up.crt")).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(folder.join("up.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let (streams, datagrams) = loop {
            let streams = TcpListener::bind("127.0.0.1:0").unwrap();
            if let Ok(datagrams) = UdpSocket::bind(streams.local_addr().unwrap()) {
                break (streams, Arc::new(datagrams));
            }
        };
        let secure = TcpListener::bind("127.0.0.1:0").unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let upstream =
            Upstream { plain: streams.local_addr().unwrap(), tls: secure.local_addr().unwrap(), ended: ended.clone() };
        datagrams.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let is_ended = ended.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !is_ended.load(Ordering::Relaxed) {
                let Ok((length, from)) = datagrams.recv_from(&mut buffer) else { continue };
                let (raw, socket) = (buffer[..length].to_vec(), datagrams.clone());
                thread::spawn(move || answer(&raw, Way::Udp).map(|bytes| socket.send_to(&bytes, from)));
            }
        });
        accept(streams, ended.clone(), |stream| serve(stream, Way::Tcp));
        let config = Arc::new(config);
        accept(secure, ended, move |stream| {
            let Ok(session) = rustls::ServerConnection::new(config.clone()) else { return };
            serve(rustls::StreamOwned::new(session, stream), Way::Tls);
        });
        upstream
    }
}

/// Each connection has a thread.
fn accept(listener: TcpListener, ended: Arc<AtomicBool>, serve: impl Fn(TcpStream) + Clone + Send + 'static) {
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            let Ok((stream, _)) = listener.accept() else {
                thread::sleep(Duration::from_millis(2));
                continue;
            };
            stream.set_nonblocking(false).unwrap();
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
}

/// Answers one question after the other until the connection ends.
fn serve(mut stream: impl Read + Write, way: Way) {
    loop {
        let mut length = [0; 2];
        if stream.read_exact(&mut length).is_err() {
            return;
        }
        let mut raw = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut raw).is_err() {
            return;
        }
        if let Some(bytes) = answer(&raw, way) {
            let framed = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
            if stream.write_all(&framed).and_then(|()| stream.flush()).is_err() {
                return;
            }
        }
    }
}

/// What a client sees, and when.
#[derive(Clone, Debug)]
struct Seen {
    what: String,
    after: Duration,
}

/// Asks a server once, by the way by which it then asks the upstream; by TLS, the client itself comes by UDP.
fn ask(port: u16, kind: &str, way: Way) -> Seen {
    let zone = if way == Way::Tls { "tls" } else { "plain" };
    let mut message = Message { id: 7, ..Message::default() };
    message.flags.set_rd(true);
    message.questions.push(Question::new(Name::parse(&format!("{kind}.{zone}.test.")).unwrap(), Type::A));
    message.edns = Some(Edns::new(1232, false));
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    let began = Instant::now();
    let answer = if way == Way::Tcp { by_tcp(port, &bytes) } else { by_udp(port, &bytes) };
    let what = answer.map_or_else(|| "nothing".to_owned(), |answer| shown(&answer));
    Seen { what, after: began.elapsed() }
}

fn by_udp(port: u16, bytes: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(bytes).ok()?;
    let mut answer = vec![0; 65_535];
    let length = socket.recv(&mut answer).ok()?;
    answer.truncate(length);
    Some(answer)
}

fn by_tcp(port: u16, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&[&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()).ok()?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}

fn shown(answer: &[u8]) -> String {
    let Ok(message) = Message::read(answer) else { return "malformed".to_owned() };
    let addresses: Vec<_> =
        message.answers.iter().filter_map(|record| record.data.to_ip(record.rtype)).map(|ip| ip.to_string()).collect();
    match () {
        () if message.flags.tc() && message.answers.is_empty() => "TC".to_owned(),
        () if !addresses.is_empty() => addresses.join(" "),
        () if message.answers.is_empty() => message.rcode().to_string(),
        () => "records without an address".to_owned(),
    }
}

/// Starts a server under the Corefile, and waits until it answers by each way.
fn start(place: &Place, name: &str, words: &[&std::ffi::OsStr], corefile: &Path) -> (Server, u16) {
    let port = port();
    let mut server = Server::new(name, corefile.with_file_name(name));
    let mut command = place.command(words[0]);
    command.args(&words[1..]).arg("-conf").arg(corefile).arg(format!("-dns.port={port}"));
    command.current_dir(corefile.parent().unwrap());
    server.start(&mut command).unwrap();
    let is_there = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
    server.wait_until("it listens", is_there).unwrap();
    server
        .wait_until("it asks the upstream", || {
            [Way::Udp, Way::Tcp, Way::Tls].into_iter().all(|way| ask(port, "right", way).what == RIGHT)
        })
        .unwrap();
    (server, port)
}

#[test]
fn upstreams_that_misbehave_do_clients_no_more_harm_than_behind_coredns() {
    let lab = Lab::new("dns-upstreams").unwrap();
    let place = Place::machine(&lab).unwrap();
    let folder = place.folder("upstreams").unwrap();
    let upstream = Upstream::start(&folder);
    let corefile = folder.join("Corefile");
    let text = format!(
        "plain.test {{\n    forward . {} {{\n        max_fails 0\n        read_timeout {READ_TIMEOUT}\n    }}\n}}\n\
         tls.test {{\n    forward . tls://{} {{\n        tls up.crt\n        tls_servername dns.test\n        max_fails 0\n        read_timeout {READ_TIMEOUT}\n    }}\n}}\n",
        upstream.plain, upstream.tls
    );
    std::fs::write(&corefile, text).unwrap();
    let coredns = binary("coredns").unwrap();
    let (mut theirs, their_port) = start(&place, "theirs", &[coredns.as_os_str()], &corefile);
    let (mut ours, our_port) =
        start(&place, "ours", &[env!("CARGO_BIN_EXE_bowline").as_ref(), "dns".as_ref()], &corefile);
    let mut wrong = Vec::new();
    thread::scope(|scope| {
        let asked: Vec<_> = KINDS
            .iter()
            .flat_map(|kind| [Way::Udp, Way::Tcp, Way::Tls].map(|way| (kind, way)))
            .map(|(kind, way)| {
                let each = |port| scope.spawn(move || ask(port, kind.0, way));
                (kind, way, each(our_port), each(their_port))
            })
            .collect();
        for (&(name, udp, stream, may_differ), way, ours, theirs) in asked {
            let (ours, theirs) = (ours.join().unwrap(), theirs.join().unwrap());
            println!("{name:10} {way:?}: ours {ours:?}, theirs {theirs:?}");
            let expected = if way == Way::Udp { udp } else { stream };
            let is_alike = ours.what == theirs.what || may_differ;
            if ours.what != expected || !is_alike || ours.after > theirs.after + SLACK {
                wrong.push(format!("{name} by {way:?}: ours {ours:?}, theirs {theirs:?}, expected {expected}"));
            }
        }
    });
    ours.stop().unwrap();
    theirs.stop().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
