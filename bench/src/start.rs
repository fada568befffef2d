//! Rows start and memory: an agent starts on a folder with everything, on a node without anything, until
//! all is in the kernel; and what it then keeps in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bowline_lab::{Lab, Node};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::Bench;
use crate::agent::{Agent, Line};
use crate::manifests::{Files, Folder, Format, Shape};
use crate::report::{Row, Table};
use crate::stats::median;

/// Seconds.
const GOAL_JSON: f64 = 1.0;
const GOAL_YAML: f64 = 1.5;
/// Millions of bytes of VmRSS.
const GOAL_MEMORY: f64 = 40.0;

const FORMS: [(Format, Files, &str); 4] = [
    (Format::Json, Files::One, "JSON, one file"),
    (Format::Json, Files::Many, "JSON, a file each"),
    (Format::Yaml, Files::One, "YAML, one file"),
    (Format::Yaml, Files::Many, "YAML, a file each"),
];

/// Milliseconds of the parts of a start.
#[derive(Default)]
struct Parts {
    total: Vec<f64>,
    opening: Vec<f64>,
    parsing: Vec<f64>,
    state: Vec<f64>,
    programming: Vec<f64>,
    attaching: Vec<f64>,
}

impl Parts {
    /// Takes the times of one start from the agent's log.
    fn take(&mut self, agent: &Agent<'_>) -> Result<()> {
        let starting = agent.line("starting")?;
        // The reading begins at the same time as this line is written.
        let opened = agent.line("serving metrics")?;
        let read = agent.line("read the folder")?;
        let programmed = agent.line("programmed")?;
        let ready: Line = agent.ready()?;
        let programming = programmed.number("microseconds")? as f64 / 1e3;
        self.total.push((ready.read - agent.spawned).as_secs_f64() * 1e3);
        self.opening.push(starting.until(&opened));
        self.parsing.push(opened.until(&read));
        self.programming.push(programming);
        self.state.push(read.until(&programmed) - programming);
        self.attaching.push(programmed.until(&ready));
        Ok(())
    }
}

/// A cold start with everything, in four forms.
pub(crate) fn cold(bench: &Bench, lab: &Lab, table: &mut Table) -> Result<()> {
    let node = lab.node("start")?;
    let services = bench.services();
    let builds = bench.builds()?;
    for (format, files, name) in FORMS {
        bench.go_on(&format!("cold start, {name}"))?;
        let shape = Shape { services, endpoints: 10, format, files };
        let folder = Folder::write(lab, &format!("start-{}-{files:?}", format.name()), shape)?;
        let (mut all, mut reading) = ([Parts::default(), Parts::default()], Vec::new());
        for _ in 0..bench.pick(7, 1) {
            reading.push(read_plainly(folder.path())?);
            for (build, parts) in builds.iter().zip(&mut all) {
                let agent = Agent::start(&node, folder.path(), build)?;
                parts.take(&agent)?;
                agent.remove()?;
            }
        }
        let [parts, theirs] = all;
        let ms = |values: &[f64]| median(values).map(|m| m.value).context("nothing was measured");
        let total = median(&parts.total).context("nothing was measured")?;
        let seconds = total.value / 1e3;
        let goal = if format == Format::Json { GOAL_JSON } else { GOAL_YAML };
        let measured = format!("{seconds:.2} s ({:.2} to {:.2})", total.low / 1e3, total.high / 1e3);
        let reference = format!(
            "plain read of {} MB: {:.0} ms; a general parser, one core: {:.2} s",
            folder.bytes() / 1_000_000,
            ms(&reading)?,
            parse_plainly(folder.path(), format)?.as_secs_f64()
        );
        let row = Row::plain(format!("Cold start, {services} Services of 10 endpoints, {name}"), measured, reference);
        table.add(row.goal(format!("<= {goal} s"), seconds <= goal));
        let apart = format!(
            "maps {:.0}, read and parse {:.0}, state {:.0}, program {:.0}, attach {:.0} ms",
            ms(&parts.opening)?,
            ms(&parts.parsing)?,
            ms(&parts.state)?,
            ms(&parts.programming)?,
            ms(&parts.attaching)?
        );
        table.add(Row::plain("- its parts", apart, format!("reading alone {:.0} ms", ms(&reading)?)));
        if let Some(theirs) = median(&theirs.total) {
            table.add(Row::beside(format!("{:.2} s", theirs.value / 1e3), theirs.value / total.value));
        }
    }
    Ok(())
}

fn files_of(dir: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
}

/// Milliseconds to list a folder and read all of it, on two threads where there are files for both.
fn read_plainly(dir: &Path) -> Result<f64> {
    let began = Instant::now();
    let left = Mutex::new(files_of(dir)?.into_iter());
    let work = || -> Result<()> {
        loop {
            let Some(path) = left.lock().ok().and_then(|mut left| left.next()) else { return Ok(()) };
            fs::read(path)?;
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        work()?;
        other.join().unwrap_or(Ok(()))
    })?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// How long a general parser takes to look at everything and keep nothing: a lower bound for what reads
/// into the API's types.
fn parse_plainly(dir: &Path, format: Format) -> Result<Duration> {
    let mut spent = Duration::ZERO;
    for path in files_of(dir)? {
        let text = fs::read_to_string(path)?;
        let began = Instant::now();
        match format {
            Format::Json => drop(serde_json::from_str::<IgnoredAny>(&text)?),
            Format::Yaml => {
                for document in text.split("---\n").skip(1) {
                    serde_saphyr::from_str::<IgnoredAny>(document)?;
                }
            }
        }
        spent += began.elapsed();
    }
    Ok(spent)
}

/// What an agent has in memory.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Memory {
    /// VmRSS, kB.
    resident: f64,
    /// Of that, the kernel's arrays, kB.
    mapped: f64,
    /// The most it ever was, kB.
    peak: f64,
    /// Bytes of all maps in the kernel, and of those what the entries take.
    kernel: f64,
    kernel_used: f64,
}

/// What stays in memory.
pub(crate) fn memory(bench: &Bench, lab: &Lab, table: &mut Table) -> Result<()> {
    let node = lab.node("memory")?;
    let services = bench.services();
    let builds = bench.builds()?;
    let at = |services, endpoints, format, files, build: &Path| -> Result<Memory> {
        let shape = Shape { services, endpoints, format, files };
        let name = format!("memory-{services}-{endpoints}-{}-{files:?}", format.name());
        let folder = Folder::write(lab, &name, shape)?;
        settled(&node, folder.path(), build)
    };
    bench.go_on("memory")?;
    let none = at(0, 10, Format::Yaml, Files::Many, &builds[0])?;
    let mut last = none;
    for (format, files, name) in FORMS {
        bench.go_on(&format!("memory, {name}"))?;
        let memory = at(services, 10, format, files, &builds[0])?;
        let (resident, mapped) = (memory.resident * 1.024e-3, memory.mapped * 1.024e-3);
        let measured =
            format!("{resident:.1} MB, of that {mapped:.1} MB mapped arrays; peak {:.0} MB", memory.peak * 1.024e-3);
        let reference = format!(
            "an empty folder: {:.1} MB, of that {:.1} MB mapped",
            none.resident * 1.024e-3,
            none.mapped * 1.024e-3
        );
        let row = Row::plain(format!("VmRSS, {services} Services of 10 endpoints, {name}"), measured, reference);
        table.add(row.goal(format!("<= {GOAL_MEMORY} MB"), resident <= GOAL_MEMORY));
        if let Some(build) = builds.get(1) {
            let theirs = at(services, 10, format, files, build)?.resident * 1.024e-3;
            table.add(Row::beside(format!("{theirs:.1} MB"), theirs / resident));
        }
        last = memory;
    }
    // Two sizes and nothing: what a Service takes, and what an endpoint. The last form was this one too.
    let lean = at(services, 1, Format::Yaml, Files::Many, &builds[0])?;
    let apart = |of: &dyn Fn(&Memory) -> f64| {
        let endpoint = (of(&last) - of(&lean)) / (9 * services) as f64;
        let service = (of(&lean) - of(&none)) / services as f64 - endpoint;
        format!("{service:.0} bytes a Service, {endpoint:.0} an endpoint")
    };
    let ours = |m: &Memory| (m.resident - m.mapped) * 1024.0;
    table.add(Row::plain(
        "- ours, without the arrays",
        apart(&ours),
        format!("{:.1} MB with nothing", ours(&none) / 1e6),
    ));
    table.add(Row::plain(
        "- the kernel's, in use",
        format!("{}; {:.1} MB", apart(&|m| m.kernel_used), last.kernel_used / 1e6),
        format!("all maps: {:.1} MB, {:.1} MB with nothing", last.kernel / 1e6, none.kernel / 1e6),
    ));
    Ok(())
}

/// Starts an agent on a folder, and looks at its memory once that stays the same.
fn settled(node: &Node, dir: &Path, build: &Path) -> Result<Memory> {
    let agent = Agent::start(node, dir, build)?;
    agent.ready()?;
    let mut resident = agent.status_kb("VmRSS")?;
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(300));
        let now = agent.status_kb("VmRSS")?;
        if std::mem::replace(&mut resident, now) == now {
            break;
        }
    }
    let mapped = agent.mapped_kb()?;
    let peak = agent.status_kb("VmHWM")?;
    let (used, room) = (agent.by_map("bowline_map_entries")?, agent.by_map("bowline_map_capacity")?);
    let (mut kernel, mut kernel_used) = (0.0, 0.0);
    for map in agent.maps()? {
        let bytes = map.bytes() as f64;
        kernel += bytes;
        kernel_used += match (map.name.as_str(), used.get(&map.name), room.get(&map.name)) {
            // Its memory is there from the beginning, and counted as far as it is used.
            (_, Some(used), Some(room)) if map.is_array() => bytes * *used as f64 / *room as f64,
            // Entries of these are allocated as they come.
            ("frontends" | "names", ..) => bytes,
            _ => 0.0,
        };
    }
    let memory = Memory { resident: resident as f64, mapped: mapped as f64, peak: peak as f64, kernel, kernel_used };
    agent.remove()?;
    Ok(memory)
}
