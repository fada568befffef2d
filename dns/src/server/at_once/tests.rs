//! HTTPS and QUIC take the fast way, and say what UDP and TCP say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::address::{Address, Transport};
use crate::fast::{Fast, Section, Step};
use crate::plugin::{Block, BlockConfig, Next, Plugin, Query};
use crate::plugins::testing::{build, dnssec_question, publish, question, services};
use crate::reply::{QueryError, Serving, ready};
use crate::server::secure_testing::{Case, ask_quic, free_port, start, start_by};
use crate::server::tasks::Tasks;
use crate::server::{Server, quic, stream};
use crate::wire::edns::option;
use crate::wire::{Message, Name, Rcode, Type};

/// A question with id 0, as QUIC has it (RFC 9250 §4.2.1) and HTTP's caches like it (RFC 8484 §4.1).
fn bytes(message: Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    Message { id: 0, ..message }.write(&mut bytes);
    bytes
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn by_udp(port: u16, message: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket.send_to(message, ("127.0.0.1", port)).unwrap();
    let mut answer = vec![0; 65_535];
    let length = socket.recv(&mut answer).unwrap();
    answer[..length].to_vec()
}

fn by_tcp(port: u16, message: &[u8]) -> Vec<u8> {
    let mut stream = connect(port);
    stream.write_all(&framed(message)).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    answer
}

/// By HTTP/1.1 without TLS, as behind a proxy: the headers in lower case, and the body.
fn by_https(port: u16, message: &[u8]) -> (String, Vec<u8>) {
    let mut stream = connect(port);
    let head = format!(
        "POST /dns-query HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        message.len()
    );
    stream.write_all(&[head.as_bytes(), message].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
    (String::from_utf8(answer[..end].to_ascii_lowercase()).unwrap(), answer[end + 4..].to_vec())
}

fn by_quic(case: &Case, port: u16, message: &[u8]) -> Vec<u8> {
    let answers = ask_quic(case, port, &[&framed(message)]).unwrap();
    let (length, answer) = answers[0].split_first_chunk().unwrap();
    assert_eq!(usize::from(u16::from_be_bytes(*length)), answer.len());
    answer.to_vec()
}

const OBJECTS: &str = r#"
{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default"}}
---
{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"default"},"spec":{"clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1","fd00:96::1"],"ports":[{"name":"http","port":80}]}}
"#;

#[test]
fn an_answer_of_the_cluster_is_the_same_by_all_transports() {
    let (https, quic) = (free_port(), free_port());
    let case = start_by(|conf, port| {
        let cluster = "kubernetes cluster.local\ncache\n";
        let plain = format!("cluster.local:{port} https://cluster.local:{https} {{\n{cluster}}}\n");
        let secure = format!("quic://cluster.local:{quic} {{\ntls server.crt server.key\n{cluster}}}\n");
        std::fs::write(conf, plain + &secure).unwrap();
    });
    publish(&case.services, OBJECTS);
    for (name, rtype) in [
        ("web.default.svc.cluster.local.", Type::A),
        ("WEB.default.svc.Cluster.Local.", Type::AAAA),
        ("_http._tcp.web.default.svc.cluster.local.", Type::SRV),
        ("web.default.svc.cluster.local.", Type::TXT),
        ("none.default.svc.cluster.local.", Type::A),
        ("cluster.local.", Type::SOA),
    ] {
        let mut padded = dnssec_question(name, rtype);
        padded.edns.as_mut().unwrap().options.push((option::PADDING, vec![0; 31]));
        for asked in [question(name, rtype), dnssec_question(name, rtype), padded] {
            let asked = bytes(asked);
            let expected = by_tcp(case.port, &asked);
            assert_eq!(by_udp(case.port, &asked), expected, "{name} {rtype}");
            assert_eq!(by_quic(&case, quic, &asked), expected, "{name} {rtype}");
            let (headers, body) = by_https(https, &asked);
            assert_eq!(body, expected, "{name} {rtype}");
            assert!(headers.starts_with("http/1.1 200") && headers.contains("cache-control: max-age=5"), "{headers}");
        }
    }
}

/// Answers on the fast way, and refuses on the long one.
struct FastOnly;

impl Plugin for FastOnly {
    fn name(&self) -> &'static str {
        "fast-only"
    }

    fn serve<'a>(&'a self, _: &'a mut Query, _: Next<'a>) -> Serving<'a> {
        ready(Err(QueryError::bare("fast-only", Rcode::REFUSED)))
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        let none = Section::default();
        fast.respond("fast-only", Rcode::NOERROR, true, none, none, none)
    }
}

#[test]
fn https_and_quic_take_the_fast_way() {
    let case = start("quic", "", "whoami");
    let key = "quic://test {\ntls server.crt server.key\nwhoami\n}\n";
    let tls = build(key, case.folder.path(), &services()).unwrap().blocks()[0].config.tls.clone();
    let (https, quic) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let (to_https, to_quic) = (https.local_addr().unwrap(), quic.local_addr().unwrap());
    let (end, ended) = tokio::sync::watch::channel(());
    let serving = std::thread::spawn(move || {
        let services = services();
        let tasks = Tasks::of_one_of(1, services.panics.clone());
        https.set_nonblocking(true).unwrap();
        quic.set_nonblocking(true).unwrap();
        let server = |transport, at: std::net::SocketAddr, tls| {
            let address = Address { transport, host: Some(at.ip()), port: at.port() };
            let zone = Name::parse("test.").unwrap();
            let plugins: Box<[Arc<dyn Plugin>]> = Box::new([Arc::new(FastOnly)]);
            let config = BlockConfig { tls, ..BlockConfig::default() };
            let block = Arc::new(Block { zones: vec![zone.clone()], plugins, config, place: "test:1".to_owned() });
            (address, Arc::new(ArcSwap::from_pointee(Server::new(address, vec![(zone, block)], services.clone()))))
        };
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let (address, slot) = server(Transport::Https, to_https, None);
            tasks.listen(stream::accept(address, https, slot, ended.clone(), tasks.clone()));
            let (address, slot) = server(Transport::Quic, to_quic, tls);
            tasks.listen(quic::serve(address, quic, slot, ended, tasks.clone()));
            tasks.finished().await;
        });
    });
    // A type that the fast way leaves to the long one shows that there are two.
    for (rtype, rcode) in [(Type::A, Rcode::NOERROR), (Type::DS, Rcode::REFUSED)] {
        let asked = bytes(question("a.test.", rtype));
        let answers = [by_https(to_https.port(), &asked).1, by_quic(&case, to_quic.port(), &asked)];
        for answer in answers {
            assert_eq!(Message::read(&answer).unwrap().rcode(), rcode, "{rtype}");
        }
    }
    drop(end);
    serving.join().unwrap();
}
