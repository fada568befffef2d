//! Watching: changes as they come, and the silence of a server that is gone.
//!
//! A watch begins at a revision that was taken in already, not after it, so that three things hold: a revision
//! of which only a part came before the connection broke is made whole, the past can be compared, and the
//! server answers when asked for its progress (it doesn't for a watch that begins in the future).

use std::convert::Infallible;
use std::time::{Duration, Instant};

use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream};
use futures_util::FutureExt;

use super::past::{From, Mark, Verdict, judge};
use super::{Follower, answer};
use bowline_etcd::{Connection, ErrorKind, EtcdError, MAX_MESSAGE};

/// After so long without a word the server is asked for one, again and again; sooner where it is compared more often.
const ASK: Duration = Duration::from_secs(3);

/// After so long without a word it is given up.
pub(super) const SILENCE: Duration = Duration::from_secs(10);

/// What a message leaves to do.
enum Next {
    Go,
    /// Changes up to this revision are no longer to be had.
    Compacted(i64),
}

impl Follower<'_> {
    /// Watches until that fails.
    pub(super) async fn watch(&mut self, connection: &mut Connection, mut from: From) -> Result<Infallible, EtcdError> {
        loop {
            let compacted = self.watch_from(connection, &from).await?;
            // The mark is compacted, but nothing after what we have: the object may still tell.
            let whole = self.past.whole();
            if from.mark.is_none() || compacted > whole || !self.is_as_marked(connection, &from).await? {
                self.past.forget();
                return Err(EtcdError::of_watch(&connection.endpoint, "", compacted, ""));
            }
            from = From::after(whole);
        }
    }

    /// Watches until that fails, or until changes are missing; returns the compacted revision then.
    async fn watch_from(&mut self, connection: &mut Connection, from: &From) -> Result<i64, EtcdError> {
        let objects = self.location.keys().objects();
        // Without fragments a message could be larger than any bound.
        let options = WatchOptions::new().with_prefix().with_start_revision(from.revision).with_fragment();
        let mut client = connection.client.watch_client().max_decoding_message_size(MAX_MESSAGE);
        let mut stream = answer(connection, client.watch(objects, Some(options))).await?;
        let mut wanted = from.mark.clone();
        // What came before the mark did.
        let mut held: Vec<WatchResponse> = Vec::new();
        loop {
            let response = self.next(connection, &mut stream).await?;
            if let Next::Compacted(revision) = self.look_at(connection, &response)? {
                return Ok(revision);
            }
            if let Some(mark) = &wanted {
                if response.created() {
                    continue;
                }
                let is_progress = response.events().is_empty();
                held.push(response);
                match judge(mark, held.iter().flat_map(WatchResponse::events).filter_map(Mark::of)) {
                    Verdict::NotYet if !is_progress => continue,
                    Verdict::Same => {}
                    Verdict::NotYet | Verdict::Another => return Err(self.another_past(connection)),
                }
                wanted = None;
                held.drain(..).for_each(|response| self.take(&response, from));
            } else {
                self.take(&response, from);
            }
            self.works();
            if wanted.is_none() {
                self.compare(connection).await?;
            }
        }
    }

    /// The next message; tells what is queued while there is none, and asks for a sign of life.
    async fn next(&mut self, connection: &Connection, stream: &mut WatchStream) -> Result<WatchResponse, EtcdError> {
        let mut message = stream.message().now_or_never();
        if message.is_none() {
            self.mirror.flush();
        }
        let since = Instant::now();
        loop {
            match message {
                Some(Ok(Some(response))) => return Ok(response),
                Some(Ok(None)) => {
                    let reason = "the server has closed the watch";
                    return Err(EtcdError::new(ErrorKind::Unreachable, &connection.endpoint, reason));
                }
                Some(Err(error)) => {
                    let error = connection.explain(&error);
                    if error.kind == ErrorKind::TooLarge {
                        // It would be again.
                        self.past.forget();
                    }
                    return Err(error);
                }
                None => {}
            }
            message = tokio::time::timeout(ASK.min(self.comparing.period()), stream.message()).await.ok();
            if message.is_none() {
                if since.elapsed() >= SILENCE {
                    return Err(EtcdError::silent(&connection.endpoint, SILENCE));
                }
                answer(connection, stream.request_progress()).await?;
            }
        }
    }

    /// Whether the watch goes on.
    fn look_at(&mut self, connection: &Connection, response: &WatchResponse) -> Result<Next, EtcdError> {
        if !response.canceled() {
            return Ok(Next::Go);
        }
        if response.compact_revision() > 0 {
            return Ok(Next::Compacted(response.compact_revision()));
        }
        let objects = self.location.keys().objects();
        Err(EtcdError::of_watch(&connection.endpoint, &objects, 0, response.cancel_reason()))
    }

    /// Takes a message in, of a watch that began there.
    fn take(&mut self, response: &WatchResponse, from: &From) {
        for event in response.events() {
            let Some(kv) = event.kv().filter(|kv| !from.has(kv.mod_revision())) else { continue };
            match event.event_type() {
                EventType::Put => self.put(kv),
                EventType::Delete => self.delete(kv),
            }
        }
        match response.events().last().and_then(Mark::of) {
            Some(mark) => self.past.changed(mark),
            // That nothing is to be told up to there is not believed.
            None => self.past.shown(response.header().map_or(0, etcd_client::ResponseHeader::revision)),
        }
    }

    /// Whether the mark's object is still as it was marked.
    async fn is_as_marked(&mut self, connection: &mut Connection, from: &From) -> Result<bool, EtcdError> {
        let Some(mark) = &from.mark else { return Ok(false) };
        let mut client = connection.client.kv_client().max_decoding_message_size(MAX_MESSAGE);
        let now = answer(connection, client.get(mark.key.clone(), None)).await?;
        Ok(now.kvs().first().is_some_and(|kv| Mark::put(kv) == *mark))
    }

    fn another_past(&mut self, connection: &Connection) -> EtcdError {
        self.past.forget();
        tracing::warn!(
            endpoint = connection.endpoint,
            "etcd no longer has the newest change that was seen: it runs on other data; listing anew"
        );
        EtcdError::new(ErrorKind::Compacted, &connection.endpoint, "runs on other data than before")
    }
}
