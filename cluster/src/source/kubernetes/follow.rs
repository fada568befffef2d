//! One collection: listed, watched, and listed again where its watch can't go on.
//!
//! A list is a watch that begins with what there is, where the server can do that: one request, and no page
//! is ever in memory. Otherwise it comes in pages. Whatever happens, the watch goes on where it stopped, and
//! only if that is no longer possible the collection is listed again.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use kube_client::client::Body;
use tokio::time::{sleep, timeout};

use super::connection::{Failure, Link, Servers, explain, jitter, pause, refused_us};
use super::resource::Resource;
use super::wire::{Bookmark, Event, Lines, MAX_LINE, Page, Status};
use crate::parse::Envelope;
use crate::source::remote::{Collection, Mirror};
use crate::source::{Origin, Problem};

/// How many objects a page has.
const PAGE: u32 = 500;
/// How long a watch lasts, from and to: not all nodes come back at the same moment.
const LIFE: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(600));
/// Bookmarks come about once a minute; without one for so long it is checked what the matter is. All there is
/// where pings don't reach the server: behind a proxy that speaks HTTP itself, and without HTTP/2.
const SILENCE: Duration = Duration::from_secs(100);
/// After so many frames others get their turn.
const FRAMES: u32 = 64;
/// How long it is left alone at most where it is missing or forbidden.
const LONG_PAUSE: Duration = Duration::from_secs(60);
/// What went on for so long was good, and begins the pauses anew.
const GOOD: Duration = Duration::from_secs(10);

/// Follows one collection for good.
pub(super) struct Follower<'m, 's> {
    servers: &'m Servers<'s>,
    mirror: &'m RefCell<Mirror<'s>>,
    c: Collection,
    resource: Resource,
    origin: Origin,
    /// Where the watch is, and in which epoch that means something; None where it must be listed.
    place: Option<(u64, Box<str>)>,
    /// How often it has failed in a row.
    failures: u32,
}

/// How a watch came to its end.
enum End {
    /// Its time was up.
    Over,
    /// Too early, or it said nothing.
    Early,
}

impl<'m, 's> Follower<'m, 's> {
    pub(super) fn new(
        servers: &'m Servers<'s>,
        mirror: &'m RefCell<Mirror<'s>>,
        c: Collection,
        resource: Resource,
    ) -> Self {
        // The same for all objects: one for each would be felt in memory.
        let origin = Origin::from(format!("kubernetes:{}", resource.path()));
        Follower { servers, mirror, c, resource, origin, place: None, failures: 0 }
    }

    /// Never returns.
    pub(super) async fn run(mut self) {
        // When the watch ended unasked: what comes after it must be seen to be the same data.
        let mut since = None;
        loop {
            let link = self.servers.link(since.take(), &|reason| self.away(reason)).await;
            if self.place.as_ref().is_some_and(|(epoch, _)| *epoch != link.epoch) {
                self.place = None;
            }
            let began = Instant::now();
            let end = self.list_and_watch(&link).await;
            if began.elapsed() > GOOD {
                self.failures = 0;
            }
            match end {
                Ok(End::Over) => {}
                Ok(End::Early) => {
                    since = Some(Instant::now());
                    if self.failures > 0 {
                        sleep(pause(self.failures)).await;
                    }
                    self.failures += 1;
                }
                Err(failure) => self.fail(&link, failure).await,
            }
        }
    }

    async fn list_and_watch(&mut self, link: &Link) -> Result<End, Failure> {
        let (began, life) = (Instant::now(), life());
        let body = loop {
            if self.place.is_none() && link.streams.get() == Some(false) {
                self.list(link).await?;
            }
            let path = match &self.place {
                Some((_, version)) => self.resource.watch(version, life.as_secs()),
                None => self.resource.stream(life.as_secs()),
            };
            match self.servers.get(link, &path).await {
                Err(Failure::Refused(status))
                    if self.place.is_none() && matches!(status.code, 400 | 422) && link.streams.get() != Some(true) =>
                {
                    tracing::debug!(url = %link.url, %status, "the server streams no lists; reading them in pages");
                    link.streams.set(Some(false));
                }
                answer => break answer?,
            }
        };
        let mut listing = None;
        if self.place.is_none() {
            link.streams.set(Some(true));
            listing = Some(began);
            self.mirror.borrow_mut().begin(self.c);
        }
        self.mirror.borrow_mut().back(self.c);
        self.take(body, link, &mut listing).await?;
        if listing.is_some() {
            tracing::debug!(url = %link.url, "a streamed list had no end; reading lists in pages");
            link.streams.set(Some(false));
        }
        Ok(if began.elapsed() + Duration::from_secs(5) > life { End::Over } else { End::Early })
    }

    /// Takes in the events of a watch up to its end; of one that has a list before it, if `listing` says
    /// since when.
    async fn take(&mut self, mut body: Body, link: &Link, listing: &mut Option<Instant>) -> Result<(), Failure> {
        let mut lines = Lines::default();
        for turn in 1_u32.. {
            let frame = match timeout(SILENCE, body.frame()).await {
                Ok(Some(frame)) => frame.map_err(|error| Failure::Broken(explain(&error)))?,
                Ok(None) => break,
                Err(_) => {
                    tracing::debug!(resource = self.resource.name(), url = %link.url, "silent");
                    break;
                }
            };
            lines.feed(frame.data_ref().map_or(&[], |data| data));
            while let Some(line) = lines.next() {
                self.event(lines.text(line), link, listing)?;
            }
            if lines.is_too_long() {
                return Err(Failure::Broken(format!("a line of more than {MAX_LINE} bytes")));
            }
            if turn.is_multiple_of(FRAMES) {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn event(&mut self, line: &[u8], link: &Link, listing: &mut Option<Instant>) -> Result<(), Failure> {
        let event = Event::read(line).map_err(|error| Failure::Broken(format!("sent what is no event: {error}")))?;
        let mut mirror = self.mirror.borrow_mut();
        let version = match event.kind {
            "ADDED" | "MODIFIED" => mirror.put(self.c, &self.origin, None, event.object(), None),
            "DELETED" => mirror.delete_sent(self.c, event.object()),
            "BOOKMARK" => {
                let bookmark: Bookmark = serde_json::from_slice(event.object())
                    .map_err(|error| Failure::Broken(format!("sent what is no bookmark: {error}")))?;
                if bookmark.ends_the_list()
                    && let Some(began) = listing.take()
                {
                    mirror.end(self.c);
                    self.listed(&mirror, began, "streamed");
                }
                Some(bookmark.metadata.resource_version)
            }
            "ERROR" => return Err(Failure::Refused(Status::event(event.object()))),
            _ => None,
        };
        // From an empty one a watch would begin anywhere.
        if let Some(version) = version.filter(|version| !version.is_empty()) {
            self.servers.note(&version);
            if listing.is_none() {
                self.place = Some((link.epoch, version));
            }
        }
        Ok(())
    }

    /// Lists it page by page.
    async fn list(&mut self, link: &Link) -> Result<(), Failure> {
        let began = Instant::now();
        let mut next: Option<Box<str>> = None;
        loop {
            let text = self.servers.get_whole(link, &self.resource.page(PAGE, next.as_deref())).await?;
            let page: Page<'_> = serde_json::from_slice(&text)
                .map_err(|error| Failure::Broken(format!("sent what is no list: {error}")))?;
            let mut mirror = self.mirror.borrow_mut();
            if next.is_none() {
                mirror.begin(self.c);
            }
            mirror.back(self.c);
            let list = Envelope { kind: page.kind.clone(), version: page.api_version.clone() };
            for item in page.items() {
                mirror.put(self.c, &self.origin, None, item, Some(&list));
            }
            next = page.metadata.next.filter(|next| !next.is_empty());
            if next.is_none() {
                mirror.end(self.c);
                self.listed(&mirror, began, "in pages");
                self.servers.note(&page.metadata.resource_version);
                self.place = Some((link.epoch, page.metadata.resource_version));
                return Ok(());
            }
        }
    }

    fn listed(&self, mirror: &Mirror<'_>, began: Instant, how: &str) {
        let (resource, objects) = (mirror.name(self.c), mirror.count(self.c));
        tracing::info!(resource, objects, how, milliseconds = began.elapsed().as_millis() as u64, "listed");
    }

    /// Does what a failure asks for, and waits as long as it should.
    async fn fail(&mut self, link: &Link, failure: Failure) {
        let (name, url) = (self.resource.name(), &link.url);
        tracing::debug!(resource = name, %url, %failure, "failed");
        self.failures += 1;
        let status = match failure {
            Failure::Refused(status) => status,
            Failure::Broken(reason) => {
                // The same for all collections, so told once.
                self.away(format!("{url}: {reason}"));
                return self.servers.give_up(link).await;
            }
        };
        let mut wait = pause(self.failures);
        match status.code {
            401 => {
                self.away(refused_us(url, &status));
                return self.servers.give_up(link).await;
            }
            // The server no longer knows what came after our place.
            410 => {
                tracing::info!(resource = name, "the watch can't go on where it stopped; listing again");
                self.place = None;
            }
            404 if !self.resource.is_required => {
                self.place = None;
                let mut mirror = self.mirror.borrow_mut();
                mirror.back(self.c);
                mirror.absent(self.c, None);
                wait = long_pause(self.failures);
            }
            403 if !self.resource.is_required => {
                self.hinder(format!("{status}; {}", self.advice()));
                wait = long_pause(self.failures);
            }
            403 => self.away(format!("{url}: {status}; {}", self.advice())),
            429 | 503 | 504 if self.resource.is_required || self.failures < 4 => {
                self.away(format!("{url}: {name}: {status}"));
            }
            _ => {
                // Whatever it is about our place that the server can't do: it can list.
                if self.failures.is_multiple_of(4) {
                    self.place = None;
                }
                match self.resource.is_required {
                    true => self.away(format!("{url}: {name}: {status}")),
                    false => self.hinder(status.to_string()),
                }
            }
        }
        sleep(status.retry_after().map_or(wait, |after| wait + after.min(LONG_PAUSE))).await;
    }

    /// What an administrator has to do about a permission.
    fn advice(&self) -> String {
        format!("allow its user the verbs list and watch on {} (docs/kubernetes.md)", self.resource.name())
    }

    fn away(&self, reason: String) {
        self.mirror.borrow_mut().away_because(self.c, reason);
    }

    /// All else goes on without it.
    fn hinder(&self, message: String) {
        let mut mirror = self.mirror.borrow_mut();
        mirror.back(self.c);
        mirror.hindered(self.c, Problem { origin: self.origin.clone(), object: None, field: None, message });
    }
}

/// How long to leave alone what is missing or forbidden, the `n`th time.
fn long_pause(n: u32) -> Duration {
    Duration::from_secs(1 << n.min(6)).min(LONG_PAUSE).mul_f64(jitter())
}

/// How long a watch is to last.
fn life() -> Duration {
    let (shortest, longest) = LIFE;
    // The jitter is from 0.5 to 1.
    longest.mul_f64(jitter()).max(shortest)
}
