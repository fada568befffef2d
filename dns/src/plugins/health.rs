//! `health`: a page that says that the process lives, a probe of that page by itself, and lameduck: how long it goes
//! on after the end was asked for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::corefile::{CorefileError, Directive};
use bowline_observe::metrics::{Counter, Histogram, SLIM_TIME_BUCKETS};
use bowline_observe::pages::Page;

use crate::plugin::page::addresses;
use crate::plugin::{Building, Plugin};

#[cfg(test)]
mod tests;

const ADDRESS: &str = ":8080";
const PATH: &str = "/health";
/// How often the page is asked for.
const EVERY: Duration = Duration::from_secs(1);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// `health [ADDRESS] { lameduck DURATION }`
///
/// # Errors
/// The address or the duration can't be read, or an option is not there.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let directive = crate::plugin::only_one(directives)?;
    let address = directive.args_between(0, 1)?.first().map_or(ADDRESS, String::as_str);
    for option in directive.body() {
        match option.name.as_str() {
            "lameduck" => {
                option.one_arg()?;
                building.lameduck(option.duration(0)?);
            }
            _ => return Err(option.unknown_option(&["lameduck"])),
        }
    }
    let page = Arc::new(|_: &_| Page::text(200, "OK"));
    building.page(address, PATH, page).map_err(|message| directive.error(message))?;
    let listens = addresses(address, &building.services.node_local).map_err(|message| directive.error(message))?;
    let metrics = &building.services.metrics;
    let help = "Histogram of the time (in seconds) each request took.";
    let took = metrics.histogram("coredns_health_request_duration_seconds", help, SLIM_TIME_BUCKETS, &[]);
    let help = "The number of times the health check failed.";
    let failed = metrics.counter("coredns_health_request_failures_total", help, &[]);
    if let Some(address) = listens.first() {
        building.spawn("health", probe(reachable(*address), took, failed));
    }
    Ok(None)
}

/// An address by which one that is listened at can be reached.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    } else {
        address
    }
}

/// Asks for the page again and again: if that takes long, the process has trouble to keep up.
async fn probe(address: SocketAddr, took: Arc<Histogram>, failed: Arc<Counter>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let began = Instant::now();
        let asked = match tokio::time::timeout(PATIENCE, ask(address)).await {
            Ok(asked) => asked,
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        };
        let elapsed = began.elapsed();
        took.observe(elapsed.as_secs_f64());
        if let Err(error) = asked {
            failed.inc();
            tracing::warn!("plugin/health: Local health request to \"http://{address}{PATH}\" failed: {error}");
        } else if elapsed > EVERY {
            tracing::warn!("plugin/health: Local health request to \"http://{address}{PATH}\" took {elapsed:?}");
        }
    }
}

/// Asks for the page.
async fn ask(address: SocketAddr) -> std::io::Result<()> {
    const OK: &[u8] = b"HTTP/1.1 200";
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer).await?;
    if answer.starts_with(OK) { Ok(()) } else { Err(std::io::Error::other("the page is not there")) }
}
