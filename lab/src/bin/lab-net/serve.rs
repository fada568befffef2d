//! The server: one thread and one epoll for all its addresses and connections, so that a storm measures
//! what it storms and not the server.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// Longer lines are nobody's who tests here.
const LINE: usize = 4096;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Listen for TCP connections here
    #[arg(long, value_name = "ADDRESS:PORT")]
    tcp: Vec<SocketAddr>,
    /// Answer UDP datagrams here
    #[arg(long, value_name = "ADDRESS:PORT")]
    udp: Vec<SocketAddr>,
    /// Who the server says it is
    #[arg(long)]
    id: String,
}

enum Socket {
    Listener(TcpListener),
    Udp(UdpSocket),
    Connection(Connection),
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    /// What came of a line that has no end yet.
    partial: Vec<u8>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    // By file descriptor: each stands here as long as it is open.
    let mut sockets: HashMap<u64, Socket> = HashMap::new();
    for &address in &args.tcp {
        let listener = listen(address).with_context(|| format!("cannot listen on {address}"))?;
        watch(&epoll, &listener)?;
        sockets.insert(listener.as_raw_fd() as u64, Socket::Listener(listener));
    }
    for &address in &args.udp {
        let socket = UdpSocket::bind(address).with_context(|| format!("cannot bind {address}"))?;
        socket.set_nonblocking(true)?;
        watch(&epoll, &socket)?;
        sockets.insert(socket.as_raw_fd() as u64, Socket::Udp(socket));
    }
    println!("ready");

    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(err) => return Err(err.into()),
        }
        for event in &events {
            let key = event.data.u64();
            let mut opened = Vec::new();
            let open = match sockets.get_mut(&key) {
                Some(Socket::Listener(listener)) => {
                    accept(listener, &args.id, &mut opened);
                    true
                }
                Some(Socket::Udp(socket)) => {
                    answer_datagrams(socket, &args.id);
                    true
                }
                Some(Socket::Connection(connection)) => connection.answer(&args.id),
                None => true,
            };
            if !open {
                sockets.remove(&key);
            }
            for connection in opened {
                watch(&epoll, &connection.stream)?;
                sockets.insert(connection.stream.as_raw_fd() as u64, Socket::Connection(connection));
            }
        }
    }
}

/// With a queue that a storm does not fill; std's holds 128.
fn listen(address: SocketAddr) -> rustix::io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    rustix::net::bind(&fd, &address)?;
    rustix::net::listen(&fd, 4096)?;
    Ok(fd.into())
}

fn watch(epoll: &OwnedFd, socket: &(impl AsFd + AsRawFd)) -> Result<()> {
    let key = EventData::new_u64(socket.as_raw_fd() as u64);
    Ok(epoll::add(epoll, socket, key, EventFlags::IN)?)
}

/// Takes all that wait. The first line is mostly there already: it is answered at once.
fn accept(listener: &TcpListener, id: &str, opened: &mut Vec<Connection>) {
    while let Ok((stream, peer)) = listener.accept() {
        if stream.set_nonblocking(true).is_err() {
            continue;
        }
        let mut connection = Connection { stream, peer, partial: Vec::new() };
        if connection.answer(id) {
            opened.push(connection);
        }
    }
}

impl Connection {
    /// Answers the lines that have come. False: the client has closed.
    fn answer(&mut self, id: &str) -> bool {
        let mut buffer = [0; LINE];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(got) => self.partial.extend_from_slice(&buffer[..got]),
                Err(err) if err.kind() == ErrorKind::WouldBlock => return true,
                Err(err) if err.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return false,
            }
            while let Some(end) = self.partial.iter().position(|&byte| byte == b'\n') {
                self.partial.drain(..=end);
                if self.stream.write_all(format!("{id} {}\n", self.peer).as_bytes()).is_err() {
                    return false;
                }
            }
            if self.partial.len() > LINE {
                return false;
            }
        }
    }
}

fn answer_datagrams(socket: &UdpSocket, id: &str) {
    let mut buffer = [0; 65_536];
    let mut answer = Vec::new();
    // An error of the socket (a client's port that is closed by now) is taken off by the next call.
    while let Ok((got, from)) = socket.recv_from(&mut buffer) {
        answer.clear();
        answer.extend_from_slice(id.as_bytes());
        answer.push(b' ');
        answer.extend_from_slice(&buffer[..got]);
        let _ = socket.send_to(&answer, from);
    }
}
