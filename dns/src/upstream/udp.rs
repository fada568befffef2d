//! Datagrams: a few connected sockets for each upstream, each on a port of its own that the kernel draws at random.
//!
//! Several questions share a socket, so a question costs one send(2), and answers that come together one recvmmsg(2).
//! A socket is given up after some questions or seconds, before its port can be found out.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bowline_sys::datagrams::{BATCH, Receiver};
use rustix::net::SendFlags;
use tokio::io::{Interest, Ready};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::check::{Asked, Came};
use super::pool::{self, Waiting};
use super::{By, Upstream, UpstreamError, own_address};

/// Sockets open at a time, for each thread and upstream. A forger must guess one of them besides the id.
const SOCKETS: usize = 8;
/// Questions that a socket is used for.
const QUESTIONS: u32 = 1024;
/// The oldest that a socket gets.
const AGE: Duration = Duration::from_secs(30);

thread_local!(static RECEIVER: RefCell<Receiver> = RefCell::new(Receiver::new()));

pub(super) struct Socket {
    socket: UdpSocket,
    waiting: Rc<Waiting>,
    opened: Instant,
    used: Cell<Instant>,
    asked: Cell<u32>,
    /// No further questions; it closes when the last has its answer.
    retired: Notify,
    is_retired: Cell<bool>,
}

impl Socket {
    fn open(upstream: &Arc<Upstream>) -> io::Result<Rc<Socket>> {
        let to = upstream.endpoint.address;
        let socket = std::net::UdpSocket::bind(own_address(upstream.settings.source, to))?;
        socket.set_nonblocking(true)?;
        socket.connect(to)?;
        let now = Instant::now();
        let socket = Rc::new(Socket {
            socket: UdpSocket::from_std(socket)?,
            waiting: Rc::default(),
            opened: now,
            used: Cell::new(now),
            asked: Cell::new(0),
            retired: Notify::new(),
            is_retired: Cell::new(false),
        });
        tokio::task::spawn_local(receive(socket.clone(), upstream.clone()));
        Ok(socket)
    }

    fn retire(&self) {
        self.is_retired.set(true);
        self.retired.notify_one();
    }

    fn is_worn(&self, upstream: &Upstream, now: Instant) -> bool {
        let age = upstream.settings.max_age.map_or(AGE, |age| age.min(AGE));
        self.asked.get() >= QUESTIONS
            || now.duration_since(self.opened) >= age
            || now.duration_since(self.used.get()) >= upstream.settings.idle
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        let sent = rustix::net::send(&self.socket, message, SendFlags::empty());
        match sent {
            // An ICMP error of an earlier question shows here once (ip(7), IP_RECVERR); this one was not sent.
            Err(rustix::io::Errno::CONNREFUSED | rustix::io::Errno::HOSTUNREACH | rustix::io::Errno::NETUNREACH) => {
                rustix::net::send(&self.socket, message, SendFlags::empty())?;
            }
            // A full buffer is as good as a lost packet: the question is asked again when its time is over.
            Err(rustix::io::Errno::AGAIN) | Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// A socket to ask by, and whether it was open.
fn choose(upstream: &Arc<Upstream>) -> io::Result<(Rc<Socket>, bool)> {
    pool::with(upstream, |pool| {
        let now = Instant::now();
        pool.sockets.retain(|socket| {
            let is_fit = !socket.is_worn(upstream, now) && !socket.is_retired.get();
            if !is_fit {
                socket.retire();
            }
            is_fit
        });
        let most = upstream.settings.max_open.unwrap_or(SOCKETS).clamp(1, SOCKETS);
        if pool.sockets.len() < most {
            let socket = Socket::open(upstream)?;
            pool.sockets.push(socket.clone());
            return Ok((socket, false));
        }
        let chosen = pool.sockets[fastrand::usize(..pool.sockets.len())].clone();
        Ok((chosen, true))
    })
}

/// Asks by a datagram.
pub(super) async fn ask(
    upstream: &Arc<Upstream>,
    mut message: Vec<u8>,
    asked: Asked,
) -> Result<Vec<u8>, UpstreamError> {
    let (socket, was_open) = choose(upstream).map_err(|error| upstream.trouble(error))?;
    upstream.count(By::Udp, was_open);
    let Some(mut place) = socket.waiting.enter(asked) else {
        return Err(upstream.trouble(io::Error::other("too many questions wait for it")));
    };
    message[..2].copy_from_slice(&place.id.to_be_bytes());
    socket.used.set(Instant::now());
    socket.asked.set(socket.asked.get().saturating_add(1));
    socket.send(&message).map_err(|error| upstream.trouble(error))?;
    let time = upstream.settings.timeout;
    match timeout(time, &mut place.answer).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(UpstreamError::Closed(upstream.address())),
        Err(_) => Err(UpstreamError::Silent(upstream.address(), time)),
    }
}

/// Takes answers until the socket is retired and the last has come.
async fn receive(socket: Rc<Socket>, upstream: Arc<Upstream>) {
    let idle = upstream.settings.idle.max(Duration::from_millis(10));
    let upstream = Arc::downgrade(&upstream);
    loop {
        let ready = tokio::select! {
            // An ICMP error makes a socket ready without making it readable.
            ready = timeout(idle, socket.socket.ready(Interest::READABLE | Interest::ERROR)) => ready,
            () = socket.retired.notified() => Ok(Ok(Ready::EMPTY)),
        };
        // Gone after a reload: nobody waits any more.
        let Some(upstream) = upstream.upgrade() else { return };
        let is_idle = ready.is_err() && socket.used.get().elapsed() >= idle;
        let interest = match ready {
            Ok(Ok(ready)) if ready.is_error() => Interest::ERROR,
            Ok(Err(error)) => {
                socket.retire();
                return socket.waiting.fail(&upstream.trouble(error));
            }
            _ => Interest::READABLE,
        };
        // Without effect, but for clearing, where it is not ready for this.
        let result = socket.socket.try_io(interest, || take(&socket, &upstream));
        if let Err(error) = result
            && error.kind() != io::ErrorKind::WouldBlock
        {
            // An ICMP error: nobody listens there.
            socket.waiting.fail(&upstream.trouble(error));
        }
        if is_idle {
            socket.is_retired.set(true);
        }
        if socket.is_retired.get() && socket.waiting.count() == 0 {
            pool::with(&upstream, |pool| pool.sockets.retain(|other| !Rc::ptr_eq(other, &socket)));
            return;
        }
    }
}

/// Takes what has come. Less than a batch means that the socket is empty, which "would block" says.
fn take(socket: &Socket, upstream: &Upstream) -> io::Result<()> {
    RECEIVER.with_borrow_mut(|receiver| {
        let count = receiver.receive(&socket.socket)?;
        for datagram in receiver.datagrams() {
            let came = if datagram.is_cut { Came::LongDatagram } else { Came::Datagram };
            socket.waiting.take(upstream, datagram.bytes, came);
        }
        if count < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    })
}
