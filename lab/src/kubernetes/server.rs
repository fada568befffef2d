//! A server program: started, stopped, killed, started again; its words in a file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::PATIENCE;
use crate::Process;

/// So many of a log's last lines are shown when its server has failed.
const LAST_LINES: usize = 12;

/// A process with a log file. It is killed when dropped, unless it was let go.
#[derive(Debug)]
pub struct Server {
    name: String,
    log: PathBuf,
    process: Option<Process>,
}

impl Server {
    /// Not started yet. The log is appended to `log`.
    pub fn new(name: impl Into<String>, log: PathBuf) -> Server {
        Server { name: name.into(), log, process: None }
    }

    /// Starts this command; an earlier process is killed first.
    pub fn start(&mut self, command: &mut Command) -> Result<()> {
        self.kill()?;
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("cannot open {}", self.log.display()))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", self.name))?;
        self.process = Some(Process::new(child, self.name.clone()));
        Ok(())
    }

    /// Waits until `check` holds. If the process ends before, that is the error, with its last words.
    pub fn wait_until(&mut self, what: &str, mut check: impl FnMut() -> bool) -> Result<()> {
        let began = Instant::now();
        while !check() {
            let process = self.process.as_mut().with_context(|| format!("{} isn't running", self.name))?;
            if let Some(status) = process.child.try_wait()? {
                bail!("{} has ended ({status}):\n{}", self.name, self.last_words());
            }
            if began.elapsed() > PATIENCE {
                let words = self.last_words();
                bail!("{}: waited {} s in vain for: {what}\n{words}", self.name, PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::TERM)?;
            process.wait(PATIENCE)?;
        }
        Ok(())
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Sends a signal: STOP makes it silent without closing a connection, CONT ends that.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.as_ref().with_context(|| format!("{} isn't running", self.name))?.signal(signal)
    }

    /// The process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Where its words are.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Lets the process go on without us.
    pub(crate) fn let_go(&mut self) {
        // Without the destructor, which would kill it. A child that isn't waited for becomes init's.
        self.process.take().map(std::mem::forget).unwrap_or_default();
    }

    fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(LAST_LINES));
        last.fold(format!("{}, last lines:", self.log.display()), |all, line| all + "\n    " + line)
    }
}
