//! The threads that answer: one a core, each with sockets of its own at every address, and a runtime for what must wait.
//!
//! The kernel spreads datagrams and connections over the sockets of one address (SO_REUSEPORT), by client address and
//! port. Threads share the servers and nothing that is written.

use std::collections::BTreeMap;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::tasks::{Ended, Slot};
use super::{Instance, Pulse, listen, quic, stream, tasks, udp};
use crate::address::{Address, Transport};
use bowline_observe::metrics::Counter;

pub(super) enum Command {
    Listen(Address, Sockets, Slot),
    Close(Address),
    /// Store the number there, to say that the thread does its work.
    Beat(Arc<AtomicU64>, u64),
}

/// The sockets of one thread at one address.
pub(super) enum Sockets {
    /// Plain DNS: both.
    Plain(UdpSocket, TcpListener),
    /// TLS and HTTPS.
    Stream(TcpListener),
    /// QUIC.
    Quic(UdpSocket),
}

impl Sockets {
    fn open(address: &Address) -> io::Result<Sockets> {
        let at = address.socket();
        let sockets = match address.transport {
            Transport::Udp | Transport::Tcp => {
                listen::udp(at).and_then(|udp| Ok(Sockets::Plain(udp, listen::tcp(at)?)))
            }
            Transport::Tls | Transport::Https => listen::tcp(at).map(Sockets::Stream),
            Transport::Quic => listen::udp(at).map(Sockets::Quic),
        };
        sockets.map_err(|error| refused(&error, format!("listening at {address}")))
    }
}

/// Why an address can't be listened at, and what to do where only rights are missing.
pub(super) fn refused(error: &io::Error, what: String) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need root: run it as root, give it CAP_NET_BIND_SERVICE, or take another port"
        }
        _ => "",
    };
    io::Error::new(error.kind(), format!("{what}: {error}{hint}"))
}

struct Worker {
    commands: mpsc::UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

/// The threads.
pub struct Workers {
    workers: Vec<Worker>,
    slots: BTreeMap<Address, Slot>,
}

/// Sockets that are open and don't serve yet: for each address those of each thread.
pub(super) struct Opened(Vec<(Address, Vec<Sockets>)>);

impl Workers {
    /// Starts so many threads (at least one). Panics that end but one question are counted.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(count: usize, panics: &Arc<Counter>) -> io::Result<Workers> {
        let mut workers = Vec::new();
        for n in 0..count.max(1) {
            let (commands, inbox) = mpsc::unbounded_channel();
            let name = format!("bowline-dns-{n}");
            let panics = panics.clone();
            let thread = std::thread::Builder::new().name(name).spawn(move || run(inbox, count.max(1), panics))?;
            workers.push(Worker { commands, thread: Some(thread) });
        }
        Ok(Workers { workers, slots: BTreeMap::new() })
    }

    /// By which one sees whether they do their work.
    pub(super) fn pulse(&self) -> Pulse {
        Pulse::new(self.workers.iter().map(|worker| &worker.commands))
    }

    /// Opens the sockets that an instance needs and that are not open. Nothing has changed if it fails.
    pub(super) fn open(&self, instance: &Instance) -> io::Result<Opened> {
        let mut opened = Vec::new();
        for address in instance.servers().keys().filter(|address| !self.slots.contains_key(address)) {
            let sockets = self.workers.iter().map(|_| Sockets::open(address)).collect::<io::Result<_>>()?;
            opened.push((*address, sockets));
        }
        Ok(Opened(opened))
    }

    /// Serves an instance: sockets that are open go over to it between two batches.
    pub(super) fn serve(&mut self, instance: &Instance, opened: Opened) {
        for (address, server) in instance.servers() {
            if let Some(slot) = self.slots.get(address) {
                slot.store(server.clone());
            }
        }
        for (address, sockets) in opened.0 {
            let Some(server) = instance.servers().get(&address) else { continue };
            let slot = Slot::new(ArcSwap::new(server.clone()));
            for (worker, sockets) in self.workers.iter().zip(sockets) {
                // A thread that is gone has said so.
                let _ = worker.commands.send(Command::Listen(address, sockets, slot.clone()));
            }
            self.slots.insert(address, slot);
        }
        let gone: Vec<Address> =
            self.slots.keys().filter(|address| !instance.servers().contains_key(address)).copied().collect();
        for address in gone {
            self.close(address);
        }
    }

    fn close(&mut self, address: Address) {
        self.slots.remove(&address);
        for worker in &self.workers {
            let _ = worker.commands.send(Command::Close(address));
        }
    }

    /// Closes every socket, answers what has come, and ends the threads.
    pub fn stop(mut self) {
        for address in self.slots.keys().copied().collect::<Vec<_>>() {
            self.close(address);
        }
        for worker in &mut self.workers {
            let (closed, _) = mpsc::unbounded_channel();
            // Without a sender its inbox ends, and with that the thread.
            worker.commands = closed;
        }
        for worker in &mut self.workers {
            if worker.thread.take().is_some_and(|thread| thread.join().is_err()) {
                tracing::error!("a thread of the DNS server had ended by itself");
            }
        }
    }
}

/// How long questions that have come may take at the end.
const DRAIN: std::time::Duration = std::time::Duration::from_secs(5);

fn run(mut inbox: mpsc::UnboundedReceiver<Command>, threads: usize, panics: Arc<Counter>) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "no runtime for a thread of the DNS server"),
    };
    let local = LocalSet::new();
    runtime.block_on(local.run_until(async move {
        // A listener ends when its sender is dropped: it answers what it has read and closes.
        let mut listeners: BTreeMap<Address, tokio::sync::watch::Sender<()>> = BTreeMap::new();
        let tasks = tasks::Tasks::of_one_of(threads, panics);
        while let Some(command) = inbox.recv().await {
            match command {
                Command::Listen(address, sockets, slot) => {
                    let (end, ended) = tokio::sync::watch::channel(());
                    listeners.insert(address, end);
                    listen_at(address, sockets, slot, ended, &tasks);
                }
                Command::Close(address) => drop(listeners.remove(&address)),
                Command::Beat(answered, number) => answered.store(number, Ordering::Release),
            }
        }
        drop(listeners);
        if tokio::time::timeout(DRAIN, tasks.finished()).await.is_err() {
            tracing::warn!("questions that took longer than {DRAIN:?} were left unanswered");
        }
    }));
}

fn listen_at(address: Address, sockets: Sockets, slot: Slot, ended: Ended, tasks: &tasks::Tasks) {
    match sockets {
        Sockets::Plain(datagrams, streams) => {
            tasks.listen(udp::serve(address, datagrams, slot.clone(), ended.clone(), tasks.clone()));
            tasks.listen(stream::accept(address, streams, slot, ended, tasks.clone()));
        }
        Sockets::Stream(streams) => tasks.listen(stream::accept(address, streams, slot, ended, tasks.clone())),
        Sockets::Quic(datagrams) => tasks.listen(quic::serve(address, datagrams, slot, ended, tasks.clone())),
    }
}
