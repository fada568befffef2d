//! What happens to servers and to the way there: each recovers by itself, and nothing is ever taken back.

use std::time::{Duration, Instant};

use bowline_cluster::object::{ObjectName, Str};
use bowline_cluster::source::Source;
use bowline_lab::kubernetes::{ApiServerOptions, EtcdOptions};
use bowline_sources::kubernetes::{Access, Kubernetes, Wanted};
use rustix::process::Signal;

use crate::battery::{Event, Place, Running, service};
use crate::place::Site;
use crate::proxy::Proxy;

/// How soon a server that has gone silent must be noticed.
const SILENT: Duration = Duration::from_secs(15);

/// By way of these proxies.
pub fn by(site: &Site, proxies: &[&Proxy]) -> Box<dyn Source> {
    let urls = proxies.iter().map(|proxy| proxy.url().replace("http:", "https:").parse().unwrap()).collect();
    Box::new(Kubernetes::new(Access { apiservers: urls, ..site.access() }, Wanted::default()))
}

fn ip(n: usize) -> String {
    format!("10.1.{}.{}", n / 250, n % 250 + 1)
}

#[test]
fn a_server_that_is_shut_down_and_started_again() {
    // So long it waits for watches to end before it closes their connections; 60 s by default.
    let flags = vec!["--request-timeout=3s".to_owned()];
    let mut site = Site::with(&ApiServerOptions { flags, ..ApiServerOptions::default() }, &EtcdOptions::default());
    site.put("a", &service("a", "10.0.0.1"));
    let running = Running::synced(site.source());
    site.api.stop().unwrap();
    let reason = running.until_away();
    assert!(reason.starts_with(&site.api.url()), "{reason}");
    site.bring_back();
    running.until_event(Event::Back);
    site.put("a", &service("a", "10.0.0.2"));
    running.until_ip("a", Some("10.0.0.2"));
    assert_eq!(running.past_ips("a"), ["10.0.0.1", "10.0.0.2"].map(|ip| Some(ip.to_owned())));
}

#[test]
fn a_server_that_goes_silent_is_noticed_and_waited_for() {
    let mut site = Site::new();
    let running = Running::synced(site.source());
    site.api.server().signal(Signal::STOP).unwrap();
    let began = Instant::now();
    running.until_event(Event::Away);
    assert!(began.elapsed() < SILENT, "{:?}", began.elapsed());
    site.api.server().signal(Signal::CONT).unwrap();
    running.until_event(Event::Back);
    site.put("a", &service("a", "10.0.0.1"));
    running.until_ip("a", Some("10.0.0.1"));
}

#[test]
fn a_server_without_http2_does_too() {
    let flags = vec!["--disable-http2-serving=true".to_owned()];
    let mut site = Site::with(&ApiServerOptions { flags, ..ApiServerOptions::default() }, &EtcdOptions::default());
    site.put("a", &service("a", "10.0.0.1"));
    let running = Running::synced(site.source());
    site.put("a", &service("a", "10.0.0.2"));
    running.until_ip("a", Some("10.0.0.2"));
    site.take_away();
    running.until_event(Event::Away);
    site.bring_back();
    site.put("a", &service("a", "10.0.0.3"));
    running.until_ip("a", Some("10.0.0.3"));
}

#[test]
fn a_way_that_drops_everything_is_noticed_and_another_taken() {
    let mut site = Site::new();
    let (first, second) = (Proxy::to(&site.api.url()), Proxy::to(&site.api.url()));
    second.cut(true);
    let running = Running::synced(by(&site, &[&first, &second]));
    // Nothing passes, and nobody is told.
    first.stop();
    let began = Instant::now();
    running.until_event(Event::Away);
    assert!(began.elapsed() < SILENT, "{:?}", began.elapsed());
    site.put("a", &service("a", "10.0.0.1"));
    second.cut(false);
    running.until_event(Event::Back);
    running.until_ip("a", Some("10.0.0.1"));
    assert!(running.reasons()[0].starts_with(&first.url().replace("http:", "https:")), "{:?}", running.reasons());
    // And back, when that one goes.
    first.cut(false);
    second.cut(true);
    running.until_events(Event::Back, 2);
    site.put("a", &service("a", "10.0.0.2"));
    running.until_ip("a", Some("10.0.0.2"));
    assert!(!running.past_ips("a")[1..].contains(&None));
}

#[test]
fn what_was_missed_and_is_no_longer_known_is_listed_again() {
    let mut site = Site::new();
    site.put("stays", &service("stays", "10.0.0.1"));
    site.put("goes", &service("goes", "10.0.0.2"));
    let proxy = Proxy::to(&site.api.url());
    let running = Running::synced(by(&site, &[&proxy]));
    proxy.cut(true);
    running.until_event(Event::Away);
    site.delete("goes");
    site.put("new", &service("new", "10.0.0.3"));
    for n in 0..20 {
        site.put("stays", &service("stays", &ip(n)));
    }
    // Neither etcd nor the server's own memory knows any more what went before.
    site.compact();
    site.take_away();
    site.bring_back();
    proxy.cut(false);
    running.until_ip("goes", None);
    running.until_ip("new", Some("10.0.0.3"));
    running.until_ip("stays", Some(&ip(19)));
    assert_eq!(running.past_ips("stays").len(), 2, "{:?}", running.past_ips("stays"));
    assert_eq!(running.past_ips("goes").len(), 2, "{:?}", running.past_ips("goes"));
    // A watch that went on where it stopped would have told each of the twenty.
    let told = running.events().iter().map(|event| if let Event::Some(changes) = event { *changes } else { 0 }).sum();
    assert!((1..20_usize).contains(&told), "listed again: {:?}", running.events());
}

#[test]
fn a_server_with_other_data_is_believed() {
    let mut site = Site::new();
    for n in 0..50 {
        site.put("stale", &service(&format!("stale-{n}"), &ip(n)));
    }
    let running = Running::synced(site.source());
    site.take_away();
    running.until_event(Event::Away);
    let other = site.place.folder("other").unwrap();
    site.etcd.members_mut()[0].stop().unwrap();
    site.etcd.members_mut()[0].start_with(&other).unwrap();
    site.bring_back();
    // Its revisions begin anew, far below what was seen before.
    site.put("a", &service("a", "10.0.0.1"));
    running.until_ip("a", Some("10.0.0.1"));
    running.until("nothing stale", |snapshot| !snapshot.services.keys().any(|name| name.name.starts_with("stale")));
    site.put("a", &service("a", "10.0.0.2"));
    running.until_ip("a", Some("10.0.0.2"));
}

#[test]
fn a_server_restored_to_an_earlier_state_is_believed() {
    let mut site = Site::new();
    site.put("a", &service("a", "10.0.0.1"));
    let earlier = site.place.folder("earlier").unwrap();
    let etcd = &site.etcd.members()[0];
    // As it is on disk, as after a crash.
    etcd.server().signal(Signal::STOP).unwrap();
    let mut copy = std::process::Command::new("cp");
    assert!(copy.arg("-a").arg(etcd.data().join("member")).arg(&earlier).status().unwrap().success());
    etcd.server().signal(Signal::CONT).unwrap();
    for n in 0..50 {
        site.put("lost", &service(&format!("lost-{n}"), &ip(n)));
    }
    let running = Running::synced(site.source());
    site.put("a", &service("a", "10.0.0.2"));
    running.until_ip("a", Some("10.0.0.2"));
    site.take_away();
    running.until_event(Event::Away);
    site.etcd.members_mut()[0].stop().unwrap();
    site.etcd.members_mut()[0].start_with(&earlier).unwrap();
    site.bring_back();
    running.until_ip("a", Some("10.0.0.1"));
    running.until("nothing lost", |snapshot| !snapshot.services.keys().any(|name| name.name.starts_with("lost")));
}

/// Changes without end, and faults without end: what is there afterwards is what the server has, and
/// nothing has ever been older than before.
#[test]
fn a_storm_of_changes_with_faults() {
    const OBJECTS: usize = 40;
    let mut site = Site::new();
    let proxy = Proxy::to(&site.api.url());
    let running = Running::synced(by(&site, &[&proxy]));
    let mut version = 0;
    for round in 0..6 {
        for _ in 0..100 {
            version += 1;
            let name = format!("s-{}", version * 7 % OBJECTS);
            if version % 11 == 0 {
                // It may not be there.
                let _ = site.try_remove(&format!("/api/v1/namespaces/default/services/{name}"));
            } else {
                site.apply(&service(&name, &ip(version)));
            }
            match (round, version % 100) {
                (0 | 3, 20) => proxy.cut(true),
                (0 | 3, 40 | 60 | 80) => proxy.cut(false),
                (1, 30) => proxy.stop_after(20_000),
                (1 | 4, 90) => proxy.cut(false),
                (4, 10) => proxy.stop(),
                (2, 50) => {
                    site.take_away();
                    site.bring_back();
                }
                (5, 50) => {
                    site.compact();
                    site.take_away();
                    site.bring_back();
                }
                _ => {}
            }
        }
    }
    proxy.cut(false);
    let listed = site.get("/api/v1/services");
    let mut expected: Vec<_> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            let ip = item["spec"]["externalIPs"][0].as_str().map(ToOwned::to_owned);
            (item["metadata"]["name"].as_str().unwrap().to_owned(), ip)
        })
        .collect();
    expected.sort();
    running.until("what the server has", |snapshot| {
        let mut have: Vec<_> = snapshot
            .services
            .iter()
            .map(|(name, service)| {
                let ip = service.external.as_ref().and_then(|external| external.ips.first()).map(ToString::to_string);
                (name.name.to_string(), ip)
            })
            .collect();
        have.sort();
        have == expected
    });
    let history = running.history();
    for n in 0..OBJECTS {
        let name = ObjectName { namespace: Str::from("default"), name: Str::from(format!("s-{n}")) };
        let versions =
            history.iter().filter_map(|snapshot| snapshot.services.get(&name)?.external.as_ref()?.ips.first().copied());
        let versions: Vec<_> = versions.collect();
        assert!(versions.is_sorted(), "{name} went back: {versions:?}");
    }
    assert!(running.events().contains(&Event::Away), "the faults were felt");
}

#[test]
fn a_server_that_streams_no_lists_is_read_in_pages() {
    let flags = vec!["--feature-gates=WatchList=false".to_owned()];
    let mut site = Site::with(&ApiServerOptions { flags, ..ApiServerOptions::default() }, &EtcdOptions::default());
    // More than two pages.
    site.create((0..1100).map(|n| {
        let text = format!(
            r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"s-{n}"}},"spec":{{"clusterIP":"None"}}}}"#
        );
        ("/api/v1/namespaces/default/services".to_owned(), text)
    }));
    let running = Running::synced(site.source());
    assert_eq!(running.events()[0], Event::All(1100 + site.own()));
    site.put("a", &service("a", "10.0.0.1"));
    running.until_ip("a", Some("10.0.0.1"));
    site.take_away();
    running.until_event(Event::Away);
    site.bring_back();
    site.delete("a");
    running.until_ip("a", None);
}
