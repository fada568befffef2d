//! Much data over one TCP connection, now this way, now that: sender and receiver are two threads of one process, each on a
//! CPU and in a place of its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bowline_lab::Host;
use clap::Args;

use super::{Listen, PATIENCE, pin};

/// At a time, of sender and receiver.
const CHUNK: usize = 128 * 1024;

#[derive(Debug, Args)]
pub(crate) struct StreamArgs {
    /// Where the sender stands, with the address that it sends to
    #[arg(long)]
    pub(crate) from: Vec<Listen>,
    /// Where the receiver stands, and listens, in the same order
    #[arg(long)]
    pub(crate) to: Vec<Listen>,
    #[arg(long)]
    pub(crate) rounds: usize,
    /// Milliseconds of a way in a round
    #[arg(long)]
    pub(crate) time: u64,
}

impl StreamArgs {
    /// Runs it in a host to its end: bytes a second, by round, then by way.
    pub(crate) fn run(&self, host: &Host) -> Result<Vec<Vec<f64>>> {
        let mut command = host.command(std::env::current_exe()?);
        command.args(["stream", "--rounds", &self.rounds.to_string(), "--time", &self.time.to_string()]);
        for (flag, places) in [("--from", &self.from), ("--to", &self.to)] {
            for place in places {
                command.arg(flag).arg(place.to_string());
            }
        }
        let mut process = host.spawn(command.stdout(Stdio::piped()))?;
        let mut text = String::new();
        process.child.stdout.as_mut().context("no output")?.read_to_string(&mut text)?;
        serde_json::from_str(&text).context("the stream did not come to its end")
    }
}

/// Goes all ways, and prints bytes a second.
pub(crate) fn stream(args: &StreamArgs) -> Result<()> {
    let mut rounds = Vec::new();
    for number in 0..args.rounds {
        let mut speeds = vec![0.0; args.from.len()];
        for index in 0..speeds.len() {
            let index = (number + index) % speeds.len();
            let (from, to) = (&args.from[index], &args.to[index]);
            speeds[index] =
                one(from, to, Duration::from_millis(args.time)).with_context(|| format!("from {from} to {to}"))?;
        }
        rounds.push(speeds);
    }
    println!("{}", serde_json::to_string(&rounds)?);
    Ok(())
}

fn one(from: &Listen, to: &Listen, time: Duration) -> Result<f64> {
    to.enter()?;
    let listener = TcpListener::bind(to.address)?;
    from.enter()?;
    let mut sender = TcpStream::connect(from.address)?;
    sender.set_write_timeout(Some(PATIENCE))?;
    let (receiver, _) = listener.accept()?;
    std::thread::scope(|scope| {
        let received = scope.spawn(move || receive(receiver));
        pin(0)?;
        let (began, chunk) = (Instant::now(), [1; CHUNK]);
        while began.elapsed() < time {
            sender.write_all(&chunk)?;
        }
        drop(sender);
        let received = received.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the receiver panicked")))?;
        Ok(received as f64 / began.elapsed().as_secs_f64())
    })
}

fn receive(mut stream: TcpStream) -> Result<usize> {
    pin(1)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut sum, mut chunk) = (0, vec![0; CHUNK]);
    loop {
        match stream.read(&mut chunk)? {
            0 => return Ok(sum),
            some => sum += some,
        }
    }
}
