//! `bowline-bench dns`: the DNS server beside CoreDNS and unbound, on the same state, the same Corefile and the same
//! questions; and the bare socket loop, which is what the kernel leaves to any of them.
//!
//! ```text
//! scene      the cluster's objects in a real API server, and the questions with the answers that are right
//! servers    the programs that answer, each on the first CPU; one is asked at a time
//! compare    what is measured of each, and the rows
//! watch      when the API server tells of a change
//! in_order   an upstream that answers in order, with slow names; its rows
//! load       asks a server as many clients do, and checks every answer
//! ```

mod compare;
pub(crate) mod in_order;
pub(crate) mod load;
mod scene;
mod servers;
mod watch;

use anyhow::{Context, Result};
use bowline_lab::Lab;
use clap::Args;

use self::scene::Scene;
use crate::Bench;
use crate::report::Table;

/// What is compared.
#[derive(Clone, Debug, Args)]
pub(crate) struct DnsArgs {
    /// How many Services
    #[arg(long, default_value_t = 8_200, value_name = "N")]
    services: usize,
    /// Endpoints of each; every 40th is headless and has 4
    #[arg(long, default_value_t = 18, value_name = "N")]
    endpoints: usize,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART", default_values_t = Part::ALL)]
    parts: Vec<Part>,
    /// Seconds of each load
    #[arg(long, default_value_t = 5.0, value_name = "N")]
    seconds: f64,
    /// Only Bowline, for a look in between
    #[arg(long)]
    alone: bool,
}

/// Parts of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Names of the cluster: questions a second, latency, start, memory
    Cluster,
    /// The same while endpoints change, and how late an answer is after a change
    Changes,
    /// Forwarded names: in the cache and not
    Forward,
    /// Forwarded by TCP and TLS to a server that answers in order, one name in twenty slow
    InOrder,
}

impl Part {
    const ALL: [Part; 4] = [Part::Cluster, Part::Changes, Part::Forward, Part::InOrder];
}

/// Measures, and adds the rows.
pub(crate) fn measure(bench: &Bench, args: &DnsArgs, lab: &Lab, table: &mut Table) -> Result<()> {
    let args =
        DnsArgs { services: bench.pick(args.services, 400), seconds: bench.pick(args.seconds, 1.0), ..args.clone() };
    let wanted = |part| args.parts.contains(&part);
    if wanted(Part::InOrder) {
        in_order::measure(bench, &args, lab, table).context("an upstream that answers in order")?;
    }
    if args.parts.iter().all(|part| *part == Part::InOrder) {
        return Ok(());
    }
    let mut bare = compare::Bare::start(bench, lab)?;
    if wanted(Part::Cluster) || wanted(Part::Changes) {
        let scene = Scene::load(bench, &args, lab)?;
        compare::cluster(bench, &args, &scene, &mut bare, table).context("names of the cluster")?;
    }
    if wanted(Part::Forward) {
        compare::forwarded(bench, &args, lab, table).context("forwarded names")?;
    }
    bare.end(bench, &args, table)
}
