//! DNS over HTTPS (RFC 8484), by HTTP/1.1 and 2: GET and POST of `/dns-query`. Behind a proxy that ends TLS, the same
//! without TLS.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::http::request::Parts;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request as HttpRequest, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::responses::{self, Responses};
use super::tasks::{Ended, Ends, Slot, Tasks};
use super::{Server, at_once};
use crate::address::Address;
use crate::plugin::Request;
use crate::reply::classify::lifetime;
use crate::wire::Message;

mod get;
#[cfg(test)]
mod tests;

/// The path that is answered.
const PATH: &str = "/dns-query";
const MESSAGE: &str = "application/dns-message";
/// The most bytes of a message.
const MOST: usize = 65_535;
/// Questions of one connection that may wait for their answers.
const STREAMS: u32 = 128;

/// A connection, with TLS or without. HTTP is compiled once, for both.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// Runs what a connection of HTTP/2 needs besides, on this thread.
#[derive(Clone)]
struct Local(Tasks);

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// What a connection's requests share.
struct Connection {
    address: Address,
    ends: Ends,
    slot: Slot,
    tasks: Tasks,
    busy: Rc<Busy>,
}

/// When a connection has been without a request for too long.
struct Busy {
    /// Requests under way.
    requests: Cell<usize>,
    /// By when the next one must be there, while there is none.
    until: Cell<Instant>,
    /// None has come yet.
    is_new: Cell<bool>,
    idle: Duration,
    changed: Notify,
}

/// A request under way.
struct Under<'a>(&'a Busy);

impl Drop for Under<'_> {
    fn drop(&mut self) {
        let busy = self.0;
        busy.requests.set(busy.requests.get() - 1);
        busy.until.set(Instant::now() + busy.idle);
        busy.changed.notify_one();
    }
}

impl Busy {
    fn begin(&self) -> Under<'_> {
        self.is_new.set(false);
        self.requests.set(self.requests.get() + 1);
        Under(self)
    }

    /// Waits until the time for a request is over.
    async fn over(&self) {
        loop {
            if self.requests.get() > 0 {
                self.changed.notified().await;
                continue;
            }
            let until = self.until.get();
            sleep_until(until).await;
            if self.requests.get() == 0 && self.until.get() == until {
                return;
            }
        }
    }
}

/// Whether a connection begins as HTTP/2 without TLS does (RFC 9113 §3.3). Nothing is taken from it.
pub(super) async fn begins_http2(stream: &TcpStream) -> io::Result<bool> {
    const PREFACE: &[u8; 4] = b"PRI ";
    let mut begin = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut begin).await?;
        if length == 0 || begin[..length] != PREFACE[..length] {
            return Ok(false);
        }
        if length == PREFACE.len() {
            return Ok(true);
        }
        // The rest of it is on its way, and nothing says when it has come.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Answers a connection until either side ends it. The first request is there by `until`.
#[allow(clippy::too_many_arguments, reason = "what every connection is given, and its first moment")]
pub(super) async fn serve(
    stream: Box<dyn Io>,
    is_http2: bool,
    address: Address,
    ends: Ends,
    slot: Slot,
    mut ended: Ended,
    tasks: Tasks,
    until: Instant,
) {
    let timeouts = slot.load().timeouts();
    let busy = Rc::new(Busy {
        requests: Cell::new(0),
        until: Cell::new(until),
        is_new: Cell::new(true),
        idle: timeouts.idle,
        changed: Notify::new(),
    });
    let connection = Rc::new(Connection { address, ends, slot, tasks: tasks.clone(), busy: busy.clone() });
    let service = service_fn(move |request| {
        let connection = connection.clone();
        async move {
            let _under = connection.busy.begin();
            Ok::<_, Infallible>(connection.answer(request).await)
        }
    });
    let stream = TokioIo::new(stream);
    // How long what is said last may take; None: as long as the whole server's end.
    let mut left = None;
    // A client that goes away in the middle is no news.
    if is_http2 {
        let mut connection = std::pin::pin!(
            http2::Builder::new(Local(tasks))
                .timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS)
                .max_header_list_size(1 << 17)
                .keep_alive_interval(timeouts.idle)
                .serve_connection(stream, service)
        );
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = ended.changed() => {}
            () = busy.over() => left = Some(timeouts.write).filter(|_| !busy.is_new.get()).or(Some(Duration::ZERO)),
        }
        connection.as_mut().graceful_shutdown();
        bounded(left, connection).await;
    } else {
        let mut connection = std::pin::pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                // `Busy` looks at that.
                .header_read_timeout(None)
                .max_buf_size(1 << 17)
                .serve_connection(stream, service)
        );
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = ended.changed() => {}
            () = busy.over() => left = Some(timeouts.write).filter(|_| !busy.is_new.get()).or(Some(Duration::ZERO)),
        }
        connection.as_mut().graceful_shutdown();
        bounded(left, connection).await;
    }
}

/// Waits for an end, for this long at most.
async fn bounded<F: Future>(left: Option<Duration>, end: F) {
    match left {
        Some(left) => drop(timeout(left, end).await),
        None => drop(end.await),
    }
}

impl Connection {
    async fn answer(&self, request: HttpRequest<Incoming>) -> Response<Full<Bytes>> {
        let server = self.slot.load_full();
        let (head, body) = request.into_parts();
        // Whole, whatever is asked: some clients take an answer that comes before they have sent all for a failure.
        let body = timeout(server.timeouts().read, Limited::new(body, MOST).collect()).await;
        let body = body.ok().and_then(Result::ok).map(Collected::to_bytes);
        let mut response = if head.uri.path() == PATH {
            match question(&head, body) {
                Some(raw) => self.said(raw, &server).await,
                None => no_question(),
            }
        } else {
            page(StatusCode::NOT_FOUND, "\n")
        };
        count(&server, &self.address, response.status());
        if head.method == Method::HEAD {
            // RFC 9110 §9.3.2: all but the content.
            let length = HeaderValue::from(response.body().size_hint().lower());
            response.headers_mut().insert(CONTENT_LENGTH, length);
            *response.body_mut() = Full::default();
        }
        response
    }

    async fn said(&self, raw: Vec<u8>, server: &Arc<Server>) -> Response<Full<Bytes>> {
        // Where the fast way panics, the other answers.
        let at_once = self.tasks.catch(|| at_once::answer(server, &raw, self.ends)).flatten();
        let answer = match at_once {
            Some(answer) => answer,
            None => match self.said_later(raw, server).await {
                Ok(answer) => answer,
                Err(page) => return page,
            },
        };
        // RFC 8484 §5.1: no longer than the answer's records last.
        let age = lifetime(&answer);
        let mut response = Response::new(Full::new(Bytes::from(answer)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MESSAGE));
        if let Ok(age) = HeaderValue::from_str(&format!("max-age={age}")) {
            response.headers_mut().insert(CACHE_CONTROL, age);
        }
        response
    }

    /// The long way's answer; where there is none, the page that says so.
    async fn said_later(&self, raw: Vec<u8>, server: &Arc<Server>) -> Result<Vec<u8>, Response<Full<Bytes>>> {
        let message = Message::read(&raw).ok().filter(|message| !message.flags.qr()).ok_or_else(no_question)?;
        let too_many = || page(StatusCode::SERVICE_UNAVAILABLE, "too many questions wait\n");
        let _admitted = self.tasks.enter().ok_or_else(too_many)?;
        let Ends { from, to, transport } = self.ends;
        let request = Request { message, ..Request::new(raw, from, to, transport) };
        let answer = server.answer_read(request, &mut None).await;
        answer.ok_or_else(|| page(StatusCode::INTERNAL_SERVER_ERROR, "No response\n"))
    }
}

/// What is said where there is no question.
fn no_question() -> Response<Full<Bytes>> {
    page(StatusCode::BAD_REQUEST, "invalid request\n")
}

/// The message that a request carries; whether it is one is not looked at.
fn question(head: &Parts, body: Option<Bytes>) -> Option<Vec<u8>> {
    match head.method {
        Method::GET => get::message(head.uri.query()?),
        Method::POST => Some(body?.to_vec()),
        _ => None,
    }
}

fn page(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Counts a response.
fn count(server: &Server, address: &Address, status: StatusCode) {
    const RESPONSES: Responses =
        ("coredns_dns_https_responses_total", "Counter of DoH responses per server and http status code.");
    responses::count(server, address, RESPONSES, status.as_u16(), |code| code.to_string());
}
