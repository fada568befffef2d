//! Other servers, as tests want them: what they do with a question is a closure.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bowline_dns::wire::{Data, Message, Record, Type};

/// An upstream on loopback; it ends when dropped.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// `act` gets its socket, each question, and who asks.
    pub(crate) fn start(mut act: impl FnMut(&UdpSocket, &[u8], SocketAddr) + Send + 'static) -> Upstream {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let address = socket.local_addr().unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let serve = move || {
            let mut buffer = [0; 4096];
            while !ended.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    act(&socket, &buffer[..length], from);
                }
            }
        };
        Upstream { address, end, thread: Some(std::thread::spawn(serve)) }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the upstream has panicked");
    }
}

/// The answer to a question: this address.
pub(crate) fn answer(question: &[u8], address: [u8; 4]) -> Message {
    let mut message = Message::read(question).unwrap();
    message.flags.set_qr(true);
    let name = message.questions[0].name.clone();
    message.answers.push(Record::new(name, Type::A, 60, Data::from_bytes(&address)));
    message
}

pub(crate) fn bytes(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    bytes
}
