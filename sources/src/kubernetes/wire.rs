//! What an API server sends: lines of a watch, pages of a list, and errors.

use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

#[cfg(test)]
mod tests;

/// The longest line that is read, in bytes; etcd takes objects of 1.5 MiB unless told otherwise.
pub(super) const MAX_LINE: usize = 64 << 20;

/// A buffer bigger than this is given back when it has been emptied.
const KEEP: usize = 1 << 20;

/// Cuts a stream into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    text: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// How far there is no newline for sure.
    seen: usize,
}

impl Lines {
    /// Adds what came. Lines taken before are gone.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.text.drain(..self.start);
        self.seen -= self.start;
        self.start = 0;
        if self.text.is_empty() && self.text.capacity() > KEEP {
            self.text = Vec::new();
        }
        self.text.extend_from_slice(bytes);
    }

    /// The next whole line, to be had by [`Lines::text`]; None until more is fed.
    pub(super) fn next(&mut self) -> Option<Range<usize>> {
        match memchr::memchr(b'\n', &self.text[self.seen..]) {
            Some(length) => {
                let line = self.start..self.seen + length;
                self.start = line.end + 1;
                self.seen = self.start;
                Some(line)
            }
            None => {
                self.seen = self.text.len();
                None
            }
        }
    }

    pub(super) fn text(&self, line: Range<usize>) -> &[u8] {
        &self.text[line]
    }

    /// Whether the line that has not ended yet is longer than any should be.
    pub(super) fn is_too_long(&self) -> bool {
        self.text.len() - self.start > MAX_LINE
    }
}

/// One event of a watch.
#[derive(Debug, Deserialize)]
pub(super) struct Event<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

impl Event<'_> {
    pub(super) fn read(line: &[u8]) -> Result<Event<'_>, serde_json::Error> {
        serde_json::from_slice(line)
    }

    /// The object as it was sent.
    pub(super) fn object(&self) -> &[u8] {
        self.object.get().as_bytes()
    }
}

/// What a bookmark says: there is nothing more up to this version.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Bookmark {
    pub(super) metadata: BookmarkMetadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BookmarkMetadata {
    pub(super) resource_version: Box<str>,
    annotations: Annotations,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "k8s.io/initial-events-end")]
    initial_events_end: Option<Box<str>>,
}

impl Bookmark {
    /// Whether it is the one behind the objects that were there when the watch began.
    pub(super) fn ends_the_list(&self) -> bool {
        self.metadata.annotations.initial_events_end.as_deref() == Some("true")
    }
}

/// A page of a list, its items as they were sent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<'a> {
    pub(super) kind: String,
    pub(super) api_version: String,
    pub(super) metadata: PageMetadata,
    /// An empty list of some servers is null.
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMetadata {
    pub(super) resource_version: Box<str>,
    /// Where the next page begins; empty or left out on the last.
    #[serde(default, rename = "continue")]
    pub(super) next: Option<Box<str>>,
}

impl Page<'_> {
    pub(super) fn items(&self) -> impl Iterator<Item = &[u8]> {
        self.items.iter().flatten().map(|item| item.get().as_bytes())
    }
}

/// A page of a list that has of each object only what it is called, and in which version it is there.
#[derive(Debug, Deserialize)]
pub(super) struct Names {
    pub(super) metadata: PageMetadata,
    #[serde(default)]
    pub(super) items: Option<Vec<Named>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) metadata: NamedMetadata,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NamedMetadata {
    pub(super) name: Box<str>,
    #[serde(default)]
    pub(super) namespace: Box<str>,
    pub(super) resource_version: Box<str>,
}

/// The Service `default/kubernetes`, of which each cluster has one of its own.
#[derive(Debug, Deserialize)]
pub(super) struct Identity {
    pub(super) metadata: PageMetadata,
    #[serde(default)]
    items: Option<Vec<Identified>>,
}

#[derive(Debug, Deserialize)]
struct Identified {
    metadata: IdentifiedMetadata,
}

#[derive(Debug, Deserialize)]
struct IdentifiedMetadata {
    uid: Box<str>,
}

impl Identity {
    /// None where the server has not made it yet.
    pub(super) fn uid(&self) -> Option<&str> {
        self.items.as_ref()?.first().map(|item| &*item.metadata.uid)
    }
}

/// Why a server didn't do what it was asked for: `metav1.Status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    /// The HTTP status.
    pub(super) code: u16,
    pub(super) message: String,
    details: StatusDetails,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatusDetails {
    retry_after_seconds: Option<u64>,
}

impl Status {
    /// Of the body of an answer, whatever that is.
    pub(super) fn read(code: u16, retry_after: Option<u64>, body: &[u8]) -> Status {
        let mut status = serde_json::from_slice::<Status>(body).unwrap_or_default();
        status.code = code;
        status.details.retry_after_seconds = retry_after.or(status.details.retry_after_seconds);
        status
    }

    /// Of an event of the type ERROR.
    pub(super) fn event(object: &[u8]) -> Status {
        serde_json::from_slice(object).unwrap_or_default()
    }

    /// How long the server wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<std::time::Duration> {
        self.details.retry_after_seconds.map(std::time::Duration::from_secs)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, &*self.message) {
            (0, "") => f.write_str("an error that it doesn't explain"),
            (code, "") => write!(f, "HTTP status {code}"),
            (code, message) => write!(f, "HTTP status {code}: {message}"),
        }
    }
}
