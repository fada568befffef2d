//! Answers on any number of addresses, each socket made in a cgroup of its own.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Stdio;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use bowline_lab::{Host, Process};
use clap::Args;

use super::{PATIENCE, SIZE, enter, join, pin};

/// An address to serve or to ask, TCP and UDP, the cgroup that the sockets belong to, and their network
/// namespace where it isn't the one that the process is started in: `ADDRESS@CGROUP[@NETNS]`.
#[derive(Clone, Debug)]
pub(crate) struct Listen {
    pub(crate) address: SocketAddr,
    pub(crate) cgroup: PathBuf,
    pub(crate) netns: Option<PathBuf>,
}

impl Listen {
    /// In a host's cgroup.
    pub(crate) fn at(host: &Host, address: SocketAddr) -> Listen {
        Listen { address, cgroup: host.cgroup().into(), netns: None }
    }

    /// Makes this process's next sockets belong there.
    pub(super) fn enter(&self) -> Result<()> {
        enter(&self.cgroup)?;
        self.netns.as_deref().map_or(Ok(()), join)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.address, self.cgroup.display())?;
        self.netns.as_ref().map_or(Ok(()), |netns| write!(f, "@{}", netns.display()))
    }
}

impl FromStr for Listen {
    type Err = String;
    fn from_str(text: &str) -> Result<Listen, String> {
        let (address, place) = text.split_once('@').ok_or("write ADDRESS@CGROUP[@NETNS]")?;
        let address = address.parse().map_err(|error| format!("{address}: {error}"))?;
        let (cgroup, netns) = place.split_once('@').map_or((place, None), |(cgroup, netns)| (cgroup, Some(netns)));
        Ok(Listen { address, cgroup: cgroup.into(), netns: netns.map(PathBuf::from) })
    }
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The first byte of every answer.
    #[arg(long)]
    id: u8,
    #[arg(long)]
    cpu: usize,
    #[arg(long)]
    listen: Vec<Listen>,
}

impl ServeArgs {
    /// Starts a server in a host and waits until it listens.
    pub(crate) fn start(host: &Host, id: u8, cpu: usize, listen: &[Listen]) -> Result<Process> {
        let mut command = host.command(std::env::current_exe()?);
        command.args(["serve", "--cpu", &cpu.to_string(), "--id", &id.to_string()]).stdout(Stdio::piped());
        for listen in listen {
            command.arg("--listen").arg(listen.to_string());
        }
        let mut process = host.spawn(&mut command)?;
        let stdout = process.child.stdout.as_mut().context("the server has no output")?;
        let mut word = [0; 6];
        stdout.read_exact(&mut word).context("the server did not start")?;
        ensure!(word == *b"ready\n", "the server said {word:?}");
        Ok(process)
    }
}

/// Serves until killed.
pub(crate) fn serve(args: &ServeArgs) -> Result<()> {
    pin(args.cpu)?;
    let mut answer = [0; SIZE];
    answer[0] = args.id;
    let mut threads = Vec::new();
    for listen in &args.listen {
        listen.enter()?;
        let address = listen.address;
        let tcp = TcpListener::bind(address).with_context(|| format!("tcp {address}"))?;
        let udp = UdpSocket::bind(address).with_context(|| format!("udp {address}"))?;
        threads.push(std::thread::spawn(move || serve_tcp(&tcp, &answer)));
        threads.push(std::thread::spawn(move || serve_udp(&udp, &answer)));
    }
    println!("ready");
    for thread in threads {
        ensure!(thread.join().is_ok(), "a thread ended by itself");
    }
    Ok(())
}

fn serve_tcp(listener: &TcpListener, answer: &[u8; SIZE]) {
    loop {
        // A client that went away is its own business.
        let _ = listener.accept().and_then(|(stream, _)| answer_tcp(stream, answer));
    }
}

/// Closes when it has answered; the client waits for that.
fn answer_tcp(mut stream: TcpStream, answer: &[u8; SIZE]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = [0; SIZE];
    stream.read_exact(&mut request)?;
    stream.write_all(answer)
}

fn serve_udp(socket: &UdpSocket, answer: &[u8; SIZE]) {
    let mut request = [0; SIZE];
    loop {
        let _ = socket.recv_from(&mut request).and_then(|(_, from)| socket.send_to(answer, from));
    }
}
