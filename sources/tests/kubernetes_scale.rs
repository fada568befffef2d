//! Kubernetes as a source, a big cluster: how long the first list takes, and what memory a list takes when
//! everything is there already. Alone in its program, as memory is measured.
//!
//! `cargo test --release -p bowline-cluster --test kubernetes_scale -- --nocapture` prints the numbers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]
#![allow(unreachable_pub, dead_code, unused_macros, unused_imports, reason = "the battery is shared by test programs")]

mod battery;
#[path = "kubernetes/place.rs"]
mod place;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use battery::{Event, Place, Running};
use bowline_cluster::snapshot::Snapshot;
use bowline_cluster::state::Options;
use bowline_lab::amount;
use bowline_lab::kubernetes::{ApiServerOptions, EtcdOptions};
use place::Site;

/// Services, and slices of ten endpoints: `make test-long` has a big cluster of them.
fn size() -> usize {
    amount(10_000, 3_000)
}

#[test]
fn many_objects_are_read_soon_and_a_second_list_takes_little_memory() {
    for (how, flags) in [("streamed", vec![]), ("in pages", vec!["--feature-gates=WatchList=false".to_owned()])] {
        let mut site = Site::with(&ApiServerOptions { flags, ..ApiServerOptions::default() }, &EtcdOptions::default());
        let began = Instant::now();
        fill(&site);
        println!("{} Services and slices made in {:?}", size(), began.elapsed());
        for _ in 0..3 {
            let began = Instant::now();
            drop(synced(&site));
            println!("{how}: synced in {:?}", began.elapsed());
        }
        let running = synced(&site);
        running.forget_history();
        let count = |snapshot: &Snapshot| (snapshot.services.len(), snapshot.slices.len());
        assert_eq!(count(&running.snapshot()), (size() + 1, size() + 1));
        let mut times: Vec<_> = (0..100).map(|n| change(&site, &running, n)).collect();
        times.sort();
        println!("{how}: from the API write to the snapshot p50 {:?}, p99 {:?}", times[50], times[98]);
        let before = forget_peak();
        // Another Service `kubernetes` is taken for another cluster: everything is listed again.
        site.remove("/api/v1/namespaces/default/services/kubernetes");
        site.take_away();
        running.until_event(Event::Away);
        site.bring_back();
        running.until_events_are("all of it again", |events| {
            let told = events.iter().map(|event| if let Event::Some(changes) = event { *changes } else { 0 });
            told.sum::<usize>() > 2 * size()
        });
        running.until("the Service of the other cluster", |snapshot| count(snapshot) == (size() + 1, size() + 1));
        let peak = status("VmHWM");
        println!("{how}: {before} kB resident, {peak} kB at most while listing again");
        assert!(peak < before + before / 4, "{before} kB, then {peak} kB");
    }
}

/// How long one change takes to arrive.
fn change(site: &Site, running: &Running, n: usize) -> Duration {
    let (name, ip) = (format!("web-{n}"), format!("10.0.0.{}", n + 1));
    let began = Instant::now();
    site.apply(&battery::service(&name, &ip).replace("spec:\n", "spec:\n  clusterIP: None\n"));
    running.until_ip(&name, Some(&ip));
    began.elapsed()
}

/// Reads it as the agent does: endpoints come as they are.
fn synced(site: &Site) -> Running {
    let running = Running::with(site.source(), Options::default());
    running.until_synced();
    running
}

/// Makes the objects, as controllers do.
fn fill(site: &Site) {
    let services = (0..size()).map(|n| {
        let manifest = format!(
            r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"web-{n}","labels":{{"app":"web-{n}"}}}},"spec":{{"clusterIP":"None","selector":{{"app":"web-{n}"}},"ports":[{{"name":"http","port":80,"targetPort":8080}}]}}}}"#
        );
        ("/api/v1/namespaces/default/services".to_owned(), manifest)
    });
    let slices = (0..size()).map(|n| {
        let mut endpoints = String::new();
        for index in 0..10 {
            let (number, node) = (n * 10 + index, (n + index) % 500);
            let _ = write!(
                endpoints,
                r#"{}{{"addresses":["10.{}.{}.{}"],"conditions":{{"ready":true,"serving":true,"terminating":false}},"nodeName":"node-{node}","targetRef":{{"kind":"Pod","name":"web-{n}-6d4cf56db6-{index:05}","namespace":"default","uid":"8c1d6f0a-1b2c-4d3e-8f90-{n:06}{index:06}"}},"zone":"zone-{}"}}"#,
                if index == 0 { "" } else { "," },
                128 + (number >> 16),
                (number >> 8) & 255,
                number & 255,
                node % 3,
            );
        }
        let manifest = format!(
            r#"{{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","addressType":"IPv4","metadata":{{"name":"web-{n}-x7k2p","labels":{{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io","kubernetes.io/service-name":"web-{n}"}}}},"ports":[{{"name":"http","port":8080,"protocol":"TCP"}}],"endpoints":[{endpoints}]}}"#
        );
        ("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices".to_owned(), manifest)
    });
    site.create(services.chain(slices));
}

/// Begins to measure the most memory anew; what is resident now, in kB.
fn forget_peak() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    status("VmRSS")
}

fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
