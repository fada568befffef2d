//! Rounds of exchanges, now this way, now that, each timed as a whole.
//!
//! One process goes all ways and moves from place to place in between: two processes would differ in
//! where their memory lies, by more than what is to be measured.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bowline_lab::Host;
use clap::{Args, ValueEnum};
use rustix::net::sockopt::set_socket_linger;

use super::{Listen, PATIENCE, SIZE, bad, pin};

/// Nanoseconds an exchange took on average, by round, then by way.
pub(crate) type Rounds = Vec<Vec<f64>>;

/// What an exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// connect, request, answer, close.
    Tcp,
    /// sendto and recvfrom on one socket that is not connected.
    Udp,
    /// A socket for each exchange: open, sendto, recvfrom, close.
    UdpFresh,
}

#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    #[arg(long, value_enum)]
    pub(crate) mode: Mode,
    /// Whom to ask, and from where, in turn.
    #[arg(long)]
    pub(crate) way: Vec<Listen>,
    #[arg(long)]
    pub(crate) rounds: usize,
    /// Exchanges in a round, after a tenth of that to warm up.
    #[arg(long)]
    pub(crate) exchanges: usize,
    /// Seconds after which no round begins.
    #[arg(long)]
    pub(crate) limit: u64,
}

impl ClientArgs {
    /// Runs a client in a host to its end.
    pub(crate) fn run(&self, host: &Host) -> Result<Rounds> {
        let mode = self.mode.to_possible_value().context("a mode without a name")?;
        let mut command = host.command(std::env::current_exe()?);
        command.args(["client", "--mode", mode.get_name(), "--limit", &self.limit.to_string()]);
        command.args(["--rounds", &self.rounds.to_string(), "--exchanges", &self.exchanges.to_string()]);
        for way in &self.way {
            command.arg("--way").arg(way.to_string());
        }
        let mut process = host.spawn(command.stdout(Stdio::piped()))?;
        let mut text = String::new();
        process.child.stdout.as_mut().context("the client has no output")?.read_to_string(&mut text)?;
        serde_json::from_str(&text).context("the client did not come to its end")
    }
}

/// Goes all ways and prints [`Rounds`].
pub(crate) fn client(args: &ClientArgs) -> Result<()> {
    pin(0)?;
    let mut rounds = Rounds::new();
    let began = Instant::now();
    for number in 0..args.rounds {
        if began.elapsed().as_secs() >= args.limit && !rounds.is_empty() {
            break;
        }
        let mut times = vec![0.0; args.way.len()];
        for index in 0..times.len() {
            // Each way is in each place of a round equally often, and always just after a move: how deep a
            // CPU has slept before makes more of a difference than what is to be measured.
            let index = (number + index) % times.len();
            let way = &args.way[index];
            way.enter()?;
            times[index] = round(args, way.address).with_context(|| format!("asking {}", way.address))?;
        }
        rounds.push(times);
    }
    println!("{}", serde_json::to_string(&rounds)?);
    Ok(())
}

fn round(args: &ClientArgs, to: SocketAddr) -> std::io::Result<f64> {
    let socket = udp_socket()?;
    let exchange = || match args.mode {
        Mode::Tcp => tcp(to),
        Mode::Udp => udp(&socket, to),
        Mode::UdpFresh => udp(&udp_socket()?, to),
    };
    (0..args.exchanges / 10).try_for_each(|_| exchange())?;
    let began = Instant::now();
    (0..args.exchanges).try_for_each(|_| exchange())?;
    Ok(began.elapsed().as_nanos() as f64 / args.exchanges as f64)
}

fn tcp(to: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[1; SIZE])?;
    let mut answer = [0; SIZE];
    stream.read_exact(&mut answer)?;
    if stream.read(&mut answer)? != 0 {
        return Err(bad("more than an answer"));
    }
    // The server has closed too. A reset now, and neither side keeps a closed connection for a minute:
    // a hundred thousand of those make every exchange slower than the one before.
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    Ok(())
}

fn udp_socket() -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn udp(socket: &UdpSocket, to: SocketAddr) -> std::io::Result<()> {
    socket.send_to(&[1; SIZE], to)?;
    let (_, from) = socket.recv_from(&mut [0; SIZE])?;
    if from == to { Ok(()) } else { Err(bad("an answer from somebody else")) }
}
