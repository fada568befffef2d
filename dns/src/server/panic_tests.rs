//! A plugin with a fault: each question has its answer, by UDP and by TCP, and the listeners go on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and panics are what is tested")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use super::tasks::Tasks;
use super::*;
use crate::address::Transport;
use crate::plugin::{BlockConfig, Plugin};
use crate::plugins::testing::{question, services};
use crate::reply::{Reply, Serving};

/// Panics on the fast way, or on both, where the name says so.
struct Faulty;

impl Plugin for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, _: Next<'a>) -> Serving<'a> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            assert!(!query.name().to_string().starts_with("both"), "a fault behind the fast way");
            Ok(Some(Reply::new(query.reply(), "faulty")))
        })
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        let first = fast.plain.name().get(1..5).unwrap_or_default();
        assert!(first != b"fast" && first != b"both", "a fault on the fast way");
        Step::Slow
    }
}

#[test]
fn a_fault_in_one_question_is_answered_and_counted_and_nothing_else_notices() {
    let services = services();
    let (udp, tcp) = (UdpSocket::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (to_udp, to_tcp) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
    let names = ["fine", "fast", "both", "fine", "both", "fast"];
    let expected = [Rcode::NOERROR, Rcode::NOERROR, Rcode::SERVFAIL, Rcode::NOERROR, Rcode::SERVFAIL, Rcode::NOERROR];
    let asked: Vec<Vec<u8>> = (0u16..)
        .zip(names)
        .map(|(id, name)| {
            let mut bytes = Vec::new();
            Message { id, ..question(&format!("{name}.test."), Type::A) }.write(&mut bytes);
            bytes
        })
        .collect();
    // All in one batch: they are there before it is served.
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.connect(to_udp).unwrap();
    asked.iter().for_each(|message| assert_eq!(client.send(message).unwrap(), message.len()));
    let mut stream = TcpStream::connect(to_tcp).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let framed: Vec<u8> = asked.iter().flat_map(|one| [&(one.len() as u16).to_be_bytes()[..], one].concat()).collect();
    stream.write_all(&framed).unwrap();

    let (panics, inner) = (services.panics.clone(), services.clone());
    let (end, ended) = tokio::sync::watch::channel(());
    let serving = std::thread::spawn(move || {
        let address = Address { transport: Transport::Udp, host: Some(to_udp.ip()), port: to_udp.port() };
        let zone = Name::parse("test.").unwrap();
        let plugins: Box<[Arc<dyn Plugin>]> = Box::new([Arc::new(Faulty)]);
        let (zones, config) = (vec![zone.clone()], BlockConfig::default());
        let block = Arc::new(Block { zones, plugins, config, place: "test:1".to_owned() });
        let server = Arc::new(Server::new(address, vec![(zone, block)], inner.clone()));
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let tasks = Tasks::of_one_of(1, inner.panics.clone());
        udp.set_nonblocking(true).unwrap();
        tcp.set_nonblocking(true).unwrap();
        LocalSet::new().block_on(&runtime, async {
            let slot = Arc::new(ArcSwap::new(server));
            tasks.listen(udp::serve(address, udp, slot.clone(), ended.clone(), tasks.clone()));
            tasks.listen(stream::accept(address, tcp, slot, ended, tasks.clone()));
            tasks.finished().await;
        });
    });

    let mut found = [[None; 6]; 2];
    let mut buffer = [0; 512];
    for _ in 0..names.len() {
        let length = client.recv(&mut buffer).unwrap();
        let answer = Message::read(&buffer[..length]).unwrap();
        found[0][usize::from(answer.id)] = Some(answer.rcode());
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut bytes).unwrap();
        let answer = Message::read(&bytes).unwrap();
        found[1][usize::from(answer.id)] = Some(answer.rcode());
    }
    assert_eq!(found, [expected.map(Some); 2]);
    // Twice each way: once on the fast way, and for two of the names once more behind it.
    assert_eq!(panics.get(), 12);
    // And it goes on.
    client.send(&asked[0]).unwrap();
    assert!(client.recv(&mut buffer).unwrap() >= 12);
    drop(stream);
    drop(end);
    serving.join().unwrap();
}

#[test]
fn a_connection_that_ends_by_a_fault_gives_back_its_place() {
    let panics: Arc<bowline_observe::metrics::Counter> = Arc::default();
    let tasks = Tasks::of_one_of(1, panics.clone());
    let open = Rc::new(std::cell::Cell::new(0));
    let runtime = Builder::new_current_thread().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        for _ in 0..3 {
            let (open, place) = (tasks::Open::one_of(&open), tasks.enter().unwrap());
            tasks.spawn(async move {
                let _kept = (open, place);
                tokio::task::yield_now().await;
                panic!("a fault");
            });
        }
        assert_eq!((open.get(), tasks.count()), (3, 3));
        tasks.finished().await;
    });
    assert_eq!((open.get(), panics.get()), (0, 3));
}
