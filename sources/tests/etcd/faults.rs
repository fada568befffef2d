//! What happens to servers: stopped, cut off, compacted, on other data, without a leader.

use std::path::Path;
use std::process::Command;

use bowline_lab::kubernetes::EtcdOptions;
use etcd_client::TxnOp;
use rustix::process::Signal;

use crate::battery::{Event, Place, Running, service};
use crate::place::Site;
use crate::proxy::Proxy;

const ONE: &str = "10.0.0.1";
const TWO: &str = "10.0.0.2";
const THREE: &str = "10.0.0.3";

/// A site with the Service `a`, and a source of it that has seen that, by a way of its own.
fn followed() -> (Site, Proxy, Running) {
    followed_on(Site::new())
}

fn followed_on(mut site: Site) -> (Site, Proxy, Running) {
    site.put("a", &service("a", ONE));
    let proxy = Proxy::to(&site.etcd.urls()[0]);
    let running = Running::synced(site.source_at(&proxy.url()));
    (site, proxy, running)
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn a_server_that_is_stopped_and_started_loses_nothing() {
    let mut site = Site::new();
    site.put("a", &service("a", ONE));
    let running = Running::synced(site.source());
    site.etcd.members_mut()[0].stop().unwrap();
    assert!(running.until_away().contains("nothing listens there"), "{:?}", running.reasons());
    site.etcd.members_mut()[0].start().unwrap();
    running.until_event(Event::Back);
    site.put("a", &service("a", TWO));
    running.until_ip("a", Some(TWO));
    assert_eq!(running.past_ips("a"), [Some(ONE.into()), Some(TWO.into())]);
}

#[test]
fn a_server_that_stops_answering_is_noticed() {
    let mut site = Site::new();
    site.put("a", &service("a", ONE));
    let running = Running::synced(site.source());
    site.etcd.members()[0].server().signal(Signal::STOP).unwrap();
    assert!(running.until_away().contains("does a firewall drop it"), "{:?}", running.reasons());
    site.etcd.members()[0].server().signal(Signal::CONT).unwrap();
    running.until_event(Event::Back);
    site.put("a", &service("a", TWO));
    running.until_ip("a", Some(TWO));
}

#[test]
fn a_way_that_drops_everything_is_noticed_and_what_changed_meanwhile_is_seen() {
    let (mut site, proxy, running) = followed();
    proxy.stop();
    site.put("a", &service("a", TWO));
    site.put("b", &service("b", TWO));
    assert!(running.until_away().contains("does a firewall drop it"), "{:?}", running.reasons());
    assert_eq!(running.ip("a").as_deref(), Some(ONE));
    proxy.cut(false);
    running.until_event(Event::Back);
    running.until_ip("b", Some(TWO));
    assert_eq!(running.past_ips("a"), [Some(ONE.into()), Some(TWO.into())]);
}

#[test]
fn with_one_endpoint_that_drops_everything_another_is_taken() {
    let mut site = Site::new();
    site.put("a", &service("a", ONE));
    let proxies = [Proxy::to(&site.etcd.urls()[0]), Proxy::to(&site.etcd.urls()[0])];
    let running = Running::synced(site.source_at(&format!("{},{}", proxies[0].url(), proxies[1].url())));
    for (proxy, ip) in proxies.iter().zip([TWO, THREE]) {
        proxy.stop();
        site.put("a", &service("a", ip));
        running.until_ip("a", Some(ip));
        proxy.go_on();
    }
}

#[test]
fn a_connection_that_breaks_is_made_anew_without_a_word() {
    let (mut site, proxy, running) = followed();
    for n in 2..6 {
        proxy.cut(false);
        let ip = format!("10.0.0.{n}");
        site.put("a", &service("a", &ip));
        running.until_ip("a", Some(&ip));
    }
    assert_eq!(running.events()[0], Event::All(1));
    assert!(running.reasons().iter().all(|reason| !reason.contains("other data")), "{:?}", running.reasons());
    assert_eq!(running.past_ips("a").len(), 5);
}

#[test]
fn what_was_compacted_while_away_is_listed_anew() {
    let (mut site, proxy, running) = followed();
    site.put("gone", &service("gone", ONE));
    running.until_ip("gone", Some(ONE));
    proxy.cut(true);
    running.until_event(Event::Away);
    site.delete("gone");
    site.put("a", &service("a", TWO));
    let newest = site.writer.put("/elsewhere", "");
    site.writer.compact(newest);
    proxy.cut(false);
    running.until_ip("gone", None);
    running.until_ip("a", Some(TWO));
    running.until_event(Event::Back);
    assert_eq!(running.past_ips("a"), [Some(ONE.into()), Some(TWO.into())]);
    site.put("a", &service("a", THREE));
    running.until_ip("a", Some(THREE));
}

#[test]
fn a_notice_ahead_of_its_changes_is_not_taken_for_them() {
    let (mut site, proxy, running) = followed_on(Site::system());
    for name in ["gone", "c"] {
        site.put(name, &service(name, ONE));
        running.until_ip(name, Some(ONE));
    }
    let key = |name: &str| site.location.keys().any_object("services", "default", name);
    let (gone, b) = (key("gone"), key("b"));
    proxy.overtake();
    let both = [TxnOp::delete(gone, None), TxnOp::put(b, service("b", TWO), None)];
    let revision = site.writer.transaction(&both);
    bowline_lab::wait_for("the notice", crate::place::PATIENCE, || proxy.has_overtaken()).unwrap();
    running.until_event(Event::Away);
    // The newest change that came is compacted, the ones that did not come are not.
    site.writer.compact(revision);
    proxy.cut(false);
    running.until_ip("gone", None);
    running.until_ip("b", Some(TWO));
    running.until_event(Event::Back);
    assert_eq!(running.past_ips("c"), [None, Some(ONE.into())]);
}

#[test]
fn a_change_that_a_notice_has_overtaken_comes_after_all() {
    let (mut site, proxy, running) = followed_on(Site::system());
    proxy.overtake();
    site.put("b", &service("b", TWO));
    bowline_lab::wait_for("the notice", crate::place::PATIENCE, || proxy.has_overtaken()).unwrap();
    running.until_event(Event::Away);
    proxy.cut(false);
    running.until_ip("b", Some(TWO));
}

#[test]
fn a_compaction_that_took_nothing_of_ours_changes_nothing() {
    let (mut site, proxy, running) = followed();
    for name in ["b", "c"] {
        site.put(name, &service(name, ONE));
        running.until_ip(name, Some(ONE));
    }
    // The newest change of ours is older than this, and is still there.
    let newest = site.writer.put("/elsewhere", "");
    let told = running.events().len();
    proxy.cut(true);
    running.until_event(Event::Away);
    site.writer.compact(newest);
    proxy.cut(false);
    running.until_event(Event::Back);
    site.put("b", &service("b", TWO));
    running.until_ip("b", Some(TWO));
    // All is listed anew, and is as it was.
    let events = [Event::Away, Event::Back, Event::Some(3), Event::Some(1)];
    assert_eq!(running.events()[told..], events, "{:?}", running.reasons());
    assert_eq!(running.past_ips("c"), [None, Some(ONE.into())]);
}

#[test]
fn a_compaction_while_it_lists_begins_the_list_again() {
    let site = Site::new();
    let keys = site.location.keys();
    let padding = format!("  annotations:\n    text: {}\nspec:", "x".repeat(1000));
    let long = |n: usize| service(&format!("s-{n}"), "10.0.0.1").replace("spec:", &padding);
    for chunk in (0..3000).collect::<Vec<_>>().chunks(100) {
        let puts = chunk.iter().map(|n| {
            etcd_client::TxnOp::put(keys.any_object("services", "default", &format!("s-{n}")), long(*n), None)
        });
        site.writer.transaction(&puts.collect::<Vec<_>>());
    }
    let proxy = Proxy::to(&site.etcd.urls()[0]);
    proxy.stop_after(300_000);
    let running = Running::start(site.source_at(&proxy.url()));
    bowline_lab::wait_for("half a list", crate::place::PATIENCE, || proxy.is_stopped()).unwrap();
    let newest = site.writer.delete(&keys.any_object("services", "default", "s-2999"));
    site.writer.compact(newest);
    // On a slow machine it may have given up by now, and say that it is away.
    let told = || running.events().into_iter().filter(|event| !matches!(event, Event::Away | Event::Back));
    assert_eq!(told().count(), 0, "half a list is not told");
    proxy.go_on();
    running.until("2999 Services", |snapshot| snapshot.services.len() == 2999);
    assert_eq!(told().collect::<Vec<_>>(), [Event::All(2999)], "{:?}", running.reasons());
}

#[test]
fn a_server_on_an_empty_folder_of_data_is_believed_after_a_while() {
    let mut site = Site::new();
    site.put("a", &service("a", ONE));
    site.put("b", &service("b", ONE));
    let running = Running::synced(site.source());
    site.etcd.members_mut()[0].kill().unwrap();
    running.until_event(Event::Away);
    let empty = site.lab.folder("empty").unwrap();
    site.etcd.members_mut()[0].start_with(&empty).unwrap();
    site.put("b", &service("b", TWO));
    running.until_ip("b", Some(TWO));
    running.until_ip("a", None);
    running.until_event(Event::Back);
    assert_eq!(running.past_ips("b"), [Some(ONE.into()), Some(TWO.into())], "it was there all the time");
}

#[test]
fn a_backup_with_changes_of_its_own_is_not_taken_for_the_same() {
    let mut site = Site::new();
    site.put("a", &service("a", ONE));
    site.put("kept", &service("kept", ONE));
    let backup = site.lab.folder("backups").unwrap().join("data");
    site.etcd.members_mut()[0].stop().unwrap();
    copy(site.etcd.members()[0].data(), &backup);
    site.etcd.members_mut()[0].start().unwrap();
    let proxy = Proxy::to(&site.etcd.urls()[0]);
    let running = Running::synced(site.source_at(&proxy.url()));
    // These are lost: one is put, one is deleted.
    site.delete("kept");
    running.until_ip("kept", None);
    site.put("a", &service("a", TWO));
    running.until_ip("a", Some(TWO));
    proxy.cut(true);
    running.until_event(Event::Away);
    site.etcd.members_mut()[0].kill().unwrap();
    site.etcd.members_mut()[0].start_with(&backup).unwrap();
    // Revisions are higher than what was seen by now.
    for _ in 0..10 {
        site.put("c", &service("c", THREE));
    }
    proxy.cut(false);
    running.until_ip("c", Some(THREE));
    running.until_ip("a", Some(ONE));
    running.until_ip("kept", Some(ONE));
    running.until_event(Event::Back);
}

/// Three members, and a source that knows all of them.
fn three() -> (Site, Running) {
    let mut site = Site::with(&EtcdOptions { members: 3, ..EtcdOptions::default() }, "");
    site.put("a", &service("a", ONE));
    let running = Running::synced(site.source());
    (site, running)
}

#[test]
fn three_members_lose_their_leader_again_and_again() {
    let (mut site, running) = three();
    for n in 2..5 {
        let leader = site.etcd.leader().unwrap();
        site.etcd.members_mut()[leader].kill().unwrap();
        let ip = format!("10.0.0.{n}");
        site.put("a", &service("a", &ip));
        running.until_ip("a", Some(&ip));
        site.etcd.members_mut()[leader].start().unwrap();
    }
    assert_eq!(running.past_ips("a").len(), 4);
}

#[test]
fn three_members_whose_leader_hangs_elect_another_and_it_is_followed() {
    let (mut site, running) = three();
    let leader = site.etcd.leader().unwrap();
    site.etcd.members()[leader].server().signal(Signal::STOP).unwrap();
    site.put("a", &service("a", TWO));
    running.until_ip("a", Some(TWO));
    site.etcd.members()[leader].server().signal(Signal::CONT).unwrap();
    // Another object: what the writer had sent to the one that hung may be written a second time now.
    site.put("b", &service("b", THREE));
    running.until_ip("b", Some(THREE));
    running.until_ip("a", Some(TWO));
}

#[test]
fn a_member_that_has_lost_the_others_is_no_source() {
    let (mut site, _running) = three();
    let alone = (site.etcd.leader().unwrap() + 1) % 3;
    let running = Running::synced(site.source_at(site.etcd.members()[alone].url()));
    for other in (0..3).filter(|member| *member != alone) {
        site.etcd.members_mut()[other].kill().unwrap();
    }
    running.until_event(Event::Away);
    for other in (0..3).filter(|member| *member != alone) {
        site.etcd.members_mut()[other].start_only().unwrap();
    }
    running.until_event(Event::Back);
    site.put("a", &service("a", TWO));
    running.until_ip("a", Some(TWO));
}

#[test]
fn an_object_at_another_key_than_its_own_is_told() {
    let mut site = Site::new();
    let odd = "/bowline/objects/services/odd";
    site.writer.put("/bowline/objects/services/default/b", &service("other", ONE));
    site.writer.put(odd, &service("odd", ONE));
    site.put("a", &service("a", ONE));
    let running = Running::synced(site.source());
    running.until_problems("two problems", |problems| problems.len() == 2);
    let texts: Vec<String> = running.problems().iter().map(ToString::to_string).collect();
    assert!(texts.iter().any(|text| text.contains("services/default/b") && text.contains("Service default/other")));
    assert!(texts.iter().any(|text| text.contains(odd) && text.contains("services/NAMESPACE/NAME")), "{texts:?}");
    assert_eq!((running.ip("other"), running.ip("odd"), running.ip("a").as_deref()), (None, None, Some(ONE)));
    site.writer.delete("/bowline/objects/services/default/b");
    site.writer.delete(odd);
    running.until_problems("none", <[_]>::is_empty);
}

#[test]
fn keys_beside_the_objects_and_other_prefixes_are_left_alone() {
    let mut site = Site::new();
    site.writer.put("/bowline/alive/node-1", "{}");
    site.writer.put("/bowline2/objects/services/default/x", &service("x", ONE));
    site.put("a", &service("a", ONE));
    let running = Running::synced(site.source());
    let other = Running::synced(site.source_at(&format!("{}?prefix=/bowline2", site.etcd.urls()[0])));
    site.writer.put("/bowline/cluster", "{}");
    site.put("a", &service("a", TWO));
    running.until_ip("a", Some(TWO));
    assert_eq!(running.events(), [Event::All(1), Event::Some(1)]);
    assert_eq!(other.ip("x").as_deref(), Some(ONE));
}
