//! Asks an address again and again who answers, and says when that changes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{ChildStdout, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bowline_lab::{Host, Process};
use clap::Args;
use rustix::net::sockopt::set_socket_linger;
use serde::{Deserialize, Serialize};

use super::{PATIENCE, SIZE, monotonic};

/// One probe: a connection that is lost must not hide for long that the next one would succeed.
const LIMIT: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    target: SocketAddr,
    /// Microseconds between two probes: who is measured shall have a CPU for itself most of the time.
    #[arg(long, default_value_t = 200)]
    pause: u64,
    /// Seconds after which nothing has changed for too long.
    #[arg(long, default_value_t = PATIENCE.as_secs())]
    patience: u64,
}

/// Another server than before has answered.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Seen {
    /// Its number.
    pub(crate) id: u8,
    /// When the answer was there: nanoseconds, see [`monotonic`].
    pub(crate) at: i64,
    /// How many probes were answered until then, and how many were not.
    pub(crate) probes: u64,
    pub(crate) failed: u64,
}

/// A prober in a host.
#[derive(Debug)]
pub(crate) struct Probe {
    _process: Process,
    lines: BufReader<ChildStdout>,
}

impl ProbeArgs {
    /// Probes this address at the usual pace.
    pub(crate) fn new(target: SocketAddr) -> ProbeArgs {
        ProbeArgs { target, pause: 200, patience: PATIENCE.as_secs() }
    }

    /// The same, for two minutes until it is too long.
    pub(crate) fn patient(self) -> ProbeArgs {
        ProbeArgs { patience: 120, ..self }
    }

    /// The same, a probe a millisecond: for one that takes its time.
    pub(crate) fn slow(self) -> ProbeArgs {
        ProbeArgs { pause: 1_000, ..self }
    }

    /// Starts a prober in a host.
    pub(crate) fn start(&self, host: &Host) -> Result<Probe> {
        let mut command = host.command(std::env::current_exe()?);
        command.args(["probe", &self.target.to_string()]);
        command.args(["--pause", &self.pause.to_string(), "--patience", &self.patience.to_string()]);
        let mut process = host.spawn(command.stdout(Stdio::piped()))?;
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

/// Probes until killed; ends with an error when nothing changes for long.
pub(crate) fn probe(args: &ProbeArgs) -> Result<()> {
    let (mut last, mut failed, mut probes) = (None, 0, 0);
    let mut changed = monotonic();
    let mut why = String::new();
    loop {
        match ask(args.target, LIMIT) {
            Ok(id) => {
                probes += 1;
                let at = monotonic();
                if last != Some(id) {
                    println!("{}", serde_json::to_string(&Seen { id, at, probes, failed })?);
                    (last, changed) = (Some(id), at);
                }
            }
            Err(error) => {
                failed += 1;
                why = format!("; the last of {failed} failures: {error}");
            }
        }
        if monotonic() - changed > args.patience as i64 * 1_000_000_000 {
            bail!("{}: the same server ({last:?}) answers for {} s{why}", args.target, args.patience);
        }
        std::thread::sleep(Duration::from_micros(args.pause));
    }
}

/// The number of who answers.
pub(super) fn ask(target: SocketAddr, limit: Duration) -> std::io::Result<u8> {
    let mut stream = TcpStream::connect_timeout(&target, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(&[1; SIZE])?;
    let mut answer = [0; SIZE];
    stream.read_exact(&mut answer)?;
    // A reset: closed connections don't pile up, neither in sockets nor in connection tracking.
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    Ok(answer[0])
}
