//! `bowline check`: a line for each thing that was looked at, and what to do; with `--state`, also what of
//! that state this version does not serve.

use std::process::ExitCode;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use bowline_cluster::snapshot::Snapshot;
use bowline_cluster::source::{Problem, Sink, Stop, Update};
use bowline_cluster::{span, state};
use bowline_dataplane::check::{Fitness, check};
use bowline_dataplane::plan::not_served;
use bowline_sources::kubernetes::Wanted;
use ipnet::IpNet;

use crate::cli::CheckArgs;
use crate::log::tell;
use crate::states::{Place, State};
use crate::store::{say, write};
use crate::table::render;

/// How long a state is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// Prints the findings; fails where the agent couldn't work, or a state can't be read.
pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let machine = machine(args)?;
    for state in args.states.states()? {
        say("")?;
        for trouble in state.troubles() {
            say(&format!("warning: {}: {trouble}", state.name))?;
        }
        let (snapshot, problems) = read(&state, Wanted::default(), &args.states.service_cluster_ip_range)
            .with_context(|| format!("--state {}", state.name))?;
        report(&state, &snapshot, &problems)?;
    }
    Ok(machine)
}

fn machine(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let findings = check(args.cgroup_root.as_deref());
    let mark = |fitness| match fitness {
        Fitness::Ok => "ok",
        Fitness::Warn => "note",
        Fitness::Fail => "FAIL",
    };
    let rows: Vec<Vec<String>> =
        findings.iter().map(|f| vec![mark(f.fitness).to_owned(), f.what.to_owned(), f.found.clone()]).collect();
    write(&render(&["", "WHAT", "FOUND"], &rows))?;
    for f in findings.iter().filter(|f| !f.todo.is_empty()) {
        say(&format!("\n{}: {}", f.what, f.todo))?;
    }
    if findings.iter().any(|f| f.fitness == Fitness::Fail) {
        say("\nThis machine is not fit yet.")?;
        return Ok(ExitCode::FAILURE);
    }
    say("\nThis machine is fit.")?;
    Ok(ExitCode::SUCCESS)
}

/// Takes what a source tells until that is whole.
#[derive(Default)]
struct Reader {
    read: Mutex<Read>,
    changed: Condvar,
}

#[derive(Default)]
struct Read {
    state: state::State,
    ended: Option<String>,
    /// It was waited for long enough.
    is_late: bool,
}

impl Sink for Reader {
    fn update(&self, update: Update) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.state.apply(update);
        self.changed.notify_all();
    }
}

/// Reads a state once, whole: what it is, and what in it is refused.
///
/// # Errors
/// It can't be read within a quarter of a minute.
pub(crate) fn read(state: &State, wanted: Wanted, ranges: &[IpNet]) -> anyhow::Result<(Snapshot, Vec<Problem>)> {
    let reader = Reader::default();
    reader.read.lock().unwrap_or_else(PoisonError::into_inner).state = state::State::new(state.options(ranges));
    let stop = Stop::default();
    let mut state = state.clone();
    if let Place::Kubernetes(access) = &mut state.place {
        // Whoever serves that address now, this doesn't wait to do it.
        access.allow_service_address = true;
    }
    let mut source = state.source(wanted);
    std::thread::scope(|scope| {
        let (reader, stop) = (&reader, &stop);
        scope.spawn(move || {
            let ended = source.run(reader, stop);
            let mut read = reader.read.lock().unwrap_or_else(PoisonError::into_inner);
            read.ended = Some(ended.err().map_or_else(|| "it has ended".to_owned(), |problem| problem.to_string()));
            reader.changed.notify_all();
        });
        let deadline = Instant::now() + PATIENCE;
        let mut told = false;
        let mut read = reader.read.lock().unwrap_or_else(PoisonError::into_inner);
        while !read.state.synced() && read.ended.is_none() && Instant::now() < deadline {
            read = reader.changed.wait_timeout(read, Duration::from_secs(1)).unwrap_or_else(PoisonError::into_inner).0;
            if !told && !read.state.synced() && deadline - Instant::now() < PATIENCE - Duration::from_secs(1) {
                told = true;
                tell(&format!("reading {} ({} at most) ...", state.name, span::human(PATIENCE)));
            }
        }
        read.is_late = Instant::now() >= deadline;
        stop.stop();
    });
    // The source has ended: whatever it had to tell of what it refused has come, too.
    let read = reader.read.into_inner().unwrap_or_else(PoisonError::into_inner);
    match (&read.ended, read.state.synced()) {
        (_, true) => Ok((read.state.snapshot(), read.state.problems())),
        (Some(why), false) if !read.is_late => anyhow::bail!("{why}"),
        (_, false) => {
            let why = read.state.away().unwrap_or("it is slow");
            anyhow::bail!("it could not be read within {}: {why}", span::human(PATIENCE))
        }
    }
}

/// Prints what of a state would not be served, and what in it is refused.
fn report(state: &State, snapshot: &Snapshot, problems: &[Problem]) -> anyhow::Result<()> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (name, service) in &snapshot.services {
        rows.extend(not_served(service).into_iter().map(|what| vec![name.to_string(), what]));
    }
    if rows.is_empty() {
        say(&format!("{}: no Service of {} needs kube-proxy.", state.name, snapshot.services.len()))?;
    } else {
        write(&render(&["SERVICE", "NEEDS KUBE-PROXY"], &rows))?;
        say(&format!(
            "\n{}: Services above would break without kube-proxy; leave it running beside `bowline node`, which acts first.",
            state.name
        ))?;
    }
    if !snapshot.network_policies.is_empty() {
        let rows: Vec<Vec<String>> =
            snapshot.network_policies.keys().map(|name| vec![name.to_string(), "not enforced".to_owned()]).collect();
        write(&format!("\n{}", render(&["NETWORKPOLICY", ""], &rows)))?;
        say(&format!("\n{}: Bowline enforces no NetworkPolicy yet; another program has to.", state.name))?;
    }
    problems.iter().try_for_each(|problem| say(&format!("\nrefused: {problem}")))
}
