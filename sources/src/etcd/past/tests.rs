//! Which pasts are taken for the one we know.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use super::*;

const HERE: &str = "http://127.0.0.1:2379";

fn mark(revision: i64, key: &str, value: Option<u64>) -> Mark {
    Mark { revision, key: key.into(), value }
}

fn known() -> Past {
    let mut past = Past::default();
    past.listing(1, 10);
    past.listed(Some(mark(7, "a", Some(1))));
    past
}

#[test]
fn nothing_known_is_listed_and_what_is_known_goes_on() {
    let mut past = Past::default();
    assert!(past.check(HERE, (1, 5), Instant::now()).is_ok());
    assert!(past.resume().is_none());
    past.listing(1, 5);
    assert!(past.resume().is_none(), "a listing that broke off is begun again");
    past.listed(None);
    assert!(past.resume().is_none(), "nothing is there to tell the past by");
    past.changed(mark(6, "a", Some(1)));
    assert_eq!(past.resume().unwrap().revision, 6);
    past.shown(9);
    assert_eq!((past.whole(), past.resume().unwrap().revision), (5, 6), "a notice is no change");
    assert!(past.check(HERE, (1, 9), Instant::now()).is_ok());
    assert!(past.check(HERE, (1, 8), Instant::now()).is_err(), "it was at 9");
    past.forget();
    assert!(past.resume().is_none());
}

#[test]
fn what_is_whole_goes_up_to_the_listing_and_then_to_before_the_newest_change() {
    let mut past = known();
    assert_eq!(past.whole(), 10);
    past.shown(20);
    assert_eq!(past.whole(), 10);
    past.changed(mark(15, "b", None));
    assert_eq!(past.whole(), 14, "the rest of its revision may be missing");
    past.listing(1, 30);
    assert_eq!(past.whole(), 0);
}

#[test]
fn an_older_revision_or_another_cluster_is_believed_only_after_a_while() {
    for other in [(1, 9), (2, 10), (2, 99)] {
        let mut past = known();
        let start = Instant::now();
        let error = past.check(HERE, other, start).unwrap_err().to_string();
        assert!(error.contains(HERE) && error.contains("revision 10 of cluster 1 was seen before"), "{error}");
        assert!(past.check(HERE, other, start + DOUBT / 2).is_err());
        assert!(past.resume().is_some(), "what is known is kept meanwhile");
        assert!(past.check(HERE, other, start + DOUBT).is_ok());
        assert!(past.resume().is_none());
    }
}

#[test]
fn doubt_begins_anew_when_the_known_past_has_answered() {
    let mut past = known();
    let start = Instant::now();
    past.check(HERE, (1, 9), start).unwrap_err();
    past.check(HERE, (1, 10), start + DOUBT / 2).unwrap();
    past.check(HERE, (1, 9), start + DOUBT).unwrap_err();
}

#[test]
fn even_without_a_mark_nothing_older_is_listed() {
    let mut past = known();
    past.forget();
    past.check(HERE, (1, 9), Instant::now()).unwrap_err();
}

#[test]
fn a_watch_is_of_the_same_past_if_it_brings_the_mark_again() {
    let (a, b, c) = (mark(7, "a", Some(1)), mark(7, "b", None), mark(8, "c", Some(3)));
    assert_eq!(judge(&a, [a.clone(), b.clone(), c.clone()]), Verdict::Same);
    assert_eq!(judge(&b, [a.clone(), b.clone()]), Verdict::Same);
    assert_eq!(judge(&b, [a.clone()]), Verdict::NotYet);
    assert_eq!(judge(&b, []), Verdict::NotYet);
    assert_eq!(judge(&b, [a.clone(), c.clone()]), Verdict::Another, "it was not in its revision");
    assert_eq!(judge(&a, [mark(7, "a", Some(2))]), Verdict::Another, "another value");
    assert_eq!(judge(&a, [mark(7, "a", None)]), Verdict::Another, "deleted there");
    assert_eq!(judge(&a, [c]), Verdict::Another);
}
