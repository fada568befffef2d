//! /metrics, /healthz and /readyz.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::agent::Agent;

/// How long to wait before an address that can't be bound is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// The routes of the metrics address.
pub(crate) fn metrics(agent: Arc<Agent>) -> Router {
    Router::new().route(
        "/metrics",
        get(move || async move {
            match agent.metrics_page() {
                Ok(page) => {
                    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], page)
                        .into_response()
                }
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
            }
        }),
    )
}

/// The routes of the health address.
pub(crate) fn health(agent: Arc<Agent>) -> Router {
    Router::new().route("/healthz", get(|| async { "ok\n" })).route(
        "/readyz",
        get(move || async move {
            match agent.not_ready() {
                None => (StatusCode::OK, "ok\n".to_owned()),
                Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
            }
        }),
    )
}

/// Serves until the runtime ends. An address that can't be bound is no reason to end: it is tried again,
/// as kube-proxy does.
pub(crate) async fn serve(address: String, what: &'static str, router: Router) {
    if address.is_empty() {
        return;
    }
    loop {
        match TcpListener::bind(&address).await {
            Ok(listener) => {
                tracing::info!(%address, "serving {what}");
                if let Err(error) = axum::serve(listener, router.clone()).await {
                    tracing::warn!(%address, %error, "{what} ended; trying again");
                }
            }
            Err(error) => tracing::warn!(
                %address, %error, again_seconds = AGAIN.as_secs(),
                "cannot serve {what}; free the address or give another"
            ),
        }
        tokio::time::sleep(AGAIN).await;
    }
}
