//! An agent in a node of a lab: started, its log read, its memory looked at, taken away again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bowline_lab::{Node, Process};
use serde::Deserialize;
use serde_json::Value;

use crate::process::{kb, status_kb};

const PATIENCE: Duration = Duration::from_secs(60);
/// Where programs serve their metrics, each in a network namespace of its own.
pub(crate) const METRICS: &str = "127.0.0.1:10249";

/// A line of the agent's log.
#[derive(Debug)]
pub(crate) struct Line {
    /// When it was written: microseconds of the day.
    pub(crate) at: u64,
    /// When it was read here.
    pub(crate) read: Instant,
    fields: Value,
}

impl Line {
    fn parse(text: &str) -> Option<Line> {
        let fields: Value = serde_json::from_str(text).ok()?;
        let at = time_of_day(fields.get("timestamp")?.as_str()?)?;
        Some(Line { at, read: Instant::now(), fields })
    }

    fn message(&self) -> &str {
        self.text("message")
    }

    /// A number that the line has.
    pub(crate) fn number(&self, name: &str) -> Result<u64> {
        let value = self.fields.get(name).and_then(Value::as_u64);
        value.with_context(|| format!("the agent's log line {:?} has no number {name}", self.message()))
    }

    /// A text that the line has; empty: none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Milliseconds from this line to a later one.
    pub(crate) fn until(&self, later: &Line) -> f64 {
        const DAY: u64 = 86_400_000_000;
        ((later.at + DAY - self.at) % DAY) as f64 / 1e3
    }
}

/// Microseconds since midnight of `2026-03-01T10:00:00.123456Z`.
fn time_of_day(stamp: &str) -> Option<u64> {
    let (_, time) = stamp.trim_end_matches('Z').split_once('T')?;
    let mut parts = time.split(':');
    let hours: u64 = parts.next()?.parse().ok()?;
    let minutes: u64 = parts.next()?.parse().ok()?;
    let seconds: f64 = parts.next()?.parse().ok()?;
    Some((hours * 60 + minutes) * 60_000_000 + (seconds * 1e6).round() as u64)
}

/// A running agent.
#[derive(Debug)]
pub(crate) struct Agent<'a> {
    node: &'a Node,
    process: Process,
    build: PathBuf,
    lines: Receiver<Line>,
    /// Just before its process was made.
    pub(crate) spawned: Instant,
}

impl<'a> Agent<'a> {
    /// Starts an agent of a build in the node's cgroup, on a folder of manifests. Its log has every change.
    pub(crate) fn start(node: &'a Node, state: &Path, build: &Path) -> Result<Agent<'a>> {
        Agent::with(node, state, build, &["-v2".to_owned()])
    }

    /// The same with these flags, and no more in its log than usually.
    pub(crate) fn with(node: &'a Node, state: &Path, build: &Path, flags: &[String]) -> Result<Agent<'a>> {
        let mut command = node.command(build);
        command.arg("node").arg(format!("--state=files:{}", state.display()));
        place(&mut command, node).args(["--log-format=json", "--hostname-override", node.name()]).args(flags);
        command.args(["--metrics-bind-address", METRICS, "--healthz-bind-address", ""]);
        let spawned = Instant::now();
        let mut process = node.spawn(command.stdin(Stdio::null()).stderr(Stdio::piped()))?;
        let stderr = process.child.stderr.take().context("the agent has no log")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for text in BufReader::new(stderr).lines().map_while(Result::ok) {
                match Line::parse(&text) {
                    // Nobody listens any more: go on reading, so that the agent can write.
                    Some(line) if !is_warning(&line) => drop(sender.send(line)),
                    _ => eprintln!("agent: {text}"),
                }
            }
        });
        Ok(Agent { node, process, build: build.to_owned(), lines, spawned })
    }

    /// The next line with this message; those before it are left out.
    pub(crate) fn line(&self, message: &str) -> Result<Line> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.with_context(|| format!("waited in vain for the agent to log {message:?}"))?;
            if line.message().starts_with(message) {
                return Ok(line);
            }
        }
    }

    /// The lines that have come since the last that was asked for.
    pub(crate) fn logged(&self) -> Vec<Line> {
        self.lines.try_iter().collect()
    }

    /// Waits until the first whole read is in the kernel.
    pub(crate) fn ready(&self) -> Result<Line> {
        self.line("ready")
    }

    /// A field of /proc/PID/status, in kB.
    pub(crate) fn status_kb(&self, field: &str) -> Result<u64> {
        status_kb(self.process.pid(), field)
    }

    /// How much of the kernel's arrays is mapped and present, in kB: a part of VmRSS.
    pub(crate) fn mapped_kb(&self) -> Result<u64> {
        let smaps = fs::read_to_string(format!("/proc/{}/smaps", self.process.pid()))?;
        let (mut sum, mut of_map) = (0, false);
        for line in smaps.lines() {
            match line.strip_prefix("Rss:") {
                Some(rss) if of_map => sum += kb(rss)?,
                Some(_) => {}
                // A mapping begins with its addresses, its fields with a name and a colon.
                None if line.split(' ').next().is_some_and(|word| !word.ends_with(':')) => {
                    of_map = line.ends_with("bpf-map");
                }
                None => {}
            }
        }
        Ok(sum)
    }

    /// The metrics `name{map="..."}`, by map.
    pub(crate) fn by_map(&self, name: &str) -> Result<BTreeMap<String, u64>> {
        let page = self.node.output(std::env::current_exe()?, &["get", METRICS, "/metrics"])?;
        let prefix = format!("{name}{{map=\"");
        let entries = page.lines().filter_map(|line| line.strip_prefix(&prefix)?.split_once("\"} "));
        entries.map(|(map, value)| Ok((map.to_owned(), value.parse()?))).collect()
    }

    /// The maps, as the kernel describes them.
    pub(crate) fn maps(&self) -> Result<Vec<Map>> {
        let mut maps = Vec::new();
        for folder in fs::read_dir(self.node.bpf_root())? {
            let folder = folder?;
            if !folder.file_name().to_string_lossy().starts_with("layout-") {
                continue;
            }
            for pin in fs::read_dir(folder.path())? {
                let pin = pin?;
                let out = Command::new("bpftool").args(["-j", "map", "show", "pinned"]).arg(pin.path()).output();
                let out = out.context("cannot start bpftool: `make setup` installs it")?;
                let shown = serde_json::from_slice(&out.stdout);
                let shown: Shown = shown.with_context(|| format!("bpftool map show pinned {:?}", pin.path()))?;
                maps.push(Map { name: pin.file_name().to_string_lossy().into_owned(), shown });
            }
        }
        ensure!(!maps.is_empty(), "no maps are pinned in {}", self.node.bpf_root().display());
        Ok(maps)
    }

    /// Ends the agent, and takes away all that it left in the kernel.
    pub(crate) fn remove(mut self) -> Result<()> {
        self.process.kill()?;
        let mut command = self.node.command(&self.build);
        let out = place(command.arg("cleanup"), self.node).output()?;
        if !out.status.success() {
            bail!("bowline cleanup: {}", String::from_utf8_lossy(&out.stderr));
        }
        Ok(())
    }
}

/// A map of the agent.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) name: String,
    shown: Shown,
}

#[derive(Debug, Deserialize)]
struct Shown {
    #[serde(rename = "type")]
    kind: String,
    bytes_memlock: u64,
}

impl Map {
    /// Bytes of kernel memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.shown.bytes_memlock
    }

    /// Whether all its memory is there from the beginning.
    pub(crate) fn is_array(&self) -> bool {
        self.shown.kind == "array"
    }
}

fn is_warning(line: &Line) -> bool {
    matches!(line.fields.get("level").and_then(Value::as_str), Some("WARN" | "ERROR"))
}

fn place<'c>(command: &'c mut Command, node: &Node) -> &'c mut Command {
    command.arg("--cgroup-root").arg(node.cgroup()).arg("--bpf-root").arg(node.bpf_root())
}

/// The command `bowline`: named by BOWLINE, or beside this program.
pub(crate) fn bowline() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("BOWLINE") {
        return Ok(path.into());
    }
    let path = std::env::current_exe()?.with_file_name("bowline");
    ensure!(path.is_file(), "{} is not there: cargo build --release -p bowline", path.display());
    Ok(path)
}

#[cfg(test)]
mod tests;
