//! `health`: the page, the probe of it, and lameduck.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use super::*;
use crate::feed::Feed;
use crate::plugin::Services;
use crate::plugins::testing::{build, refused, services};
use crate::server::{Running, Settings};

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn the_page_says_ok_and_the_probe_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (dns, http) = (free_port(), free_port());
    let conf = folder.path().join("Corefile");
    std::fs::write(&conf, format!(".:{dns} {{\n health 127.0.0.1:{http}\n whoami\n}}\n")).unwrap();
    let services = Arc::new(Services::new(Arc::new(Feed::default()), vec!["127.0.0.1".parse().unwrap()], "test"));
    let settings = Settings { conf, port: 53, threads: 1, prepare: None, ahead: None };
    let running = Running::start(settings, services.clone()).unwrap();
    let get = || {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", http)).unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    };
    let page = get();
    assert!(page.starts_with("HTTP/1.1 200 OK") && page.ends_with("\r\n\r\nOK"), "{page}");
    let began = Instant::now();
    while !services.metrics.page().contains("coredns_health_request_duration_seconds_count 1") {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", services.metrics.page());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(services.metrics.page().contains("coredns_health_request_failures_total 0"));
    running.stop();
}

#[test]
fn a_page_that_is_not_there_is_a_failure() {
    let (took, failed) = (services().metrics.histogram("t", "", SLIM_TIME_BUCKETS, &[]), Arc::new(Counter::default()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), free_port());
    runtime.block_on(async {
        let task = tokio::spawn(probe(address, took.clone(), failed.clone()));
        while failed.get() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        task.abort();
    });
    assert!(took.count() >= 1);
}

#[test]
fn set_ups_as_in_coredns() {
    for (text, says) in [
        ("health", "accepted"),
        ("health localhost:1234", "accepted"),
        ("health {\n lameduck 4s\n}", "accepted"),
        ("health localhost:8092 {\n lameduck 1s\n}", "accepted"),
        ("health bla:a", "is no address to listen at"),
        ("health bla", "is no address to listen at"),
        ("health localhost:1234 bla", "takes 0 to 1 arguments"),
        ("health {\n lameduck\n}", "Corefile:3: lameduck: takes one argument, has none"),
        ("health {\n lameduck four\n}", "is not a duration"),
        ("health {\n lameduc 4s\n}", "did you mean lameduck?"),
    ] {
        let told = refused(&format!("example.org {{\n {text}\n whoami\n}}\n"));
        assert!(told.contains(says), "{text}: {told}");
    }
    let instance = build(". {\n health {\n lameduck 4s\n }\n}\n", Path::new(""), &services()).unwrap();
    assert_eq!(instance.lameduck, Duration::from_secs(4));
}
