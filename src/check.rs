//! `bowline check`: a line for each thing that was looked at, and what to do; with `--state`, also what of
//! that state this version does not serve.

use std::process::ExitCode;

use anyhow::Context;
use bowline_agent::reading::read_once;
use bowline_cluster::snapshot::Snapshot;
use bowline_cluster::source::Problem;
use bowline_dataplane::check::{Finding, Fitness, check};
use bowline_dataplane::plan::not_served;
use bowline_sources::kubernetes::Wanted;
use bowline_sources::state_ref::StateRef;
use ipnet::IpNet;

use crate::cli::CheckArgs;
use crate::store::{say, write};
use crate::table::render;
use bowline_agent::log::tell;

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
    let mut findings = check(args.cgroup_root.as_deref());
    if args.pod_network {
        findings.extend(bowline_cni::check::check(&args.cni_conf_dir).into_iter().map(|remark| Finding {
            what: remark.what,
            fitness: if remark.is_well { Fitness::Ok } else { Fitness::Warn },
            found: remark.found,
            todo: remark.todo,
        }));
    }
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

/// Reads a state once, whole, and says so if that takes long.
///
/// # Errors
/// It can't be read.
pub(crate) fn read(state: &StateRef, wanted: Wanted, ranges: &[IpNet]) -> anyhow::Result<(Snapshot, Vec<Problem>)> {
    read_once(state, wanted, ranges, tell)
}

/// Prints what of a state would not be served, and what in it is refused.
fn report(state: &StateRef, snapshot: &Snapshot, problems: &[Problem]) -> anyhow::Result<()> {
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
