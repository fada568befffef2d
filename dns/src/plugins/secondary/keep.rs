//! Keeps a copied zone up to date, by its SOA's times (RFC 1034 §4.3.5): looks every `refresh` seconds, or when a NOTIFY
//! comes; after a failure every `retry` seconds; after `expire` seconds of failures the zone is served no more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bowline_cluster::span::exact;
use tokio::time::{Instant, sleep, timeout};

use super::Copy;
use super::book::Book;
use super::catalog::{self, CatalogError};
use super::client::{self, PrimaryError};
use crate::plugins::transfer::is_newer;
use crate::wire::Soa;

/// The pauses between the first tries: doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Copies the zone, and looks after it for as long as the instance lives.
/// `book`: where a catalog's zones are put down.
pub(super) async fn run(copy: Arc<Copy>, book: Option<Arc<Book>>) {
    let book = book.as_deref();
    let zone = copy.held.origin.clone();
    let mut pause = FIRST_PAUSE;
    // A zone that was kept over a reload is looked after at once.
    while copy.held.last().is_none() {
        match fetch(&copy, book).await {
            Ok(()) => break,
            Err(reason) => tracing::warn!(%zone, %reason, "no primary gave the zone; trying again in {}", exact(pause)),
        }
        let _ = timeout(pause, copy.news.notified()).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    relist(&copy, book);
    copy.held.renew();
    let mut good = Instant::now();
    let mut has_failed = false;
    while let Some(held) = copy.held.last() {
        let Times { refresh, retry, expire } = Times::of(held.soa());
        drop(held);
        let wait = if has_failed { retry } else { refresh };
        // Never later than the moment at which it expires.
        let left = expire.saturating_sub(good.elapsed());
        let wait = if left.is_zero() { wait } else { wait.min(left) };
        let _ = timeout(wait, copy.news.notified()).await;
        match look(&copy, book).await {
            Ok(()) => {
                copy.held.renew();
                (good, has_failed) = (Instant::now(), false);
            }
            Err(reason) => {
                tracing::warn!(%zone, %reason, "no primary tells of the zone; trying again in {}", exact(retry));
                has_failed = true;
                if good.elapsed() >= expire {
                    tracing::error!(%zone, "the zone has expired: it is served no more");
                    copy.held.expire();
                }
            }
        }
    }
}

struct Times {
    refresh: Duration,
    retry: Duration,
    expire: Duration,
}

impl Times {
    /// What an SOA says, none below a second; not all secondaries come at once.
    fn of(soa: &Soa) -> Times {
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds.max(1)));
        let jitter = |most: u64| Duration::from_millis(fastrand::u64(0..=most));
        let (refresh, retry) = (seconds(soa.refresh), seconds(soa.retry));
        let spread = |time: Duration, most: u64| time + jitter(most.min(time.as_millis() as u64 / 2));
        Times { refresh: spread(refresh, 5000), retry: spread(retry, 2000), expire: seconds(soa.expire) }
    }
}

/// Why a zone could not be copied.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error("there is no primary")]
    NoPrimary,
    /// Of several, the last.
    #[error("{0}: {1}")]
    Primary(SocketAddr, PrimaryError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// Copies the zone if a primary has a newer one.
async fn look(copy: &Copy, book: Option<&Book>) -> Result<(), CopyError> {
    let mut last = CopyError::NoPrimary;
    for from in &copy.from {
        match client::serial(*from, &copy.held.origin).await {
            Ok(serial) => {
                let is_known = copy.held.serial().is_some_and(|known| !is_newer(serial, known));
                return if is_known { Ok(()) } else { fetch(copy, book).await };
            }
            Err(error) => last = CopyError::Primary(*from, error),
        }
    }
    // A moment's peace, if it fails at once.
    sleep(Duration::from_millis(10)).await;
    Err(last)
}

/// Copies the zone from the first primary that gives it.
async fn fetch(copy: &Copy, book: Option<&Book>) -> Result<(), CopyError> {
    let mut last = CopyError::NoPrimary;
    for from in &copy.from {
        match client::zone(*from, &copy.held.origin).await {
            Ok(zone) => {
                let zone = Arc::new(zone);
                if copy.catalog.is_some() {
                    // What is no catalog must not take the zones of the last one away.
                    let members = catalog::members(&zone)?;
                    if let Some(book) = book {
                        book.list(copy, members);
                    }
                }
                tracing::info!(zone = %copy.held.origin, %from, serial = zone.soa().serial, "the zone was copied");
                copy.held.set(zone);
                return Ok(());
            }
            Err(error) => last = CopyError::Primary(*from, error),
        }
    }
    Err(last)
}

/// A catalog that was kept over a reload lists its zones again.
fn relist(copy: &Copy, book: Option<&Book>) {
    if let (Some(book), Some(zone), Some(_)) = (book, copy.held.last(), &copy.catalog)
        && let Ok(members) = catalog::members(&zone)
    {
        book.list(copy, members);
    }
}
