//! A `bowline dns` that runs, and questions to it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bowline_dns::wire::{Edns, Message, Name, Question, Type};
use bowline_lab::kubernetes::{Place, Server};

/// For a defect, not for a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// A client asks again after this long.
const AGAIN: Duration = Duration::from_millis(700);
/// The first port of servers: below those that the kernel gives to clients, and apart from those of other tests.
const FIRST_PORT: u16 = 17_000;

/// A server; it ends when dropped.
pub(crate) struct Dns {
    pub(crate) server: Server,
    pub(crate) port: u16,
    /// Where its pages `prometheus` and `ready` are: `{$METRICS}` and `{$READY}` of the Corefile.
    pub(crate) metrics: String,
    pub(crate) ready: String,
    pub(crate) corefile: PathBuf,
}

impl Dns {
    /// Starts it; `name` is its folder's. It may not listen yet.
    pub(crate) fn start(place: &Place, name: &str, corefile: &str, flags: &[&str]) -> Dns {
        let folder = place.folder(name).unwrap();
        let page = || format!("127.0.0.1:{}", port());
        let mut dns = Dns {
            server: Server::new(name, folder.join("log")),
            port: port(),
            metrics: page(),
            ready: page(),
            corefile: folder.join("Corefile"),
        };
        dns.write(corefile);
        let mut command = place.command(env!("CARGO_BIN_EXE_bowline"));
        command.args(["dns", "--conf"]).arg(&dns.corefile).arg(format!("--dns.port={}", dns.port)).args(flags);
        dns.server.start(command.env("METRICS", &dns.metrics).env("READY", &dns.ready)).unwrap();
        dns
    }

    /// Writes another Corefile in its place.
    pub(crate) fn write(&self, corefile: &str) {
        std::fs::write(&self.corefile, corefile).unwrap();
    }

    /// Waits until `check` holds, while it runs.
    pub(crate) fn wait(&mut self, what: &str, mut check: impl FnMut(&Dns) -> bool) {
        let began = Instant::now();
        loop {
            self.server.wait_until("it runs", || true).unwrap();
            if check(self) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: in vain; {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The answer over UDP, asked again while none comes.
    pub(crate) fn ask(&self, name: &str, rtype: Type) -> Message {
        ask(self.port, name, rtype)
    }

    /// The answer over TCP; None where the connection is closed, or nothing comes.
    pub(crate) fn ask_by_tcp(&self, name: &str, rtype: Type) -> Option<Message> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let bytes = question(name, rtype, 7);
        stream.write_all(&[&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()).ok()?;
        let mut length = [0; 2];
        stream.read_exact(&mut length).ok()?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).ok()?;
        Message::read(&answer).ok()
    }

    /// Status and text of a page; None where nobody listens.
    pub(crate) fn page(&self, address: &str, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: page\r\n\r\n").as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// The status of /ready; 0 where nobody listens.
    pub(crate) fn readiness(&self) -> u16 {
        self.page(&self.ready, "/ready").map_or(0, |(status, _)| status)
    }

    /// The value of a series without labels.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let page = self.page(&self.metrics, "/metrics").unwrap().1;
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{series} is not in {page}")).parse().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.server.log()).unwrap()
    }

    /// A line of /proc/PID/status, in KiB.
    pub(crate) fn memory(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.pid().unwrap())).unwrap();
        let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        value.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
    }
}

/// A question as a client sends it.
pub(crate) fn question(name: &str, rtype: Type, id: u16) -> Vec<u8> {
    let mut message = Message { id, edns: Some(Edns::new(1232, false)), ..Message::default() };
    message.flags.set_rd(true);
    message.questions.push(Question::new(Name::parse(name).unwrap(), rtype));
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    bytes
}

/// The answer of the server at this port, asked again while none comes.
pub(crate) fn ask(port: u16, name: &str, rtype: Type) -> Message {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    socket.set_read_timeout(Some(AGAIN)).unwrap();
    let (began, mut buffer) = (Instant::now(), [0; 4096]);
    loop {
        // Refused until it listens.
        let _ = socket.send(&question(name, rtype, 7));
        match socket.recv(&mut buffer) {
            Ok(length) => return Message::read(&buffer[..length]).unwrap(),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
        assert!(began.elapsed() < PATIENCE, "{name} {rtype} has no answer");
    }
}

/// The addresses in an answer.
pub(crate) fn addresses(message: &Message) -> Vec<String> {
    let answers = message.answers.iter();
    answers.filter_map(|record| Some(record.data.to_ip(record.rtype)?.to_string())).collect()
}

/// A port that is free at every address, for UDP and TCP.
pub(crate) fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        // Several runs begin apart; what is taken is skipped.
        let apart = (std::process::id() % 50) as u16 * 50;
        let port = FIRST_PORT + (apart + NEXT.fetch_add(1, Ordering::Relaxed)) % 2500;
        let any = (std::net::Ipv6Addr::UNSPECIFIED, port);
        if UdpSocket::bind(any).is_ok() && TcpListener::bind(any).is_ok() {
            return port;
        }
    }
}
