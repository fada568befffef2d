//! Questions by connections: each is sent, waited for, and asked again where its connection ends before the answer
//! (RFC 7766 §6.2.4).

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::check::Asked;
use super::connection::Connection;
pub(super) use super::connection::connect;
use super::{By, Upstream, UpstreamError, connections, pool};

/// How often a question is sent at most: by a connection that was there, and by new ones.
const TRIES: u32 = 4;
/// How long a question waits at a new connection until it takes another that is free: some servers take a few
/// connections at a time, and leave further ones standing.
const STALL: Duration = Duration::from_millis(200);

/// Asks by a connection.
pub(super) async fn ask(upstream: &Arc<Upstream>, message: Vec<u8>, asked: Asked) -> Result<Vec<u8>, UpstreamError> {
    // Of the time for the answer; opening a connection has a time of its own.
    let mut left = upstream.settings.timeout;
    let mut tries = 0;
    loop {
        // Where one was closed, so may be others that were opened before.
        let outcome = match connections::take(upstream, tries > 0).await {
            Ok(connection) => {
                upstream.count(By::Tcp, connection.use_again());
                let began = Instant::now();
                let outcome = ask_or_move(upstream, &connection, &message, &asked, left).await;
                left = left.saturating_sub(began.elapsed());
                outcome
            }
            Err(trouble) if is_end(&trouble) => Err(trouble),
            Err(trouble) => return Err(trouble),
        };
        tries += 1;
        match outcome {
            Err(UpstreamError::Closed(_) | UpstreamError::Io(..)) if tries < TRIES && !left.is_zero() => {}
            outcome => return outcome,
        }
    }
}

/// Whether the other side ended a connection that it had taken.
fn is_end(trouble: &UpstreamError) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match trouble {
        UpstreamError::Closed(_) => true,
        UpstreamError::Io(_, error) => {
            matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
        }
        _ => false,
    }
}

/// Asks by a connection; where that is new and silent, by another too as soon as one is free.
async fn ask_or_move(
    upstream: &Arc<Upstream>,
    connection: &Rc<Connection>,
    message: &[u8],
    asked: &Asked,
    time: Duration,
) -> Result<Vec<u8>, UpstreamError> {
    if connection.has_answered() {
        return ask_by(upstream, connection, message, asked, time).await;
    }
    let mut first = std::pin::pin!(ask_by(upstream, connection, message, asked, time));
    let began = Instant::now();
    if let Ok(outcome) = timeout(STALL, &mut first).await {
        return outcome;
    }
    if connection.has_answered() {
        return first.await;
    }
    let second = async {
        let free = connections::free(upstream).await?;
        upstream.count(By::Tcp, free.use_again());
        ask_by(upstream, &free, message, asked, time.saturating_sub(began.elapsed())).await.ok()
    };
    tokio::select! {
        outcome = &mut first => outcome,
        Some(answer) = second => Ok(answer),
    }
}

/// A question that is out by a connection; where it is given up, so is the connection.
struct Out<'a> {
    upstream: &'a Arc<Upstream>,
    connection: &'a Connection,
    is_over: bool,
}

impl Drop for Out<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            // Its host may be gone, of which TCP tells after a quarter of an hour; or it answers in order, and whoever
            // came next would wait for this answer too.
            self.connection.retire();
            if !self.connection.has_answered() {
                pool::with(self.upstream, |pool| pool.connections.brought_nothing());
            }
        }
    }
}

async fn ask_by(
    upstream: &Arc<Upstream>,
    connection: &Connection,
    message: &[u8],
    asked: &Asked,
    time: Duration,
) -> Result<Vec<u8>, UpstreamError> {
    // Dropped in this order: what retires a connection finds nothing waiting there.
    let mut out = Out { upstream, connection, is_over: true };
    let Some(mut place) = connection.waiting.enter(asked.clone()) else {
        return Err(upstream.trouble(io::Error::other("too many questions wait for it")));
    };
    let Some(framed) = framed(message, place.id) else { return Err(UpstreamError::Question) };
    if !connection.send(framed) {
        return Err(UpstreamError::Closed(upstream.address()));
    }
    out.is_over = false;
    let outcome = timeout(time, &mut place.answer).await;
    match outcome {
        Ok(outcome) => {
            // A server that sends what is no answer is not asked by this connection again.
            out.is_over = matches!(outcome, Ok(Ok(_) | Err(UpstreamError::Closed(_) | UpstreamError::Io(..))));
            outcome.unwrap_or_else(|_| Err(UpstreamError::Closed(upstream.address())))
        }
        Err(_) => Err(UpstreamError::Silent(upstream.address(), upstream.settings.timeout)),
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
