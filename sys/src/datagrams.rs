//! Batches of UDP datagrams: many for one system call (recvmmsg(2), sendmmsg(2)), in memory that is set up
//! once, so that nothing is allocated for a question and its answer.
//!
//! ```text
//! receiver   a batch of what came: bytes, from whom, to which of our addresses
//! sender     a batch of what goes out, each datagram on its own path
//! slots      the memory of a batch, and the two system calls
//! address    socket addresses and control messages, as the kernel lays them out
//! ```
//!
//! One [`Receiver`] and one [`Sender`] serve any number of sockets of a thread, one after the other:
//!
//! ```no_run
//! # use bowline_sys::{datagrams::{Receiver, Sender}, listen};
//! # fn main() -> std::io::Result<()> {
//! let socket = listen::udp("127.0.0.1:53".parse().unwrap(), listen::Options::default())?;
//! let (mut receiver, mut sender) = (Receiver::new(), Sender::new());
//! receiver.receive(&socket)?;
//! for datagram in receiver.datagrams() {
//!     sender.push_bytes(&datagram.path, datagram.bytes);
//! }
//! sender.send(&socket);
//! # Ok(())
//! # }
//! ```

mod address;
mod receiver;
mod sender;
mod slots;

use std::net::{IpAddr, SocketAddr};

pub use receiver::{Datagram, Receiver};
pub use sender::{Sender, Sent};

/// Datagrams of a batch, at most.
pub const BATCH: usize = 64;

/// Bytes that a datagram has room for. What comes and is longer is cut; what goes out and is longer is copied.
pub const ROOM: usize = 4096;

/// Between whom a datagram goes; the path of a question is the path of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The other end. An IPv4 address is shown as one, on IPv6's sockets too.
    pub peer: SocketAddr,
    /// Our end, where the socket tells it ([`crate::listen`]); None: the socket's own address.
    pub local: Option<Local>,
    /// Whether the peer has IPv4 and the socket IPv6 (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2).
    pub mapped: bool,
}

impl Path {
    /// To a peer, on a socket of its family, from the address that the socket is bound to or the kernel chooses.
    pub fn to(peer: SocketAddr) -> Path {
        Path { peer, local: None, mapped: false }
    }
}

/// An address of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// The address that the datagram was sent to.
    pub address: IpAddr,
    /// Index of the interface that it came in by. Answers are bound to it where the address is link-local
    /// (`fe80::/10`) and means nothing without; others go as the routes say. 0: unknown.
    pub interface: u32,
}

#[cfg(test)]
mod tests;
