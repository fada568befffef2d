//! Another past behind a server, and watches that lose events: what is served is what the server has.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bowline_lab::kubernetes::{ApiServerOptions, EtcdOptions, EtcdRelease};
use bowline_sources::kubernetes::{Kubernetes, Wanted};

use crate::battery::{Event, PATIENCE, Place, Running, service};
use crate::crooked::{Act, Crooked};
use crate::faults::by;
use crate::place::Site;
use crate::proxy::Proxy;

const OFTEN: Duration = Duration::from_secs(1);

/// The newest revision of a cluster.
fn revision(site: &Site) -> u64 {
    site.get("/api/v1/namespaces?limit=1")["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// What is seen of a cluster that is taken back to what `back_up` kept, and goes on from there, while we are away.
fn restored(mut site: Site, back_up: impl Fn(&mut Site), restore: impl Fn(&mut Site)) {
    for name in ["changed", "changed-back", "deleted", "untouched"] {
        site.put(name, &service(name, "10.0.0.1"));
    }
    back_up(&mut site);
    let proxy = Proxy::to(&site.api.url());
    let running = Running::synced(by(&site, &[&proxy]));
    site.put("lost", &service("lost", "10.0.0.1"));
    site.put("changed", &service("changed", "10.0.0.2"));
    site.put("changed-back", &service("changed-back", "10.0.0.2"));
    site.delete("deleted");
    site.put("last", &service("last", "10.0.0.1"));
    running.until_ip("last", Some("10.0.0.1"));
    let before = revision(&site);
    proxy.cut(true);
    running.until_event(Event::Away);
    site.take_away();
    site.etcd.members_mut()[0].stop().unwrap();
    restore(&mut site);
    site.bring_back();
    site.put("changed", &service("changed", "10.0.0.3"));
    let mut n = 0;
    while revision(&site) <= before + 10 {
        n += 1;
        site.put("other", &service("other", &format!("10.1.{}.{}", n / 250, n % 250 + 1)));
    }
    proxy.cut(false);
    for (name, ip) in [
        ("lost", None),
        ("last", None),
        ("deleted", Some("10.0.0.1")),
        ("changed", Some("10.0.0.3")),
        ("changed-back", Some("10.0.0.1")),
        ("untouched", Some("10.0.0.1")),
    ] {
        running.until_ip(name, ip);
    }
    // And it goes on.
    site.put("new", &service("new", "10.0.0.1"));
    running.until_ip("new", Some("10.0.0.1"));
    assert_eq!(running.past_ips("untouched"), [Some("10.0.0.1".to_owned())]);
}

fn run(command: &mut Command) {
    let out = command.env("ETCDCTL_API", "3").output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn an_etcd_restored_from_a_snapshot_whose_revisions_have_grown_past_ours() {
    let etcd = EtcdOptions { release: EtcdRelease::System, ..EtcdOptions::default() };
    let site = Site::with(&ApiServerOptions::default(), &etcd);
    let snapshot = site.place.folder("backup").unwrap().join("snapshot.db");
    let save = |site: &mut Site| {
        run(Command::new("etcdctl")
            .arg("--endpoints")
            .arg(&site.etcd.urls()[0])
            .args(["snapshot", "save"])
            .arg(&snapshot));
    };
    let restore = |site: &mut Site| {
        let data = site.place.folder("backup").unwrap().join("restored");
        let mut restore = Command::new("etcdctl");
        restore.args(["snapshot", "restore"]).arg(&snapshot).arg("--data-dir").arg(&data);
        for flag in ["name", "initial-cluster", "initial-advertise-peer-urls"] {
            restore.arg(site.etcd.members()[0].flag(flag).unwrap());
        }
        run(&mut restore);
        site.etcd.members_mut()[0].start_with(&data).unwrap();
    };
    restored(site, save, restore);
}

#[test]
fn an_etcd_taken_back_to_a_copy_whose_revisions_have_grown_past_ours() {
    let copy = |site: &Site| site.place.folder("copy").unwrap();
    let member = |data: &Path, to: &Path| run(Command::new("cp").arg("-a").arg(data.join("member")).arg(to));
    // As it is on disk, as after a crash.
    let save = |site: &mut Site| {
        let etcd = site.etcd.members()[0].server();
        etcd.signal(rustix::process::Signal::STOP).unwrap();
        member(site.etcd.members()[0].data(), &copy(site));
        etcd.signal(rustix::process::Signal::CONT).unwrap();
    };
    restored(Site::new(), save, |site| {
        let data = copy(site);
        site.etcd.members_mut()[0].start_with(&data).unwrap();
    });
}

#[test]
fn what_a_watch_has_lost_is_found_by_comparing() {
    let mut site = Site::new();
    for name in ["goes", "changes", "stays"] {
        site.put(name, &service(name, "10.0.0.1"));
    }
    // Of the list and of what is asked for one by one nothing is lost.
    let lossy = |path: &str| {
        let is_watch = path.contains("watch=true") && !path.contains("sendInitialEvents");
        let keep = |line: &str| {
            !["goes", "changes", "comes"].iter().any(|name| line.contains(&format!("\"name\":\"{name}\"")))
        };
        if is_watch { Act::Only(keep) } else { Act::Pass }
    };
    // In pages: a watch of its own follows.
    let crooked = Crooked::new(&site.api, move |path| match path.contains("sendInitialEvents") {
        true => Act::Refuse(400, String::new()),
        false => lossy(path),
    });
    let running = Running::synced(Box::new(crooked.source().compared_every(OFTEN)));
    site.delete("goes");
    site.put("changes", &service("changes", "10.0.0.2"));
    site.put("comes", &service("comes", "10.0.0.1"));
    // By what comes later the watch is seen to have passed those by.
    site.put("later", &service("later", "10.0.0.1"));
    running.until_ip("goes", None);
    running.until_ip("changes", Some("10.0.0.2"));
    running.until_ip("comes", Some("10.0.0.1"));
    let drifts = running.drifts();
    let names: Vec<_> = drifts.iter().flat_map(|drift| drift.names.clone()).collect();
    assert!(drifts.iter().all(|drift| drift.kind == "services" || drift.kind == "endpointslices"), "{drifts:?}");
    for name in ["default/goes", "default/changes", "default/comes"] {
        assert!(names.iter().any(|other| other == name), "{name}: {drifts:?}");
    }
    assert!(!names.iter().any(|name| name.contains("stays")), "{drifts:?}");
    // The same once more: it was lost again.
    site.put("goes", &service("goes", "10.0.0.1"));
    site.put("later", &service("later", "10.0.0.2"));
    running.until_ip("goes", Some("10.0.0.1"));
    site.delete("goes");
    site.put("later", &service("later", "10.0.0.3"));
    running.until_ip("goes", None);
    assert_eq!(running.past_ips("stays"), [Some("10.0.0.1".to_owned())]);
    assert!(!running.events().contains(&Event::Away), "{:?}", running.reasons());
}

#[test]
fn where_nothing_is_lost_nothing_is_found() {
    let site = Site::new();
    let crooked = Crooked::new(&site.api, |_| Act::Pass);
    let running = Running::synced(Box::new(crooked.source().compared_every(OFTEN)));
    let compared = |crooked: &Crooked| {
        let is_compared = |path: &&String| path.starts_with("/api/v1/services?limit=");
        crooked.asked().iter().filter(is_compared).count()
    };
    let before = compared(&crooked);
    let mut n = 0_usize;
    bowline_lab::wait_for("four comparisons", PATIENCE, || {
        n += 1;
        site.apply(&service(&format!("s-{}", n % 7), &format!("10.1.{}.{}", n / 250 % 250, n % 250 + 1)));
        if n.is_multiple_of(3) {
            site.remove(&format!("/api/v1/namespaces/default/services/s-{}", n % 7));
        }
        compared(&crooked) >= before + 4
    })
    .unwrap();
    assert_eq!(running.drifts(), []);
    drop(Kubernetes::new(site.access(), Wanted::default()).compared_every(Duration::ZERO));
}
