//! DNS over HTTPS (RFC 8484), by HTTP/1.1 and 2: GET and POST of `/dns-query`.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request as HttpRequest, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::stream::{Ends, Tasks};
use super::worker::{Ended, Slot};
use super::{Address, Server};
use crate::metrics::Counter;
use crate::plugin::classify::lifetime;
use crate::query::Request;
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
}

/// Answers a connection until either side ends it.
pub(super) async fn serve<S>(
    stream: S,
    is_http2: bool,
    address: Address,
    ends: Ends,
    slot: Slot,
    mut ended: Ended,
    tasks: Tasks,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let timeouts = slot.load().timeouts();
    let connection = Rc::new(Connection { address, ends, slot, tasks: tasks.clone() });
    let service = service_fn(move |request| {
        let connection = connection.clone();
        async move { Ok::<_, Infallible>(connection.answer(request).await) }
    });
    let stream = TokioIo::new(stream);
    // Who goes away in the middle is no news.
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
            _ = ended.changed() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    } else {
        let mut connection = std::pin::pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(timeouts.idle)
                .max_buf_size(1 << 17)
                .serve_connection(stream, service)
        );
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = ended.changed() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

impl Connection {
    async fn answer(&self, request: HttpRequest<Incoming>) -> Response<Full<Bytes>> {
        let server = self.slot.load_full();
        let (head, body) = request.into_parts();
        // Whole, whatever is asked: some clients take an answer that comes before they have sent all for a failure.
        let body = timeout(server.timeouts().read, Limited::new(body, MOST).collect()).await;
        let body = body.ok().and_then(Result::ok).map(Collected::to_bytes);
        let response = if head.uri.path() == PATH {
            match question(&head, body) {
                Some(raw) => self.said(raw, PATH.to_owned(), &server).await,
                None => page(StatusCode::BAD_REQUEST, "invalid request\n"),
            }
        } else {
            page(StatusCode::NOT_FOUND, "\n")
        };
        count(&server, &self.address, response.status());
        response
    }

    async fn said(&self, raw: Vec<u8>, path: String, server: &Arc<Server>) -> Response<Full<Bytes>> {
        let Some(_place) = self.tasks.enter() else {
            return page(StatusCode::SERVICE_UNAVAILABLE, "too many questions wait\n");
        };
        let Ends { from, to, transport } = self.ends;
        let request = Request { path: Some(path), ..Request::new(raw, from, to, transport) };
        let Some(answer) = server.answer(request).await else {
            return page(StatusCode::INTERNAL_SERVER_ERROR, "No response\n");
        };
        // RFC 8484 §5.1: no longer than the answer's records last.
        let age = Message::read(&answer).map_or(0, |message| lifetime(&message));
        let mut response = Response::new(Full::new(Bytes::from(answer)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MESSAGE));
        if let Ok(age) = HeaderValue::from_str(&format!("max-age={age}")) {
            response.headers_mut().insert(CACHE_CONTROL, age);
        }
        response
    }
}

/// The message that a request carries.
fn question(head: &Parts, body: Option<Bytes>) -> Option<Vec<u8>> {
    let raw = match head.method {
        Method::GET => get::message(head.uri.query()?)?,
        Method::POST => body?.to_vec(),
        _ => return None,
    };
    let message = Message::read(&raw).ok()?;
    (!message.flags.qr()).then_some(raw)
}

fn page(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Counts a response in `coredns_dns_https_responses_total`. Each thread keeps the counters that it has used.
fn count(server: &Server, address: &Address, status: StatusCode) {
    type Known = Vec<((Address, StatusCode, usize), Arc<Counter>)>;
    thread_local!(static KNOWN: RefCell<Known> = const { RefCell::new(Vec::new()) });
    let metrics = &server.services().metrics;
    let key = (*address, status, Arc::as_ptr(metrics).addr());
    KNOWN.with_borrow_mut(|known| {
        if let Some((_, counter)) = known.iter().find(|(found, _)| *found == key) {
            return counter.inc();
        }
        let help = "Counter of DoH responses per server and http status code.";
        let labels = [("server", &*address.to_string()), ("status", status.as_str())];
        let counter = metrics.counter("coredns_dns_https_responses_total", help, &labels);
        counter.inc();
        known.push((key, counter));
    });
}
