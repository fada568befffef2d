//! What every source must do, whatever it reads from: one set of tests for all of them.
//!
//! A source's test file has a [`Place`] and calls [`battery!`] with a way to make one.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bowline_cluster::object::{ObjectName, Str};
use bowline_cluster::snapshot::Snapshot;
use bowline_cluster::source::{Drift, Problem, Sink, Source, Stop, Update};
use bowline_cluster::state::{Options, State};

/// Waiting longer than this is a failure; nothing ever waits for it where all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Something that a source reads, as the tests write it.
pub trait Place {
    /// A source that reads it.
    fn source(&self) -> Box<dyn Source>;
    /// Puts an object (or several) there; `key` is a file's or a key's name, without an ending.
    fn put(&mut self, key: &str, manifest: &str);
    /// Takes away what was put under this key.
    fn delete(&mut self, key: &str);
    /// Makes it unreachable for the source.
    fn take_away(&mut self);
    /// Makes it reachable again, as it was.
    fn bring_back(&mut self);
    /// How many objects are there that no test has put.
    fn own(&self) -> usize {
        0
    }
    /// Manifests of a Service of this name that are refused, and the field to blame: ones that can be there.
    fn refused(&self, name: &str) -> [(String, &'static str); 2] {
        let good = service(name, "10.0.0.1");
        [
            (good.replace("port: 80", "port: 99999"), "spec.ports[0].port"),
            (good.replace("10.0.0.1", "nowhere"), "spec.externalIPs[0]"),
        ]
    }
}

/// A Service of this name in the namespace `default`, with this external address, by which tests tell its
/// versions apart: unlike its clusterIP, Kubernetes lets it change.
pub fn service(name: &str, ip: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  externalIPs: [{ip}]\n  ports:\n  - port: 80\n"
    )
}

pub fn name(name: &str) -> ObjectName {
    ObjectName { namespace: Str::from("default"), name: Str::from(name) }
}

/// One update, as far as tests ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// With the number of changes.
    All(usize),
    Some(usize),
    Problems(usize),
    Away,
    Back,
}

#[derive(Default)]
struct Seen {
    state: State,
    events: Vec<Event>,
    /// The snapshot after each update.
    history: Vec<Snapshot>,
    problems: Vec<Problem>,
    /// Why it was away, each time.
    reasons: Vec<String>,
    drifts: Vec<Drift>,
    ended: bool,
    /// Only the last snapshot is kept.
    forgets: bool,
    /// The sink takes nothing while this is set.
    held: bool,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        // A test that has failed must still be able to stop the source.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Shared {
    fn drifted(&self, drift: &Drift) {
        self.lock().drifts.push(drift.clone());
    }

    fn update(&self, update: Update) {
        let mut seen = self.changed.wait_while(self.lock(), |seen| seen.held).unwrap();
        let event = match &update {
            Update::All(changes) => Event::All(changes.len()),
            Update::Some { changes, read_at, .. } => {
                assert!(*read_at <= Instant::now());
                Event::Some(changes.len())
            }
            Update::Problems(problems) => {
                seen.problems.clone_from(problems);
                Event::Problems(problems.len())
            }
            Update::Away(reason) => {
                seen.reasons.push(reason.clone());
                Event::Away
            }
            Update::Back => Event::Back,
        };
        seen.state.apply(update);
        let snapshot = seen.state.snapshot();
        if seen.forgets {
            seen.history.clear();
        }
        seen.history.push(snapshot);
        seen.events.push(event);
        self.changed.notify_all();
    }
}

/// A source that runs, and all that it has told.
pub struct Running {
    shared: Arc<Shared>,
    stop: Stop,
    thread: Option<JoinHandle<Result<(), Problem>>>,
}

impl Running {
    pub fn start(source: Box<dyn Source>) -> Running {
        Running::with(source, Options { complete: true, ..Options::default() })
    }

    pub fn with(mut source: Box<dyn Source>, options: Options) -> Running {
        let shared = Arc::new(Shared::default());
        shared.lock().state = State::new(options);
        let stop = Stop::default();
        let (for_thread, stop_too) = (shared.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let result = source.run(&*for_thread, &stop_too);
            for_thread.lock().ended = true;
            for_thread.changed.notify_all();
            result
        });
        Running { shared, stop, thread: Some(thread) }
    }

    /// Starts it and waits until all has been read.
    pub fn synced(source: Box<dyn Source>) -> Running {
        let running = Running::start(source);
        running.until_synced();
        running
    }

    pub fn until_synced(&self) {
        self.wait("synced", |seen| seen.state.synced());
    }

    fn wait(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.shared.lock();
        while !condition(&seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for: {what}; {:?}, {:?}", seen.events, seen.problems);
            seen = self.shared.changed.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// Waits until the snapshot is so.
    pub fn until(&self, what: &str, condition: impl Fn(&Snapshot) -> bool) {
        self.wait(what, |seen| condition(&seen.state.snapshot()));
    }

    pub fn until_event(&self, event: Event) {
        self.wait(&format!("{event:?}"), |seen| seen.events.contains(&event));
    }

    #[allow(dead_code, reason = "only servers are read again")]
    pub fn until_events_are(&self, what: &str, condition: impl Fn(&[Event]) -> bool) {
        self.wait(what, |seen| condition(&seen.events));
    }

    pub fn until_problems(&self, what: &str, condition: impl Fn(&[Problem]) -> bool) {
        self.wait(what, |seen| condition(&seen.problems));
    }

    /// Waits until the Service has this address (None: until there is no such Service).
    pub fn until_ip(&self, service: &str, ip: Option<&str>) {
        self.until(&format!("{service} at {ip:?}"), |snapshot| ip_of(snapshot, service).as_deref() == ip);
    }

    /// Waits until this has happened so many times.
    #[allow(dead_code, reason = "only servers go and come that often")]
    pub fn until_events(&self, event: Event, count: usize) {
        let what = format!("{event:?}, {count} times");
        self.wait(&what, |seen| seen.events.iter().filter(|other| **other == event).count() >= count);
    }

    /// What was found otherwise than the server has it.
    #[allow(dead_code, reason = "only where something is lost")]
    pub fn drifts(&self) -> Vec<Drift> {
        self.shared.lock().drifts.clone()
    }

    /// Waits until it is away, and says why.
    #[allow(dead_code, reason = "only servers have many reasons")]
    pub fn until_away(&self) -> String {
        self.until_event(Event::Away);
        self.shared.lock().reasons[0].clone()
    }

    /// Waits until it is away for a reason with this in it.
    #[allow(dead_code, reason = "only servers have many reasons")]
    pub fn until_reason(&self, part: &str) {
        self.wait(part, |seen| seen.reasons.iter().any(|reason| reason.contains(part)));
    }

    /// Why it was away, each time.
    #[allow(dead_code, reason = "only servers have many reasons")]
    pub fn reasons(&self) -> Vec<String> {
        self.shared.lock().reasons.clone()
    }

    /// The snapshot after each update.
    #[allow(dead_code, reason = "the folder's tests ask for addresses only")]
    pub fn history(&self) -> Vec<Snapshot> {
        self.shared.lock().history.clone()
    }

    #[allow(dead_code, reason = "most tests wait for what they want of it")]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.lock().state.snapshot()
    }

    /// Keeps no snapshot but the last; big ones would be felt.
    #[allow(dead_code, reason = "only where memory is measured")]
    pub fn forget_history(&self) {
        let mut seen = self.shared.lock();
        seen.history = Vec::new();
        seen.forgets = true;
    }

    pub fn events(&self) -> Vec<Event> {
        self.shared.lock().events.clone()
    }

    pub fn problems(&self) -> Vec<Problem> {
        self.shared.lock().problems.clone()
    }

    pub fn ip(&self, service: &str) -> Option<String> {
        ip_of(&self.shared.lock().state.snapshot(), service)
    }

    /// The addresses that the Service has had, one after the other; None where it was not there.
    pub fn past_ips(&self, service: &str) -> Vec<Option<String>> {
        let mut ips: Vec<_> = self.shared.lock().history.iter().map(|snapshot| ip_of(snapshot, service)).collect();
        ips.dedup();
        ips
    }

    /// Makes the sink take nothing, or go on.
    pub fn hold(&self, held: bool) {
        self.shared.lock().held = held;
        self.shared.changed.notify_all();
    }

    /// Waits until `run` has returned.
    pub fn until_end(&self) {
        self.wait("the end", |seen| seen.ended);
    }

    /// Stops it; what `run` said.
    pub fn stop(mut self) -> Result<(), Problem> {
        self.stop.stop();
        self.until_end();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        self.hold(false);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ip_of(snapshot: &Snapshot, service: &str) -> Option<String> {
    snapshot.services.get(&name(service))?.external.as_ref()?.ips.first().map(ToString::to_string)
}

pub fn the_first_update_is_all_there_is(mut place: impl Place) {
    place.put("a", &service("a", "10.0.0.1"));
    place.put("b", &service("b", "10.0.0.2"));
    let running = Running::synced(place.source());
    assert_eq!(running.events()[0], Event::All(2 + place.own()));
    assert_eq!(running.ip("b").as_deref(), Some("10.0.0.2"));
}

pub fn an_empty_place_is_synced_too(place: impl Place) {
    let running = Running::synced(place.source());
    assert_eq!(running.events(), [Event::All(place.own())]);
}

pub fn changes_are_seen(mut place: impl Place) {
    place.put("other", &service("other", "10.0.0.9"));
    let running = Running::synced(place.source());
    place.put("a", &service("a", "10.0.0.1"));
    running.until_ip("a", Some("10.0.0.1"));
    place.put("a", &service("a", "10.0.0.2"));
    running.until_ip("a", Some("10.0.0.2"));
    place.delete("a");
    running.until_ip("a", None);
    assert_eq!(running.past_ips("other"), [Some("10.0.0.9".to_string())], "what did not change stayed");
    assert_eq!(running.past_ips("a").len(), 4, "each step was seen once: {:?}", running.past_ips("a"));
}

pub fn many_changes_at_once_all_arrive(mut place: impl Place) {
    let running = Running::synced(place.source());
    for n in 0..200 {
        place.put(&format!("s-{n}"), &service(&format!("s-{n}"), &format!("10.0.1.{n}")));
    }
    let count = |snapshot: &Snapshot| snapshot.services.keys().filter(|name| name.name.starts_with("s-")).count();
    running.until("200 Services", |snapshot| count(snapshot) == 200);
    for n in 0..200 {
        place.delete(&format!("s-{n}"));
    }
    running.until("none", |snapshot| count(snapshot) == 0);
}

pub fn a_bad_object_is_told_and_its_last_good_version_stays(mut place: impl Place) {
    place.put("a", &service("a", "10.0.0.1"));
    place.put("b", &service("b", "10.0.0.2"));
    let running = Running::synced(place.source());
    for (manifest, field) in place.refused("a") {
        place.put("a", &manifest);
        running.until_problems("one problem", |problems| {
            problems.len() == 1 && problems[0].field.as_deref() == Some(field)
        });
        let problem = &running.problems()[0];
        assert!(problem.origin.contains('a'), "{problem}");
        assert_eq!(problem.object.as_deref(), Some("Service default/a"));
    }
    place.put("b", &service("b", "10.0.0.3"));
    running.until_ip("b", Some("10.0.0.3"));
    assert_eq!(running.ip("a").as_deref(), Some("10.0.0.1"));
    place.put("a", &service("a", "10.0.0.4"));
    running.until_problems("mended", <[Problem]>::is_empty);
    running.until_ip("a", Some("10.0.0.4"));
    assert!(!running.past_ips("a").contains(&None));
}

pub fn what_is_no_manifest_at_all_keeps_the_last_good_version(mut place: impl Place) {
    place.put("a", &service("a", "10.0.0.1"));
    let running = Running::synced(place.source());
    place.put("a", "{{{ :\n- torn");
    running.until_problems("one problem", |problems| problems.len() == 1);
    assert_eq!(running.ip("a").as_deref(), Some("10.0.0.1"));
    place.delete("a");
    running.until_ip("a", None);
    running.until_problems("none", <[Problem]>::is_empty);
}

pub fn a_bad_object_at_the_start_hinders_nothing(mut place: impl Place) {
    let [_, (manifest, _)] = place.refused("a");
    place.put("a", &manifest);
    place.put("b", &service("b", "10.0.0.2"));
    let running = Running::synced(place.source());
    running.until_problems("one problem", |problems| problems.len() == 1);
    assert_eq!((running.ip("a"), running.ip("b").as_deref()), (None, Some("10.0.0.2")));
}

pub fn kinds_that_are_not_read_are_left_alone(mut place: impl Place) {
    place.put("a", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n");
    place.put("b", &service("b", "10.0.0.2"));
    let running = Running::synced(place.source());
    assert_eq!((running.events()[0].clone(), running.problems().len()), (Event::All(1 + place.own()), 0));
}

pub fn while_it_is_away_everything_stays_and_then_goes_on(mut place: impl Place) {
    place.put("a", &service("a", "10.0.0.1"));
    let running = Running::synced(place.source());
    place.take_away();
    running.until_event(Event::Away);
    assert_eq!(running.ip("a").as_deref(), Some("10.0.0.1"));
    place.bring_back();
    running.until_event(Event::Back);
    place.put("a", &service("a", "10.0.0.2"));
    running.until_ip("a", Some("10.0.0.2"));
    assert!(!running.past_ips("a").contains(&None));
    place.take_away();
    let not_back = |event: &&Event| **event != Event::Back;
    running.wait("away again", |seen| seen.events.iter().skip_while(not_back).any(|event| *event == Event::Away));
}

pub fn one_that_is_away_at_the_start_is_waited_for(mut place: impl Place) {
    place.put("a", &service("a", "10.0.0.1"));
    place.take_away();
    let running = Running::start(place.source());
    running.until_event(Event::Away);
    place.bring_back();
    running.until_ip("a", Some("10.0.0.1"));
    let mut events = running.events();
    // A server that starts may give one reason after the other, and answer for a moment in between.
    let whole = events.split_off(events.iter().position(|event| matches!(event, Event::All(_))).unwrap());
    assert_eq!(whole, [Event::All(1 + place.own())]);
    assert_eq!((events.first(), events.last()), (Some(&Event::Away), Some(&Event::Back)));
    assert!(events.iter().all(|event| matches!(event, Event::Away | Event::Back)), "{events:?}");
}

pub fn endpoints_come_from_pods(mut place: impl Place) {
    let running = Running::synced(place.source());
    let selecting = service("a", "10.0.0.1") + "  selector:\n    app: a\n";
    place.put("a", &selecting);
    place.put(
        "p",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels:\n    app: a\nstatus:\n  podIP: 10.1.0.1\n",
    );
    running.until("an endpoint", |snapshot| {
        snapshot.slices_of(&name("a")).flat_map(|slice| &slice.endpoints).any(|e| e.address.to_string() == "10.1.0.1")
    });
    place.delete("p");
    running.until("none", |snapshot| snapshot.slices_of(&name("a")).count() == 0);
}

pub fn endpoints_by_hand_are_mirrored(mut place: impl Place) {
    let running = Running::synced(place.source());
    let endpoints = |ip: &str| {
        format!(
            "apiVersion: v1\nkind: Endpoints\nmetadata:\n  name: db\nsubsets:\n- addresses:\n  - ip: {ip}\n  ports:\n  - port: 5432\n"
        )
    };
    let is_at = |snapshot: &Snapshot, ip: &str| {
        let name = name("db");
        let mut all = snapshot.slices_of(&name).flat_map(|slice| &slice.endpoints);
        all.next().is_some_and(|endpoint| endpoint.address.to_string() == ip)
    };
    place.put("e", &endpoints("192.0.2.1"));
    place.put("db", &service("db", "10.0.0.1"));
    running.until("an endpoint", |snapshot| is_at(snapshot, "192.0.2.1"));
    place.put("e", &endpoints("192.000.2.2"));
    running.until("another", |snapshot| is_at(snapshot, "192.0.2.2"));
    place.delete("e");
    running.until("none", |snapshot| snapshot.slices_of(&name("db")).count() == 0);
}

pub fn it_stops_when_asked(mut place: impl Place) {
    place.put("a", &service("a", "10.0.0.1"));
    let running = Running::synced(place.source());
    assert_eq!(running.stop(), Ok(()));
}

/// A test of each of the above; `$make` gives a new, empty place.
macro_rules! battery {
    ($make:expr) => {
        battery::battery! {
            $make;
            the_first_update_is_all_there_is
            an_empty_place_is_synced_too
            changes_are_seen
            many_changes_at_once_all_arrive
            a_bad_object_is_told_and_its_last_good_version_stays
            what_is_no_manifest_at_all_keeps_the_last_good_version
            a_bad_object_at_the_start_hinders_nothing
            kinds_that_are_not_read_are_left_alone
            while_it_is_away_everything_stays_and_then_goes_on
            one_that_is_away_at_the_start_is_waited_for
            endpoints_come_from_pods
            endpoints_by_hand_are_mirrored
            it_stops_when_asked
        }
    };
    ($make:expr; $($test:ident)*) => {
        $(
            #[test]
            fn $test() {
                battery::$test($make);
            }
        )*
    };
}
pub(crate) use battery;
