//! Streams (RFC 7766): questions one after the other, answers as they are ready. The same for TCP and TLS.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{timeout, timeout_at};

use super::secure::Secure;
use super::worker::{Ended, Slot};
use super::{Server, https, udp};
use crate::address::{Address, Transport};
use crate::caught;
use crate::fast::{Fast, Plain, Step};
use crate::metrics::Counter;
use crate::plugin::{Request, Timeouts};

/// Connections that are kept open at one address, by all threads together. More are closed at once.
const CONNECTIONS: usize = 8192;
/// Questions of one connection that may wait for their answers; then it is not read any further.
const PIPELINED: usize = 128;

/// Questions that may wait for their answer (from an upstream, say), whatever they came by, at all threads together. More
/// are dropped, as a full socket would, or their connection is closed: clients ask again, and memory stays bounded.
const WAITING: usize = 8192;
/// What a thread has of both at least, where there are many threads.
const LEAST: usize = 256;

/// What a question that can be answered at once needs. One for all connections of a thread: most say nothing.
struct Scratch {
    plain: Plain,
    out: [u8; 4096],
    random: fastrand::Rng,
}

thread_local!(static SCRATCH: RefCell<Box<Scratch>> = RefCell::new(Box::new(Scratch {
    plain: Plain::default(),
    out: [0; 4096],
    random: fastrand::Rng::new(),
})));

/// The tasks of a thread, counted so that its end can wait for them. A panic in one that listens ends the process, one
/// in a question's or a connection's ends that alone.
#[derive(Clone)]
pub(super) struct Tasks(Rc<Counted>);

struct Counted {
    /// How many threads there are, for this thread's share.
    threads: usize,
    /// `coredns_panics_total`.
    panics: Arc<Counter>,
    count: Cell<usize>,
    /// Those among them that are questions.
    waiting: Cell<usize>,
    none_left: Notify,
}

struct Ticket(Rc<Counted>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        if self.0.count.get() == 0 {
            self.0.none_left.notify_waiters();
        }
    }
}

/// A question's place among those that wait. It is free again when this is dropped.
pub(super) struct Place(Rc<Counted>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

impl Tasks {
    /// Of one of so many threads.
    pub(super) fn of_one_of(threads: usize, panics: Arc<Counter>) -> Tasks {
        let (count, waiting, none_left) = (Cell::new(0), Cell::new(0), Notify::new());
        Tasks(Rc::new(Counted { threads, panics, count, waiting, none_left }))
    }
    /// What of `all` is this thread's.
    fn share(&self, all: usize) -> usize {
        (all / self.0.threads.max(1)).max(LEAST)
    }
    /// Runs what listens, on this thread: it is needed for as long as its listener is open.
    pub(super) fn listen(&self, task: impl Future<Output = ()> + 'static) {
        let ticket = self.ticket();
        tokio::task::spawn_local(async move {
            let _ticket = ticket;
            task.await;
        });
    }
    /// Runs the task of a question or a connection, on this thread.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let ticket = self.ticket();
        caught::spawn_local(task, ticket, self.0.panics.clone());
    }
    fn ticket(&self) -> Ticket {
        self.0.count.set(self.0.count.get() + 1);
        Ticket(self.0.clone())
    }
    /// What comes of `work` for one question; None, and counted, if it panicked.
    pub(super) fn catch<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let done = caught::catch(work);
        if done.is_none() {
            self.0.panics.inc();
        }
        done
    }
    /// A place for one more question that must wait; None where too many do.
    pub(super) fn enter(&self) -> Option<Place> {
        let waiting = self.0.waiting.get();
        (waiting < self.share(WAITING)).then(|| {
            self.0.waiting.set(waiting + 1);
            Place(self.0.clone())
        })
    }
    /// How many run.
    pub(super) fn count(&self) -> usize {
        self.0.count.get()
    }
    /// Waits until none runs.
    pub(super) async fn finished(&self) {
        while self.count() > 0 {
            let none_left = self.0.none_left.notified();
            if self.count() > 0 {
                none_left.await;
            }
        }
    }
}

/// Takes connections until the listener is closed.
pub(super) async fn accept(address: Address, listener: TcpListener, slot: Slot, mut ended: Ended, tasks: Tasks) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%address, %error, "the listener can't be watched"),
    };
    let open = Rc::new(Cell::new(0usize));
    loop {
        let taken = tokio::select! {
            _ = ended.changed() => return,
            taken = listener.accept() => taken,
        };
        let (stream, peer) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                // Out of descriptors, mostly: others will be closed.
                tracing::warn!(%address, %error, "no connection could be taken");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        if open.get() >= tasks.share(CONNECTIONS) {
            continue;
        }
        let to = stream.local_addr().unwrap_or_else(|_| address.socket());
        let transport = if address.transport == Transport::Udp { Transport::Tcp } else { address.transport };
        let ends = Ends { from: plain_address(peer), to: plain_address(to), transport };
        // Answers are written whole; waiting for more to fill a packet helps nobody.
        let _ = stream.set_nodelay(true);
        let (open, slot, ended, inner) = (Open::one_of(&open), slot.clone(), ended.clone(), tasks.clone());
        tasks.spawn(async move {
            let _open = open;
            let until = tokio::time::Instant::now() + slot.load().timeouts().read;
            match ends.transport {
                Transport::Tcp => converse(stream, ends, slot, ended, inner, until).await,
                // In a box: connections without TLS are the many, and need no room for a handshake.
                _ => Box::pin(shake_hands(stream, address, ends, slot, ended, inner, until)).await,
            }
        });
    }
}

/// One of those that are open, until it is dropped.
pub(super) struct Open(Rc<Cell<usize>>);

impl Open {
    pub(super) fn one_of(count: &Rc<Cell<usize>>) -> Open {
        count.set(count.get() + 1);
        Open(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Answers what comes by TLS, or from a proxy that has ended TLS. The first question is there by `until`, the handshake
/// before it.
async fn shake_hands(
    stream: tokio::net::TcpStream,
    address: Address,
    ends: Ends,
    slot: Slot,
    ended: Ended,
    tasks: Tasks,
    until: tokio::time::Instant,
) {
    let server = slot.load_full();
    let Secure::Tls(config) = server.secure() else {
        drop(server);
        if ends.transport != Transport::Https {
            return converse(stream, ends, slot, ended, tasks, until).await;
        }
        let Ok(Ok(is_http2)) = timeout_at(until, https::begins_http2(&stream)).await else { return };
        return https::serve(stream, is_http2, address, ends, slot, ended, tasks, until).await;
    };
    let handshake = tokio_rustls::TlsAcceptor::from(config.clone()).accept(stream);
    let stream = match timeout_at(until, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, from = %ends.from, %error, "no TLS"),
        Err(_) => return,
    };
    drop(server);
    if ends.transport == Transport::Https {
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        https::serve(stream, is_http2, address, ends, slot, ended, tasks, until).await;
    } else {
        converse(stream, ends, slot, ended, tasks, until).await;
    }
}

/// An IPv4 address that a socket of IPv6 shows mapped, as itself.
pub(super) fn plain_address(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Between whom a connection is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) transport: Transport,
}

/// Answers what comes by a stream, until either side ends it. The first question is there by `until`.
pub(super) async fn converse<S>(
    stream: S,
    ends: Ends,
    slot: Slot,
    mut ended: Ended,
    tasks: Tasks,
    until: tokio::time::Instant,
) where
    S: AsyncRead + AsyncWrite + 'static,
{
    let timeouts = slot.load().timeouts();
    let (mut reader, writer) = tokio::io::split(stream);
    let (answers, inbox) = mpsc::unbounded_channel();
    tasks.spawn(write(writer, inbox, timeouts));
    let room = Arc::new(Semaphore::new(PIPELINED));
    let started = Instant::now();
    let mut left = timeouts.questions.unwrap_or(u32::MAX);
    let mut first = Some(until);
    while left > 0 {
        let message = tokio::select! {
            _ = ended.changed() => break,
            message = read(&mut reader, timeouts, first.take()) => message,
        };
        let Ok(message) = message else { break };
        left -= u32::from(timeouts.questions.is_some());
        let Ok(permit) = room.clone().acquire_owned().await else { break };
        let server: Arc<Server> = slot.load_full();
        // Where the fast way panics, the other answers.
        let answer = tasks.catch(|| answer_at_once(&server, &message, ends, started));
        if let Some(answer) = answer.flatten() {
            if answers.send((answer, permit)).is_err() {
                break;
            }
            continue;
        }
        let Some(place) = tasks.enter() else { break };
        let request = Request::new(message, ends.from, ends.to, ends.transport);
        let (answers, room) = (answers.clone(), room.clone());
        tasks.spawn(async move {
            let _place = place;
            let mut further = None;
            let Some(answer) = server.answer_stream(request, &mut further).await else { return };
            // Who has gone needs no answer.
            if answers.send((answer, permit)).is_err() {
                return;
            }
            for message in further.and_then(|further| further.take()).into_iter().flatten() {
                // No further ahead of the client than answers to questions may be.
                let Ok(permit) = room.clone().acquire_owned().await else { return };
                let mut bytes = Vec::new();
                message.write(&mut bytes);
                if answers.send((bytes, permit)).is_err() {
                    return;
                }
            }
        });
    }
}

/// The answer that needs no task; None where there is none.
fn answer_at_once(server: &Server, message: &[u8], ends: Ends, started: Instant) -> Option<Vec<u8>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let Scratch { plain, out, random } = &mut **scratch;
        if !plain.read(message) {
            return None;
        }
        let began = Instant::now();
        let now = began.duration_since(started).as_secs_f64();
        let mut fast = Fast::new(plain, message, ends.from, ends.to, now, out, random);
        fast.by_stream(ends.transport);
        if server.fast(&mut fast) != Step::Answered {
            return None;
        }
        if let Some(meter) = fast.meter {
            meter.answered(&udp::answered(&fast, began.elapsed().as_secs_f64()));
        }
        Some(fast.answer().to_vec())
    })
}

/// Reads a message with its length in front; the first one of a connection is there by `first`. Room is made for what
/// has come, not for what was announced.
async fn read(
    reader: &mut (impl AsyncRead + Unpin),
    timeouts: Timeouts,
    first: Option<tokio::time::Instant>,
) -> io::Result<Vec<u8>> {
    let now = tokio::time::Instant::now;
    let mut length = [0; 2];
    timeout_at(first.unwrap_or_else(|| now() + timeouts.idle), reader.read_exact(&mut length)).await??;
    let length = u16::from_be_bytes(length);
    let mut message = Vec::new();
    let mut rest = reader.take(u64::from(length));
    timeout_at(first.unwrap_or_else(|| now() + timeouts.read), rest.read_to_end(&mut message)).await??;
    if message.len() < usize::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(message)
}

type Inbox = mpsc::UnboundedReceiver<(Vec<u8>, tokio::sync::OwnedSemaphorePermit)>;

/// Writes answers, those that are ready together at once.
async fn write(mut writer: impl AsyncWrite + Unpin, mut inbox: Inbox, timeouts: Timeouts) {
    let mut bytes = Vec::new();
    let mut permits = Vec::new();
    while let Some(answer) = inbox.recv().await {
        let mut next = Some(answer);
        while let Some((answer, permit)) = next {
            let Ok(length) = u16::try_from(answer.len()) else { break };
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&answer);
            permits.push(permit);
            next = if bytes.len() < 65_536 { inbox.try_recv().ok() } else { None };
        }
        let written = timeout(timeouts.write, async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        });
        if !matches!(written.await, Ok(Ok(()))) {
            return;
        }
        bytes.clear();
        permits.clear();
    }
    let _ = writer.shutdown().await;
}
