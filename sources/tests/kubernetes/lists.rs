//! Lists that come to nothing: as streams, and in pages.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bowline_lab::kubernetes::{ApiServerOptions, EtcdOptions, EtcdRelease};

use crate::battery::{Event, Place, Running, service};
use crate::crooked::{Act, Crooked, Then};
use crate::place::Site;

fn is_stream(path: &str) -> bool {
    path.contains("sendInitialEvents=true")
}

fn is_page(path: &str) -> bool {
    path.starts_with("/api/v1/services?limit=")
}

/// As an API server 1.32 or later says it on an etcd before 3.4.31.
fn error(code: u16) -> String {
    format!(
        r#"{{"type":"ERROR","object":{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"RequestWatchProgress is disabled","code":{code}}}}}"#
    ) + "\n"
}

/// What the server does this time.
type MakeAct = fn() -> Act;

const NODE: &str = r#"{"type":"ADDED","object":{"kind":"Service","apiVersion":"v1","metadata":{"name":"torn","namespace":"default","resourceVersion":"1"},"spec":{"clusterIP":"None"}}}"#;

#[test]
fn however_a_streamed_list_ends_it_is_read_in_pages_and_the_server_remembered() {
    let mut site = Site::new();
    site.put("a", &service("a", "10.0.0.1"));
    let ways: Vec<(&str, MakeAct)> = vec![
        ("an error of code 500", || Act::Say(error(500), Then::Close)),
        ("of code 410, after an object", || Act::Say(format!("{NODE}\n{}", error(410)), Then::Hang)),
        ("of no code", || Act::Say(error(500).replace(":500", ":0"), Then::Hang)),
        ("the end, at once", || Act::Say(String::new(), Then::Close)),
        ("the end, after an object", || Act::Say(format!("{NODE}\n"), Then::Close)),
        ("the middle of a line", || Act::Say(NODE[..40].to_owned(), Then::Cut)),
        ("what is no event", || Act::Say("<html>\n".to_owned(), Then::Hang)),
        ("what is no bookmark", || Act::Say("{\"type\":\"BOOKMARK\",\"object\":7}\n".to_owned(), Then::Hang)),
        ("status 400", || Act::Refuse(400, String::new())),
        ("status 405", || Act::Refuse(405, "{}".to_owned())),
        ("status 422", || Act::Refuse(422, "no".to_owned())),
        ("status 500", || Act::Refuse(500, "null".to_owned())),
        ("status 503", || Act::Refuse(503, String::new())),
        ("status 504", || Act::Refuse(504, String::new())),
    ];
    for (way, act) in ways {
        let crooked = Crooked::new(&site.api, move |path| if is_stream(path) { act() } else { Act::Pass });
        let running = Running::synced(Box::new(crooked.source()));
        assert_eq!(running.ip("a").as_deref(), Some("10.0.0.1"), "{way}");
        assert!(running.snapshot().services.keys().all(|name| &*name.name != "torn"), "{way}");
        // Its watch can't go on: it is listed again, and nobody asks for a stream.
        let streams = crooked.count("sendInitialEvents=true");
        let mut expired = HashSet::new();
        let act = move |path: &str| {
            let kind = path.split('?').next().unwrap_or_default().to_owned();
            if is_stream(path) {
                Act::Refuse(500, String::new())
            } else if path.contains("watch=true") && expired.insert(kind) {
                Act::Say(error(410), Then::Close)
            } else {
                Act::Pass
            }
        };
        crooked.rule(act);
        site.put("a", &service("a", "10.0.0.2"));
        running.until_ip("a", Some("10.0.0.2"));
        site.put("a", &service("a", "10.0.0.1"));
        running.until_ip("a", Some("10.0.0.1"));
        assert_eq!(crooked.count("sendInitialEvents=true"), streams, "{way}: {:?}", crooked.asked());
    }
}

/// In vain a bookmark is waited for, whatever else comes.
#[test]
fn a_streamed_list_without_an_end_is_read_in_pages_after_ten_seconds() {
    let mut site = Site::new();
    site.put("a", &service("a", "10.0.0.1"));
    // Changes without end that are no part of the list.
    const CHANGE: &str = concat!(
        r#"{"type":"ADDED","object":{"kind":"Service","apiVersion":"v1","metadata":{"name":"torn","namespace":"default","resourceVersion":"99999999"},"spec":{"clusterIP":"None"}}}"#,
        "\n",
        r#"{"type":"BOOKMARK","object":{"kind":"Service","apiVersion":"v1","metadata":{"resourceVersion":"99999999"}}}"#,
        "\n"
    );
    let rule = |path: &str| match path {
        path if !is_stream(path) => Act::Pass,
        path if path.contains("services") => Act::Say(format!("{NODE}\n"), Then::Again(CHANGE)),
        _ => Act::Say(String::new(), Then::Hang),
    };
    let crooked = Crooked::new(&site.api, rule);
    let began = Instant::now();
    let running = Running::synced(Box::new(crooked.source()));
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    assert_eq!(running.ip("a").as_deref(), Some("10.0.0.1"));
    assert!(!running.events().contains(&Event::Away), "{:?}", running.reasons());
    site.put("a", &service("a", "10.0.0.2"));
    running.until_ip("a", Some("10.0.0.2"));
}

#[test]
fn a_list_in_pages_that_fails_midway_is_read_all_the_same() {
    let site = Site::with(&ApiServerOptions::default(), &EtcdOptions::default());
    site.create((0..1010).map(|n| {
        let text = format!(
            r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"s-{n}"}},"spec":{{"clusterIP":"None"}}}}"#
        );
        ("/api/v1/namespaces/default/services".to_owned(), text)
    }));
    // And how many pages were asked for then, and how many of them were first ones.
    const ON: (usize, usize) = (4, 1);
    // At another connection there may be other data: the list goes on where an object that changed later proves that
    // there isn't, else it begins anew.
    const ANEW: (usize, usize) = (5, 2);
    const AT_ONCE: (usize, usize) = (3, 2);
    type Way = (&'static str, MakeAct, &'static [(usize, usize)]);
    let ways: Vec<Way> = vec![
        ("status 500", || Act::Refuse(500, String::new()), &[ON]),
        ("status 503", || Act::Refuse(503, String::new()), &[ON]),
        ("an end in the middle", || Act::Say("{\"kind\":\"ServiceList\",".to_owned(), Then::Cut), &[ANEW, ON]),
        ("what is no list", || Act::Say("<html>".to_owned(), Then::Close), &[ANEW, ON]),
        (
            "no version",
            || {
                Act::Say(
                    r#"{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":""},"items":[]}"#
                        .to_owned(),
                    Then::Close,
                )
            },
            &[ANEW, ON],
        ),
        // The rest is forgotten: all at once, as client-go does.
        ("status 410", || Act::Refuse(410, String::new()), &[AT_ONCE]),
    ];
    for (way, act, asked) in ways {
        let mut failed = false;
        let crooked = Crooked::new(&site.api, move |path| match path {
            path if is_stream(path) => Act::Refuse(400, String::new()),
            path if is_page(path) && path.contains("continue=") && !std::mem::replace(&mut failed, true) => act(),
            _ => Act::Pass,
        });
        let running = Running::synced(Box::new(crooked.source()));
        assert_eq!(running.snapshot().services.len(), 1011, "{way}");
        let pages: Vec<_> = crooked.asked().into_iter().filter(|path| is_page(path)).collect();
        let firsts = pages.iter().filter(|path| !path.contains("continue=")).count();
        assert!(asked.contains(&(pages.len(), firsts)), "{way}: {pages:?}");
        assert_eq!(pages.last().unwrap().contains("limit=0"), asked == [AT_ONCE], "{way}: {pages:?}");
    }
}

#[test]
fn a_page_that_never_comes_begins_the_list_anew() {
    let site = Site::new();
    site.create((0..510).map(|n| {
        let text = format!(
            r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"s-{n}"}},"spec":{{"clusterIP":"None"}}}}"#
        );
        ("/api/v1/namespaces/default/services".to_owned(), text)
    }));
    let mut failures = 0;
    let crooked = Crooked::new(&site.api, move |path| match path {
        path if is_stream(path) => Act::Refuse(400, String::new()),
        path if is_page(path) && path.contains("continue=") && failures < 4 => {
            failures += 1;
            Act::Refuse(500, String::new())
        }
        _ => Act::Pass,
    });
    let running = Running::synced(Box::new(crooked.source()));
    assert_eq!(running.snapshot().services.len(), 511);
    let firsts = crooked.asked().into_iter().filter(|path| is_page(path) && !path.contains("continue=")).count();
    assert_eq!(firsts, 2);
}

/// Debian 12's own etcd, on which an API server of today streams no lists.
mod on_the_system_s_etcd {
    use super::*;
    use crate::battery;

    fn site() -> Site {
        let etcd = EtcdOptions { release: EtcdRelease::System, ..EtcdOptions::default() };
        Site::with(&ApiServerOptions::default(), &etcd)
    }

    battery::battery! {
        site();
        the_first_update_is_all_there_is
        an_empty_place_is_synced_too
        changes_are_seen
        many_changes_at_once_all_arrive
        while_it_is_away_everything_stays_and_then_goes_on
        one_that_is_away_at_the_start_is_waited_for
    }
}
