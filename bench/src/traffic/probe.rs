//! Asks an address again and again who answers, and says when that changes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{ChildStdout, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bowline_lab::{Host, Process};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{PATIENCE, SIZE, monotonic};

/// Between two probes: the agent shall have a CPU for itself most of the time.
const PAUSE: Duration = Duration::from_micros(200);

#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    target: SocketAddr,
}

/// Another server than before has answered.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Seen {
    /// Its number.
    pub(crate) id: u8,
    /// When the answer was there: nanoseconds, see [`monotonic`].
    pub(crate) at: i64,
    /// How many probes were answered until then.
    pub(crate) probes: u64,
}

/// A prober in a host.
#[derive(Debug)]
pub(crate) struct Probe {
    _process: Process,
    lines: BufReader<ChildStdout>,
}

impl ProbeArgs {
    /// Starts a prober in a host.
    pub(crate) fn start(host: &Host, target: SocketAddr) -> Result<Probe> {
        let mut command = host.command(std::env::current_exe()?);
        let mut process = host.spawn(command.args(["probe", &target.to_string()]).stdout(Stdio::piped()))?;
        let stdout = process.child.stdout.take().context("the prober has no output")?;
        Ok(Probe { _process: process, lines: BufReader::new(stdout) })
    }
}

impl Probe {
    /// Waits for the next change of who answers.
    pub(crate) fn next(&mut self) -> Result<Seen> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("the prober ended with {line:?}"))
    }
}

/// Probes until killed; ends with an error when a probe fails, or nothing changes for long.
pub(crate) fn probe(args: &ProbeArgs) -> Result<()> {
    let mut last = None;
    let mut changed = monotonic();
    for probes in 1.. {
        let id = ask(args.target).with_context(|| format!("probe {probes} of {}", args.target))?;
        let at = monotonic();
        if last != Some(id) {
            println!("{}", serde_json::to_string(&Seen { id, at, probes })?);
            (last, changed) = (Some(id), at);
        } else if at - changed > PATIENCE.as_nanos() as i64 {
            bail!("the same server answers for {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn ask(target: SocketAddr) -> std::io::Result<u8> {
    let mut stream = TcpStream::connect(target)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[1; SIZE])?;
    let mut answer = [0; SIZE];
    stream.read_exact(&mut answer)?;
    Ok(answer[0])
}
