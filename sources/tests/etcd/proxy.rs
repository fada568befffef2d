//! A way to etcd that can be cut, stopped while it stays open, made to tell of a change before it tells the change, or to lose
//! changes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often its threads look whether they should end.
const NAP: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    /// So many bytes from the server, and it stops by itself; 0 for never.
    stop_after: AtomicU64,
    brought: AtomicU64,
    refusing: AtomicBool,
    overtaking: AtomicBool,
    losing: AtomicBool,
    ended: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Passes TCP connections on to one address.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

impl Proxy {
    /// To the server of this URL.
    pub fn to(url: &str) -> Proxy {
        let target: SocketAddr = url.split_once("://").unwrap().1.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let inner = shared.clone();
        let listening = Some(std::thread::spawn(move || listen(&listener, target, &inner)));
        Proxy { address, shared, listening }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on nothing passes, in open connections or in new ones, and nobody is told.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
    }

    /// The same, when so many more bytes have come from the server.
    pub fn stop_after(&self, bytes: u64) {
        self.shared.brought.store(0, Ordering::Relaxed);
        self.shared.stop_after.store(bytes, Ordering::Relaxed);
    }

    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Relaxed)
    }

    /// Lets everything pass again; nothing is lost.
    pub fn go_on(&self) {
        self.shared.stop_after.store(0, Ordering::Relaxed);
        self.shared.stopped.store(false, Ordering::Relaxed);
    }

    /// The next message with changes becomes a notice of their revision, without them; then everything is cut, and
    /// refused. As with etcd 3.4.23, which sends a notice that was asked for ahead of changes that wait to be sent.
    pub fn overtake(&self) {
        self.shared.overtaking.store(true, Ordering::Relaxed);
    }

    /// From now on changes are lost on the way, and nothing tells so; or no longer.
    pub fn lose(&self, lose: bool) {
        self.shared.losing.store(lose, Ordering::Relaxed);
    }

    /// Whether that has happened.
    pub fn has_overtaken(&self) -> bool {
        !self.shared.overtaking.load(Ordering::Relaxed)
    }

    /// Closes all connections; new ones are closed at once if `refuse`.
    pub fn cut(&self, refuse: bool) {
        self.shared.refusing.store(refuse, Ordering::Relaxed);
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.go_on();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.cut(true);
        let _ = self.listening.take().unwrap().join();
        let threads: Vec<_> = self.shared.threads.lock().unwrap().drain(..).collect();
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

fn listen(listener: &TcpListener, target: SocketAddr, shared: &Arc<Shared>) {
    while !shared.ended.load(Ordering::Relaxed) {
        let Ok((near, _)) = listener.accept() else {
            std::thread::sleep(NAP);
            continue;
        };
        if shared.refusing.load(Ordering::Relaxed) {
            continue;
        }
        let Ok(far) = TcpStream::connect(target) else { continue };
        let mut open = shared.open.lock().unwrap();
        for (from, to, is_answer) in [(&near, &far, false), (&far, &near, true)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let inner = shared.clone();
            shared.threads.lock().unwrap().push(std::thread::spawn(move || pass(from, to, is_answer, &inner)));
        }
        open.extend([near, far]);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, is_answer: bool, shared: &Shared) {
    from.set_read_timeout(Some(NAP)).unwrap();
    let mut buffer = vec![0; 64 << 10];
    // A frame that has come in part.
    let mut frames: Vec<u8> = Vec::new();
    // Else it is TLS, of which nothing can be read: HTTP/2 in the clear begins with a short frame, its settings.
    let mut is_framed = None;
    while !shared.ended.load(Ordering::Relaxed) {
        if shared.stopped.load(Ordering::Relaxed) {
            std::thread::sleep(NAP);
            continue;
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => {
                if is_answer {
                    let brought = shared.brought.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
                    let stop_after = shared.stop_after.load(Ordering::Relaxed);
                    if stop_after > 0 && brought > stop_after {
                        shared.stopped.store(true, Ordering::Relaxed);
                    }
                }
                if !is_answer || !*is_framed.get_or_insert(buffer[0] == 0) {
                    if to.write_all(&buffer[..bytes]).is_err() {
                        break;
                    }
                    continue;
                }
                frames.extend(&buffer[..bytes]);
                let mut has_overtaken = false;
                while let Some(mut frame) = next_frame(&mut frames) {
                    if shared.losing.load(Ordering::Relaxed)
                        && let Some(notice) = without_changes(&frame)
                    {
                        frame = notice;
                    }
                    if shared.overtaking.load(Ordering::Relaxed)
                        && let Some(notice) = without_changes(&frame)
                    {
                        (frame, has_overtaken) = (notice, true);
                        shared.refusing.store(true, Ordering::Relaxed);
                        shared.overtaking.store(false, Ordering::Relaxed);
                    }
                    if to.write_all(&frame).is_err() || has_overtaken {
                        has_overtaken = true;
                        break;
                    }
                }
                if has_overtaken {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// The length of HTTP/2's frame header (RFC 9113 §4.1), and of gRPC's in front of a message.
const FRAME: usize = 9;
const MESSAGE: usize = 5;

/// Takes a whole frame off what has come.
fn next_frame(come: &mut Vec<u8>) -> Option<Vec<u8>> {
    let [a, b, c] = *come.first_chunk()?;
    let length = FRAME + u32::from_be_bytes([0, a, b, c]) as usize;
    (come.len() >= length).then(|| come.drain(..length).collect())
}

/// A frame with a WatchResponse, without its events (field 11); None for any other.
fn without_changes(frame: &[u8]) -> Option<Vec<u8>> {
    const DATA: u8 = 0;
    const EVENTS: u64 = 11;
    let mut rest = frame.get(FRAME + MESSAGE..).filter(|_| frame[3] == DATA)?;
    let (mut kept, mut events) = (Vec::new(), 0);
    while !rest.is_empty() {
        let field = rest;
        let key = varint(&mut rest)?;
        let value = varint(&mut rest)?;
        match key & 7 {
            0 => {}
            2 => rest = rest.get(value as usize..)?,
            _ => return None,
        }
        if key >> 3 == EVENTS {
            events += 1;
        } else {
            kept.extend(&field[..field.len() - rest.len()]);
        }
    }
    let length = (kept.len() as u32).to_be_bytes();
    let whole = ((MESSAGE + kept.len()) as u32).to_be_bytes();
    (events > 0).then(|| [&whole[1..], &frame[3..FRAME], &[0], &length, &kept].concat())
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
