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

use super::compare::Progress;
use super::connection::{Failure, Link, OBJECTS, Servers, explain, jitter, pause, refused_us};
use super::resource::Resource;
use super::wire::{Bookmark, Event, Lines, MAX_LINE, Page, Status};
use crate::parse::Envelope;
use crate::remote::{Collection, Mirror, number};
use bowline_cluster::source::{Origin, Problem};
use bowline_cluster::span::{exact, human};

/// How many objects a page has.
pub(super) const PAGE: u32 = 500;
/// How long a watch lasts, from and to: not all nodes come back at the same moment.
const LIFE: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(600));
/// Bookmarks come about once a minute; without one for so long it is checked what the matter is. All there is
/// where pings don't reach the server: behind a proxy that speaks HTTP itself, and without HTTP/2.
const SILENCE: Duration = Duration::from_secs(100);
/// A list that comes as a stream and gets no longer for so long, without its end, has none.
const LIST_SILENCE: Duration = Duration::from_secs(10);
/// How often a page is asked for before the list begins anew.
const PAGE_TRIES: u32 = 4;
/// After so many frames others get their turn.
const FRAMES: u32 = 64;
/// How long it is left alone at most where it is missing or forbidden.
const LONG_PAUSE: Duration = Duration::from_secs(60);
/// What went on for so long was good, and begins the pauses anew.
const GOOD: Duration = Duration::from_secs(10);

/// Follows one collection for good.
pub(super) struct Follower<'m, 's> {
    servers: &'m Servers<'m, 's>,
    mirror: &'m RefCell<Mirror<'s>>,
    c: Collection,
    resource: &'m Resource,
    progress: &'m Progress,
    origin: Origin,
    /// Where the watch is; None where it must be listed.
    place: Option<At>,
    /// A list in pages that is under way.
    pages: Option<Pages>,
    /// Why the list was not to be had as a stream, the last time.
    unstreamed: Option<String>,
    /// How often it has failed in a row.
    failures: u32,
}

/// Where a watch is, and since when that is known to mean something.
struct At {
    epoch: u64,
    look: u64,
    version: Box<str>,
}

/// A list in pages.
struct Pages {
    began: Instant,
    /// The connection that it began at.
    number: u64,
    epoch: u64,
    /// Of which revision it is; 0 before the first page.
    revision: u64,
    /// Where the next page begins.
    next: Option<Box<str>>,
    /// All in one page.
    whole: bool,
    /// How often the next page has failed.
    failures: u32,
}

/// How a watch came to its end.
enum End {
    /// Its time was up.
    Over,
    /// Too early, or it said nothing.
    Early,
    /// What it brought is not what the server has.
    Again,
}

impl<'m, 's> Follower<'m, 's> {
    pub(super) fn new(
        servers: &'m Servers<'m, 's>,
        mirror: &'m RefCell<Mirror<'s>>,
        c: Collection,
        resource: &'m Resource,
        progress: &'m Progress,
    ) -> Self {
        // The same for all objects: one for each would be felt in memory.
        let origin = Origin::from(format!("kubernetes:{}", resource.path()));
        let (place, pages, unstreamed) = (None, None, None);
        Follower { servers, mirror, c, resource, progress, origin, place, pages, unstreamed, failures: 0 }
    }

    /// Never returns.
    pub(super) async fn run(mut self) {
        // When the watch ended unasked: what comes after it must be seen to be the same data.
        let mut since = None;
        loop {
            let link = self.servers.link(since.take(), &|reason| self.away(reason)).await;
            self.look_at(&link);
            let began = Instant::now();
            let end = self.list_and_watch(&link).await;
            if began.elapsed() > GOOD {
                self.failures = 0;
            }
            match end {
                Ok(End::Over | End::Again) => {}
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

    /// Keeps the place only as far as the data behind this connection is known to be the same.
    fn look_at(&mut self, link: &Link) {
        let Some(place) = &mut self.place else { return };
        let (look, proven) = (link.look.get(), link.proven.get());
        if place.epoch != link.epoch {
            self.place = None;
        } else if place.look != look {
            if self.mirror.borrow().settled(self.c) > proven {
                tracing::info!(
                    resource = self.resource.name(), url = %link.url,
                    "the server can't be seen to have the same data as before; listing again"
                );
                self.place = None;
                return;
            }
            if number(Some(&place.version)) > proven {
                place.version = proven.to_string().into();
            }
            place.look = look;
        }
    }

    fn at(&self, link: &Link, look: u64, version: Box<str>) -> Option<At> {
        self.progress.reach(&version);
        Some(At { epoch: link.epoch, look, version })
    }

    async fn list_and_watch(&mut self, link: &Link) -> Result<End, Failure> {
        if self.place.is_none() && self.unstreamed.is_none() && !self.servers.is_paged(link) {
            let mut listing = Some(Instant::now());
            let (path, began, life) = self.request();
            let end = match timeout(LIST_SILENCE, self.servers.get(link, &path)).await {
                Ok(Ok(body)) => {
                    self.pages = None;
                    self.mirror.borrow_mut().begin(self.c);
                    self.mirror.borrow_mut().back(self.c);
                    self.take(body, link, &mut listing).await
                }
                Ok(Err(failure)) => Err(failure),
                Err(_) => Err(Failure::Broken(format!("no answer within {}", human(LIST_SILENCE)))),
            };
            if listing.is_none() {
                return end.map(|end| in_time(end, began, life));
            }
            // Who may not read it, or should wait, is told so; whatever else it is: it may well be read in pages.
            let why = match end {
                Err(Failure::Refused(status)) if matches!(status.code, 401 | 403 | 404 | 429) => {
                    return Err(Failure::Refused(status));
                }
                Err(failure) => failure.to_string(),
                Ok(_) => "it ended before the list did".to_owned(),
            };
            tracing::info!(resource = self.resource.name(), url = %link.url, why, "can't be listed as a stream; listing in pages");
            self.unstreamed = Some(why);
        }
        if self.place.is_none() {
            self.list(link).await?;
            if self.unstreamed.take().is_some() {
                self.servers.read_in_pages(link);
            }
        }
        let (path, began, life) = self.request();
        let body = self.servers.get(link, &path).await?;
        self.mirror.borrow_mut().back(self.c);
        let end = self.take(body, link, &mut None).await?;
        Ok(in_time(end, began, life))
    }

    /// The path of a watch, from now on, for so long.
    fn request(&self) -> (String, Instant, Duration) {
        let life = life();
        let path = match &self.place {
            Some(place) => self.resource.watch(&place.version, life.as_secs()),
            None => self.resource.stream(life.as_secs()),
        };
        (path, Instant::now(), life)
    }

    /// Takes in the events of a watch up to its end; of one that has a list before it, if `listing` says
    /// since when.
    async fn take(&mut self, mut body: Body, link: &Link, listing: &mut Option<Instant>) -> Result<End, Failure> {
        let look = link.look.get();
        let newest = self.servers.newest();
        let mut lines = Lines::default();
        // When the list has got longer last.
        let mut longer = Instant::now();
        for turn in 1_u32.. {
            let silence = match listing {
                Some(_) => LIST_SILENCE.saturating_sub(longer.elapsed()),
                None => SILENCE,
            };
            let frame = tokio::select! {
                biased;
                frame = timeout(silence, body.frame()) => frame,
                () = self.progress.again(), if listing.is_none() => {
                    self.place = None;
                    return Ok(End::Again);
                }
            };
            let frame = match frame {
                Ok(Some(frame)) => frame.map_err(|error| Failure::Broken(explain(&error)))?,
                Ok(None) => break,
                Err(_) if listing.is_some() => {
                    return Err(endless());
                }
                Err(_) => {
                    tracing::debug!(resource = self.resource.name(), url = %link.url, "silent");
                    break;
                }
            };
            self.progress.hear();
            lines.feed(frame.data_ref().map_or(&[], |data| data));
            while let Some(line) = lines.next() {
                // Changes come for ever; of the list itself nothing is newer than what was there.
                if self
                    .event(lines.text(line), link, look, listing)?
                    .is_some_and(|version| version <= newest || newest == 0)
                {
                    longer = Instant::now();
                }
            }
            if lines.is_too_long() {
                return Err(Failure::Broken(format!("a line of more than {MAX_LINE} bytes")));
            }
            if listing.is_some() && longer.elapsed() > LIST_SILENCE {
                return Err(endless());
            }
            if turn.is_multiple_of(FRAMES) {
                tokio::task::yield_now().await;
            }
        }
        Ok(End::Early)
    }

    /// Takes in one event; of an object of the list, the revision of its last change.
    fn event(
        &mut self,
        line: &[u8],
        link: &Link,
        look: u64,
        listing: &mut Option<Instant>,
    ) -> Result<Option<u64>, Failure> {
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
                    mirror.settle(self.c, Some(&bookmark.metadata.resource_version));
                    self.listed(&mirror, began, "streamed");
                }
                Some(bookmark.metadata.resource_version)
            }
            "ERROR" => return Err(Failure::Refused(Status::event(event.object()))),
            _ => None,
        };
        drop(mirror);
        // From an empty one a watch would begin anywhere.
        let Some(version) = version.filter(|version| !version.is_empty()) else { return Ok(None) };
        self.servers.note(&version);
        if listing.is_none() {
            self.place = self.at(link, look, version);
            return Ok(None);
        }
        Ok((event.kind == "ADDED").then(|| number(Some(&version))))
    }

    /// Lists it page by page. What fails is asked for again by the next call, if that comes to the same data.
    async fn list(&mut self, link: &Link) -> Result<(), Failure> {
        let is_same = |pages: &Pages| {
            pages.epoch == link.epoch && (pages.number == link.number || pages.revision <= link.proven.get())
        };
        let mut pages = self.pages.take().filter(is_same).unwrap_or_else(|| Pages::new(link));
        let look = link.look.get();
        loop {
            match self.page(link, &mut pages).await {
                Ok(Some(version)) => {
                    self.place = self.at(link, look, version);
                    return Ok(());
                }
                Ok(None) => {}
                // It took so long that the server has forgotten the rest, or it is another one: all at once.
                Err(Failure::Refused(status)) if pages.next.is_some() && matches!(status.code, 400 | 410) => {
                    tracing::info!(resource = self.resource.name(), %status, "the next page is gone; listing at once");
                    pages = Pages { whole: true, ..Pages::new(link) };
                }
                Err(failure) => {
                    pages.failures += 1;
                    self.pages = Some(pages).filter(|pages| pages.next.is_some() && pages.failures < PAGE_TRIES);
                    return Err(failure);
                }
            }
        }
    }

    /// Takes in the next page; the list's version, if it is the last one.
    async fn page(&mut self, link: &Link, pages: &mut Pages) -> Result<Option<Box<str>>, Failure> {
        let limit = if pages.whole { 0 } else { PAGE };
        let text = self.servers.get_whole(link, &self.resource.page(limit, pages.next.as_deref()), OBJECTS).await?;
        let page: Page<'_> =
            serde_json::from_slice(&text).map_err(|error| Failure::Broken(format!("sent what is no list: {error}")))?;
        let version = page.metadata.resource_version.clone();
        let next = page.metadata.next.clone().filter(|next| !next.is_empty());
        if version.is_empty() {
            return Err(Failure::Broken("sent a list without a resourceVersion".to_owned()));
        }
        if next.is_some() && next == pages.next {
            return Err(Failure::Broken("sent a page that is followed by itself".to_owned()));
        }
        let mut mirror = self.mirror.borrow_mut();
        if pages.next.is_none() {
            mirror.begin(self.c);
        }
        mirror.back(self.c);
        let list = Envelope { kind: page.kind.clone(), version: page.api_version.clone() };
        for item in page.items() {
            mirror.put(self.c, &self.origin, None, item, Some(&list));
        }
        (pages.next, pages.revision, pages.failures) = (next, number(Some(&version)), 0);
        if pages.next.is_some() {
            return Ok(None);
        }
        mirror.end(self.c);
        mirror.settle(self.c, Some(&version));
        self.listed(&mirror, pages.began, "in pages");
        self.servers.note(&version);
        Ok(Some(version))
    }

    fn listed(&self, mirror: &Mirror<'_>, began: Instant, how: &str) {
        let (resource, objects) = (mirror.name(self.c), mirror.count(self.c));
        tracing::info!(resource, objects, how, took = exact(began.elapsed()), "listed");
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
                (self.place, self.pages) = (None, None);
                let mut mirror = self.mirror.borrow_mut();
                mirror.back(self.c);
                mirror.absent(self.c, None);
                wait = long_pause(self.failures);
            }
            403 if !self.resource.is_required => {
                self.pages = None;
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
                    (self.place, self.pages) = (None, None);
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

impl Pages {
    fn new(link: &Link) -> Pages {
        let (number, epoch) = (link.number, link.epoch);
        Pages { began: Instant::now(), number, epoch, revision: 0, next: None, whole: false, failures: 0 }
    }
}

/// A list as a stream that gets no longer.
fn endless() -> Failure {
    Failure::Broken(format!("the list had no end {} after its last object", human(LIST_SILENCE)))
}

/// A watch that ended, as it should be or not.
fn in_time(end: End, began: Instant, life: Duration) -> End {
    match end {
        End::Early if began.elapsed() + Duration::from_secs(5) > life => End::Over,
        end => end,
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
