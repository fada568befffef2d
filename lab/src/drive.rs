//! Drives `bowline-lab-net` in hosts: servers that say who they are, and storms that check every answer.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::host::{Host, Process};

/// Long enough for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the program `bowline-lab-net` is: named by BOWLINE_LAB_NET, or beside this program, where cargo
/// puts it with every build of the workspace's tests.
pub fn lab_net() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("BOWLINE_LAB_NET") {
        return Ok(path.into());
    }
    near("bowline-lab-net", "bowline-lab")
}

/// Where the CNI plugin is: beside this program, where cargo puts it with every build of the workspace's tests.
pub fn cni_plugin() -> Result<PathBuf> {
    near("bowline-cni", "bowline-cni-plugin")
}

/// A program of a package of this workspace.
fn near(name: &str, package: &str) -> Result<PathBuf> {
    let me = std::env::current_exe().context("cannot find this program's folder")?;
    let found = me.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("no {name} near {}: cargo build -p {package}", me.display()))
}

impl Host {
    /// Starts a server that answers with `id`, and waits until it listens. See `bowline-lab-net serve`.
    pub fn serve(&self, id: &str, tcp: &[SocketAddr], udp: &[SocketAddr]) -> Result<Process> {
        let mut command = self.command(lab_net()?);
        command.args(["serve", "--id", id]).stdin(Stdio::null()).stdout(Stdio::piped());
        for (flag, addresses) in [("--tcp", tcp), ("--udp", udp)] {
            for address in addresses {
                command.arg(flag).arg(address.to_string());
            }
        }
        let mut process = self.spawn(&mut command)?;
        let mut line = String::new();
        let stdout = process.child.stdout.as_mut().context("the server has no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line == "ready\n", "server {id} in {} did not start", self.name());
        Ok(process)
    }

    /// HTTP GET from this host; returns the body, an error unless the status is 200.
    pub fn http(&self, address: SocketAddr, path: &str) -> Result<String> {
        self.lab_net(&["http", &address.to_string(), path])
    }

    /// Runs `bowline-lab-net` in this host to its end and returns what it wrote.
    pub fn lab_net(&self, args: &[&str]) -> Result<String> {
        self.output(lab_net()?, args)
    }
}

/// How a storm reaches its targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A TCP connection.
    #[default]
    Tcp,
    /// A UDP socket without connect: every answer must come from the address that was asked.
    Udp,
    /// A UDP socket with connect.
    UdpConnected,
}

/// The arguments of a storm.
#[derive(Clone, Debug, Default)]
pub struct StormArgs(Vec<String>);

impl StormArgs {
    /// TCP, one thread, no target yet.
    pub fn new() -> Self {
        Self::default()
    }
    fn with(mut self, flag: &str, value: Option<String>) -> Self {
        self.0.push(flag.to_owned());
        self.0.extend(value);
        self
    }
    /// One more target. The names of its servers must be `service`, '-' and anything without a '-'.
    pub fn target(self, address: SocketAddr, service: &str) -> Self {
        self.with("--target", Some(format!("{address}={service}")))
    }
    /// Clients at a time.
    pub fn threads(self, threads: usize) -> Self {
        self.with("--threads", Some(threads.to_string()))
    }
    /// TCP or UDP.
    pub fn mode(self, mode: Mode) -> Self {
        match mode {
            Mode::Tcp => self,
            Mode::Udp => self.with("--udp", None),
            Mode::UdpConnected => self.with("--udp-connected", None),
        }
    }
    /// Questions on one connection or socket, all of which the same server must answer; 0: without end.
    pub fn exchanges(self, exchanges: u32) -> Self {
        self.with("--exchanges", Some(exchanges.to_string()))
    }
    /// Milliseconds between two connections of a client, where others need the CPUs too.
    pub fn pause(self, milliseconds: u64) -> Self {
        self.with("--pause", Some(milliseconds.to_string()))
    }
    /// Every connection of a client to a target must reach the server that the one before reached.
    pub fn affinity(self) -> Self {
        self.with("--affinity", None)
    }
}

/// Something that went wrong in a storm.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Failure {
    /// Milliseconds since the storm began.
    pub at_ms: u64,
    /// Who was asked.
    pub target: String,
    /// What was done: `connect`, `send`, `receive`, or the check that the answer failed.
    pub what: String,
    /// The errno's name, where there is one.
    pub errno: Option<String>,
    /// The server's name, where one answered.
    pub name: Option<String>,
}

/// What a storm has seen.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Report {
    /// Connections (or UDP sockets) that were opened and answered.
    pub connects: u64,
    /// Questions that were answered: as many, but for connections with several.
    pub answers: u64,
    /// How often something went wrong.
    pub failed: u64,
    /// The first 20 of them.
    pub failures: Vec<Failure>,
    /// Answers by server.
    pub names: BTreeMap<String, u64>,
    /// How long it lasted.
    pub seconds: f64,
}

/// What a storm has counted so far.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Count {
    /// Questions that were answered.
    pub answers: u64,
    /// How often something went wrong.
    pub failed: u64,
}

/// Clients that connect without pause, told which servers come and go.
#[derive(Debug)]
pub struct Storm {
    process: Process,
    /// Its input and output: a line is said and answered under one lock.
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Storm {
    /// Starts a storm in a host.
    pub fn start(host: &Host, args: &StormArgs) -> Result<Storm> {
        Storm::start_by(host.command(lab_net()?), args)
    }

    /// Starts a storm by a command that runs `bowline-lab-net` with the arguments added to it, wherever that is.
    pub fn start_by(mut command: Command, args: &StormArgs) -> Result<Storm> {
        command.arg("storm").args(&args.0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let mut process = Process::new(child, format!("{command:?}"));
        let (stdin, stdout) = (process.child.stdin.take(), process.child.stdout.take());
        let (stdin, stdout) = stdin.zip(stdout).context("the storm has no pipes")?;
        Ok(Storm { process, pipes: Mutex::new((stdin, BufReader::new(stdout))) })
    }

    fn say(&self, line: &str) -> Result<String> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(pipes.0, "{line}").context("the storm has ended")?;
        let mut answer = String::new();
        pipes.1.read_line(&mut answer)?;
        Ok(answer)
    }

    fn tell(&self, word: &str, name: &str) -> Result<()> {
        let answer = self.say(&format!("{word} {name}"))?;
        ensure!(answer == "ok\n", "the storm answered {answer:?} to: {word} {name}");
        Ok(())
    }

    /// Before a server is taken out: from now on it may answer or not.
    pub fn removing(&self, name: &str) -> Result<()> {
        self.tell("removing", name)
    }

    /// After it was taken out: no connection that begins from now on may reach it.
    pub fn removed(&self, name: &str) -> Result<()> {
        self.tell("removed", name)
    }

    /// Before it is put back: it may answer again.
    pub fn added(&self, name: &str) -> Result<()> {
        self.tell("added", name)
    }

    /// What it has counted until now.
    pub fn count(&self) -> Result<Count> {
        Ok(serde_json::from_str(&self.say("count")?)?)
    }

    /// Waits for that many answers more.
    pub fn wait_for_more(&self, answers: u64) -> Result<()> {
        let goal = self.count()?.answers + answers;
        let began = std::time::Instant::now();
        loop {
            let count = self.count()?;
            if count.answers >= goal {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("waited {} s in vain for {answers} answers to the storm: {count:?}", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends the storm and returns what it has seen.
    pub fn finish(self) -> Result<Report> {
        let Storm { mut process, pipes } = self;
        let (stdin, mut stdout) = pipes.into_inner().unwrap_or_else(PoisonError::into_inner);
        drop(stdin);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        process.wait(PATIENCE)?;
        serde_json::from_str(&line).with_context(|| format!("the storm ended with: {line:?}"))
    }
}
