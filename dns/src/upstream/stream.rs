//! Connections, plain or TLS, kept open: questions go out one behind the other without waiting, answers come in any
//! order (RFC 7766 §6.2.1.1, §7).

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::check::{Asked, Came};
use super::pool::{self, Waiting};
use super::{By, Endpoint, Trouble, Upstream, own_address};

/// Connections open at a time, for each thread and upstream.
const CONNECTIONS: usize = 4;
/// Questions that wait at each connection before a further one is opened: some servers answer one after the other.
const BUSY: usize = 32;
/// How long it may take to connect, with TLS.
const CONNECT: Duration = Duration::from_secs(3);

/// How far a connection is.
#[derive(Clone, Debug)]
enum State {
    Opening,
    Open,
    Closed(Trouble),
}

pub(super) struct Connection {
    outbox: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Rc<Waiting>,
    state: watch::Receiver<State>,
    opened: Instant,
    used: Cell<Instant>,
    /// When something came last.
    heard: Cell<Instant>,
    /// Some question was answered: if it closes now, that may be for being idle, and another is worth a try.
    has_answered: Cell<bool>,
}

impl Connection {
    fn open(upstream: &Arc<Upstream>) -> Rc<Connection> {
        let (outbox, inbox) = mpsc::unbounded_channel();
        let (told, state) = watch::channel(State::Opening);
        let now = Instant::now();
        let connection = Rc::new(Connection {
            outbox,
            waiting: Rc::default(),
            state,
            opened: now,
            used: Cell::new(now),
            heard: Cell::new(now),
            has_answered: Cell::new(false),
        });
        tokio::task::spawn_local(run(connection.clone(), upstream.clone(), inbox, told));
        connection
    }

    fn is_fit(&self, upstream: &Upstream, now: Instant) -> bool {
        let is_old = upstream.settings.max_age.is_some_and(|age| now.duration_since(self.opened) >= age);
        let is_idle = now.duration_since(self.used.get()) >= upstream.settings.idle;
        !is_old && !is_idle && !matches!(*self.state.borrow(), State::Closed(_))
    }
}

/// A connection to ask by, and whether it was open.
fn choose(upstream: &Arc<Upstream>) -> (Rc<Connection>, bool) {
    pool::with(upstream, |pool| {
        let now = Instant::now();
        // Who still waits at one of them holds it.
        pool.connections.retain(|connection| connection.is_fit(upstream, now));
        let most = upstream.settings.max_open.unwrap_or(CONNECTIONS).clamp(1, CONNECTIONS);
        let least = pool.connections.iter().min_by_key(|connection| connection.waiting.count());
        if let Some(least) = least
            && (least.waiting.count() < BUSY || pool.connections.len() >= most)
        {
            return (least.clone(), true);
        }
        let connection = Connection::open(upstream);
        pool.connections.push(connection.clone());
        (connection, false)
    })
}

/// Asks by a connection. One that the other side closed as we asked is tried anew once.
pub(super) async fn ask(upstream: &Arc<Upstream>, message: Vec<u8>, asked: Asked) -> Result<Vec<u8>, Trouble> {
    let (connection, was_open) = choose(upstream);
    upstream.count(By::Tcp, was_open);
    let outcome = ask_by(upstream, &connection, message.clone(), asked.clone()).await;
    match outcome {
        Err(Trouble::Closed(_) | Trouble::Io(..)) if was_open && connection.has_answered.get() => {
            let (connection, was_open) = choose(upstream);
            upstream.count(By::Tcp, was_open);
            ask_by(upstream, &connection, message, asked).await
        }
        outcome => outcome,
    }
}

async fn ask_by(
    upstream: &Arc<Upstream>,
    connection: &Connection,
    message: Vec<u8>,
    asked: Asked,
) -> Result<Vec<u8>, Trouble> {
    let Some(mut place) = connection.waiting.enter(asked) else {
        return Err(upstream.trouble(io::Error::other("too many questions wait for it")));
    };
    let Some(framed) = framed(&message, place.id) else { return Err(Trouble::Question) };
    let began = Instant::now();
    connection.used.set(began);
    if connection.outbox.send(framed).is_err() {
        return Err(Trouble::Closed(upstream.address()));
    }
    let mut state = connection.state.clone();
    // The time for the answer begins when there is a connection; opening one has a time of its own.
    if matches!(*state.borrow(), State::Opening) {
        let _ = state.changed().await;
    }
    if let State::Closed(trouble) = &*state.borrow() {
        return Err(trouble.clone());
    }
    let time = upstream.settings.timeout;
    match timeout(time, &mut place.answer).await {
        Ok(Ok(outcome)) => {
            connection.has_answered.set(true);
            connection.used.set(Instant::now());
            outcome
        }
        Ok(Err(_)) => Err(Trouble::Closed(upstream.address())),
        Err(_) => {
            // Nothing at all came meanwhile. The host there may be gone, of which TCP tells after a quarter of an hour:
            // the next question opens another.
            if connection.heard.get() < began {
                pool::with(upstream, |pool| pool.connections.retain(|other| !std::ptr::eq(&**other, connection)));
            }
            Err(Trouble::Silent(upstream.address(), time))
        }
    }
}

/// A message under this id, with its length in front.
fn framed(message: &[u8], id: u16) -> Option<Vec<u8>> {
    let length = u16::try_from(message.len()).ok()?;
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&id.to_be_bytes());
    framed.extend_from_slice(message.get(2..)?);
    Some(framed)
}

/// A stream of either kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Connects, with TLS where the endpoint has it.
pub(super) async fn connect(endpoint: &Endpoint, source: Option<IpAddr>) -> io::Result<Box<dyn Stream>> {
    let opening = async {
        let stream = plain(endpoint.address, source).await?;
        Ok(match &endpoint.tls {
            None => Box::new(stream) as Box<dyn Stream>,
            Some((config, name)) => {
                let connector = tokio_rustls::TlsConnector::from(config.clone());
                Box::new(connector.connect(name.clone(), stream).await?)
            }
        })
    };
    match timeout(CONNECT, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {CONNECT:?}"))),
    }
}

async fn plain(to: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if source.is_some() {
        socket.bind(own_address(source, to))?;
    }
    let stream = socket.connect(to).await?;
    // Questions are written whole.
    stream.set_nodelay(true)?;
    Ok(stream)
}

type Inbox = mpsc::UnboundedReceiver<Vec<u8>>;

async fn run(connection: Rc<Connection>, upstream: Arc<Upstream>, inbox: Inbox, told: watch::Sender<State>) {
    let trouble = match connect(&upstream.endpoint, upstream.settings.source).await {
        Err(error) => upstream.trouble(error),
        Ok(stream) => {
            // Receivers live as long as the connection.
            let _ = told.send(State::Open);
            match converse(&connection, &upstream, inbox, stream).await {
                Ok(()) => Trouble::Closed(upstream.address()),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Trouble::Closed(upstream.address()),
                Err(error) => upstream.trouble(error),
            }
        }
    };
    let _ = told.send(State::Closed(trouble.clone()));
    connection.waiting.fail(&trouble);
    pool::with(&upstream, |pool| pool.connections.retain(|other| !Rc::ptr_eq(other, &connection)));
}

/// Until it is idle, or either side ends it.
async fn converse(
    connection: &Connection,
    upstream: &Upstream,
    inbox: Inbox,
    stream: Box<dyn Stream>,
) -> io::Result<()> {
    let (reader, writer) = tokio::io::split(stream);
    let reading = pin!(read(connection, upstream, BufReader::with_capacity(16_384, reader)));
    let writing = pin!(write(inbox, writer));
    let idle = pin!(idle(connection, upstream));
    tokio::select! {
        ended = reading => ended,
        ended = writing => ended,
        () = idle => Ok(()),
    }
}

async fn read(connection: &Connection, upstream: &Upstream, mut reader: impl AsyncRead + Unpin) -> io::Result<()> {
    let mut message = Vec::new();
    loop {
        let length = reader.read_u16().await?;
        message.resize(usize::from(length), 0);
        reader.read_exact(&mut message).await?;
        connection.heard.set(Instant::now());
        connection.waiting.take(upstream, &message, Came::Stream);
    }
}

async fn write(mut inbox: Inbox, mut writer: impl AsyncWrite + Unpin) -> io::Result<()> {
    while let Some(mut bytes) = inbox.recv().await {
        // Those that are ready go together.
        while let Ok(more) = inbox.try_recv() {
            bytes.extend_from_slice(&more);
        }
        writer.write_all(&bytes).await?;
        writer.flush().await?;
    }
    Ok(())
}

async fn idle(connection: &Connection, upstream: &Upstream) {
    let idle = upstream.settings.idle.max(Duration::from_millis(10));
    loop {
        let since = connection.used.get().elapsed();
        if since >= idle && connection.waiting.count() == 0 {
            return;
        }
        tokio::time::sleep(idle.saturating_sub(since).max(Duration::from_millis(10))).await;
    }
}
