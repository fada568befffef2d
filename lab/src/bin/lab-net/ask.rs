//! Clients that ask a few times and print what they saw, one JSON object a line.

use std::io::{BufRead, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::io::Errno;
use rustix::net::{self, SendFlags, SocketType};
use serde::Serialize;

use crate::socket;

/// What a client saw.
#[derive(Default, Serialize)]
struct Seen {
    /// Who was asked.
    target: String,
    /// Whom the answer came from (UDP), or getpeername (connected).
    from: Option<String>,
    /// getsockname, where a program is asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<String>,
    /// The server that answered.
    name: Option<String>,
    /// The call that failed.
    what: Option<&'static str>,
    /// How it failed.
    errno: Option<String>,
}

impl Seen {
    fn of(target: SocketAddr) -> Self {
        Self { target: target.to_string(), ..Self::default() }
    }
    /// Notes an error; true: there was none.
    fn note(&mut self, what: &'static str, result: Result<(), Errno>) -> bool {
        if let Err(errno) = result {
            self.what = Some(what);
            self.errno = Some(socket::errno_name(errno));
        }
        self.errno.is_none()
    }
    fn print(&self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(self)?)?;
        Ok(out.flush()?)
    }
}

#[derive(clap::Args)]
struct Common {
    /// An IPv4 target by an IPv6 socket, as ::ffff:a.b.c.d
    #[arg(long)]
    mapped: bool,
    /// How long to wait for anything
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 5000)]
    timeout: u64,
}

impl Common {
    fn address(&self, target: SocketAddr) -> SocketAddr {
        if self.mapped { socket::mapped(target) } else { target }
    }
    fn open(&self, target: &SocketAddr, udp: bool) -> Result<OwnedFd, Errno> {
        let kind = if udp { SocketType::DGRAM } else { SocketType::STREAM };
        socket::open(target, kind, Duration::from_millis(self.timeout))
    }
}

#[derive(clap::Args)]
pub(crate) struct ConnectArgs {
    /// Whom to ask, in turn
    #[arg(long = "target", value_name = "ADDRESS:PORT", required = true)]
    targets: Vec<SocketAddr>,
    /// How many rounds, with a new connection each time
    #[arg(long, default_value_t = 1)]
    times: u32,
    /// Keep the connections of the first round and exchange a line on each for each line of the input
    #[arg(long)]
    stdin: bool,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn connect(args: &ConnectArgs) -> Result<()> {
    let mut kept = Vec::new();
    for _ in 0..args.times {
        for &target in &args.targets {
            let target = args.common.address(target);
            let mut seen = Seen::of(target);
            let fd = match args.common.open(&target, false) {
                Ok(fd) => fd,
                Err(errno) => {
                    seen.note("socket", Err(errno));
                    seen.print()?;
                    continue;
                }
            };
            if seen.note("connect", net::connect(&fd, &target)) && exchange_line(&fd, &mut seen) && args.stdin {
                kept.push((fd, target));
            }
            seen.print()?;
        }
    }
    if args.stdin {
        for line in std::io::stdin().lock().lines() {
            line?;
            for (fd, target) in &kept {
                let mut seen = Seen::of(*target);
                exchange_line(fd, &mut seen);
                seen.print()?;
            }
        }
    }
    Ok(())
}

/// One line there and back on a connection; notes the peer and the server.
fn exchange_line(fd: &OwnedFd, seen: &mut Seen) -> bool {
    seen.from = peer_of(fd).ok();
    let mut buffer = [0; 512];
    if !seen.note("send", socket::send(fd, b"hello\n")) {
        return false;
    }
    let received = socket::receive_line(fd, &mut buffer).map(|got| {
        seen.name = Some(socket::name(&buffer[..got]).to_owned());
    });
    seen.note("receive", received)
}

/// One datagram there and back on a connected socket.
fn exchange_datagram(fd: &OwnedFd, seen: &mut Seen) -> bool {
    seen.from = peer_of(fd).ok();
    let mut buffer = [0; 512];
    if !seen.note("send", socket::send(fd, b"hello")) {
        return false;
    }
    let received = socket::receive_from(fd, &mut buffer).map(|(got, from)| {
        seen.name = Some(socket::name(&buffer[..got]).to_owned());
        seen.from = from.map(|from| from.to_string());
    });
    seen.note("receive", received)
}

fn peer_of(fd: &OwnedFd) -> Result<String, Errno> {
    let peer = net::getpeername(fd)?.ok_or(Errno::NOTCONN)?;
    Ok(SocketAddr::try_from(peer)?.to_string())
}

#[derive(clap::Args)]
pub(crate) struct PeerArgs {
    /// Where to connect; nothing is sent
    target: SocketAddr,
    /// UDP instead of TCP
    #[arg(long)]
    udp: bool,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn peer(args: &PeerArgs) -> Result<()> {
    let target = args.common.address(args.target);
    let mut seen = Seen::of(target);
    match args.common.open(&target, args.udp) {
        Ok(fd) => {
            if seen.note("connect", net::connect(&fd, &target)) {
                seen.from = peer_of(&fd).ok();
                seen.local = net::getsockname(&fd).and_then(SocketAddr::try_from).ok().map(|local| local.to_string());
            }
        }
        Err(errno) => _ = seen.note("socket", Err(errno)),
    }
    seen.print()
}

#[derive(clap::Args)]
pub(crate) struct UdpArgs {
    /// Whom to ask, in turn, from one socket
    #[arg(long = "target", value_name = "ADDRESS:PORT", required = true)]
    targets: Vec<SocketAddr>,
    /// How many rounds
    #[arg(long, default_value_t = 1)]
    repeat: u32,
    /// Connect the socket to each target before it is asked, instead of sendto
    #[arg(long)]
    connected: bool,
    /// After the first rounds, one more for each line of the input
    #[arg(long)]
    stdin: bool,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn udp(args: &UdpArgs) -> Result<()> {
    let targets: Vec<SocketAddr> = args.targets.iter().map(|&target| args.common.address(target)).collect();
    let v6 = targets.iter().copied().find(SocketAddr::is_ipv6).unwrap_or(targets[0]);
    let fd = args.common.open(&v6, true)?;
    let round = || -> Result<()> {
        for &target in &targets {
            let mut seen = Seen::of(target);
            if !args.connected {
                ask_unconnected(&fd, target, &mut seen);
            } else if seen.note("connect", net::connect(&fd, &target)) {
                exchange_datagram(&fd, &mut seen);
            }
            seen.print()?;
        }
        Ok(())
    };
    for _ in 0..args.repeat {
        round()?;
    }
    if args.stdin {
        for line in std::io::stdin().lock().lines() {
            line?;
            round()?;
        }
    }
    Ok(())
}

fn ask_unconnected(fd: &OwnedFd, target: SocketAddr, seen: &mut Seen) {
    let sent = net::sendto(fd, b"hello", SendFlags::empty(), &target).map(|_| ());
    if seen.note("send", sent) {
        let mut buffer = [0; 512];
        let received = socket::receive_from(fd, &mut buffer).map(|(got, from)| {
            seen.name = Some(socket::name(&buffer[..got]).to_owned());
            seen.from = from.map(|from| from.to_string());
        });
        seen.note("receive", received);
    }
}

#[derive(clap::Args)]
pub(crate) struct ReconnectArgs {
    /// Where to connect the one socket, in turn
    #[arg(long = "target", value_name = "ADDRESS:PORT", required = true)]
    targets: Vec<SocketAddr>,
    /// UDP (connect again as it is) instead of TCP (connect to AF_UNSPEC before, which disconnects)
    #[arg(long)]
    udp: bool,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn reconnect(args: &ReconnectArgs) -> Result<()> {
    let fd = args.common.open(&args.common.address(args.targets[0]), args.udp)?;
    for (turn, &target) in args.targets.iter().enumerate() {
        let target = args.common.address(target);
        let mut seen = Seen::of(target);
        if !args.udp && turn > 0 && !seen.note("disconnect", net::connect_unspec(&fd)) {
            seen.print()?;
            continue;
        }
        if seen.note("connect", net::connect(&fd, &target)) {
            if args.udp {
                exchange_datagram(&fd, &mut seen);
            } else {
                exchange_line(&fd, &mut seen);
            }
        }
        seen.print()?;
    }
    Ok(())
}

#[derive(clap::Args)]
pub(crate) struct HttpArgs {
    /// The server
    address: SocketAddr,
    /// What to get
    path: String,
}

/// Enough HTTP for an agent's /readyz and /metrics, in hosts where no curl may be.
pub(crate) fn http(args: &HttpArgs) -> Result<()> {
    let limit = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&args.address, limit).with_context(|| args.address.to_string())?;
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET {} HTTP/1.0\r\nHost: {}\r\n\r\n", args.path, args.address)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    std::io::stdout().write_all(body.as_bytes())?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.split(' ').nth(1) == Some("200"), "{}{}: {status}", args.address, args.path);
    Ok(())
}
