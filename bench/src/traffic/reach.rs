//! Asks several addresses until each has answered once, and says when that was.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bowline_lab::{Host, Process};
use clap::Args;

use super::{monotonic, probe};

/// Between two rounds; and the longest that an address without anybody may take.
const PAUSE: Duration = Duration::from_millis(2);
const LIMIT: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct ReachArgs {
    #[arg(required = true)]
    targets: Vec<SocketAddr>,
    /// Seconds.
    #[arg(long)]
    patience: u64,
}

/// Somebody in a host who asks until all have answered.
#[derive(Debug)]
pub(crate) struct Reach {
    _process: Process,
    answer: Receiver<String>,
}

impl Reach {
    /// Starts asking in a host, and waits until the first round is over.
    pub(crate) fn start(host: &Host, targets: &[SocketAddr], patience: Duration) -> Result<Reach> {
        let mut command = host.command(std::env::current_exe()?);
        command.args(["reach", "--patience", &patience.as_secs().to_string()]);
        command.args(targets.iter().map(SocketAddr::to_string));
        let mut process = host.spawn(command.stdout(Stdio::piped()))?;
        let stdout = process.child.stdout.take().context("who asks has no output")?;
        let (sender, answer) = channel();
        std::thread::spawn(move || {
            for line in std::io::BufRead::lines(std::io::BufReader::new(stdout)).map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let reach = Reach { _process: process, answer };
        ensure!(reach.answer.recv().is_ok_and(|line| line == "asking"), "who asks {targets:?} did not start");
        Ok(reach)
    }

    /// When all had answered (see [`monotonic`]); None as long as they have not.
    ///
    /// # Errors
    /// Who asks has given up.
    pub(crate) fn all(&self, wait: Duration) -> Result<Option<i64>> {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        match self.answer.recv_timeout(wait) {
            Ok(line) => Ok(Some(line.parse().with_context(|| format!("who asks said {line:?}"))?)),
            Err(Timeout) => Ok(None),
            Err(Disconnected) => anyhow::bail!("not all addresses answered in time"),
        }
    }
}

/// Asks until all have answered.
pub(crate) fn reach(args: &ReachArgs) -> Result<()> {
    let began = Instant::now();
    let mut left = args.targets.clone();
    println!("asking");
    while !left.is_empty() {
        left.retain(|&target| probe::ask(target, LIMIT).is_err());
        ensure!(began.elapsed().as_secs() < args.patience, "no answer from {left:?} in {} s", args.patience);
        if !left.is_empty() {
            std::thread::sleep(PAUSE);
        }
    }
    println!("{}", monotonic());
    Ok(())
}
