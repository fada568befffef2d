//! Pages over HTTP/1.1: metrics, health. Their addresses may be open to everybody, so what a client can hold is bounded.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

#[cfg(test)]
mod tests;

/// A connection on which no request comes for so long is closed.
const IDLE: Duration = Duration::from_secs(10);
/// How long to wait where the system gives no connection.
const PAUSE: Duration = Duration::from_millis(50);

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub kind: &'static str,
    /// The text.
    pub body: String,
}

impl Page {
    /// A page of plain text.
    pub fn text(status: u16, body: impl Into<String>) -> Page {
        Page { status, kind: "text/plain; charset=utf-8", body: body.into() }
    }

    /// A page of metrics, in Prometheus' text format.
    pub fn metrics(body: String) -> Page {
        Page { status: 200, kind: "text/plain; version=0.0.4; charset=utf-8", body }
    }

    /// There is no such page.
    pub fn missing() -> Page {
        Page::text(404, "404 page not found\n")
    }
}

/// Serves pages for ever, to so many connections at a time (1 at least): one more waits until another ends. `page` makes one for a path; what takes long, or waits for a lock, it does elsewhere
/// (`spawn_blocking`).
pub async fn serve<F, P>(listener: TcpListener, connections: usize, page: F)
where
    F: Fn(String) -> P + Clone + Send + Sync + 'static,
    P: Future<Output = Page> + Send,
{
    let room = Arc::new(Semaphore::new(connections));
    loop {
        // Never closed, so there is always one to wait for.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                let address = listener.local_addr().ok();
                tracing::warn!(?address, %error, "no connection could be taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let page = page.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let page = page(request.uri().path().to_owned());
                async move { Ok::<_, Infallible>(response(page.await)) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(IDLE);
            // Who goes away in the middle is no news.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
            drop(place);
        });
    }
}

fn response(page: Page) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(page.body)));
    *response.status_mut() = StatusCode::from_u16(page.status).unwrap_or_default();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(page.kind));
    response
}
