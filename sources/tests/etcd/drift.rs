//! Watches that lose changes, as behind a proxy with a fault: what is served is what etcd has.

use std::time::Duration;

use bowline_sources::etcd::Etcd as EtcdSource;

use crate::battery::{Event, Place, Running, service};
use crate::place::Site;
use crate::proxy::Proxy;

const OFTEN: Duration = Duration::from_secs(1);
const ONE: &str = "10.0.0.1";
const TWO: &str = "10.0.0.2";

/// What goes through a proxy, and is compared often.
pub fn compared(urls: &str) -> Box<EtcdSource> {
    Box::new(EtcdSource::new(format!("etcd:{urls}").parse().unwrap()).compared_every(OFTEN))
}

#[test]
fn what_a_watch_has_lost_is_found_by_comparing() {
    let mut site = Site::new();
    for name in ["goes", "changes", "stays"] {
        site.put(name, &service(name, ONE));
    }
    // What isn't read is no difference, and neither is what stands there and can't be.
    site.writer.put(&site.location.keys().any_object("services", "default", "torn"), "{{ torn");
    site.writer.put(&site.location.keys().any_object("widgets.example.com", "default", "w"), "{}");
    let proxy = Proxy::to(&site.etcd.urls()[0]);
    let running = Running::synced(compared(&proxy.url()));
    proxy.lose(true);
    site.delete("goes");
    site.put("changes", &service("changes", TWO));
    site.put("comes", &service("comes", ONE));
    running.until_ip("goes", None);
    running.until_ip("changes", Some(TWO));
    running.until_ip("comes", Some(ONE));
    let drifts = running.drifts();
    let mut names: Vec<_> = drifts.iter().flat_map(|drift| drift.names.clone()).collect();
    names.sort();
    assert_eq!(names, ["default/changes", "default/comes", "default/goes"], "{drifts:?}");
    assert!(drifts.iter().all(|drift| drift.kind == "services"), "{drifts:?}");
    // Nothing was away, and the watch goes on.
    assert_eq!(running.past_ips("stays"), [Some(ONE.to_owned())]);
    proxy.lose(false);
    site.put("comes", &service("comes", TWO));
    running.until_ip("comes", Some(TWO));
    assert!(!running.events().contains(&Event::Away), "{:?}", running.reasons());
    assert_eq!(running.drifts(), drifts);
}
