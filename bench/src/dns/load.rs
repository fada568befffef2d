//! A load of DNS questions: many clients on one thread, and every answer checked.
//!
//! Without a rate, each client asks again as soon as it has its answer (a closed loop): questions a second are
//! what the server can do. With a rate, questions have their times, and latency counts from these and not from
//! when a client was free to ask: a server that stalls is charged for all that should have come meanwhile.
//!
//! ```text
//! question    the file of questions, with the answers that are right; a question written and an answer checked
//! sockets     the clients' sockets
//! histogram   latencies
//! ```

mod histogram;
mod question;
mod sockets;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bowline_sys::datagrams::BATCH;
use clap::{Args, ValueEnum};
use serde::Serialize;

use self::histogram::Histogram;
use self::question::{Question, Style};
use self::sockets::Sockets;
use crate::process::cpu;
use crate::traffic::pin;

/// After this time a question counts as lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks a DNS server as many clients do, checks every answer, and prints rates and latencies as JSON
///
/// Names are drawn at random and their letters' case varied. Takes a whole CPU.
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The server
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) server: SocketAddr,
    /// Questions, one a line: name, type, rcode, then the data of the records of that type which are right
    #[arg(long, value_name = "FILE")]
    pub(crate) questions: PathBuf,
    /// Clients; each has one question open at a time
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub(crate) clients: usize,
    /// How long
    #[arg(long, default_value_t = 10.0, value_name = "N")]
    pub(crate) seconds: f64,
    /// Questions a second, at fixed times; otherwise as many as are answered
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<f64>,
    /// Ask with EDNS and this size
    #[arg(long, value_name = "BYTES")]
    pub(crate) edns: Option<u16>,
    /// The clients' sockets
    #[arg(long, value_enum, default_value_t)]
    pub(crate) sockets: Kind,
    /// The server's process: tells how much CPU it took
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// Stay on this CPU
    #[arg(long, value_name = "N")]
    pub(crate) cpu: Option<usize>,
    /// Leave the latencies of names that begin so out
    #[arg(long, value_name = "PREFIX")]
    pub(crate) aside: Option<String>,
}

/// How clients are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A connected socket each
    Own,
    /// An address each in 127.0.0.0/8, few sockets: half the system calls. The server must be on the loopback
    Shared,
    /// Shared where the server is in 127.0.0.0/8
    #[default]
    Auto,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Right answers a second.
    pub(crate) qps: f64,
    pub(crate) sent: u64,
    /// Right answers.
    pub(crate) answered: u64,
    /// Without an answer in time.
    pub(crate) lost: u64,
    /// Answers that are not what the file says.
    pub(crate) wrong: u64,
    /// What the first wrong one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_wrong: Option<String>,
    /// Microseconds.
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    /// Share of the time in which this program had nothing to do.
    pub(crate) idle: f64,
    /// CPUs that the server took, on average: below 1 for each of its threads, this program was the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_cpus: Option<f64>,
    /// Right answers for each second of CPU that the server took, in its own process and in the kernel for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) qps_per_core: Option<f64>,
}

impl Summary {
    /// # Errors
    /// An answer was wrong or missing, or there was none at all.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_answers()?;
        ensure!(self.lost == 0, "{} questions of {} have no answer", self.lost, self.sent);
        Ok(())
    }

    /// # Errors
    /// An answer was wrong, or there was none at all. Some may be missing.
    pub(crate) fn check_answers(&self) -> Result<()> {
        if let Some(wrong) = &self.first_wrong {
            anyhow::bail!("{} answers of {} are wrong; the first: {wrong}", self.wrong, self.sent);
        }
        ensure!(self.answered > 0, "nothing was answered");
        Ok(())
    }
}

/// Runs a load and prints its summary.
pub(crate) fn main(args: &LoadArgs) -> Result<()> {
    let summary = run(args)?;
    println!("{}", serde_json::to_string(&summary)?);
    summary.check()
}

/// Runs a load to its end.
///
/// # Errors
/// The questions can't be read, or a socket fails otherwise than by an answer that is missing.
pub(crate) fn run(args: &LoadArgs) -> Result<Summary> {
    let text = std::fs::read_to_string(&args.questions);
    let text = text.with_context(|| format!("cannot read {}", args.questions.display()))?;
    let questions = question::parse(&text).with_context(|| args.questions.display().to_string())?;
    if let Some(cpu) = args.cpu {
        pin(cpu)?;
    }
    ensure!(args.seconds > 0.0 && args.rate.is_none_or(|r| r > 0.0), "seconds and rate must be above 0");
    let sockets = Sockets::new(args.server, args.clients, args.sockets).context("sockets of the clients")?;
    let mut load = Load::new(args, &questions);
    let before = args.pid.map(cpu).transpose()?;
    load.run(sockets, args.seconds)?;
    let after = args.pid.map(cpu).transpose()?;
    let took = load.took;
    let mut summary = load.summary();
    if let (Some(before), Some(after)) = (before, after) {
        let seconds = (after - before) / 1e3;
        summary.server_cpus = Some(seconds / took.as_secs_f64());
        summary.qps_per_core = Some(summary.answered as f64 / seconds).filter(|qps| qps.is_finite());
    }
    Ok(summary)
}

/// A client.
#[derive(Clone, Copy, Debug)]
struct Client {
    /// What it asked last.
    question: usize,
    style: Style,
    /// When it should have asked; None: nothing is open.
    asked: Option<Instant>,
}

struct Load<'a> {
    questions: &'a [Question],
    edns: Option<u16>,
    /// Between questions, with a fixed rate.
    interval: Option<Duration>,
    clients: Vec<Client>,
    idle: VecDeque<usize>,
    random: Random,
    latencies: Histogram,
    /// By question: whether its latency is left out.
    aside: Vec<bool>,
    answered: u64,
    began: Instant,
    took: Duration,
    rested: Duration,
    sent: u64,
    lost: u64,
    wrong: u64,
    first_wrong: Option<String>,
}

impl<'a> Load<'a> {
    fn new(args: &LoadArgs, questions: &'a [Question]) -> Load<'a> {
        let began = Instant::now();
        Load {
            questions,
            edns: args.edns,
            interval: args.rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            clients: vec![Client { question: 0, style: Style::default(), asked: None }; args.clients],
            idle: (0..args.clients).collect(),
            random: Random(0x9e37_79b9_7f4a_7c15),
            latencies: Histogram::new(),
            aside: questions.iter().map(|question| args.aside.as_ref().is_some_and(|p| question.begins(p))).collect(),
            answered: 0,
            began,
            took: Duration::ZERO,
            rested: Duration::ZERO,
            sent: 0,
            lost: 0,
            wrong: 0,
            first_wrong: None,
        }
    }

    fn run(&mut self, mut sockets: Sockets, seconds: f64) -> Result<()> {
        self.began = Instant::now();
        let end = self.began + Duration::from_secs_f64(seconds);
        let mut now = self.began;
        let mut looked = now;
        loop {
            let answers = self.receive(&mut sockets)?;
            let asked = if now < end { self.ask(&mut sockets, now)? } else { 0 };
            let before = std::mem::replace(&mut now, Instant::now());
            if answers + asked == 0 {
                self.rested += now - before;
            }
            if now - looked > PATIENCE / 20 {
                looked = now;
                self.give_up(now);
            }
            if now >= end && self.idle.len() == self.clients.len() {
                break;
            }
        }
        // Answers after the end are few: at most one a client.
        self.took = now - self.began;
        Ok(())
    }

    /// Takes what has come; returns how many.
    fn receive(&mut self, sockets: &mut Sockets) -> Result<usize> {
        let mut now = None;
        sockets.receive(|at, answer| {
            let now = *now.get_or_insert_with(Instant::now);
            let client = &mut self.clients[at];
            // What comes when a client has given up: counted as lost already.
            let Some(asked) = client.asked else { return false };
            if answer.get(..2) != Some(client.style.id.to_be_bytes().as_slice()) && self.lost > 0 {
                return false;
            }
            client.asked = None;
            self.idle.push_back(at);
            let question = &self.questions[client.question];
            match question.check(client.style, answer) {
                Ok(()) => {
                    self.answered += 1;
                    if !self.aside[client.question] {
                        self.latencies.add(now.saturating_duration_since(asked));
                    }
                }
                Err(why) => {
                    self.wrong += 1;
                    self.first_wrong.get_or_insert_with(|| format!("{question}: {why}"));
                }
            }
            true
        })
    }

    /// Asks what is due, as far as there are clients for it; returns how many.
    fn ask(&mut self, sockets: &mut Sockets, now: Instant) -> Result<usize> {
        let due = match self.interval {
            None => usize::MAX,
            Some(interval) => {
                let due = (now - self.began).as_nanos() / interval.as_nanos().max(1) + 1;
                (due as u64).saturating_sub(self.sent) as usize
            }
        };
        let count = due.min(self.idle.len()).min(BATCH);
        for _ in 0..count {
            let Some(at) = self.idle.pop_front() else { break };
            let random = self.random.next();
            let client = &mut self.clients[at];
            client.question = ((random >> 32) as usize * self.questions.len()) >> 32;
            client.style = Style { id: random as u16, bits: self.random.next(), edns: self.edns };
            client.asked = Some(match self.interval {
                None => now,
                Some(interval) => self.began + Duration::from_nanos(interval.as_nanos() as u64 * self.sent),
            });
            self.sent += 1;
            let (question, style) = (&self.questions[client.question], client.style);
            sockets.ask(at, |room| question.write(style, room))?;
        }
        sockets.flush()?;
        Ok(count)
    }

    /// Counts the questions that have been open for too long.
    fn give_up(&mut self, now: Instant) {
        for (at, client) in self.clients.iter_mut().enumerate() {
            if client.asked.is_some_and(|asked| now.saturating_duration_since(asked) > PATIENCE) {
                client.asked = None;
                self.lost += 1;
                self.idle.push_back(at);
            }
        }
    }

    fn summary(self) -> Summary {
        let latency = |share| self.latencies.percentile(share).as_nanos() as f64 / 1000.0;
        Summary {
            qps: self.answered as f64 / self.took.as_secs_f64(),
            sent: self.sent,
            answered: self.answered,
            lost: self.lost,
            wrong: self.wrong,
            first_wrong: self.first_wrong,
            p50: latency(0.5),
            p90: latency(0.9),
            p99: latency(0.99),
            p999: latency(0.999),
            max: latency(1.0),
            idle: self.rested.as_secs_f64() / self.took.as_secs_f64(),
            server_cpus: None,
            qps_per_core: None,
        }
    }
}

/// xorshift64* (Vigna 2016): quick, and the same in every run.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

#[cfg(test)]
mod tests;
