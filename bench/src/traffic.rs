//! What runs in a lab's hosts: a server, a client that takes its own time, a prober. Tight loops over
//! std::net, without logs, each on one CPU. An exchange is a small request and as small an answer.

mod client;
mod get;
mod probe;
mod reach;
mod serve;
mod stream;

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, LinkNameSpaceType, Pid, move_into_link_name_space, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

pub(crate) use client::{ClientArgs, Mode, Rounds, client};
pub(crate) use get::get;
pub(crate) use probe::{Probe, ProbeArgs, Seen, probe};
pub(crate) use reach::{Reach, ReachArgs, reach};
pub(crate) use serve::{Listen, ServeArgs, serve};
pub(crate) use stream::{StreamArgs, stream};

/// Bytes of a request and of an answer; the first byte of an answer is the server's number.
const SIZE: usize = 64;

/// A defect shows as an error and not as a bench that never ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps this process on one CPU, or on the last where there are fewer.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let last = std::thread::available_parallelism()?.get() - 1;
    let mut set = CpuSet::new();
    set.set(cpu.min(last));
    sched_setaffinity(None::<Pid>, &set).context("cannot pin to a CPU")
}

/// Moves this process into a cgroup. The sockets that it makes from then on belong there.
fn enter(cgroup: &Path) -> Result<()> {
    fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())
        .with_context(|| format!("cannot enter {}", cgroup.display()))
}

/// Moves this thread into a network namespace. The sockets that it makes from then on belong there.
pub(crate) fn join(netns: &Path) -> Result<()> {
    let joined = File::open(netns)
        .and_then(|file| Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?));
    joined.with_context(|| format!("cannot enter the network namespace {}", netns.display()))
}

/// Nanoseconds of the clock that all processes share.
pub(crate) fn monotonic() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// An answer that isn't one.
fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
