//! Order and completeness: thousands of changes while etcd is killed, compacted and cut off. What was told
//! never goes back, and at the end it is what etcd has.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use bowline_cluster::snapshot::Snapshot;
use bowline_etcd::Keys;
use bowline_lab::wait_for;
use etcd_client::TxnOp;

use crate::battery::{Event, Place, Running, service};
use crate::place::{PATIENCE, Site, Writer};
use crate::proxy::Proxy;

const SERVICES: usize = 150;

/// So many changes are made from one fault to the next; half of them during the fault.
fn changes() -> u64 {
    bowline_lab::amount(400, 150)
}

/// What happens while changes are made.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Connections break.
    Cut,
    /// Connections stay, and bring nothing.
    Stop,
    /// kill -9, and started again.
    Kill,
    /// Away for some changes, which are then compacted.
    Compact,
}

/// A generator of numbers, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Writes as many changes as are wanted, until none are; each Service carries in its port how often it was written.
fn write(writer: &Writer, keys: &Keys, made: &AtomicU64, wanted: &AtomicU64) {
    let mut versions = [0_u16; SERVICES];
    let mut numbers = Numbers(1);
    loop {
        match wanted.load(Ordering::Relaxed) {
            0 => return,
            wanted if made.load(Ordering::Relaxed) >= wanted => {
                std::thread::yield_now();
                continue;
            }
            _ => {}
        }
        let count = if numbers.below(4) == 0 { numbers.below(20) + 1 } else { 1 };
        let mut ops = BTreeMap::new();
        for _ in 0..count {
            let n = numbers.below(SERVICES as u64) as usize;
            let key = keys.any_object("services", "default", &format!("s-{n}"));
            let op = if numbers.below(3) == 0 {
                TxnOp::delete(key.clone(), None)
            } else {
                versions[n] += 1;
                let text = service(&format!("s-{n}"), &format!("10.0.{n}.1"));
                TxnOp::put(key.clone(), text.replace("port: 80", &format!("port: {}", versions[n])), None)
            };
            ops.insert(key, op);
        }
        writer.transaction(&ops.into_values().collect::<Vec<_>>());
        made.fetch_add(count, Ordering::Relaxed);
    }
}

/// The version of each Service that is there.
fn versions(snapshot: &Snapshot) -> BTreeMap<String, u16> {
    snapshot.services.iter().map(|(name, service)| (name.name.to_string(), service.ports[0].port)).collect()
}

/// The same, as etcd has it.
fn stored(site: &Site) -> BTreeMap<String, u16> {
    let version = |text: &str| text.lines().find_map(|line| line.trim().strip_prefix("- port: ")?.parse().ok());
    let objects = site.writer.objects(site.location.keys());
    objects.iter().map(|(key, text)| (key.rsplit('/').next().unwrap().to_owned(), version(text).unwrap())).collect()
}

/// Lets the writer end, also if the test fails.
struct NoMore<'a>(&'a AtomicU64);

impl Drop for NoMore<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[test]
fn no_change_is_lost_or_taken_back_whatever_happens() {
    use Fault::{Compact, Cut, Kill, Stop};
    let mut site = Site::new();
    site.put("first", &service("first", "10.9.9.9"));
    let proxies = [Proxy::to(&site.etcd.urls()[0]), Proxy::to(&site.etcd.urls()[0])];
    let cut = |refuse| proxies.iter().for_each(|proxy| proxy.cut(refuse));
    let running = Running::synced(crate::drift::compared(&format!("{},{}", proxies[0].url(), proxies[1].url())));
    let (made, wanted) = (AtomicU64::new(0), AtomicU64::new(1));
    let until_made = |count| wait_for("changes", PATIENCE, || made.load(Ordering::Relaxed) >= count).unwrap();
    let (urls, keys) = (site.etcd.urls(), site.location.keys().clone());
    std::thread::scope(|scope| {
        let _no_more = NoMore(&wanted);
        scope.spawn(|| write(&Writer::new(urls, None), &keys, &made, &wanted));
        let faults = [Cut, Kill, Compact, Cut, Cut, Kill, Stop, Compact, Kill, Kill, Compact, Compact];
        for (n, fault) in faults.into_iter().enumerate() {
            let (so_far, away) = (made.load(Ordering::Relaxed), running.reasons().len());
            wanted.store(so_far + changes(), Ordering::Relaxed);
            until_made(so_far + changes() / 2);
            match fault {
                Cut => cut(false),
                Kill => {
                    site.etcd.members_mut()[0].kill().unwrap();
                    site.etcd.members_mut()[0].start().unwrap();
                }
                Stop => {
                    proxies.iter().for_each(Proxy::stop);
                    running.until_events(Event::Away, away + 1);
                    cut(false);
                }
                Compact => {
                    cut(true);
                    until_made(so_far + changes() * 3 / 4);
                    let newest = site.writer.put("/elsewhere", "");
                    site.writer.compact(newest);
                    cut(false);
                }
            }
            // It follows before the next one comes.
            let ip = format!("10.9.9.{}", n + 10);
            site.put("first", &service("first", &ip));
            running.until_ip("first", Some(&ip));
        }
    });

    let stored = stored(&site);
    running.until("what etcd has", |snapshot| versions(snapshot) == stored);
    let mut newest: BTreeMap<String, u16> = BTreeMap::new();
    let mut steps = 0;
    let history = running.history();
    for snapshot in &history {
        for (name, version) in versions(snapshot) {
            let last = newest.entry(name.clone()).or_default();
            assert!(*last <= version, "{name} went back from {last} to {version}");
            steps += usize::from(*last < version);
            *last = version;
        }
    }
    let made = made.load(Ordering::Relaxed);
    eprintln!("{made} changes, {steps} seen as steps in {} snapshots; away: {:?}", history.len(), running.reasons());
    assert!(made > changes() * 10 && steps as u64 > changes(), "{made} changes, {steps} steps");
    assert!(running.problems().is_empty(), "{:?}", running.problems());
    // It was compared all the time.
    assert_eq!(running.drifts(), []);
}
