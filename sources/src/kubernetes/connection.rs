//! The connection to an API server: made, kept an eye on, made anew, at the next server if there are several.
//!
//! One HTTP/2 connection carries all collections. It is pinged when nothing came for a while, so that a
//! server that has gone silent is noticed within 15 s. A new one reads every file anew.
//!
//! A watch goes on at another connection where it stopped. That is right only if there is the same data
//! behind it: not an etcd that was restored to an earlier state, or emptied. So each new connection begins
//! with a look at the Service `default/kubernetes`, of which every cluster has one of its own, and at the
//! newest revision. Where they say that the data is other, the epoch changes and all is listed again.
//!
//! A restored etcd whose revisions have grown past ours shows neither. So the objects that changed last are looked
//! at too, of each collection one. Revisions count the changes of the whole cluster: where an object is still there
//! in the version in which we have it, the past is the same up to that version. Watches go on from there, and a
//! collection with changes after that is listed again.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube_client::Client;
use kube_client::client::{Body, ConfigExt};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tower::ServiceBuilder;

use super::access::{Access, AccessError, Files, Login};
use super::resource::Resource;
use super::wire::{Identity, Names, Status};
use crate::backoff::chance;
use crate::remote::{Mirror, number};
use bowline_cluster::source::{Asked, Sink};
use bowline_cluster::span::human;

#[cfg(test)]
mod tests;

/// How long each step towards a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// After so much silence the server is asked whether it is there ...
const PING: Duration = Duration::from_secs(5);
/// ... and has this long to answer.
const PONG: Duration = Duration::from_secs(8);
/// How long an answer may be in coming: an API server gives its own work 3 s at most before it tells.
const ANSWER: Duration = Duration::from_secs(15);
/// How long reading the files may take, plugins included.
const LOGIN: Duration = Duration::from_secs(60);
/// How many plugins may hang at once before no more are started.
const MAX_HUNG: usize = 8;
/// The biggest answer that is read whole, in bytes.
const MAX_BODY: usize = 256 << 20;
/// The first pause before trying again, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(30));
/// A connection that was good for this long begins the pauses anew.
const GOOD: Duration = Duration::from_secs(10);
/// How much one stream, and all together, may be ahead of us, in bytes.
const WINDOWS: (u32, u32) = (1 << 20, 4 << 20);

/// A server that streams no lists is asked for that again after this long: it may have been replaced.
const PAGED: Duration = Duration::from_secs(3600);
/// So many objects are looked at for the past that a server has.
const WITNESSES: usize = 4;

/// What is asked for: whole objects ...
pub(super) const OBJECTS: &str = "application/json";
/// ... or only what they are called and their versions. A server that can't do that sends whole ones.
pub(super) const NAMES: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

const IDENTITY: &str = "/api/v1/namespaces/default/services?fieldSelector=metadata.name%3Dkubernetes&limit=1";

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The connection is of no use.
    Broken(String),
    /// The server has refused.
    Refused(Status),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Broken(reason) => f.write_str(reason),
            Failure::Refused(status) => status.fmt(f),
        }
    }
}

/// A connection that has worked.
pub(super) struct Link {
    pub(super) number: u64,
    /// Of the data behind it: places in an older epoch mean nothing.
    pub(super) epoch: u64,
    /// The server's URL, for messages.
    pub(super) url: Arc<str>,
    client: Client,
    files: Files,
    since: Instant,
    /// Which look at the server's data it was last.
    pub(super) look: Cell<u64>,
    /// Up to which revision that was the data that we know.
    pub(super) proven: Cell<u64>,
}

/// The API servers of one cluster.
pub(super) struct Servers<'m, 's> {
    access: Access,
    /// Is told of every request.
    sink: &'s dyn Sink,
    mirror: &'m RefCell<Mirror<'s>>,
    /// The collections of the mirror.
    resources: &'m [Resource],
    state: Mutex<State>,
    /// The servers that are to be read in pages, by URL, and since when.
    paged: RefCell<HashMap<Arc<str>, Instant>>,
    /// The newest revision seen in any collection.
    newest: Cell<u64>,
}

#[derive(Default)]
struct State {
    link: Option<Rc<Link>>,
    checked: Option<Instant>,
    made: u64,
    looks: u64,
    epoch: u64,
    identity: Option<Box<str>>,
    /// Which of the URLs is next.
    turn: usize,
    /// How many URLs there were the last time.
    urls: usize,
    failures: u32,
    /// What reads the files, or runs a plugin, for longer than it may; it can't be stopped.
    hung: Vec<AbortHandle>,
}

impl<'m, 's> Servers<'m, 's> {
    pub(super) fn new(
        access: Access,
        sink: &'s dyn Sink,
        mirror: &'m RefCell<Mirror<'s>>,
        resources: &'m [Resource],
    ) -> Self {
        let (state, paged, newest) = (Mutex::default(), RefCell::default(), Cell::new(0));
        Servers { access, sink, mirror, resources, state, paged, newest }
    }

    /// Asks for this path and query; the body of the answer.
    pub(super) async fn get(&self, link: &Link, path: &str) -> Result<Body, Failure> {
        self.send(&link.client, &link.url, path, OBJECTS).await
    }

    /// Asks for this path and query, in this form; the whole of the answer.
    pub(super) async fn get_whole(&self, link: &Link, path: &str, form: &'static str) -> Result<Vec<u8>, Failure> {
        read_whole(self.send(&link.client, &link.url, path, form).await?).await
    }

    async fn send(&self, client: &Client, url: &str, path: &str, form: &'static str) -> Result<Body, Failure> {
        let began = Instant::now();
        let response = request(client, path, form).await;
        let took = began.elapsed();
        let status = response.as_ref().ok().map(|response| response.status().as_u16());
        let host = url.split("://").last().and_then(|rest| rest.split('/').next()).unwrap_or(url);
        self.sink.asked(&Asked { host, status, took });
        body(response?).await
    }

    /// A connection to work with. With `since`, one that was seen to have the same data after that moment.
    /// Waits for as long as it takes; says through `trouble` why.
    pub(super) async fn link(&self, since: Option<Instant>, trouble: &dyn Fn(String)) -> Rc<Link> {
        let mut state = self.state.lock().await;
        loop {
            if let Some(link) = state.link.clone() {
                let fresh = since.is_none_or(|since| state.checked.is_some_and(|checked| checked > since));
                if fresh && !link.files.have_changed() {
                    return link;
                }
                // What was wrong before it is over: a token that was rotated is nothing to wait for.
                if link.since.elapsed() > GOOD {
                    state.failures = 0;
                }
            } else {
                let pause = state.pause();
                if !pause.is_zero() {
                    sleep(pause).await;
                }
            }
            match self.connect(&mut state).await {
                Ok(link) => return link,
                Err(reason) => {
                    state.fail();
                    trouble(reason);
                }
            }
        }
    }

    /// The connection is of no use any more.
    pub(super) async fn give_up(&self, link: &Link) {
        let mut state = self.state.lock().await;
        if state.link.as_ref().is_some_and(|current| current.number == link.number) {
            if link.since.elapsed() > GOOD {
                state.failures = 0;
            }
            state.fail();
        }
    }

    /// The connection that there is, if any.
    pub(super) async fn current(&self) -> Option<Rc<Link>> {
        self.state.lock().await.link.clone()
    }

    /// The server's data is seen to be other than what is known.
    pub(super) async fn doubt(&self, link: &Link) {
        let mut state = self.state.lock().await;
        if state.link.as_ref().is_some_and(|current| current.number == link.number) {
            self.begin_anew(&mut state, &link.url, 0);
            state.link = None;
        }
    }

    fn begin_anew(&self, state: &mut State, url: &str, revision: u64) {
        tracing::warn!(%url, "other data than before; listing everything again");
        state.epoch += 1;
        self.newest.set(revision);
        self.mirror.borrow_mut().forget_versions();
    }

    /// Whether lists of this server are read in pages.
    pub(super) fn is_paged(&self, link: &Link) -> bool {
        self.paged.borrow().get(&link.url).is_some_and(|since| since.elapsed() < PAGED)
    }

    /// From now on they are.
    pub(super) fn read_in_pages(&self, link: &Link) {
        self.paged.borrow_mut().insert(link.url.clone(), Instant::now());
    }

    /// The newest revision that was seen.
    pub(super) fn newest(&self) -> u64 {
        self.newest.get()
    }

    /// Notes that a collection has come to this version.
    pub(super) fn note(&self, version: &str) {
        if let Ok(revision) = version.parse::<u64>() {
            self.newest.set(self.newest.get().max(revision));
        }
    }

    /// A connection that is checked: the one there is, or a new one.
    async fn connect(&self, state: &mut State) -> Result<Rc<Link>, String> {
        let kept = state.link.clone().filter(|link| !link.files.have_changed());
        let (client, url, files) = match &kept {
            Some(link) => (link.client.clone(), link.url.clone(), link.files.clone()),
            None => self.log_in(state).await?,
        };
        let started = Instant::now();
        let identity = self.identify(&client, &url).await.map_err(|failure| match failure {
            Failure::Refused(status) if status.code == 401 => refused_us(&url, &status),
            failure => format!("{url}: {failure}"),
        })?;
        let identity_revision = identity.as_ref().and_then(|(_, revision)| *revision).unwrap_or_default();
        if let Some((uid, revision)) = identity {
            let is_other = uid != state.identity || revision.is_some_and(|revision| revision < self.newest.get());
            if is_other && state.identity.is_some() {
                self.begin_anew(state, &url, revision.unwrap_or_default());
            }
            state.identity = uid.or_else(|| state.identity.take());
            if let Some(revision) = revision {
                self.newest.set(self.newest.get().max(revision));
            }
        }
        let proven = match self.prove(&client, &url).await.map_err(|failure| format!("{url}: {failure}"))? {
            Past::Same(revision) => revision,
            Past::Other => {
                self.begin_anew(state, &url, identity_revision);
                0
            }
        };
        state.checked = Some(started);
        state.looks += 1;
        let (epoch, look) = (state.epoch, state.looks);
        if let Some(link) = kept.filter(|link| link.epoch == epoch) {
            link.look.set(look);
            link.proven.set(proven);
            return Ok(link);
        }
        state.made += 1;
        tracing::debug!(%url, number = state.made, "connected");
        let (look, proven, since) = (Cell::new(look), Cell::new(proven), Instant::now());
        let link = Rc::new(Link { number: state.made, epoch, url, client, files, since, look, proven });
        state.link = Some(link.clone());
        Ok(link)
    }

    /// A client for the server whose turn it is, from the files as they are now.
    async fn log_in(&self, state: &mut State) -> Result<(Client, Arc<str>, Files), String> {
        state.hung.retain(|task| !task.is_finished());
        if state.hung.len() >= MAX_HUNG {
            return Err(format!("the kubeconfig's plugin has been started {MAX_HUNG} times and hangs; end those"));
        }
        let (access, turn) = (self.access.clone(), state.turn);
        // It reads files, and may run a plugin.
        let task = tokio::task::spawn_blocking(move || {
            let login = access.read(&|name| std::env::var_os(name)).map_err(|error| match error {
                AccessError::Never(reason) | AccessError::Now(reason) => reason,
            })?;
            let count = login.urls.len();
            let url = login.urls[turn % count].clone();
            let name: Arc<str> = url.to_string().trim_end_matches('/').into();
            let client = client(&login, url).map_err(|reason| format!("{name}: {reason}"))?;
            Ok::<_, String>((client, name, login.files, count))
        });
        let handle = task.abort_handle();
        let (client, name, files, count) = match timeout(LOGIN, task).await {
            Ok(Ok(result)) => result?,
            Ok(Err(_)) => return Err("reading the credentials has failed".to_owned()),
            Err(_) => {
                state.hung.push(handle);
                return Err(format!("the credentials were not to be had within {}", human(LOGIN)));
            }
        };
        state.urls = count;
        Ok((client, name, files))
    }

    /// Looks at the objects that changed last.
    async fn prove(&self, client: &Client, url: &str) -> Result<Past, Failure> {
        let witnesses = self.mirror.borrow().witnesses();
        if witnesses.is_empty() {
            // Nothing was read, or versions are no numbers.
            return Ok(Past::Same(u64::MAX));
        }
        for (c, key, version) in witnesses.into_iter().take(WITNESSES) {
            let body = match self.send(client, url, &self.resources[c].only(&key.name), NAMES).await {
                Ok(body) => read_whole(body).await?,
                // Whether it can be read, the collection tells.
                Err(Failure::Refused(_)) => continue,
                Err(failure) => return Err(failure),
            };
            let Ok(names) = serde_json::from_slice::<Names>(&body) else { continue };
            // Gone, or changed since: it proves nothing.
            match names.items.iter().flatten().map(|item| number(Some(&item.metadata.resource_version))).next() {
                Some(theirs) if theirs == version => return Ok(Past::Same(version)),
                // No object goes back.
                Some(theirs) if theirs < version => return Ok(Past::Other),
                _ => {}
            }
        }
        Ok(Past::Same(0))
    }

    /// The uid of the Service `default/kubernetes`, where there is one, and the newest revision. None where
    /// that can't be told.
    async fn identify(&self, client: &Client, url: &str) -> Result<Option<(Option<Box<str>>, Option<u64>)>, Failure> {
        let body = match self.send(client, url, IDENTITY, OBJECTS).await {
            Ok(body) => read_whole(body).await?,
            // That Services can't be read, their own collection tells.
            Err(Failure::Refused(status)) if status.code == 403 => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let identity: Identity = serde_json::from_slice(&body)
            .map_err(|_| Failure::Broken("it doesn't answer as an API server does".to_owned()))?;
        let revision = identity.metadata.resource_version.parse().ok();
        Ok(Some((identity.uid().map(Box::from), revision)))
    }
}

/// What the objects that changed last say of a server's past.
enum Past {
    /// It is ours up to this revision.
    Same(u64),
    /// It is not.
    Other,
}

impl State {
    fn fail(&mut self) {
        self.link = None;
        self.failures = self.failures.saturating_add(1);
        self.turn = self.turn.wrapping_add(1);
    }

    /// How long to wait before the next attempt: not at all while there are servers untried.
    fn pause(&self) -> Duration {
        let urls = self.urls.max(1) as u32;
        if self.failures == 0 || !self.failures.is_multiple_of(urls) {
            return Duration::ZERO;
        }
        pause(self.failures / urls)
    }
}

/// The pause before attempt `n` (from 1), with jitter.
pub(super) fn pause(n: u32) -> Duration {
    let (first, longest) = PAUSE;
    let full = first.saturating_mul(1 << n.saturating_sub(1).min(16)).min(longest);
    full.mul_f64(jitter())
}

/// At random from 0.5 to 1.
pub(super) fn jitter() -> f64 {
    0.5 + chance() / 2.0
}

/// What to tell of a server that doesn't know who we are.
pub(super) fn refused_us(url: &str, status: &Status) -> String {
    format!("{url}: {status}; is the token or certificate still good?")
}

/// kube's client, on a connection of ours. It connects when it is first used.
fn client(login: &Login, url: Uri) -> Result<Client, String> {
    let mut config = login.config.clone();
    config.cluster_url = url;
    let tls = bowline_tls::client(login.trust.clone(), login.identity.clone())?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    // For servers without HTTP/2, and for what is sent and never acknowledged.
    tcp.set_keepalive(Some(PING));
    tcp.set_keepalive_interval(Some(PONG / 3));
    tcp.set_keepalive_retries(Some(3));
    tcp.set_tcp_user_timeout(Some(PING + PONG));
    let mut builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = name.clone().try_into().map_err(|_| format!("tls-server-name {name:?} is no host's name"))?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let connector = builder.enable_all_versions().wrap_connector(tcp);
    let http = hyper_util::client::legacy::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PONG)
        .http2_keep_alive_while_idle(true)
        .http2_initial_stream_window_size(WINDOWS.0)
        .http2_initial_connection_window_size(WINDOWS.1)
        .build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(|error| explain(&error))?)
        .layer(config.extra_headers_layer().map_err(|error| explain(&error))?)
        .map_err(tower::BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace))
}

/// Changes the object at this path, by a strategic merge patch, at the first of the servers that does.
///
/// # Errors
/// What the last of them said.
pub(super) async fn patch(access: &Access, path: &str, change: &[u8]) -> Result<(), Failure> {
    let access = access.clone();
    // It reads files, and may run a plugin.
    let login = tokio::task::spawn_blocking(move || access.read(&|name| std::env::var_os(name)));
    let login = match timeout(LOGIN, login).await {
        Ok(Ok(login)) => login.map_err(|error| Failure::Broken(error.to_string()))?,
        Ok(Err(_)) | Err(_) => {
            return Err(Failure::Broken(format!("the credentials were not to be had within {}", human(LOGIN))));
        }
    };
    let mut failed = Failure::Broken("no API server is named".to_owned());
    for url in &login.urls {
        let request = Request::patch(path).header(CONTENT_TYPE, "application/strategic-merge-patch+json");
        let request = request.header(ACCEPT, OBJECTS).body(Body::from(change.to_vec()));
        let done = async {
            let client = client(&login, url.clone()).map_err(Failure::Broken)?;
            body(answered(&client, request).await?).await.map(drop)
        };
        match done.await {
            Ok(()) => return Ok(()),
            // Another server says the same.
            Err(Failure::Refused(status)) if matches!(status.code, 403 | 404) => return Err(Failure::Refused(status)),
            Err(failure) => failed = failure,
        }
    }
    Err(failed)
}

/// The head of the answer; its body is still to come.
async fn request(client: &Client, path: &str, form: &'static str) -> Result<Response<Body>, Failure> {
    answered(client, Request::get(path).header(ACCEPT, form).body(Body::empty())).await
}

async fn answered(client: &Client, request: http::Result<Request<Body>>) -> Result<Response<Body>, Failure> {
    let mut request = request.map_err(|error| Failure::Broken(error.to_string()))?;
    let own = HeaderValue::from_static(concat!("bowline/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert(USER_AGENT, own);
    match timeout(ANSWER, client.send(request)).await {
        Ok(response) => response.map_err(|error| Failure::Broken(explain(&error))),
        Err(_) => Err(Failure::Broken(format!("no answer within {}", human(ANSWER)))),
    }
}

/// The body of an answer; of a refusal, what it says.
async fn body(response: Response<Body>) -> Result<Body, Failure> {
    let code = response.status();
    if code.is_success() {
        return Ok(response.into_body());
    }
    let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    // The status alone says enough where its explanation is cut off.
    let body = read_whole(response.into_body()).await.unwrap_or_default();
    Err(Failure::Refused(Status::read(code.as_u16(), after, &body)))
}

/// The whole of a body, while something of it comes.
async fn read_whole(body: Body) -> Result<Vec<u8>, Failure> {
    let mut body = Limited::new(body, MAX_BODY);
    let mut whole = Vec::new();
    loop {
        match timeout(ANSWER, body.frame()).await {
            Ok(None) => return Ok(whole),
            Ok(Some(Ok(frame))) => whole.extend(frame.data_ref().into_iter().flatten()),
            Ok(Some(Err(error))) => return Err(Failure::Broken(explain(&*error))),
            Err(_) => return Err(Failure::Broken(format!("the answer stopped for {}", human(ANSWER)))),
        }
    }
}

/// An error with what caused it.
pub(super) fn explain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        next = error.source();
        // kube's own wrappers say nothing.
        if error.is::<kube_client::Error>() && next.is_some() {
            continue;
        }
        let part = error.to_string();
        let is_wrapper = ["client error (", "error reading a body"].iter().any(|start| part.starts_with(start));
        if is_wrapper && next.is_some() {
            continue;
        }
        // rustls gives lessons.
        let part = part.split(": https://docs.rs").next().unwrap_or_default();
        if !text.contains(part) {
            text.extend([if text.is_empty() { "" } else { ": " }, part]);
        }
    }
    text
}
