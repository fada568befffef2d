//! The server while it runs: start, reload and end.
//!
//! A reload builds the new instance and opens what it needs; only then the sockets that stay go over to it, between two
//! batches, and what it no longer needs closes. If anything fails, the old instance has not noticed.

use std::collections::VecDeque;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use bowline_cluster::span::exact;
use tokio::runtime::Builder;
use tokio::sync::mpsc as channel;

use super::http::Pages;
use super::{Instance, Pulse, Workers};
use crate::corefile;
use crate::plugin::Services;

/// Makes a Corefile of a file's text; the second argument is the file's name, for problems.
pub type Prepare = Arc<dyn Fn(&str, &str) -> Result<String, corefile::CorefileError> + Send + Sync>;

/// Has what a Corefile needs, before a reload serves it; until that is done the old one goes on. After a
/// [`ServeError::NotYet`] it is tried again at the next look at the file.
pub type Ahead =
    Arc<dyn Fn(&corefile::Corefile) -> Pin<Box<dyn Future<Output = Result<(), ServeError>>>> + Send + Sync>;

/// What a server is started with.
#[derive(Clone)]
pub struct Settings {
    /// The Corefile.
    pub conf: PathBuf,
    /// The port of keys that name none (`-dns.port`).
    pub port: u16,
    /// Threads that answer.
    pub threads: usize,
    /// What makes a Corefile of the file's text before it is read (node-cache's placeholders).
    pub prepare: Option<Prepare>,
    /// What is done before a reload: by whoever reads the cluster's state.
    pub ahead: Option<Ahead>,
}

/// Why a Corefile does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It is wrong.
    #[error(transparent)]
    Corefile(#[from] corefile::CorefileError),
    /// What it asks of the system can't be had.
    #[error(transparent)]
    System(#[from] std::io::Error),
    /// What it needs besides is not there yet.
    #[error("{0}")]
    NotYet(String),
}

enum Order {
    Reload(mpsc::Sender<Result<(), ServeError>>),
    End,
}

/// A server that runs.
pub struct Running {
    orders: channel::UnboundedSender<Order>,
    keeper: Option<JoinHandle<()>>,
    current: Arc<ArcSwap<Instance>>,
    pulse: Pulse,
}

impl Running {
    /// Starts it. Returns once every address is listened at.
    ///
    /// # Errors
    /// The Corefile is wrong, or an address is taken.
    pub fn start(settings: Settings, services: Arc<Services>) -> Result<Running, ServeError> {
        let corefile = settings.read()?;
        Running::start_by(corefile, settings, services)
    }

    /// The same by a Corefile that was read already, by these settings.
    ///
    /// # Errors
    /// As [`Running::start`].
    pub fn start_by(
        corefile: corefile::Corefile,
        settings: Settings,
        services: Arc<Services>,
    ) -> Result<Running, ServeError> {
        let (started, outcome) = mpsc::channel();
        let (orders, inbox) = channel::unbounded_channel();
        let keep = move || keep(&corefile, &settings, &services, &started, inbox);
        let keeper = std::thread::Builder::new().name("bowline-dns-keeper".into()).spawn(keep)?;
        let gone = || std::io::Error::other("the thread that keeps the DNS server has ended");
        let (current, pulse) = outcome.recv().map_err(|_| gone())??;
        Ok(Running { orders, keeper: Some(keeper), current, pulse })
    }

    /// What serves now.
    pub fn instance(&self) -> Arc<Instance> {
        self.current.load_full()
    }

    /// By which one sees whether its threads do their work.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Reads the Corefile again. Returns once the new one serves.
    ///
    /// # Errors
    /// The new one does not serve, and why; the old one goes on.
    pub fn reload(&self) -> Result<(), ServeError> {
        let (done, outcome) = mpsc::channel();
        let gone = || ServeError::System(std::io::Error::other("the DNS server has ended"));
        self.orders.send(Order::Reload(done)).map_err(|_| gone())?;
        outcome.recv().map_err(|_| gone())?
    }

    /// Has the Corefile read again, without waiting for it. What comes of it is in the log.
    pub fn ask_reload(&self) {
        // Where it has ended, nothing is left to do.
        let _ = self.orders.send(Order::Reload(mpsc::channel().0));
    }

    /// Ends it: it goes on for as long as `lameduck` says, answers what has come, and closes.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.orders.send(Order::End);
        if let Some(keeper) = self.keeper.take()
            && keeper.join().is_err()
        {
            tracing::error!("the thread that keeps the DNS server had ended by itself");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

impl Settings {
    /// Reads the Corefile.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self) -> Result<corefile::Corefile, corefile::CorefileError> {
        let env = |name: &str| std::env::var(name).ok();
        match &self.prepare {
            None => corefile::read(&self.conf, &env),
            Some(prepare) => corefile::read_with(&self.conf, &env, &**prepare),
        }
    }

    fn folder(&self) -> &Path {
        self.conf.parent().unwrap_or(Path::new(""))
    }

    /// Reads the Corefile and sets it up. Nothing listens yet.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn build(&self, services: &Arc<Services>) -> Result<Instance, corefile::CorefileError> {
        self.set_up(&self.read()?, services)
    }

    fn set_up(
        &self,
        corefile: &corefile::Corefile,
        services: &Arc<Services>,
    ) -> Result<Instance, corefile::CorefileError> {
        for warning in &corefile.warnings {
            tracing::warn!("{warning}");
        }
        Instance::build(corefile, self.folder(), self.port, services)
    }
}

type Started = mpsc::Sender<Result<(Arc<ArcSwap<Instance>>, Pulse), ServeError>>;

/// The thread of the house keeping: pages, tasks of the instances, reloads.
fn keep(
    corefile: &corefile::Corefile,
    settings: &Settings,
    services: &Arc<Services>,
    started: &Started,
    inbox: channel::UnboundedReceiver<Order>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(error.into()));
            return;
        }
    };
    runtime.block_on(async {
        match House::open(corefile, settings, services) {
            Ok(house) => {
                let _ = started.send(Ok((house.current.clone(), house.workers.pulse())));
                house.run(inbox).await;
            }
            Err(refused) => {
                let _ = started.send(Err(refused));
            }
        }
    });
}

struct House<'a> {
    settings: &'a Settings,
    services: &'a Arc<Services>,
    workers: Workers,
    pages: Pages,
    current: Arc<ArcSwap<Instance>>,
    /// The digest of the Corefile when it was last looked at, or what was wrong with it: a file that is wrong is told
    /// once.
    seen: Option<Result<String, corefile::CorefileError>>,
}

impl<'a> House<'a> {
    fn open(
        corefile: &corefile::Corefile,
        settings: &'a Settings,
        services: &'a Arc<Services>,
    ) -> Result<House<'a>, ServeError> {
        let instance = Arc::new(settings.set_up(corefile, services)?);
        let mut workers = Workers::start(settings.threads, &services.panics)?;
        let mut pages = Pages::default();
        let sockets = workers.open(&instance)?;
        let listeners = pages.open(instance.routes())?;
        let current = Arc::new(ArcSwap::new(instance.clone()));
        workers.serve(&instance, sockets);
        pages.serve(instance.routes(), listeners, &current);
        instance.start();
        for address in instance.servers().keys() {
            tracing::info!(%address, threads = settings.threads, "listening");
        }
        if instance.reload.is_some() {
            tracing::info!("plugin/reload: Running configuration SHA512 = {}", instance.digest);
        }
        let seen = Some(Ok(instance.digest.clone()));
        Ok(House { settings, services, workers, pages, current, seen })
    }

    async fn run(mut self, mut inbox: channel::UnboundedReceiver<Order>) {
        let mut later = VecDeque::new();
        loop {
            let look = self.current.load().reload;
            let due = async {
                match look {
                    Some(look) => tokio::time::sleep(look.interval).await,
                    None => std::future::pending().await,
                }
            };
            let next = async {
                match later.pop_front() {
                    Some(order) => Some(order),
                    None => inbox.recv().await,
                }
            };
            let order = tokio::select! {
                order = next => match order {
                    Some(Order::Reload(done)) => Some(done),
                    Some(Order::End) | None => break,
                },
                () = due => None,
            };
            let goes_on = match order {
                Some(done) => {
                    let result = unless_ended(self.reload(), &mut inbox, &mut later).await;
                    // Nobody may wait for it.
                    result.map(|result| drop(done.send(result)))
                }
                None => unless_ended(self.look(), &mut inbox, &mut later).await,
            };
            if goes_on.is_none() {
                break;
            }
        }
        self.services.is_ending.store(true, Ordering::Relaxed);
        let lameduck = self.current.load().lameduck;
        if lameduck > Duration::ZERO {
            tracing::info!(lameduck = exact(lameduck), "the end was asked for; going on for lameduck's time");
            tokio::time::sleep(lameduck).await;
        }
        let workers = self.workers;
        // It waits for threads: not on the one that serves the pages.
        let _ = tokio::task::spawn_blocking(move || workers.stop()).await;
    }

    /// Reloads if the Corefile has changed since it was last looked at.
    async fn look(&mut self) {
        let found = self.settings.read().map(|corefile| corefile.digest);
        if self.seen.as_ref() != Some(&found) {
            // Told and counted there. What is wrong is not tried again until it changes.
            let is_not_yet = matches!(self.reload().await, Err(ServeError::NotYet(_)));
            self.seen = (!is_not_yet).then_some(found);
        }
    }

    async fn reload(&mut self) -> Result<(), ServeError> {
        let result = self.try_reload().await;
        match &result {
            Ok(()) => tracing::info!(conf = %self.settings.conf.display(), "the Corefile was reloaded"),
            Err(refused) => {
                self.services.failed_reloads.inc();
                tracing::error!(%refused, "the Corefile was not reloaded; the one before goes on");
            }
        }
        result
    }

    async fn try_reload(&mut self) -> Result<(), ServeError> {
        let corefile = self.settings.read()?;
        let instance = Arc::new(self.settings.set_up(&corefile, self.services)?);
        if let Some(ahead) = &self.settings.ahead {
            ahead(&corefile).await?;
        }
        let before = self.current.load().digest.clone();
        let sockets = self.workers.open(&instance)?;
        let listeners = self.pages.open(instance.routes())?;
        self.workers.serve(&instance, sockets);
        self.current.store(instance.clone());
        self.pages.serve(instance.routes(), listeners, &self.current);
        instance.start();
        self.services.kept.sweep();
        self.seen = Some(Ok(instance.digest.clone()));
        if instance.reload.is_some() {
            self.show_version(&before, &instance.digest);
        }
        Ok(())
    }

    /// `coredns_reload_version_info`, which CoreDNS shows from the first reload on.
    fn show_version(&self, before: &str, now: &str) {
        const NAME: &str = "coredns_reload_version_info";
        let help = "A metric with a constant '1' value labeled by hash, and value which type of hash generated.";
        let metrics = &self.services.metrics;
        metrics.forget(NAME, &[("hash", "sha512"), ("value", before)]);
        metrics.gauge(NAME, help, &[("hash", "sha512"), ("value", now)]).set(1.0);
        tracing::info!("plugin/reload: Running configuration SHA512 = {now}");
    }
}

/// What comes of `work`; None where the end is asked for before. Other orders wait in `later`.
async fn unless_ended<T>(
    work: impl Future<Output = T>,
    inbox: &mut channel::UnboundedReceiver<Order>,
    later: &mut VecDeque<Order>,
) -> Option<T> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            order = inbox.recv() => match order {
                Some(Order::End) | None => return None,
                Some(order) => later.push_back(order),
            },
        }
    }
}
