//! `ready`: OK, or the plugins that are missing; once ready, always ready, unless it is asked for each time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bowline_cluster::follow::Follower;

use super::*;
use crate::plugin::{BlockConfig, Next, Query};
use crate::plugins;
use crate::plugins::testing::{build, refused, services};
use crate::reply::{Serving, ready};
use crate::server::Instance;

/// A plugin that is ready when it is told to be.
struct Switch(&'static str, AtomicBool);

impl Plugin for Switch {
    fn name(&self) -> &'static str {
        self.0
    }
    fn serve<'a>(&'a self, _: &'a mut Query, _: Next<'a>) -> Serving<'a> {
        ready(Ok(None))
    }
    fn not_ready(&self) -> Option<String> {
        (!self.1.load(Ordering::Relaxed)).then(|| "it was told so".to_owned())
    }
}

struct Case {
    services: Arc<Services>,
    seen: Seen,
    instance: Instance,
    switches: [Arc<Switch>; 2],
}

fn case(reports: Reports) -> Case {
    let services = services();
    let switches = ["kubernetes", "erratic"].map(|name| Arc::new(Switch(name, AtomicBool::new(false))));
    let mut instance = build("example.org {\n whoami\n}\n", Path::new(""), &services).unwrap();
    for switch in &switches {
        let plugins: Box<[Arc<dyn Plugin>]> = Box::new([switch.clone() as Arc<dyn Plugin>]);
        let config = BlockConfig { ready: Some(reports), ..BlockConfig::default() };
        instance.push_block(Block { zones: Vec::new(), plugins, config, place: String::new() });
    }
    Case { services, seen: Seen::default(), instance, switches }
}

impl Case {
    fn page(&self) -> (u16, String) {
        let page = page(self.instance.blocks(), &self.services, &self.seen);
        (page.status, page.body)
    }
    fn set(&self, number: usize, is_ready: bool) {
        self.switches[number].1.store(is_ready, Ordering::Relaxed);
    }
}

#[test]
fn those_that_are_missing_are_named() {
    let case = case(Reports::default());
    assert_eq!(case.page(), (503, "erratic,kubernetes".to_owned()));
    case.set(0, true);
    assert_eq!(case.page(), (503, "erratic".to_owned()));
    case.set(1, true);
    assert_eq!(case.page(), (200, "OK".to_owned()));
    // Ready once is ready for good.
    case.set(0, false);
    assert_eq!(case.page().0, 200);
    case.services.is_ending.store(true, Ordering::Relaxed);
    assert_eq!(case.page().0, 503);
}

#[test]
fn they_may_be_asked_each_time() {
    let case = case(Reports { continuously: true, stale: None });
    case.set(0, true);
    case.set(1, true);
    assert_eq!(case.page().0, 200);
    case.set(0, false);
    assert_eq!(case.page(), (503, "kubernetes".to_owned()));
}

#[test]
fn a_state_that_is_away_for_long_is_told_where_that_is_asked_for() {
    let ago = |seconds| Some((Instant::now() - Duration::from_secs(seconds), "gone".to_owned()));
    for (stale, expected) in [(None, 200), (Some(Duration::from_secs(60)), 503)] {
        let case = case(Reports { continuously: false, stale });
        case.set(0, true);
        case.set(1, true);
        case.services.feed.away(&ago(5));
        assert_eq!(case.page().0, 200);
        case.services.feed.away(&ago(61));
        assert_eq!(case.page().0, expected);
        case.services.feed.away(&None);
        assert_eq!(case.page().0, 200);
    }
}

#[test]
fn set_ups_as_in_coredns() {
    for (text, says) in [
        ("ready", "accepted"),
        ("ready localhost:1234", "accepted"),
        ("ready {\n monitor until-ready\n}", "accepted"),
        ("ready localhost:8091 {\n monitor continuously\n}", "accepted"),
        ("ready {\n stale 5m\n}", "accepted"),
        ("ready localhost:1234 b", "takes 0 to 1 arguments"),
        ("ready bla", "is no address"),
        ("ready {\n monitor\n}", "Corefile:3: monitor: takes one argument"),
        ("ready {\n monitor foo\n}", "neither until-ready nor continuously"),
        ("ready {\n monitors foo\n}", "did you mean monitor?"),
        ("ready {\n stale soon\n}", "is not a duration"),
        ("ready\n ready", "is in this server block already"),
    ] {
        let told = refused(&format!("example.org {{\n {text}\n whoami\n}}\n"));
        assert!(told.contains(says), "{text}: {told}");
    }
    assert!(plugins::PLUGINS.iter().any(|(name, _)| *name == "ready"));
}
