//! ADD and DEL, timed: one caller or several, each with a container of its own that comes and goes.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::runtime::Container;
use super::side::{Netns, Side, inside};
use crate::traffic::join;

/// The one packet's answer must be there by then.
const ANSWER: Duration = Duration::from_secs(1);
/// A link that is left after this is left.
const GONE: Duration = Duration::from_secs(1);

/// One caller waits so long after a DEL: what that has left to the kernel is not the next ADD's.
const REST: Duration = Duration::from_millis(30);

/// The number of the first caller's container: those that are held stand before.
const CALLERS: usize = 900;

/// How many namespaces a caller's containers have, in turn.
const NAMESPACES: usize = 8;

/// What was seen, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Times {
    pub(super) add: Vec<f64>,
    pub(super) del: Vec<f64>,
    /// From the end of a DEL until its link was away.
    pub(super) gone: Vec<f64>,
    /// Of ours, what of an ADD and of a DEL was in the agent, by its log.
    pub(super) in_agent: [Vec<f64>; 2],
    /// Packets of new containers that had no answer.
    pub(super) lost: usize,
    /// Links that were left a second after the last DEL.
    pub(super) left: usize,
}

/// Containers that stay.
pub(super) struct Held<'s, 'a> {
    side: &'s Side<'a>,
    all: Vec<(usize, Netns, Value)>,
}

impl<'s, 'a> Held<'s, 'a> {
    /// Attaches so many.
    pub(super) fn new(side: &'s Side<'a>, count: usize) -> Result<Held<'s, 'a>> {
        let next = Mutex::new(0..count);
        let all = Mutex::new(Vec::new());
        threads(side, 4, |_| {
            loop {
                let taken = next.lock().map_err(|_| anyhow::anyhow!("a thread panicked"))?.next();
                let Some(number) = taken else { return Ok(()) };
                let (id, netns, args) =
                    (format!("held{number}"), Netns::new(side.node, &format!("held{number}"))?, side.args(number));
                let result = side.runtime(number).add(&Container { id: &id, netns: &netns.path, args: &args })?;
                all.lock().map_err(|_| anyhow::anyhow!("a thread panicked"))?.push((number, netns, result));
            }
        })?;
        let all = all.into_inner().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        Ok(Held { side, all })
    }

    /// How many they are.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Detaches them.
    pub(super) fn end(self) -> Result<()> {
        let Held { side, all } = self;
        let all = Mutex::new(all);
        threads(side, 4, |_| {
            loop {
                let taken = all.lock().map_err(|_| anyhow::anyhow!("a thread panicked"))?.pop();
                let Some((number, netns, result)) = taken else { return Ok(()) };
                let (id, args) = (format!("held{number}"), side.args(number));
                side.runtime(number).del(&Container { id: &id, netns: &netns.path, args: &args }, &result)?;
            }
        })
    }
}

fn threads(side: &Side<'_>, count: usize, run: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let netns = side.node.netns();
    std::thread::scope(|scope| {
        let start = |number: usize| {
            let (run, netns) = (&run, &netns);
            scope.spawn(move || {
                join(netns)?;
                run(number)
            })
        };
        let all: Vec<_> = (0..count).map(start).collect();
        all.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked"))))
    })
}

/// Has `callers` add and delete, each `rounds` times at most, and not longer than `limit`.
pub(super) fn measure(side: &Side<'_>, callers: usize, rounds: usize, limit: Duration) -> Result<Times> {
    let before = inside(side.node, links)?;
    let times = Mutex::new(Times::default());
    let began = Instant::now();
    threads(side, callers, |caller| {
        // A new container has a new namespace: none is used again at once.
        let namespaces = (0..NAMESPACES).map(|turn| Netns::new(side.node, &format!("caller{caller}-{turn}")));
        let namespaces = namespaces.collect::<Result<Vec<Netns>>>()?;
        let number = CALLERS + caller;
        let (runtime, args) = (side.runtime(number), side.args(number));
        for round in 0..rounds {
            if began.elapsed() > limit {
                break;
            }
            let (id, netns) = (format!("c{caller}r{round}"), &namespaces[round % NAMESPACES]);
            let container = Container { id: &id, netns: &netns.path, args: &args };
            let alone = if callers == 1 { Some(links()?) } else { None };
            let add = Instant::now();
            let result = runtime.add(&container)?;
            let add = add.elapsed();
            let answered = asks(side, &netns.path)?;
            let del = Instant::now();
            runtime.del(&container, &result)?;
            let del = del.elapsed();
            let gone = Instant::now();
            if let Some(alone) = alone {
                while links()? > alone && gone.elapsed() < GONE {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
            let gone = gone.elapsed();
            if callers == 1 {
                std::thread::sleep(REST);
            }
            let mut times = times.lock().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
            times.add.push(add.as_secs_f64() * 1e3);
            times.del.push(del.as_secs_f64() * 1e3);
            if callers == 1 {
                times.gone.push(gone.as_secs_f64() * 1e3);
            }
            times.lost += usize::from(!answered);
        }
        Ok(())
    })?;
    let ended = Instant::now();
    let mut times = times.into_inner().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
    let left = || inside(side.node, links).map(|now| now.saturating_sub(before));
    while left()? > 0 && ended.elapsed() < GONE {
        std::thread::sleep(Duration::from_millis(1));
    }
    times.left = left()?;
    ensure!(!times.add.is_empty(), "nothing was measured");
    Ok(times)
}

/// How many links of containers there are in this thread's network namespace: what the kernel and the lab have, and the
/// reference's bridge, stay.
fn links() -> Result<usize> {
    let text = fs::read_to_string("/proc/thread-self/net/dev").context("cannot list links")?;
    let names = text.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim);
    Ok(names.filter(|name| ["bow", "veth", "fl", "ifb"].iter().any(|ours| name.starts_with(ours))).count())
}

/// Sends one packet from a container, at once, and waits for its answer.
fn asks(side: &Side<'_>, netns: &Path) -> Result<bool> {
    join(netns)?;
    let answered = ask(side.server);
    join(&side.node.netns())?;
    Ok(answered)
}

fn ask(server: SocketAddr) -> bool {
    let asked = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.set_read_timeout(Some(ANSWER))?;
        socket.send_to(&[1; 64], server)?;
        socket.recv_from(&mut [0; 64])
    });
    asked.is_ok_and(|(_, from)| from == server)
}
