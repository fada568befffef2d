//! Streams (RFC 7766): questions one after the other, answers as they are ready. The same for TCP and TLS.

use std::cell::Cell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{timeout, timeout_at};

use super::secure::Secure;
use super::tasks::{Ended, Ends, Open, Slot, Tasks, plain_address};
use super::{Server, at_once, https};
use crate::address::{Address, Transport};
use crate::plugin::{Request, Timeouts};

/// Connections that are kept open at one address, by all threads together. More are closed at once.
const CONNECTIONS: usize = 8192;
/// Questions of one connection that may wait for their answers; then it is not read any further.
const PIPELINED: usize = 128;

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
        return https::serve(Box::new(stream), is_http2, address, ends, slot, ended, tasks, until).await;
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
        https::serve(Box::new(stream), is_http2, address, ends, slot, ended, tasks, until).await;
    } else {
        converse(stream, ends, slot, ended, tasks, until).await;
    }
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
        let answer = tasks.catch(|| at_once::answer(&server, &message, ends));
        if let Some(answer) = answer.flatten() {
            if answers.send((answer, permit)).is_err() {
                break;
            }
            continue;
        }
        let Some(admitted) = tasks.enter() else { break };
        let request = Request::new(message, ends.from, ends.to, ends.transport);
        let (answers, room) = (answers.clone(), room.clone());
        tasks.spawn(async move {
            let _admitted = admitted;
            let mut further = None;
            let Some(answer) = server.answer_stream(request, &mut further).await else { return };
            // A client that has gone needs no answer.
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
