//! What a process, or all processes of a cgroup, have taken: memory and CPU.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::param::clock_ticks_per_second;

/// A field of /proc/PID/status, in kB.
pub(crate) fn status_kb(pid: u32, field: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    kb(line.with_context(|| format!("{path} has no {field}"))?)
}

/// A number as /proc writes it: `123 kB`.
pub(crate) fn kb(text: &str) -> Result<u64> {
    Ok(text.trim().trim_end_matches("kB").trim_end().parse()?)
}

/// Milliseconds of CPU, user and system, that a cgroup's processes have taken, those that have ended too.
pub(crate) fn cgroup_cpu(cgroup: &Path) -> Result<f64> {
    let path = cgroup.join("cpu.stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
    let usage: u64 = usage.with_context(|| format!("{} has no usage_usec", path.display()))?.parse()?;
    Ok(usage as f64 / 1e3)
}

/// The processes of a cgroup.
pub(crate) fn cgroup_pids(cgroup: &Path) -> Result<Vec<u32>> {
    let path = cgroup.join("cgroup.procs");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().map(str::parse).collect::<Result<_, _>>()?)
}

/// Milliseconds of CPU, user and system, that a process has taken itself, to 10 ms.
pub(crate) fn cpu(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // After the name, which may have anything in it, utime and stime are the 12th and 13th.
    let fields = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11).take(2));
    let ticks: Vec<u64> = fields.context("no name in stat")?.map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<u64>() as f64 * 1e3 / clock_ticks_per_second() as f64)
}
