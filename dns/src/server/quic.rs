//! DNS over QUIC (RFC 9250): each stream carries one question and its answer.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;

use quinn::{Connection, Endpoint, EndpointConfig, RecvStream, SendStream, TokioRuntime, VarInt};
use tokio::time::timeout;

use super::responses::{self, Responses};
use super::secure::Secure;
use super::tasks::{Ended, Ends, Open, Slot, Tasks, plain_address};
use super::{Server, at_once};
use crate::address::{Address, Transport};
use crate::plugin::{Request, Timeouts};
use crate::wire::Message;
use crate::wire::edns::option;

#[cfg(test)]
mod tests;

/// Connections that a thread keeps open. More are refused.
const CONNECTIONS: usize = 1024;
/// From here on a client must show that it gets what is sent to its address (RFC 9000 §8.1.2).
const UNVALIDATED: usize = 128;

/// DOQ_NO_ERROR, DOQ_INTERNAL_ERROR, DOQ_PROTOCOL_ERROR, DOQ_EXCESSIVE_LOAD (RFC 9250 §8.4).
const NO_ERROR: VarInt = VarInt::from_u32(0);
const INTERNAL_ERROR: VarInt = VarInt::from_u32(1);
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(4);

/// Why a stream gets no answer.
enum StreamError {
    /// The client breaks the protocol: its connection is closed.
    Protocol,
    /// The stream is gone, or nothing is said.
    Stream,
    /// Too many questions wait.
    Load,
}

/// Serves a socket until its listener is closed.
pub(super) async fn serve(address: Address, socket: UdpSocket, slot: Slot, mut ended: Ended, tasks: Tasks) {
    let endpoint = match open(socket, &slot) {
        Ok(endpoint) => endpoint,
        Err(error) => return tracing::error!(%address, %error, "QUIC can't be served"),
    };
    let count = Rc::new(Cell::new(0usize));
    loop {
        let incoming = tokio::select! {
            _ = ended.changed() => break,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        let Secure::Quic(config) = slot.load().secure().clone() else {
            incoming.refuse();
            continue;
        };
        if count.get() >= CONNECTIONS {
            incoming.refuse();
            continue;
        }
        if count.get() >= UNVALIDATED && incoming.may_retry() {
            // It may: the answer goes to the address that the packet claims, and is no longer than the packet.
            let _ = incoming.retry();
            continue;
        }
        let to = SocketAddr::new(incoming.local_ip().unwrap_or(address.socket().ip()), address.port);
        let from = incoming.remote_address();
        let Ok(connecting) = incoming.accept_with(config) else { continue };
        let ends = Ends { from: plain_address(from), to: plain_address(to), transport: Transport::Quic };
        let (open, slot, ended, inner) = (Open::one_of(&count), slot.clone(), ended.clone(), tasks.clone());
        tasks.spawn(async move {
            let _open = open;
            let timeouts = slot.load().timeouts();
            if let Ok(Ok(connection)) = timeout(timeouts.read, connecting).await {
                converse(&connection, ends, address, slot, ended, &inner).await;
            }
        });
    }
    // Connections close themselves once their streams are answered; then the endpoint goes.
    endpoint.wait_idle().await;
}

fn open(socket: UdpSocket, slot: &Slot) -> io::Result<Endpoint> {
    // Each connection gets the configuration of its time; this one signs and reads tokens of addresses.
    let Secure::Quic(config) = slot.load().secure().clone() else { return Err(io::ErrorKind::InvalidInput.into()) };
    Endpoint::new(EndpointConfig::default(), Some((*config).clone()), socket, Arc::new(TokioRuntime))
}

/// Answers a connection until either side ends it.
async fn converse(connection: &Connection, ends: Ends, address: Address, slot: Slot, mut ended: Ended, tasks: &Tasks) {
    let streams = Rc::new(Cell::new(0usize));
    let all_done = Rc::new(tokio::sync::Notify::new());
    loop {
        let taken = tokio::select! {
            _ = ended.changed() => break,
            taken = connection.accept_bi() => taken,
        };
        let Ok((mut send, mut receive)) = taken else { return };
        let server = slot.load_full();
        let (connection, all_done) = (connection.clone(), all_done.clone());
        let waiting = tasks.clone();
        let stream = Stream { _open: Open::one_of(&streams), all_done };
        tasks.spawn(async move {
            let _stream = stream;
            let status = match answer(&mut send, &mut receive, ends, &server, &waiting).await {
                Ok(()) => Some(NO_ERROR),
                Err(StreamError::Protocol) => {
                    connection.close(PROTOCOL_ERROR, b"");
                    Some(PROTOCOL_ERROR)
                }
                Err(fault) => {
                    let code = if matches!(fault, StreamError::Load) { EXCESSIVE_LOAD } else { INTERNAL_ERROR };
                    // It may be gone already.
                    let _ = send.reset(code);
                    None
                }
            };
            if let Some(status) = status {
                count(&server, &address, status);
            }
        });
    }
    while streams.get() > 0 {
        all_done.notified().await;
    }
    connection.close(NO_ERROR, b"");
}

/// A stream that is open, until it is dropped.
struct Stream {
    _open: Open,
    all_done: Rc<tokio::sync::Notify>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        // What waits looks after this is gone: it is on this thread.
        self.all_done.notify_one();
    }
}

/// Answers the question of a stream.
async fn answer(
    send: &mut SendStream,
    receive: &mut RecvStream,
    ends: Ends,
    server: &Arc<Server>,
    tasks: &Tasks,
) -> Result<(), StreamError> {
    let timeouts = server.timeouts();
    let raw = read(receive, timeouts).await?;
    // RFC 9250 §4.2.1: the id is 0.
    if raw.get(..2) != Some(&[0, 0]) {
        return Err(StreamError::Protocol);
    }
    // Where the fast way panics, the other answers.
    if let Some(answer) = tasks.catch(|| at_once::answer(server, &raw, ends)).flatten() {
        write(send, &answer, timeouts).await?;
        return send.finish().map_err(|_| StreamError::Stream);
    }
    let message = Message::read(&raw).map_err(|_| StreamError::Protocol)?;
    // RFC 9250 §5.5.2.
    let has_keepalive = message.edns.as_ref().is_some_and(|edns| edns.option(option::TCP_KEEPALIVE).is_some());
    if has_keepalive || message.flags.qr() {
        return Err(StreamError::Protocol);
    }
    let _admitted = tasks.enter().ok_or(StreamError::Load)?;
    let request = Request { message, ..Request::new(raw, ends.from, ends.to, ends.transport) };
    let mut further = None;
    let first = server.answer_read(request, &mut further).await.ok_or(StreamError::Stream)?;
    write(send, &first, timeouts).await?;
    for message in further.and_then(|further| further.take()).into_iter().flatten() {
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        write(send, &bytes, timeouts).await?;
    }
    send.finish().map_err(|_| StreamError::Stream)
}

/// A message with its length in front. What follows it is not looked at.
async fn read(receive: &mut RecvStream, timeouts: Timeouts) -> Result<Vec<u8>, StreamError> {
    let read = timeout(timeouts.read, async {
        let mut length = [0; 2];
        receive.read_exact(&mut length).await?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        receive.read_exact(&mut message).await?;
        Ok::<_, quinn::ReadExactError>(message)
    });
    match read.await {
        Ok(Ok(message)) => Ok(message),
        Ok(Err(quinn::ReadExactError::ReadError(_))) => Err(StreamError::Stream),
        // The stream ends in the middle of a message (RFC 9250 §4.3.3), or nothing comes.
        Ok(Err(quinn::ReadExactError::FinishedEarly(_))) | Err(_) => Err(StreamError::Protocol),
    }
}

async fn write(send: &mut SendStream, message: &[u8], timeouts: Timeouts) -> Result<(), StreamError> {
    let length = u16::try_from(message.len()).map_err(|_| StreamError::Stream)?;
    let framed = [&length.to_be_bytes()[..], message].concat();
    let written = timeout(timeouts.write, send.write_all(&framed)).await;
    if matches!(written, Ok(Ok(()))) { Ok(()) } else { Err(StreamError::Stream) }
}

/// Counts a response, by the code with which its stream or its connection ends.
fn count(server: &Server, address: &Address, code: VarInt) {
    const RESPONSES: Responses =
        ("coredns_dns_quic_responses_total", "Counter of DoQ responses per server and QUIC application code.");
    responses::count(server, address, RESPONSES, code.into_inner() as u16, |code| format!("{code:#x}"));
}
