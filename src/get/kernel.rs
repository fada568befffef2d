//! What the kernel has, as a table, JSON or YAML.

use std::net::IpAddr;

use anyhow::Context;
use bowline_dataplane::inspect::{BackendView, ServiceView, StandInView, services};
use serde::Serialize;

use super::{GetArgs, Output};
use crate::root;
use crate::table::render;
use bowline_agent::log::tell;

/// A backend with the Service it belongs to.
#[derive(Serialize)]
struct BackendRow<'a> {
    namespace: &'a str,
    service: &'a str,
    port_name: &'a str,
    protocol: &'a str,
    #[serde(flatten)]
    backend: &'a BackendView,
}

/// What of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Services, a line a port and family.
    Services,
    /// Backends, a line each.
    Backends,
}

impl What {
    /// What a word means; None for what the kernel doesn't have.
    pub(super) fn named(word: &str) -> Option<What> {
        match word {
            "services" | "service" | "svc" => Some(What::Services),
            "backends" | "backend" => Some(What::Backends),
            _ => None,
        }
    }
}

/// Prints what was asked for; only Services of these names, where any are given.
pub(super) fn run(args: &GetArgs, what: What, names: &[String]) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.selector.is_none() && !args.watch && args.output != Output::Name,
        "the kernel has no labels, no watch and no names of objects; for those of the state give --state"
    );
    root::need("get", "reads from the kernel where no --state is given")?;
    let root = &args.place.bpf_root();
    let found = services(root).with_context(|| format!("reading the maps at {}", root.display()))?;
    let mut all = found.with_context(|| {
        format!("nothing is installed at {}: start `bowline node`, or name its folder by --bpf-root", root.display())
    })?;
    all.retain(|s| args.namespace.as_ref().is_none_or(|n| *n == s.namespace));
    let missing: Vec<&String> = names.iter().filter(|name| all.iter().all(|s| s.name != **name)).collect();
    all.retain(|s| names.is_empty() || names.contains(&s.name));
    if missing.is_empty() || !all.is_empty() {
        show(args, what, &all)?;
    }
    match &missing[..] {
        [] => Ok(()),
        // As kubectl says it.
        [others @ .., last] => {
            others.iter().for_each(|name| tell(&format!("bowline: services \"{name}\" not found")));
            anyhow::bail!("services \"{last}\" not found")
        }
    }
}

fn show(args: &GetArgs, what: What, all: &[ServiceView]) -> anyhow::Result<()> {
    match what {
        What::Services => print(args.output, &all, || services_table(all, args.output == Output::Wide)),
        What::Backends => {
            let rows: Vec<BackendRow<'_>> = all.iter().flat_map(rows_of).collect();
            print(args.output, &rows, || backends_table(&rows, args.output == Output::Wide))
        }
    }
}

pub(super) fn print<T: Serialize>(output: Output, value: &T, table: impl FnOnce() -> String) -> anyhow::Result<()> {
    let text = match output {
        Output::Table | Output::Wide | Output::Name => table(),
        Output::Json => serde_json::to_string_pretty(value)? + "\n",
        Output::Yaml => serde_saphyr::to_string(value)?,
    };
    crate::store::write(&text).map(|_| ())
}

fn rows_of(s: &ServiceView) -> impl Iterator<Item = BackendRow<'_>> {
    s.backends.iter().map(|backend| BackendRow {
        namespace: &s.namespace,
        service: &s.name,
        port_name: &s.port_name,
        protocol: s.protocol,
        backend,
    })
}

fn at(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".into() } else { text.to_owned() }
}

/// What takes the traffic in the backends' place; `(away)`: it would, and they have it now.
fn stand_in(s: &StandInView) -> String {
    at(s.address, s.port) + if s.alive { "" } else { "(away)" }
}

fn services_table(all: &[ServiceView], wide: bool) -> String {
    let mut head = vec!["NAMESPACE", "NAME", "PORT", "FRONTEND", "PROTOCOL", "SCHEDULER", "AFFINITY", "BACKENDS"];
    // A node without a DNS server has none.
    let has_stand_in = all.iter().any(|s| s.stand_in.is_some());
    if has_stand_in {
        head.push("STAND-IN");
    }
    if wide {
        head.extend(["FAMILY", "ID", "GENERATION", "TURN"]);
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|s| {
            let frontends: Vec<String> = s.frontends.iter().map(|f| at(f.address, f.port)).collect();
            let mut row = vec![
                s.namespace.clone(),
                s.name.clone(),
                or_dash(&s.port_name),
                or_dash(&frontends.join(",")),
                s.protocol.to_owned(),
                s.scheduler.to_owned(),
                s.affinity_seconds.map_or("-".into(), |n| format!("{n}s")),
                s.backends.len().to_string(),
            ];
            if has_stand_in {
                row.push(s.stand_in.as_ref().map_or("-".into(), stand_in));
            }
            if wide {
                row.extend([s.family.to_owned(), s.id.to_string(), s.generation.to_string(), s.turn.to_string()]);
            }
            row
        })
        .collect();
    render(&head, &rows)
}

fn backends_table(rows: &[BackendRow<'_>], wide: bool) -> String {
    let mut head = vec!["NAMESPACE", "SERVICE", "PORT", "BACKEND", "PROTOCOL", "STATE"];
    if wide {
        head.extend(["ID", "LIFE"]);
    }
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|r| {
            let mut row = vec![
                r.namespace.to_owned(),
                r.service.to_owned(),
                or_dash(r.port_name),
                at(r.backend.address, r.backend.port),
                r.protocol.to_owned(),
                if r.backend.active { "active" } else { "leaving" }.to_owned(),
            ];
            if wide {
                row.extend([r.backend.id.to_string(), r.backend.life.to_string()]);
            }
            row
        })
        .collect();
    render(&head, &rows)
}

#[cfg(test)]
mod tests;
