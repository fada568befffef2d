//! `bowline dns`: the DNS server alone, and what people ask it beside.
//!
//! ```text
//! state ─> agent::cluster ─> Feed ─┐
//! Corefile ────────────────────────┴─> bowline_dns::server::Running
//! ```

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use bowline_agent::needs::{needs_pods, wish};
use bowline_agent::{log, process};
use bowline_dns::corefile::Corefile;
use bowline_dns::feed::Feed;
use bowline_dns::plugin::Services;
use bowline_dns::server::{Ahead, Instance, Running, Settings};
use bowline_sources::kubernetes::{Access, Pods, Wanted};
use bowline_sources::state_ref::{StateKind, StateRef};
use clap::{Args, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::cli::LogFormat;
use crate::states::StateArgs;

mod check;
mod explain;
mod follow;
mod import;
mod look;
mod names;
mod query;

use follow::Following;
pub(crate) use names::with_two_dashes;

/// Arguments of `dns`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = AFTER)]
pub(crate) struct DnsArgs {
    /// What to do instead of serving.
    #[command(subcommand)]
    command: Option<DnsCommand>,
    /// The server.
    #[command(flatten)]
    serve: ServeArgs,
}

const AFTER: &str = "Examples:
  bowline dns check --conf Corefile
  bowline dns --conf Corefile --state kubernetes --kubeconfig FILE
  bowline dns --conf Corefile --dns.port 5353 --state files:manifests";

const AFTER_CHECK: &str = "Examples:
  bowline dns check --conf Corefile
  bowline dns check --conf Corefile --localip 169.254.20.10    as `bowline node --dns` reads it";

const AFTER_EXPLAIN: &str = "Examples, with --conf Corefile --state files:manifests each:
  bowline dns explain web.default.svc.cluster.local
  bowline dns explain _http._tcp.web.default.svc.cluster.local SRV
  bowline dns explain www.example.com AAAA --from default/client";

const AFTER_QUERY: &str = "Examples, with --conf Corefile --state files:manifests each:
  bowline dns query web.default.svc.cluster.local A --from default/client
  bowline dns query 10.96.0.1                                  the name of an address";

const AFTER_IMPORT: &str = "Example:
  kubectl -n kube-system get configmap kube-dns -o yaml | bowline dns import-kube-dns > Corefile";

/// What people ask.
#[derive(Debug, Subcommand)]
enum DnsCommand {
    /// Says whether a Corefile would serve, without starting
    ///
    /// Prints what would listen where, and the plugins in the order in which a question meets them; or fails with file,
    /// line, directive and reason.
    #[command(after_help = AFTER_CHECK)]
    Check(check::CheckArgs),
    /// Tells which server block and plugins a question meets, in order, and what each does to it
    ///
    /// Nothing outside is asked: a plugin that would forward says to whom.
    #[command(after_help = AFTER_EXPLAIN)]
    Explain(explain::ExplainArgs),
    /// Answers a question as this server would answer it to a pod, and says which plugin did
    ///
    /// It is set up in this process: nothing listens, and no server need run. Upstreams are asked.
    #[command(after_help = AFTER_QUERY)]
    Query(query::QueryArgs),
    /// Prints the Corefile that a ConfigMap of kube-dns stands for
    ///
    /// stubDomains and upstreamNameservers become server blocks and forward; federations are gone from Kubernetes.
    #[command(after_help = AFTER_IMPORT)]
    ImportKubeDns(import::ImportArgs),
}

/// Where the Corefile is, and what it stands on.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfArgs {
    /// The Corefile
    #[arg(long, value_name = "FILE", default_value = "Corefile")]
    pub(crate) conf: PathBuf,
    /// The port of server blocks that name none
    #[arg(short = 'p', long = "dns.port", visible_alias = "port", value_name = "PORT", default_value_t = 53)]
    pub(crate) port: u16,
    /// Where the cluster's objects come from.
    #[command(flatten)]
    pub(crate) states: StateArgs,
}

/// Arguments of the server.
#[derive(Debug, Args)]
struct ServeArgs {
    /// Corefile and state.
    #[command(flatten)]
    conf: ConfArgs,
    /// Threads that answer; as many as there are processors by default
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Folder in which the last known state of a server is kept, to start without it; empty: none
    #[arg(long, value_name = "DIR", default_value = "")]
    state_dir: OsString,
    /// How old a state from that folder may be to be served (24h, 90m, a number of seconds)
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = crate::cli::span)]
    state_max_age: Duration,
    /// Writes the process's number there
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// Logs only what needs attention
    #[arg(long)]
    quiet: bool,
    /// Lists the plugins, in the order in which a question meets them, and ends
    #[arg(long)]
    plugins: bool,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Coredns)]
    log_format: LogFormat,
    /// How much is logged: 0 what needs attention, 1 what was done, 2 and more for the curious
    #[arg(short, long, value_name = "LEVEL", default_value_t = 1)]
    v: u8,
}

/// Runs it.
pub(crate) fn run(args: DnsArgs) -> anyhow::Result<()> {
    match args.command {
        None => serve(&args.serve),
        Some(DnsCommand::Check(args)) => check::run(&args),
        Some(DnsCommand::Explain(args)) => explain::run(&args),
        Some(DnsCommand::Query(args)) => query::run(&args),
        Some(DnsCommand::ImportKubeDns(args)) => import::run(&args),
    }
}

impl ConfArgs {
    /// How the server is started.
    pub(crate) fn settings(&self, threads: usize) -> Settings {
        Settings { conf: self.conf.clone(), port: self.port, threads, prepare: None, ahead: None }
    }

    /// The Corefile.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(&self, settings: &Settings) -> anyhow::Result<Corefile> {
        settings.read().map_err(|problem| match self.conf.exists() {
            true => problem.into(),
            false => anyhow::anyhow!("{problem}; name your Corefile by --conf FILE"),
        })
    }

    /// The state to answer from: `--state`, or what the `kubernetes` directives say. None where no plugin needs one.
    ///
    /// # Errors
    /// The flags contradict each other.
    pub(crate) fn state(&self, corefile: &Corefile) -> anyhow::Result<Option<StateRef>> {
        let mut state = self.states.states()?.into_iter().next();
        if state.is_none()
            && let Some(wish) = wish(corefile)?
        {
            let (kind, sync_period) = (StateKind::Kubernetes(self.states.reach(wish)), self.states.config_sync_period);
            state = Some(StateRef { name: "local".to_owned(), kind, sync_period });
        }
        if let Some(StateRef { kind: StateKind::Kubernetes(access), .. }) = &mut state {
            allow_service_address(access);
        }
        Ok(state)
    }
}

/// Where a Corefile is refused for a placeholder of NodeLocal DNSCache: says what fills it in.
pub(crate) fn with_hint<T, E: Into<anyhow::Error>>(done: Result<T, E>) -> anyhow::Result<T> {
    done.map_err(|error| match error.into() {
        error if format!("{error:#}").contains("__PILLAR__") => anyhow::anyhow!(
            "{error:#}; it is a placeholder of NodeLocal DNSCache: `bowline node --dns` fills it in, and \
             `bowline dns check --localip 169.254.20.10` shows what comes of it"
        ),
        error => error,
    })
}

/// Unlike the agent of a node, this server doesn't program the way to the API server.
fn allow_service_address(access: &mut Access) {
    access.allow_service_address = true;
}

/// What of a cluster a Corefile needs.
pub(crate) fn wanted(corefile: &Corefile) -> Wanted {
    let pods = needs_pods(corefile).map_or(Pods::None, |_| Pods::All);
    Wanted { pods, names_only: true }
}

fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    if args.plugins {
        let names = bowline_dns::plugins::PLUGINS.iter().map(|(name, _)| format!("dns.{name}\n"));
        return crate::store::write(&names.collect::<String>()).map(|_| ());
    }
    process::start(args.log_format.into(), if args.quiet { 0 } else { args.v });
    if let Some(path) = &args.pidfile {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .with_context(|| format!("--pidfile {}", path.display()))?;
    }
    let threads = args.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let settings = args.conf.settings(threads);
    let corefile = args.conf.read(&settings)?;
    tracing::info!(conf = %args.conf.conf.display(), threads, version = env!("CARGO_PKG_VERSION"), "starting");
    let feed = Arc::new(Feed::default());
    let services = Arc::new(Services::new(feed.clone(), Vec::new(), env!("CARGO_PKG_VERSION")));
    let lost = services.dropped_log_lines();
    log::on_loss(move |lines| lost.add(lines));
    // It listens before anything is read: until then questions for the cluster get SERVFAIL, never NXDOMAIN.
    // `loop` asks for the end.
    let end = services.ended();
    let (fatal, fatals) = mpsc::unbounded_channel();
    let following = Arc::new(Following::new(args, feed, fatal));
    let widened = following.clone();
    let ahead: Ahead = Arc::new(move |corefile| Box::pin(widened.clone().widen(corefile.clone())));
    let settings = Settings { ahead: Some(ahead), ..settings };
    let running = with_hint(Running::start_by(corefile.clone(), settings, services))?;
    if args.log_format == LogFormat::Coredns {
        tell_where(&running.instance());
    }
    following.begin(&corefile)?;
    let ended = wait(&running, fatals, end);
    running.stop();
    following.end();
    ended
}

/// Says where it listens, in CoreDNS's words: `.:53`, `tls://example.org.:853 on 10.0.0.1`.
fn tell_where(instance: &Instance) {
    for (address, server) in instance.servers() {
        let text = address.to_string();
        let scheme = match text.split_once("://") {
            Some((scheme, _)) if scheme != "dns" => format!("{scheme}://"),
            _ => String::new(),
        };
        let on = address.host.map_or_else(String::new, |host| format!(" on {host}"));
        let zones: BTreeSet<_> = server.blocks().map(|(zone, _)| zone.to_string()).collect();
        zones.iter().for_each(|zone| tracing::info!(target: log::BARE, "{scheme}{zone}:{}{on}", address.port));
    }
}

/// Until SIGTERM, SIGINT, or what nothing can mend; SIGUSR1 reloads.
fn wait(
    running: &Running,
    mut fatals: mpsc::UnboundedReceiver<String>,
    mut end: watch::Receiver<Option<String>>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(async {
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let mut reload = signal(SignalKind::user_defined1())?;
        loop {
            tokio::select! {
                _ = term.recv() => return Ok(()),
                _ = int.recv() => return Ok(()),
                _ = reload.recv() => running.ask_reload(),
                Some(why) = fatals.recv() => return Err(anyhow::anyhow!(why)),
                Ok(why) = end.wait_for(Option::is_some) => return Err(anyhow::anyhow!(why.clone().unwrap_or_default())),
            }
        }
    })
}
