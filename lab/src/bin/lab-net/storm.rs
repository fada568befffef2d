//! The storm: clients that connect without pause and check every answer: that there is one, that it is
//! from the service that was asked, that its server was there when the connect began.
//!
//! Lines on the input, each answered with `ok` once noted: `removing NAME`, `removed NAME`, `added NAME`
//! (see history.rs); `count` is answered with the counts so far. The end of the input ends the storm,
//! which then prints its report.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bowline_lab::{Count, Failure, Report};
use rustix::io::Errno;
use rustix::net::{self, SendFlags, SocketType};

use crate::history::History;
use crate::socket;

const FAILURES_KEPT: usize = 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Whom to ask; a server's name must then be SERVICE, '-' and anything without a '-'
    #[arg(long = "target", value_name = "ADDRESS:PORT[=SERVICE]", required = true, value_parser = parse_target)]
    targets: Vec<Target>,
    /// Clients at a time
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// UDP without connect; every answer must come from the address that was asked
    #[arg(long, conflicts_with = "udp_connected")]
    udp: bool,
    /// UDP with connect
    #[arg(long)]
    udp_connected: bool,
    /// Questions on one connection or socket, all for the same server; 0: without end
    #[arg(long, default_value_t = 1)]
    exchanges: u32,
    /// A client that asks a target again must reach the same server
    #[arg(long)]
    affinity: bool,
    /// Rest so long after each connection
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    pause: u64,
    /// End after so many answers; the input is not read then
    #[arg(long)]
    count: Option<u64>,
    /// How long to wait for anything
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 5000)]
    timeout: u64,
}

#[derive(Clone)]
struct Target {
    address: SocketAddr,
    service: Option<String>,
}

fn parse_target(text: &str) -> Result<Target> {
    let (address, service) = text.split_once('=').map_or((text, None), |(a, s)| (a, Some(s.to_owned())));
    Ok(Target { address: address.parse().map_err(|_| anyhow!("{address}: not ADDRESS:PORT"))?, service })
}

/// What the clients share.
struct Shared {
    began: Instant,
    stop: AtomicBool,
    history: RwLock<History>,
    answers: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Vec<Failure>>,
}

impl Shared {
    fn history(&self) -> std::sync::RwLockReadGuard<'_, History> {
        self.history.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
    fn fail(&self, target: &Target, what: &str, errno: Option<Errno>, name: Option<&str>) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < FAILURES_KEPT {
            failures.push(Failure {
                at_ms: self.began.elapsed().as_millis() as u64,
                target: target.address.to_string(),
                what: what.to_owned(),
                errno: errno.map(socket::errno_name),
                name: name.map(str::to_owned),
            });
        }
    }
}

pub(crate) fn run(args: Args) -> Result<()> {
    ensure!(args.threads > 0, "--threads: at least 1");
    let shared = Arc::new(Shared {
        began: Instant::now(),
        stop: AtomicBool::new(false),
        history: RwLock::default(),
        answers: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        failures: Mutex::default(),
    });
    if args.count.is_none() {
        let shared = shared.clone();
        std::thread::spawn(move || listen(&shared));
    }
    let args = &args;
    let clients: Vec<Client<'_>> = std::thread::scope(|scope| {
        let start = |first| {
            let mut client = Client::new(args, &shared);
            scope.spawn(move || {
                client.run(first);
                client
            })
        };
        let threads: Vec<_> = (0..args.threads).map(start).collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Result<_, _>>()
    })
    .map_err(|_| anyhow!("a client panicked"))?;

    let mut report = Report {
        failed: shared.failed.load(Ordering::Relaxed),
        failures: shared.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        seconds: shared.began.elapsed().as_secs_f64(),
        ..Report::default()
    };
    for client in clients {
        report.connects += client.connects;
        for (name, answers) in client.names {
            report.answers += answers;
            *report.names.entry(name).or_default() += answers;
        }
    }
    println!("{}", serde_json::to_string(&report).context("the report")?);
    Ok(())
}

/// Takes what the driver says until it says no more.
fn listen(shared: &Shared) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if line == "count" {
            let (answers, failed) = (shared.answers.load(Ordering::Relaxed), shared.failed.load(Ordering::Relaxed));
            println!("{}", serde_json::to_string(&Count { answers, failed }).unwrap_or_default());
            continue;
        }
        let known = shared.history.write().unwrap_or_else(PoisonError::into_inner).tell(&line, Instant::now());
        println!("{}", if known { "ok" } else { "say: removing|removed|added NAME, or count" });
    }
    shared.stop.store(true, Ordering::Relaxed);
}

/// Who answered last, and when the connect to it began.
type Last = Option<(String, Instant)>;

/// One client.
struct Client<'a> {
    args: &'a Args,
    shared: &'a Shared,
    connects: u64,
    names: BTreeMap<String, u64>,
    /// For affinity, by target.
    last: Vec<Last>,
    questions: u64,
}

impl<'a> Client<'a> {
    fn new(args: &'a Args, shared: &'a Shared) -> Self {
        let last = vec![None; args.targets.len()];
        Self { args, shared, connects: 0, names: BTreeMap::new(), last, questions: 0 }
    }

    fn run(&mut self, first: usize) {
        let enough = self.args.count.unwrap_or(u64::MAX);
        for turn in first.. {
            if self.shared.stopped() || self.shared.answers.load(Ordering::Relaxed) >= enough {
                return;
            }
            let index = turn % self.args.targets.len();
            let target = &self.args.targets[index];
            match self.connection(target, index) {
                Ok(()) => self.connects += 1,
                Err((what, errno)) => self.shared.fail(target, what, Some(errno), None),
            }
            if self.args.pause > 0 {
                std::thread::sleep(Duration::from_millis(self.args.pause));
            }
        }
    }

    /// One connection, or one socket: open, ask, close.
    fn connection(&mut self, target: &Target, index: usize) -> Result<(), (&'static str, Errno)> {
        let kind = if self.args.udp || self.args.udp_connected { SocketType::DGRAM } else { SocketType::STREAM };
        let fd = socket::open(&target.address, kind, Duration::from_millis(self.args.timeout)).map_err(at("socket"))?;
        let mut began = Instant::now();
        let mut ended = began;
        if !self.args.udp {
            net::connect(&fd, &target.address).map_err(at("connect"))?;
            ended = Instant::now();
        }
        let mut buffer = [0; 512];
        // Who answered last on this connection.
        let mut same: Last = None;
        for exchange in 0.. {
            if exchange > 0 && (exchange == self.args.exchanges || self.shared.stopped()) {
                break;
            }
            self.questions += 1;
            let question = format!("{}\n", self.questions);
            let got = if kind == SocketType::STREAM {
                socket::send(&fd, question.as_bytes()).map_err(at("send"))?;
                socket::receive_line(&fd, &mut buffer).map_err(at("receive"))?
            } else if self.args.udp {
                began = Instant::now();
                net::sendto(&fd, question.as_bytes(), SendFlags::empty(), &target.address).map_err(at("send"))?;
                ended = Instant::now();
                let (got, from) = socket::receive_from(&fd, &mut buffer).map_err(at("receive"))?;
                if from != Some(target.address) {
                    let what = format!("the answer came from {from:?}, not from the target");
                    self.shared.fail(target, &what, None, Some(socket::name(&buffer[..got])));
                }
                got
            } else {
                socket::send(&fd, question.as_bytes()).map_err(at("send"))?;
                net::recv(&fd, &mut buffer[..], net::RecvFlags::empty()).map_err(at("receive"))?.0
            };
            let answer = &buffer[..got];
            if kind == SocketType::DGRAM && !answer.ends_with(question.as_bytes()) {
                self.shared.fail(target, "an answer to another question", None, Some(socket::name(answer)));
            }
            self.check(target, socket::name(answer), (began, ended), exchange == 0, &mut same);
            if exchange == 0 && self.args.affinity {
                let mut last = self.last[index].take();
                self.check_same(
                    target,
                    "affinity: another server than before",
                    socket::name(answer),
                    (began, ended),
                    &mut last,
                );
                self.last[index] = last;
            }
        }
        Ok(())
    }

    /// Checks and counts one answer. Each datagram of a socket without connect is a connect of its own;
    /// other connections stay with their server, though it be removed.
    fn check(&mut self, target: &Target, name: &str, connect: (Instant, Instant), first: bool, same: &mut Last) {
        self.shared.answers.fetch_add(1, Ordering::Relaxed);
        match self.names.get_mut(name) {
            Some(count) => *count += 1,
            None => _ = self.names.insert(name.to_owned(), 1),
        }
        let service = name.rsplit_once('-').map_or(name, |(service, _)| service);
        if target.service.as_deref().is_some_and(|wanted| wanted != service) {
            self.shared.fail(target, "another service answered", None, Some(name));
        }
        if (first || self.args.udp) && self.shared.history().was_gone(name, connect.0, connect.1) {
            self.shared.fail(target, "a server answered that was removed before the connect", None, Some(name));
        }
        if self.args.udp {
            self.check_same(target, "one socket, another server than before", name, connect, same);
        } else if same.as_ref().is_some_and(|(before, _)| before != name) {
            self.shared.fail(target, "one connection, another server than before", None, Some(name));
        } else if same.is_none() {
            *same = Some((name.to_owned(), connect.0));
        }
    }

    /// The server must be the one of last time, unless that one may have left since.
    fn check_same(&self, target: &Target, what: &str, name: &str, connect: (Instant, Instant), last: &mut Last) {
        if let Some((before, began)) = last
            && before != name
            && !self.shared.history().may_have_left(before, *began, connect.1)
        {
            self.shared.fail(target, &format!("{what}, which was {before}"), None, Some(name));
        }
        match last {
            Some((before, began)) if before == name => *began = connect.0,
            _ => *last = Some((name.to_owned(), connect.0)),
        }
    }
}

fn at(what: &'static str) -> impl Fn(Errno) -> (&'static str, Errno) {
    move |errno| (what, errno)
}
