//! Users and passwords: what is said when they are wrong, tokens that expire, and secrets that stay secret.

use std::fmt::Write as _;
use std::fs;
use std::sync::{Arc, Mutex};

use bowline_cluster::source::{Problem, Sink, Source, Stop};
use bowline_lab::kubernetes::EtcdOptions;
use bowline_lab::wait_for;
use bowline_sources::etcd::Etcd as EtcdSource;
use etcd_client::{ConnectOptions, Permission};

use crate::battery::{Event, Place, Running, service};
use crate::place::{PATIENCE, Site, Writer};
use crate::proxy::Proxy;

const ONE: &str = "10.0.0.1";
const TWO: &str = "10.0.0.2";
const THREE: &str = "10.0.0.3";

const PASSWORD: &str = "correct-horse-battery-staple";

/// An etcd with users: `root`, `node` that may read the objects, and `nobody` that may nothing.
fn guarded(flags: &[&str]) -> Site {
    let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
    let mut site = Site::with(&EtcdOptions { flags, ..EtcdOptions::default() }, "");
    let objects = site.location.keys().objects();
    site.writer.run(async |client| {
        for user in ["root", "node", "nobody"] {
            client.user_add(user, PASSWORD, None).await?;
        }
        for role in ["root", "reader"] {
            client.role_add(role).await?;
        }
        client.role_grant_permission("reader", Permission::read(objects.clone()).with_prefix()).await?;
        client.user_grant_role("root", "root").await?;
        client.user_grant_role("node", "reader").await?;
        client.auth_enable().await
    });
    let root = ConnectOptions::new().with_user("root", PASSWORD);
    site.writer = Writer::new(site.etcd.urls(), Some(root));
    site.put("a", &service("a", ONE));
    site
}

/// The parameters of a user with this password, which is in a file.
fn user(site: &Site, name: &str, password: &str) -> String {
    let file = site.lab.folder("passwords").unwrap().join(name);
    fs::write(&file, format!("{password}\n")).unwrap();
    format!("?user={name}&password-file={}", file.display())
}

#[test]
fn users_that_may_not_are_told_with_what_to_do() {
    let site = guarded(&[]);
    let url = site.etcd.urls()[0].clone();
    let free = Site::new();
    // In another file than the right one.
    let wrong = user(&site, "wrong", "wrong-password").replace("user=wrong", "user=node");
    for (urls, says) in [
        (url.clone(), "the server wants a user; add user=NAME&password-file=FILE"),
        (url.clone() + &wrong, "look at user= and the password"),
        (url.clone() + &user(&site, "stranger", PASSWORD), "look at user= and the password"),
        (url.clone() + &user(&site, "nobody", PASSWORD), "read --prefix=true /bowline/objects/"),
        (format!("{url}?user=node"), "give password-file=FILE, or set BOWLINE_ETCD_PASSWORD"),
        (format!("{url}?user=node&password-file=/nowhere"), "/nowhere can't be read: No such file"),
        (free.etcd.urls()[0].clone() + &user(&site, "node", PASSWORD), "the server has no users; leave out user="),
    ] {
        let reason = Running::start(site.source_at(&urls)).until_away();
        assert!(reason.contains(says) && reason.contains("http://127."), "{urls}: {reason}");
        assert!(!reason.contains("wrong-password") && !reason.contains(PASSWORD), "{reason}");
    }
}

#[test]
fn a_password_that_is_changed_is_read_anew() {
    let mut site = guarded(&[]);
    let proxy = Proxy::to(&site.etcd.urls()[0]);
    let running = Running::synced(site.source_at(&(proxy.url() + &user(&site, "node", PASSWORD))));
    site.writer.run(async |client| client.user_change_password("node", "another-password").await);
    proxy.cut(false);
    running.until_event(Event::Away);
    user(&site, "node", "another-password");
    running.until_event(Event::Back);
    site.put("a", &service("a", TWO));
    running.until_ip("a", Some(TWO));
}

#[test]
fn a_token_that_has_expired_is_made_anew() {
    let mut site = guarded(&["--auth-token-ttl=1", "--log-level=debug"]);
    let proxy = Proxy::to(&site.etcd.urls()[0]);
    let running = Running::synced(site.source_at(&(proxy.url() + &user(&site, "node", PASSWORD))));
    let log = site.etcd.members()[0].server().log().to_owned();
    let expired = || {
        let text = fs::read_to_string(&log).unwrap();
        text.lines().filter(|line| line.contains("deleted a simple token") && line.contains("\"node\"")).count()
    };
    wait_for("an expired token", PATIENCE, || expired() > 0).unwrap();
    site.put("a", &service("a", TWO));
    running.until_ip("a", Some(TWO));
    proxy.cut(false);
    site.put("a", &service("a", THREE));
    running.until_ip("a", Some(THREE));
    assert_eq!(running.past_ips("a").len(), 3);
    // A server that has started anew knows none of the tokens.
    site.etcd.members_mut()[0].kill().unwrap();
    site.etcd.members_mut()[0].start().unwrap();
    site.put("a", &service("a", ONE));
    running.until_ip("a", Some(ONE));
}

/// Everything that a source logs, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl tracing::field::Visit for Log {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        writeln!(self.0.lock().unwrap(), "{field}={value:?}").unwrap();
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut self.clone());
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// A source that logs there.
struct Logged(Box<dyn Source>, Log);

impl Source for Logged {
    fn name(&self) -> String {
        self.0.name()
    }
    fn run(&mut self, sink: &dyn Sink, stop: &Stop) -> Result<(), Problem> {
        tracing::subscriber::with_default(self.1.clone(), || self.0.run(sink, stop))
    }
}

#[test]
fn no_password_is_in_a_name_a_log_or_a_problem() {
    let mut site = guarded(&[]);
    let proxy = Proxy::to(&site.etcd.urls()[0]);
    let location = format!("etcd:{}{}", proxy.url(), user(&site, "node", PASSWORD));
    let source = EtcdSource::new(location.parse().unwrap());
    let log = Log::default();
    assert_eq!(source.name(), location);
    let shown = format!("{source:?} {:?}", location.parse::<bowline_etcd::Location>());
    let running = Running::synced(Box::new(Logged(Box::new(source), log.clone())));
    // Before the way is cut: an attempt that is on its way has read the file already.
    user(&site, "node", "wrong-password");
    proxy.cut(true);
    running.until_event(Event::Away);
    proxy.cut(false);
    wait_for("a refusal", PATIENCE, || log.0.lock().unwrap().contains("look at user= and the password")).unwrap();
    user(&site, "node", PASSWORD);
    running.until_event(Event::Back);
    site.put("a", &service("a", "bad address"));
    running.until_problems("one", |problems| problems.len() == 1);
    let log = log.0.lock().unwrap().clone();
    assert!(log.len() > 1000, "the transport logs too: {}", log.len());
    let all = format!("{shown} {log} {:?} {:?}", running.reasons(), running.problems());
    for secret in [PASSWORD, "wrong-password"] {
        assert!(!all.contains(secret), "{:?}", all.lines().find(|line| line.contains(secret)));
    }
}
