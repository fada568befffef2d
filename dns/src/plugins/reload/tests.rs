//! `reload`: its bounds, and that a file that changes is served.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Instant;

use super::*;
use crate::corefile;
use crate::feed::Feed;
use crate::plugin::Services;
use crate::plugins::testing::refused;
use crate::server::{Running, ServeError, Settings};

fn directive(text: &str) -> Directive {
    let text = format!(". {{\n reload {text}\n}}\n");
    crate::corefile::parse(&text, "Corefile", Path::new(""), &|_| None).unwrap().blocks[0].directives[0].clone()
}

#[test]
fn jitter_is_half_of_it_to_either_side_and_never_more_than_half_the_interval() {
    for (text, least, most) in [
        ("", 22_500, 37_500),
        ("10s", 7_500, 12_500),
        ("10s 2s", 9_000, 11_000),
        ("10s 10s", 7_500, 12_500),
        ("2s 0s", 2_000, 2_000),
    ] {
        let at = |random| read(&directive(text), random).unwrap().interval;
        assert_eq!((at(0.0).as_millis(), at(1.0).as_millis()), (least, most), "{text}");
    }
}

#[test]
fn set_ups_as_in_coredns() {
    for (text, says) in [
        ("reload", "accepted"),
        ("reload 10s", "accepted"),
        ("reload 10s 2s", "accepted"),
        ("reload 10s 10s 10s", "takes 0 to 2 arguments"),
        ("reload 12", "is not a duration"),
        ("reload 1s", "the interval must be 2s or more"),
        ("reload 10s 100ms", "the jitter must be 0 or 1s or more"),
        ("reload {\n}", "takes no { }"),
    ] {
        let told = refused(&format!("example.org {{\n {text}\n whoami\n}}\n"));
        assert!(told.contains(says), "{text}: {told}");
    }
}

/// A Corefile that is looked at every other second.
struct File {
    folder: tempfile::TempDir,
    port: u16,
}

impl File {
    fn new() -> File {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = File { folder: tempfile::tempdir().unwrap(), port };
        file.write("example.org");
        file
    }

    fn settings(&self) -> Settings {
        Settings { conf: self.folder.path().join("Corefile"), port: 53, threads: 1, prepare: None, ahead: None }
    }

    fn write(&self, zone: &str) {
        let text = format!("{zone}:{} {{\n reload 2s 0s\n whoami\n}}\n", self.port);
        std::fs::write(self.settings().conf, text).unwrap();
    }
}

fn new_services() -> Arc<Services> {
    Arc::new(Services::new(Arc::new(Feed::default()), vec!["127.0.0.1".parse().unwrap()], "test"))
}

#[test]
fn a_file_that_has_changed_is_served_and_its_hash_shown() {
    let file = File::new();
    let services = new_services();
    let running = Running::start(file.settings(), services.clone()).unwrap();
    let before = running.instance().digest.clone();
    file.write("example.net");
    let began = Instant::now();
    while running.instance().digest == before {
        assert!(began.elapsed() < Duration::from_secs(60), "the change is not seen");
        std::thread::sleep(Duration::from_millis(20));
    }
    let shown = format!("coredns_reload_version_info{{hash=\"sha512\",value=\"{}\"}} 1", running.instance().digest);
    while !services.metrics.page().contains(&shown) {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", services.metrics.page());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(services.metrics.page().contains("coredns_reload_failed_total 0"));
}

#[test]
fn what_is_not_yet_there_is_tried_again_and_the_end_does_not_wait_for_it() {
    let file = File::new();
    let services = new_services();
    let (tried, asked) = std::sync::mpsc::channel();
    let ahead = move |_: &corefile::Corefile| -> Pin<Box<dyn Future<Output = Result<(), ServeError>>>> {
        tried.send(()).unwrap();
        Box::pin(std::future::ready(Err(ServeError::NotYet("the state is not there".to_owned()))))
    };
    let settings = Settings { ahead: Some(Arc::new(ahead)), ..file.settings() };
    let running = Running::start(settings, services.clone()).unwrap();
    let before = running.instance().digest.clone();
    file.write("example.net");
    for _ in 0..2 {
        asked.recv_timeout(Duration::from_secs(60)).unwrap();
    }
    let said = running.reload().unwrap_err().to_string();
    assert_eq!((said.as_str(), &running.instance().digest), ("the state is not there", &before));
    running.stop();

    // It never comes: the end does.
    let services = new_services();
    let (tried, asked) = std::sync::mpsc::channel();
    let ahead = move |_: &corefile::Corefile| -> Pin<Box<dyn Future<Output = Result<(), ServeError>>>> {
        tried.send(()).unwrap();
        Box::pin(std::future::pending())
    };
    let settings = Settings { ahead: Some(Arc::new(ahead)), ..file.settings() };
    let running = Running::start(settings, services).unwrap();
    running.ask_reload();
    asked.recv_timeout(Duration::from_secs(60)).unwrap();
    running.stop();
}
