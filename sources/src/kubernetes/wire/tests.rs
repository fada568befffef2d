//! What an API server sends, in pieces of all sizes.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use super::*;

#[test]
fn lines_come_out_whole_however_they_come_in() {
    let text = "first\n\nthird, a longer one\nrest";
    for size in 1..=text.len() {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for part in text.as_bytes().chunks(size) {
            lines.feed(part);
            while let Some(line) = lines.next() {
                found.push(String::from_utf8(lines.text(line).to_vec()).unwrap());
            }
        }
        assert_eq!(found, ["first", "", "third, a longer one"], "in parts of {size}");
    }
}

#[test]
fn a_line_without_end_is_noticed_and_a_big_buffer_given_back() {
    let mut lines = Lines::default();
    for _ in 0..=MAX_LINE / KEEP {
        assert!(!lines.is_too_long());
        lines.feed(&vec![b'x'; KEEP]);
        assert_eq!(lines.next(), None);
    }
    assert!(lines.is_too_long());
    lines.feed(b"\n");
    assert!(lines.next().is_some());
    lines.feed(b"next\n");
    assert!(lines.text.capacity() < KEEP);
}

#[test]
fn events_and_bookmarks() {
    let event = Event::read(br#"{"type":"ADDED","object":{"a":"}\n"}}"#).unwrap();
    assert_eq!((event.kind, event.object()), ("ADDED", &br#"{"a":"}\n"}"#[..]));
    assert!(Event::read(b"{}").is_err());
    let read = |text: &str| serde_json::from_str::<Bookmark>(text).unwrap();
    let bookmark = read(r#"{"kind":"Service","metadata":{"resourceVersion":"12","creationTimestamp":null}}"#);
    assert_eq!((&*bookmark.metadata.resource_version, bookmark.ends_the_list()), ("12", false));
    let end = r#"{"metadata":{"resourceVersion":"12","annotations":{"k8s.io/initial-events-end":"true"}}}"#;
    assert!(read(end).ends_the_list());
}

#[test]
fn pages_of_lists() {
    let text = r#"{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"x"},"items":[{"a":1},{"b":2}]}"#;
    let page: Page<'_> = serde_json::from_str(text).unwrap();
    assert_eq!(page.items().collect::<Vec<_>>(), [br#"{"a":1}"#, br#"{"b":2}"#]);
    assert_eq!((page.metadata.next.as_deref(), &*page.kind), (Some("x"), "ServiceList"));
    // Custom resources come with their fields in the order of the alphabet.
    let text = r#"{"apiVersion":"v1","items":null,"kind":"ServiceList","metadata":{"resourceVersion":"7"}}"#;
    let page: Page<'_> = serde_json::from_str(text).unwrap();
    assert_eq!((page.items().count(), page.metadata.next), (0, None));
}

#[test]
fn who_a_cluster_is() {
    let read = |text: &str| serde_json::from_str::<Identity>(text).unwrap().uid().map(ToOwned::to_owned);
    let with = r#"{"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"uid":"u","name":"kubernetes"}}]}"#;
    assert_eq!(read(with).as_deref(), Some("u"));
    assert_eq!(read(r#"{"metadata":{"resourceVersion":"7"},"items":[]}"#), None);
    assert_eq!(read(r#"{"metadata":{"resourceVersion":"7"},"items":null}"#), None);
}

#[test]
fn errors_whatever_they_look_like() {
    let body = br#"{"kind":"Status","message":"too many","reason":"TooManyRequests","details":{"retryAfterSeconds":3},"code":429}"#;
    let status = Status::read(429, None, body);
    assert_eq!(status.to_string(), "HTTP status 429: too many");
    assert_eq!(status.retry_after(), Some(std::time::Duration::from_secs(3)));
    assert_eq!(Status::read(429, Some(5), body).retry_after(), Some(std::time::Duration::from_secs(5)));
    assert_eq!(Status::read(502, None, b"<html>").to_string(), "HTTP status 502");
    assert_eq!(Status::event(br#"{"code":410,"message":"too old"}"#).code, 410);
    assert_eq!(Status::event(b"nonsense").to_string(), "an error that it doesn't explain");
}
