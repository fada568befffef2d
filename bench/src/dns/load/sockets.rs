//! The sockets of many clients.
//!
//! A socket each costs two system calls for a question, which is more than many a server takes for it. On the
//! loopback a client can be an address instead, since all of 127.0.0.0/8 is the host's: few sockets serve many
//! clients, and one system call sends or receives a batch. A server sees as many peers either way.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, bail, ensure};
use bowline_sys::datagrams::{Local, Path, ROOM, Receiver, Sender};
use bowline_sys::listen::{self, Options};
use rustix::event::{Timespec, epoll};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};

use super::Kind;

/// Addresses of clients begin here.
const FIRST: u32 = Ipv4Addr::new(127, 1, 0, 0).to_bits();

/// Clients, at most: more would not differ.
const MOST: usize = 1 << 16;

pub(super) enum Sockets {
    Own(Own),
    Shared(Box<Shared>),
}

impl Sockets {
    pub(super) fn new(server: SocketAddr, clients: usize, kind: Kind) -> Result<Sockets> {
        ensure!((1..=MOST).contains(&clients), "from 1 to {MOST} clients");
        let near = matches!(server.ip(), IpAddr::V4(address) if address.is_loopback());
        Ok(match kind {
            Kind::Shared if !near => bail!("clients share sockets only where the server is in 127.0.0.0/8"),
            Kind::Shared => Sockets::Shared(Box::new(Shared::new(server)?)),
            Kind::Auto if near => Sockets::Shared(Box::new(Shared::new(server)?)),
            Kind::Own | Kind::Auto => Sockets::Own(Own::new(server, clients)?),
        })
    }

    /// Hands each datagram that waits to `each`, with its client, which says whether it is the one that the client
    /// waits for; returns how many were.
    pub(super) fn receive(&mut self, each: impl FnMut(usize, &[u8]) -> bool) -> Result<usize> {
        match self {
            Sockets::Own(own) => own.receive(each),
            Sockets::Shared(shared) => shared.receive(each),
        }
    }

    /// Sends a client's question, now or with the next flush; at most `BATCH` between two flushes.
    pub(super) fn ask(&mut self, client: usize, write: impl FnOnce(&mut [u8]) -> usize) -> Result<()> {
        match self {
            Sockets::Own(own) => own.ask(client, write),
            Sockets::Shared(shared) => shared.ask(client, write),
        }
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        match self {
            Sockets::Own(_) => Ok(()),
            Sockets::Shared(shared) => shared.flush(),
        }
    }
}

/// A connected socket for each client.
pub(super) struct Own {
    sockets: Vec<UdpSocket>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    room: Vec<u8>,
}

impl Own {
    fn new(server: SocketAddr, clients: usize) -> Result<Own> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let any: SocketAddr = if server.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
        let mut sockets = Vec::with_capacity(clients);
        for client in 0..clients {
            let socket = UdpSocket::bind(any).context("a socket for each client: ulimit -n must allow it")?;
            socket.set_nonblocking(true)?;
            socket.connect(server)?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(&epoll, &socket, epoll::EventData::new_u64(client as u64), flags)?;
            sockets.push(socket);
        }
        Ok(Own { sockets, epoll, events: Vec::with_capacity(256), room: vec![0; 65_536] })
    }

    fn receive(&mut self, mut each: impl FnMut(usize, &[u8]) -> bool) -> Result<usize> {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        self.events.clear();
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&now))?;
        let mut count = 0;
        for event in &self.events {
            let client = event.data.u64() as usize;
            let Some(socket) = self.sockets.get(client) else { continue };
            // Edge-triggered: reads on until what it waited for has come, after which nothing is open.
            loop {
                match socket.recv(&mut self.room) {
                    Ok(length) => {
                        if each(client, &self.room[..length]) {
                            count += 1;
                            break;
                        }
                    }
                    Err(error) if transient(&error) => break,
                    Err(error) => return Err(error).context("cannot receive"),
                }
            }
        }
        Ok(count)
    }

    fn ask(&mut self, client: usize, write: impl FnOnce(&mut [u8]) -> usize) -> Result<()> {
        let length = write(&mut self.room);
        match self.sockets[client].send(&self.room[..length]) {
            Err(error) if !transient(&error) => Err(error).context("cannot send"),
            // Not sent: the question counts as lost.
            _ => Ok(()),
        }
    }
}

/// No room, nothing there, or no server yet.
fn transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused | io::ErrorKind::Interrupted)
}

/// An address for each client.
pub(super) struct Shared {
    socket: UdpSocket,
    server: SocketAddr,
    receiver: Receiver,
    sender: Sender,
}

impl Shared {
    fn new(server: SocketAddr) -> Result<Shared> {
        let one_family = Options { one_family: true, ..Options::default() };
        let socket = listen::udp("0.0.0.0:0".parse()?, one_family)?;
        // What is never fragmented needs no number of its own, whose counters are shared by all CPUs.
        set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DO)?;
        Ok(Shared { socket, server, receiver: Receiver::new(), sender: Sender::new() })
    }

    fn receive(&mut self, mut each: impl FnMut(usize, &[u8]) -> bool) -> Result<usize> {
        match self.receiver.receive(&self.socket) {
            Ok(_) => {}
            Err(error) if transient(&error) => return Ok(0),
            Err(error) => return Err(error).context("cannot receive"),
        }
        let mut count = 0;
        for datagram in self.receiver.datagrams() {
            if datagram.path.peer != self.server {
                continue;
            }
            if let Some(Local { address: IpAddr::V4(address), .. }) = datagram.path.local {
                let client = address.to_bits().wrapping_sub(FIRST) as usize;
                count += usize::from(client < MOST && each(client, datagram.bytes));
            }
        }
        Ok(count)
    }

    fn ask(&mut self, client: usize, write: impl FnOnce(&mut [u8]) -> usize) -> Result<()> {
        let address = IpAddr::V4(Ipv4Addr::from_bits(FIRST + client as u32));
        let path = Path { local: Some(Local { address, interface: 0 }), ..Path::to(self.server) };
        let Some(room) = self.sender.room() else { bail!("more questions than a batch holds") };
        let length = write(room);
        debug_assert!(length <= ROOM, "a question is short");
        self.sender.push(&path, length);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        while !self.sender.is_empty() {
            if let Some(error) = self.sender.send(&self.socket).error {
                return Err(error).context("cannot send");
            }
        }
        Ok(())
    }
}
