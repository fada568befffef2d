//! What a mirror tells, step by step.
#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::*;
use bowline_cluster::object::{Kind, ObjectName, Str};

/// What was told, in words.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for Told {
    fn update(&self, update: Update) {
        let names = |changes: &[Change]| -> String {
            let name = |change: &Change| match change {
                Change::Put(object, _) => format!("+{}", object.key().name.name),
                Change::Delete(key) => format!("-{}", key.name.name),
            };
            changes.iter().map(name).collect::<Vec<_>>().join(" ")
        };
        let text = match update {
            Update::All(changes) => format!("all: {}", names(&changes)),
            Update::Some { changes, triggered, .. } => format!("some: {} ({})", names(&changes), triggered.len()),
            Update::Problems(problems) => {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                format!("problems: {}", problems.join("; "))
            }
            Update::Away(why) => format!("away: {why}"),
            Update::Back => "back".to_owned(),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

fn node(name: &str) -> String {
    format!(r#"{{"apiVersion":"v1","kind":"Node","metadata":{{"name":"{name}","resourceVersion":"7"}}}}"#)
}

fn key(name: &str) -> ObjectKey {
    ObjectKey { kind: Kind::Node, name: ObjectName { namespace: Str::default(), name: Str::from(name) } }
}

fn put(mirror: &mut Mirror<'_>, c: Collection, name: &str) {
    mirror.put(c, &Origin::from("test"), None, node(name).as_bytes(), None);
}

#[test]
fn nothing_is_told_before_every_collection_has_been_listed_whole() {
    let told = Told::default();
    let mut mirror = Mirror::new(&told, &["one", "other"]);
    mirror.begin(0);
    put(&mut mirror, 0, "a");
    mirror.end(0);
    mirror.begin(1);
    put(&mut mirror, 1, "torn");
    mirror.flush();
    mirror.begin(1);
    put(&mut mirror, 1, "b");
    assert!(told.take().is_empty());
    // A watch of what is whole already goes on meanwhile.
    put(&mut mirror, 0, "c");
    mirror.delete(0, &key("a"));
    mirror.end(1);
    assert_eq!(told.take(), ["all: +a +c -a +b"]);
}

#[test]
fn a_listing_anew_tells_what_is_there_and_what_has_gone() {
    let told = Told::default();
    let mut mirror = Mirror::new(&told, &["nodes"]);
    mirror.begin(0);
    put(&mut mirror, 0, "a");
    put(&mut mirror, 0, "b");
    mirror.end(0);
    told.take();
    mirror.begin(0);
    put(&mut mirror, 0, "a");
    // It broke off, and deletes nothing.
    mirror.flush();
    assert_eq!(told.take(), ["some: +a (0)"]);
    mirror.begin(0);
    put(&mut mirror, 0, "b");
    put(&mut mirror, 0, "c");
    mirror.end(0);
    assert_eq!(told.take(), ["some: +b +c -a (0)"]);
    assert_eq!(mirror.count(0), 2);
}

#[test]
fn what_was_wrong_in_a_listing_that_broke_off_is_not_told() {
    let told = Told::default();
    let mut mirror = Mirror::new(&told, &["etcd"]);
    mirror.begin(0);
    mirror.put(0, &Origin::from("key"), Some(key("a")), b"{{ torn", None);
    mirror.begin(0);
    mirror.end(0);
    assert_eq!(told.take(), ["all: ", "problems: "]);
}

#[test]
fn an_absent_collection_hinders_no_other_and_may_come_later() {
    let told = Told::default();
    let mut mirror = Mirror::new(&told, &["there", "not"]);
    mirror.begin(0);
    mirror.end(0);
    mirror.absent(1, Some(problem(&Origin::from("not"), None, "forbidden")));
    assert_eq!(told.take(), ["all: ", "problems: not: forbidden"]);
    mirror.begin(1);
    put(&mut mirror, 1, "a");
    mirror.end(1);
    assert_eq!(told.take(), ["some: +a (0)", "problems: "]);
    mirror.absent(1, None);
    assert_eq!(told.take(), ["some: -a (0)"]);
}

#[test]
fn a_refused_object_keeps_its_place_until_it_is_deleted() {
    let told = Told::default();
    let mut mirror = Mirror::new(&told, &["nodes"]);
    mirror.begin(0);
    put(&mut mirror, 0, "a");
    mirror.end(0);
    told.take();
    mirror.begin(0);
    let bad = node("a").replace(r#""resourceVersion":"7""#, r#""labels":7"#);
    mirror.put(0, &Origin::from("key"), None, bad.as_bytes(), None);
    mirror.end(0);
    assert_eq!(told.take(), ["problems: key: Node a: metadata.labels: is a number; write a map"]);
    mirror.put(0, &Origin::from("key"), Some(key("a")), b"{{ torn", None);
    mirror.flush();
    assert!(told.take()[0].starts_with("problems: key: can't be read"));
    mirror.delete(0, &key("a"));
    mirror.flush();
    assert_eq!(told.take(), ["some: -a (0)", "problems: "]);
}

#[test]
fn an_object_at_anothers_key_is_refused() {
    let told = Told::default();
    let mut mirror = Mirror::new(&told, &["nodes"]);
    mirror.begin(0);
    mirror.put(0, &Origin::from("key"), Some(key("b")), node("a").as_bytes(), None);
    mirror.end(0);
    let told = told.take();
    assert_eq!(told[0], "all: ");
    assert!(told[1].contains("is Node a, at the key of Node b"), "{told:?}");
}

#[test]
fn what_a_key_names_is_what_is_kept_and_refused() {
    let told = Told::default();
    let mut mirror = Mirror::new(&told, &["etcd"]);
    mirror.begin(0);
    mirror.put(0, &Origin::from("key"), Some(key("a")), node("a").as_bytes(), None);
    mirror.end(0);
    told.take();
    mirror.begin(0);
    // Refused, and of another name at that.
    let bad = node("b").replace(r#""resourceVersion":"7""#, r#""labels":7"#);
    mirror.put(0, &Origin::from("key"), Some(key("a")), bad.as_bytes(), None);
    mirror.end(0);
    assert_eq!(told.take(), ["problems: key: Node b: metadata.labels: is a number; write a map"]);
    let other = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}"#;
    mirror.put(0, &Origin::from("key"), Some(key("a")), other.as_bytes(), None);
    mirror.flush();
    assert!(told.take()[0].contains("of a kind that is not read, at the key of Node a"));
    mirror.delete(0, &key("a"));
    mirror.flush();
    assert_eq!(told.take(), ["some: -a (0)", "problems: "]);
}

#[test]
fn what_is_nobodys_is_told_until_it_is_gone() {
    let told = Told::default();
    let mut mirror = Mirror::new(&told, &["etcd"]);
    mirror.begin(0);
    mirror.misplaced(0, &Origin::from("odd"), "is no key");
    mirror.end(0);
    assert_eq!(told.take(), ["all: ", "problems: odd: is no key"]);
    mirror.begin(0);
    mirror.misplaced(0, &Origin::from("odd"), "is no key");
    mirror.end(0);
    assert!(told.take().is_empty(), "the same again");
    mirror.replace(0, &Origin::from("odd"));
    mirror.flush();
    assert_eq!(told.take(), ["problems: "]);
    mirror.misplaced(0, &Origin::from("odd"), "is no key");
    mirror.flush();
    told.take();
    mirror.begin(0);
    mirror.end(0);
    assert_eq!(told.take(), ["problems: "], "a listing without it");
}

#[test]
fn many_at_once_are_told_in_batches_and_what_they_were_triggered_by() {
    let told = Told::default();
    let mut mirror = Mirror::new(&told, &["slices"]);
    mirror.begin(0);
    mirror.end(0);
    told.take();
    for n in 0..BATCH + 1 {
        let slice = format!(
            r#"{{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","addressType":"IPv4","metadata":{{"name":"s{n}",
            "annotations":{{"endpoints.kubernetes.io/last-change-trigger-time":"2026-11-21T10:00:00.25Z"}}}},"endpoints":[]}}"#
        );
        mirror.put(0, &Origin::from("test"), None, slice.as_bytes(), None);
    }
    assert_eq!(told.take().len(), 1, "a whole batch went out by itself");
    mirror.flush();
    assert_eq!(told.take(), [format!("some: +s{BATCH} (1)")]);
}

#[test]
fn away_is_told_once_and_back_when_all_are() {
    let told = Told::default();
    let mut mirror = Mirror::new(&told, &["one", "other"]);
    mirror.away(0, "down".into());
    mirror.away(1, "down too".into());
    mirror.back(0);
    assert_eq!(told.take(), ["away: down"]);
    mirror.back(1);
    mirror.back(1);
    assert_eq!(told.take(), ["back"]);
}

#[test]
fn another_reason_is_told_once() {
    let told = Told::default();
    let mut mirror = Mirror::new(&told, &["one", "other"]);
    for reason in ["a is down", "b is down", "a is down", "b is down"] {
        mirror.away_because(0, reason.into());
    }
    assert_eq!(told.take(), ["away: a is down", "away: b is down"]);
    (0..100).for_each(|n| mirror.away_because(0, n.to_string()));
    assert_eq!(told.take().len(), MAX_REASONS - 2);
    mirror.back(0);
    mirror.away_because(1, "a is down".into());
    assert_eq!(told.take(), ["back", "away: a is down"]);
}

#[test]
fn a_first_list_that_waits_for_others_keeps_what_counts() {
    let told = Told::default();
    let mut mirror = Mirror::new(&told, &["one", "other"]);
    mirror.begin(0);
    mirror.end(0);
    for _ in 0..10 * BATCH {
        put(&mut mirror, 0, "a");
        put(&mut mirror, 0, "b");
        mirror.delete_sent(0, node("b").as_bytes());
    }
    assert!(mirror.shelves[0].first.len() <= BATCH + 4);
    mirror.hindered(1, problem(&"x".into(), None, "forbidden"));
    mirror.flush();
    let told = told.take();
    assert!(told[0].starts_with("all:") && told[0].contains("+a") && !told[0].ends_with("+b"), "{told:?}");
}

#[test]
fn what_is_known_stays_where_it_becomes_forbidden() {
    let told = Told::default();
    let mut mirror = Mirror::new(&told, &["one"]);
    mirror.begin(0);
    put(&mut mirror, 0, "a");
    mirror.end(0);
    told.take();
    mirror.hindered(0, problem(&"x".into(), None, "forbidden"));
    assert_eq!((told.take().len(), mirror.count(0)), (1, 1), "the problem alone is told");
    mirror.absent(0, None);
    assert_eq!(mirror.count(0), 0);
}

#[test]
fn a_version_and_a_trigger_are_read_from_an_object() {
    let strings = Strings::default();
    let sent = parse::sent(node("a").as_bytes(), None, &strings);
    assert_eq!(sent.version.as_deref(), Some("7"));
    let text = "metadata:\n  name: a\n  annotations:\n    endpoints.kubernetes.io/last-change-trigger-time: '1970-01-01T00:00:01.5Z'\nkind: Node\napiVersion: v1\n";
    let sent = parse::sent(text.as_bytes(), None, &strings);
    assert_eq!(sent.triggered.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis(), 1500);
}
