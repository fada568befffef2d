//! Datagrams: a batch in, a batch out. What the fast way answers leaves with its batch; the rest becomes a task each.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use bowline_sys::datagrams::{BATCH, Path, Receiver, Sender};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use super::Server;
use super::tasks::{Ended, Slot, Tasks};
use crate::address::{Address, Transport};
use crate::fast::{Fast, Plain, Step};
use crate::plugin::Request;

type Socket = Rc<UdpSocket>;

/// Serves a socket until its listener is closed.
pub(super) async fn serve(address: Address, socket: std::net::UdpSocket, slot: Slot, mut ended: Ended, tasks: Tasks) {
    let socket = match UdpSocket::from_std(socket) {
        Ok(socket) => Rc::new(socket),
        Err(error) => return tracing::error!(%address, %error, "the socket can't be watched"),
    };
    let outbox = Rc::new(Outbox { socket: socket.clone(), sender: RefCell::new(Sender::new()), filled: Notify::new() });
    tasks.listen(outbox.clone().flush());
    let mut batch = Batch {
        address: address.socket(),
        receiver: Receiver::new(),
        sender: Sender::new(),
        plain: Plain::default(),
        random: fastrand::Rng::new(),
        outbox: Held(outbox),
        tasks,
    };
    let mut turns = 0;
    loop {
        let ready = tokio::select! {
            biased;
            _ = ended.changed() => break,
            ready = socket.readable() => ready,
        };
        if let Err(error) = ready {
            return tracing::error!(%address, %error, "the socket can't be watched");
        }
        // Fewer than a batch: the socket was empty, and what came since wakes us again. "Would block" says so.
        let _ = socket.try_io(Interest::READABLE, || match batch.turn(&socket, &slot.load()) {
            Ok(count) if count < BATCH => Err(io::ErrorKind::WouldBlock.into()),
            received => received,
        });
        turns = if batch.tasks.count() > LISTENING { TURNS } else { turns + 1 };
        if turns >= TURNS {
            turns = 0;
            tokio::task::yield_now().await;
        }
    }
    // What has come is answered; what comes while that is done is not waited for. The flusher of the outbox ends with
    // the last question that waits for its answer.
    for _ in 0..LAST {
        if batch.turn(&socket, &slot.load()).is_err() {
            break;
        }
    }
}

/// Tasks of a thread that no question waits for, where it listens at one address.
const LISTENING: usize = 3;
/// Batches after which the rest of the thread has its turn, however many more there are: connections, orders.
const TURNS: usize = 16;
/// Batches that are taken at the end: more than a buffer of 8 MiB holds, in which no datagram takes less than 768 bytes.
const LAST: usize = 192;

struct Batch {
    address: SocketAddr,
    receiver: Receiver,
    sender: Sender,
    plain: Plain,
    random: fastrand::Rng,
    outbox: Held,
    tasks: Tasks,
}

impl Batch {
    /// Takes what has come, and answers it or makes tasks of it. How many came.
    fn turn(&mut self, socket: &Socket, server: &std::sync::Arc<Server>) -> io::Result<usize> {
        let count = match self.receiver.receive(&**socket) {
            Ok(count) => count,
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    tracing::debug!(address = %self.address, %error, "receiving");
                }
                return Err(error);
            }
        };
        let mut next = 0;
        let tasks = self.tasks.clone();
        let mut before = 0;
        while tasks.catch(|| self.answer(&mut next, server)).is_none() && next > before {
            // The fast way has panicked: the other answers, and the rest of the batch has its turn.
            if let Some(datagram) = self.receiver.datagrams().nth(next - 1).filter(|one| !one.is_cut) {
                self.answer_later(datagram.path, datagram.bytes.to_vec(), server);
            }
            before = next;
        }
        let sent = self.sender.send(&**socket);
        if let Some(error) = sent.error {
            tracing::debug!(address = %self.address, %error, failed = sent.failed, "answers could not be sent");
        }
        // A full buffer means that nobody takes answers as fast as we give them: what is left would be late.
        self.sender.clear();
        Ok(count)
    }

    /// Answers those that have come, from the `next` on.
    fn answer(&mut self, next: &mut usize, server: &std::sync::Arc<Server>) {
        let began = Instant::now();
        // Looked at for every eighth answer: the clock takes as long as a few counters.
        let (mut seconds, mut answers) = (0.0, 0u32);
        for datagram in self.receiver.datagrams().skip(*next) {
            *next += 1;
            let path = datagram.path;
            let to = path.local.map_or(self.address, |local| SocketAddr::new(local.address, self.address.port()));
            if self.plain.read(datagram.bytes)
                && let Some(room) = self.sender.room()
            {
                let mut fast = Fast::new(&self.plain, datagram.bytes, path.peer, to, room, &mut self.random);
                if server.fast(&mut fast) == Step::Answered {
                    if let Some(meter) = fast.meter {
                        if answers.is_multiple_of(8) {
                            seconds = began.elapsed().as_secs_f64();
                        }
                        answers += 1;
                        meter.answered(&fast.answered(seconds));
                    }
                    let length = fast.written();
                    self.sender.push(&path, length);
                    continue;
                }
            }
            if datagram.is_cut {
                continue;
            }
            self.answer_later(path, datagram.bytes.to_vec(), server);
        }
    }

    /// Makes a task of a question.
    fn answer_later(&self, path: Path, packet: Vec<u8>, server: &std::sync::Arc<Server>) {
        let Some(admitted) = self.tasks.enter() else { return };
        let to = path.local.map_or(self.address, |local| SocketAddr::new(local.address, self.address.port()));
        let request = Request::new(packet, path.peer, to, Transport::Udp);
        let (server, outbox) = (server.clone(), Held(self.outbox.0.clone()));
        self.tasks.spawn(async move {
            let _admitted = admitted;
            if let Some(answer) = server.answer(request).await {
                outbox.0.push(&path, &answer).await;
            }
        });
    }
}

/// Answers of tasks. Those that are ready at the same time leave in one batch.
struct Outbox {
    socket: Socket,
    sender: RefCell<Sender>,
    filled: Notify,
}

/// An outbox, held by each task that may still put something into it.
struct Held(Rc<Outbox>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.filled.notify_one();
    }
}

impl Outbox {
    async fn push(&self, path: &Path, answer: &[u8]) {
        while !self.sender.borrow_mut().push_bytes(path, answer) {
            self.wait().await;
        }
        self.filled.notify_one();
    }

    async fn wait(&self) {
        self.filled.notify_one();
        tokio::task::yield_now().await;
    }

    /// Sends what is put into it, until no task is left that could.
    async fn flush(self: Rc<Outbox>) {
        while Rc::strong_count(&self) > 1 || !self.sender.borrow().is_empty() {
            self.filled.notified().await;
            // Others that are ready now come along.
            tokio::task::yield_now().await;
            let sent = self.sender.borrow_mut().send(&*self.socket);
            if sent.left > 0 {
                // As above: only "would block" has it wait for the next time.
                let full = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                if self.socket.try_io(Interest::WRITABLE, full).is_err() {
                    let _ = self.socket.writable().await;
                }
                self.filled.notify_one();
            }
        }
    }
}
