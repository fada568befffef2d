//! One connection, plain or TLS, kept open: questions go out, answers come in any order (RFC 7766 §6.2.1.1, §7).

use std::cell::Cell;
use std::future::ready;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::check::Came;
use super::connections::Counted;
use super::pool::{self, Waiting};
use super::{Endpoint, Upstream, UpstreamError, own_address};

/// How long it may take to connect, with TLS.
pub(super) const CONNECT: Duration = Duration::from_secs(3);
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);
/// Read at a time: an answer is seldom larger, and there may be many connections.
const BUFFER: usize = 2048;

pub(super) struct Connection {
    outbox: mpsc::UnboundedSender<Vec<u8>>,
    pub(super) waiting: Rc<Waiting>,
    opened: Instant,
    used: Cell<Instant>,
    was_used: Cell<bool>,
    has_answered: Cell<bool>,
    /// No further questions; it closes when the last that waits is gone.
    is_retired: Cell<bool>,
    retired: Notify,
}

impl Connection {
    /// Sends a message, with its length in front. False: it is closed.
    pub(super) fn send(&self, framed: Vec<u8>) -> bool {
        self.used.set(Instant::now());
        self.outbox.send(framed).is_ok()
    }

    /// Whether a question was sent by it before; from now on, one was.
    pub(super) fn use_again(&self) -> bool {
        self.was_used.replace(true)
    }

    pub(super) fn has_answered(&self) -> bool {
        self.has_answered.get()
    }

    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.get()
    }

    pub(super) fn retire(&self) {
        self.is_retired.set(true);
        self.retired.notify_one();
    }

    /// Whether it may take a further question.
    pub(super) fn is_fit(&self, upstream: &Upstream, now: Instant) -> bool {
        let is_old = upstream.settings.max_age.is_some_and(|age| now.duration_since(self.opened) >= age);
        let is_idle = now.duration_since(self.used.get()) >= upstream.settings.idle;
        !is_old && !is_idle && !self.is_retired()
    }
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
    timeout(CONNECT, opening).await.unwrap_or_else(|_| Err(too_late()))
}

pub(super) fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {CONNECT:?}"))
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

/// Opens a connection for whoever waits for one, and keeps it until either side ends it.
pub(super) async fn run(upstream: Arc<Upstream>, counted: Counted) {
    let mut stream = match connect(&upstream.endpoint, upstream.settings.source).await {
        Ok(stream) => stream,
        Err(error) => {
            drop(counted);
            let trouble = upstream.trouble(error);
            return pool::with(&upstream, |pool| pool.connections.failed(&upstream, &trouble));
        }
    };
    let (outbox, inbox) = mpsc::unbounded_channel();
    let now = Instant::now();
    let connection = Rc::new(Connection {
        outbox,
        waiting: Rc::default(),
        opened: now,
        used: Cell::new(now),
        was_used: Cell::new(false),
        has_answered: Cell::new(false),
        is_retired: Cell::new(false),
        retired: Notify::new(),
    });
    pool::with(&upstream, |pool| pool.connections.opened(&upstream, connection.clone()));
    let trouble = match converse(&connection, &upstream, inbox, &mut stream).await {
        Ok(()) => UpstreamError::Closed(upstream.address()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => UpstreamError::Closed(upstream.address()),
        Err(error) => upstream.trouble(error),
    };
    let was_left = !connection.is_retired.replace(true);
    drop(counted);
    pool::with(&upstream, |pool| {
        if was_left && connection.waiting.count() > 0 && !connection.has_answered() {
            pool.connections.brought_nothing();
        }
        pool.connections.closed(&upstream, &connection);
    });
    connection.waiting.fail(&trouble);
    // TLS has a word for it, without which an end may be somebody's attack.
    let _ = timeout(GOODBYE, stream.shutdown()).await;
}

/// Until it is idle or retired, or the other side ends it.
async fn converse(
    connection: &Rc<Connection>,
    upstream: &Arc<Upstream>,
    inbox: Inbox,
    stream: &mut Box<dyn Stream>,
) -> io::Result<()> {
    let (reader, writer) = tokio::io::split(stream);
    let reading = pin!(read(connection, upstream, BufReader::with_capacity(BUFFER, reader)));
    let writing = pin!(write(inbox, writer));
    let resting = pin!(rest(connection, upstream));
    tokio::select! {
        ended = reading => ended,
        ended = writing => ended,
        () = resting => Ok(()),
    }
}

async fn read(
    connection: &Rc<Connection>,
    upstream: &Arc<Upstream>,
    mut reader: BufReader<impl AsyncRead + Unpin>,
) -> io::Result<()> {
    let mut message = Vec::new();
    loop {
        let length = reader.read_u16().await?;
        message.resize(usize::from(length), 0);
        reader.read_exact(&mut message).await?;
        let before = connection.waiting.count();
        connection.waiting.take(upstream, &message, Came::Stream);
        let after = connection.waiting.count();
        if message.capacity() > BUFFER {
            message = Vec::new();
        }
        if after == before {
            continue;
        }
        connection.used.set(Instant::now());
        if !connection.has_answered.replace(true) {
            pool::with(upstream, |pool| pool.connections.proved());
        }
        if after > 0 {
            continue;
        }
        if connection.is_retired() {
            return Ok(());
        }
        // Some close behind each answer, which may be here already.
        let more = tokio::select! {
            biased;
            more = reader.fill_buf() => Some(more?.len()),
            () = ready(()) => None,
        };
        if more == Some(0) {
            return Ok(());
        }
        pool::with(upstream, |pool| pool.connections.freed(upstream, connection.clone()));
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

async fn rest(connection: &Connection, upstream: &Upstream) {
    let idle = upstream.settings.idle.max(Duration::from_millis(10));
    loop {
        let since = connection.used.get().elapsed();
        if connection.waiting.count() == 0 && (connection.is_retired() || since >= idle) {
            return;
        }
        let wait = idle.saturating_sub(since).max(Duration::from_millis(10));
        let _ = timeout(wait, connection.retired.notified()).await;
    }
}
